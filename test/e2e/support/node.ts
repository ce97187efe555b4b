import { jest } from '@jest/globals';
import type { Exit } from '../../../src/cli/processes/node-process.js';
import type { NodeProcess, RestartOptions, StartOptions } from '../cluster/node-process.js';
import { startNode as startProcess } from '../cluster/start-node.js';
import { Rest } from './rest.js';

// Processes start and end in these tests, on machines that do other things too. Every wait inside has a bound of its own.
jest.setTimeout(60_000);

/** A real node with a bare client of its own. */
export class TestNode {
  private client: Rest;

  constructor(readonly process: NodeProcess) {
    this.client = new Rest(process.url);
  }

  /** The client of the present process; another one after a restart. */
  get rest(): Rest {
    return this.client;
  }

  /** `http://127.0.0.1:<port>` */
  get base(): string {
    return this.process.url;
  }

  get grpcAddress(): string {
    return `127.0.0.1:${this.process.grpcPort}`;
  }

  get dataDir(): string {
    return this.process.directory;
  }

  get pid(): number {
    return this.process.pid;
  }

  /** The end of what it printed. */
  output(): string {
    return this.process.output;
  }

  /** Ends it in good order, by default; the data stays. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    return this.process.stop(signal);
  }

  /** Ends it as a crash does. */
  kill(): Promise<Exit> {
    return this.process.stop('SIGKILL');
  }

  /** Starts it on the same data, ending it in good order before when it still runs. */
  async restart(change: RestartOptions = {}): Promise<void> {
    if (this.process.exit === undefined) await this.stop();
    await this.client.close();
    await this.process.restart({ ready: true, ...change });
    this.client = new Rest(this.process.url);
  }

  async dispose(): Promise<void> {
    await this.client.close();
    await this.process.dispose();
  }
}

/** Starts a node on fresh data, or on `directory`, and waits until it is ready. */
export async function startNode(options: StartOptions = {}): Promise<TestNode> {
  return new TestNode(await startProcess(options));
}

/** Runs something with a node of its own, which is gone afterwards. */
export async function withNode<T>(options: StartOptions, act: (node: TestNode) => Promise<T>): Promise<T> {
  const node = await startNode(options);
  try {
    return await act(node);
  } finally {
    await node.dispose();
  }
}
