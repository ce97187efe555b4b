import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorCode } from '../error-code.js';

/** Characters of what the node printed kept for an error message. */
const OUTPUT_TAIL_CHARS = 4_000;
const POLL_INTERVAL_MS = 20;

export interface NodeProcessOptions {
  /** Data directory; kept when the process ends. */
  readonly directory: string;
  /** Flags beside `--data-dir` and the ports. */
  readonly args?: readonly string[];
  /** Variables on top of the caller's, which pass on without those that configure a node. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default 0, any. */
  readonly httpPort?: number;
  readonly grpcPort?: number;
  /** Milliseconds until the ports must be known. Default 30 000. */
  readonly startTimeoutMs?: number;
  /** Script of the node; default `dist/main.js` beside this code's package.json. */
  readonly main?: string;
  /** CPUs the process may use, as `taskset -c` takes them. */
  readonly cpus?: string;
  /** Characters of what it printed that are kept. Default 4 000. */
  readonly outputChars?: number;
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A node in a process of its own, in a process group of its own: a Ctrl-C meant for its parent does not reach it. */
export class NodeProcess {
  readonly exited: Promise<Exit>;
  #exit: Exit | undefined;

  private constructor(
    readonly child: ChildProcess,
    readonly httpPort: number,
    readonly grpcPort: number,
    exited: Promise<Exit>,
    private readonly tail: () => string,
  ) {
    this.exited = exited.then((exit) => (this.#exit = exit));
  }

  /** Starts a node and resolves when its ports are open. Rejects with the end of its stderr when it ends before that. */
  static async start(options: NodeProcessOptions): Promise<NodeProcess> {
    const scratch = await mkdtemp(join(tmpdir(), 'spector-ports-'));
    const portsFile = join(scratch, 'ports.json');
    const kept = options.outputChars ?? OUTPUT_TAIL_CHARS;
    let stderr = '';
    const child = launch(options, portsFile);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-kept)));
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-kept)));
    const exited = new Promise<Exit>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    // Whatever ends this process ends the child; SIGKILL leaves it to the child's own watch (end-with-parent).
    const killChild = (): boolean => child.kill('SIGKILL');
    process.once('exit', killChild);
    try {
      const ports = await portsOf(portsFile, exited, options.startTimeoutMs ?? 30_000, () => stderr);
      exited.then(
        () => process.removeListener('exit', killChild),
        () => process.removeListener('exit', killChild),
      );
      return new NodeProcess(child, ports.http, ports.grpc, exited, () => stderr);
    } catch (error) {
      child.kill('SIGKILL');
      await exited.catch(() => undefined); // A process that could not be spawned rejects; the reason is in `error`.
      process.removeListener('exit', killChild);
      throw error;
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }

  get url(): string {
    return `http://127.0.0.1:${this.httpPort}`;
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  /** Undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** The end of what it printed. */
  get output(): string {
    return this.tail();
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Ends it: SIGTERM, and SIGKILL when it does not end within `graceMs`. */
  async stop(graceMs: number): Promise<Exit> {
    if (this.#exit !== undefined) return this.#exit;
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), graceMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }
}

function launch(options: NodeProcessOptions, portsFile: string): ChildProcess {
  const main = options.main ?? fileURLToPath(new URL('../../../dist/main.js', import.meta.url));
  const watch = new URL('../../../dist/cli/processes/end-with-parent.js', import.meta.url).href;
  const flags = [
    '--data-dir',
    options.directory,
    '--port',
    String(options.httpPort ?? 0),
    '--grpc-port',
    String(options.grpcPort ?? 0),
    ...(options.args ?? []),
  ];
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('SPECTOR_') && name !== 'NODE_OPTIONS'),
  );
  // As it is run for users: with source maps the first error holds a node up for half a second.
  const command = ['--import', watch, main, ...flags];
  const [program, args] =
    options.cpus === undefined
      ? [process.execPath, command]
      : ['taskset', ['-c', options.cpus, process.execPath, ...command]];
  return spawn(program, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: { ...inherited, ...options.env, SPECTOR_PORTS_FILE: portsFile },
  });
}

async function portsOf(
  path: string,
  exited: Promise<Exit>,
  timeoutMs: number,
  tail: () => string,
): Promise<{ http: number; grpc: number }> {
  const deadline = performance.now() + timeoutMs;
  let ended: Exit | undefined;
  let failed: { readonly error: unknown } | undefined;
  exited.then(
    (exit) => (ended = exit),
    (error: unknown) => (failed = { error }),
  );
  for (;;) {
    try {
      return JSON.parse(await readFile(path, 'utf8')) as { http: number; grpc: number };
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
    if (failed !== undefined) throw new Error('the node could not be started', { cause: failed.error });
    if (ended !== undefined)
      throw new NodeStartError(
        `the node ended (${ended.signal ?? `exit code ${ended.code}`}) before it listened`,
        ended,
        tail(),
      );
    if (performance.now() > deadline)
      throw new NodeStartError(`the node did not listen within ${timeoutMs} ms`, undefined, tail());
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}

/** A node did not come to listen; the message ends with what it printed. */
export class NodeStartError extends Error {
  override readonly name = 'NodeStartError';
  constructor(
    message: string,
    readonly exit: Exit | undefined,
    readonly output: string,
  ) {
    super(output === '' ? message : `${message}:\n${output.trimEnd()}`);
  }
}
