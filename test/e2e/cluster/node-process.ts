import { SpectorClient } from '../../../src/client/index.js';
import { type Exit, NodeProcess as Process, type NodeProcessOptions } from '../../../src/cli/processes/node-process.js';
import { TemporaryDirectory } from '../../../src/cli/processes/temporary-directory.js';
import { running } from './running.js';
import { waitFor } from './wait-for.js';

export interface StartOptions extends Omit<NodeProcessOptions, 'directory'> {
  readonly nodeId?: string;
  /** A data directory to use and to keep; by default a fresh one that goes with the node. */
  readonly directory?: string;
  /** Whether to wait for /readyz. Default true. */
  readonly ready?: boolean;
}

/** What `restart` changes; everything else is as before, the ports included. */
export type RestartOptions = Partial<Pick<StartOptions, 'args' | 'env' | 'cpus' | 'ready' | 'startTimeoutMs'>>;

/** Milliseconds a node may take to become ready, on a busy machine. */
const READY_TIMEOUT_MS = 60_000;
/** Milliseconds a node may take to end on SIGTERM: DRAIN_TIMEOUT and its last checkpoint. */
const STOP_TIMEOUT_MS = 60_000;

/** A real node: the built one, on a data directory of its own, on ports of its own. */
export class NodeProcess implements AsyncDisposable {
  #process: Process;
  #options: StartOptions;
  #stopped = false;

  private constructor(
    process: Process,
    options: StartOptions,
    readonly directory: string,
    private readonly temporary: TemporaryDirectory | undefined,
  ) {
    this.#process = process;
    this.#options = options;
  }

  /** Starts a node; see `startNode`. */
  static async start(options: StartOptions): Promise<NodeProcess> {
    const temporary = options.directory === undefined ? await TemporaryDirectory.make('spector-e2e-') : undefined;
    const directory = options.directory ?? temporary?.path ?? '';
    try {
      const node = new NodeProcess(await launch(options, directory), options, directory, temporary);
      running.add(node);
      await node.#whenReady(options.ready);
      return node;
    } catch (error) {
      await temporary?.remove();
      throw error;
    }
  }

  get nodeId(): string {
    return this.#options.nodeId ?? 'node-1';
  }

  /** `http://127.0.0.1:<port>` */
  get url(): string {
    return this.#process.url;
  }

  get httpPort(): number {
    return this.#process.httpPort;
  }

  get grpcPort(): number {
    return this.#process.grpcPort;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Resolves when the present process ends. */
  get exited(): Promise<Exit> {
    return this.#process.exited;
  }

  /** Undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#process.exit;
  }

  /** The end of what it printed to stdout and stderr. */
  get output(): string {
    return this.#process.output;
  }

  /** A client of this node alone, which tries everything once: a test sees each failure. */
  client(
    options: { readonly apiKey?: string; readonly timeoutMs?: number; readonly retries?: number } = {},
  ): SpectorClient {
    return new SpectorClient({ nodes: this.url, retries: 0, ...options });
  }

  /** SIGSTOP, SIGCONT and the like; for signals that end it use `stop`. */
  signal(signal: NodeJS.Signals): void {
    this.#process.signal(signal);
  }

  /** Ends the process, by default as a crash does, and resolves when it is gone. The data directory stays. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    this.#stopped = true;
    if (this.#process.exit !== undefined) return this.#process.exit;
    // A stopped (SIGSTOP) process would only end when it is continued.
    if (signal !== 'SIGKILL') this.#process.signal('SIGCONT');
    this.#process.signal(signal);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () =>
          reject(new Error(`${this.nodeId} did not end within ${STOP_TIMEOUT_MS} ms of ${signal}:\n${this.output}`)),
        STOP_TIMEOUT_MS,
      );
    });
    try {
      return await Promise.race([this.#process.exited, late]);
    } catch (error) {
      this.#process.signal('SIGKILL');
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Starts the node again, on the same data and the same ports; kills it first when it still runs. */
  async restart(change: RestartOptions = {}): Promise<void> {
    await this.stop();
    this.#options = { ...this.#options, ...change };
    this.#process = await launch(
      { ...this.#options, httpPort: this.httpPort, grpcPort: this.grpcPort },
      this.directory,
    );
    this.#stopped = false;
    await this.#whenReady(this.#options.ready);
  }

  /** Kills it, and removes its data directory unless the test brought its own. Throws when it had ended by itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    const unexpected = this.#stopped ? undefined : this.#process.exit;
    await this.stop();
    running.delete(this);
    await this.temporary?.remove();
    if (unexpected !== undefined) {
      throw new Error(
        `${this.nodeId} ended by itself (${unexpected.signal ?? `exit code ${unexpected.code}`}):\n${this.output}`,
      );
    }
  }

  /** As `[Symbol.asyncDispose]`, for hooks. */
  dispose(): Promise<void> {
    return this[Symbol.asyncDispose]();
  }

  /** Tells a test that the present process may end by itself: its exit is what is tested. */
  expectExit(): Promise<Exit> {
    this.#stopped = true;
    return this.#process.exited;
  }

  async #whenReady(wanted: boolean | undefined): Promise<void> {
    if (wanted === false) return;
    const client = this.client({ timeoutMs: 5_000 });
    await waitFor(
      `${this.nodeId} to be ready`,
      async () => {
        const { exit } = this.#process;
        if (exit !== undefined)
          throw new Error(`it ended (${exit.signal ?? `exit code ${exit.code}`}):\n${this.output}`);
        return (await client.readyz()).ok;
      },
      READY_TIMEOUT_MS,
      { stopWhen: () => this.#process.exit !== undefined },
    );
  }
}

function launch(options: StartOptions, directory: string): Promise<Process> {
  const { nodeId = 'node-1', args = [], env = {} } = options;
  return Process.start({
    ...options,
    directory,
    args: ['--node-id', nodeId, ...args],
    env: { SPECTOR_LOG_LEVEL: 'info', SPECTOR_LOG_FORMAT: 'json', ...env },
  });
}
