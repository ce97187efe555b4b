import { join } from 'node:path';
import { SpectorClient, type Status } from '../../client/index.js';
import { type Exit, NodeProcess } from '../processes/node-process.js';
import { freePorts } from './free-port.js';
import { until } from './waiting.js';

export const SHARDS = 4;
export const REPLICAS = 2;
const NODE_IDS = ['node-1', 'node-2', 'node-3'] as const;
/** The documented ports, counted up; taken when they are free. */
const HTTP_PORT = 7070;
const GRPC_PORT = 9090;
/** A slow machine may take long to start three processes at once. */
const START_TIMEOUT_MS = 120_000;
const READY_TIMEOUT_MS = 120_000;
const REQUEST_TIMEOUT_MS = 60_000;
/** A node may take DRAIN_TIMEOUT (25 s) to end; then it is killed. */
const STOP_GRACE_MS = 30_000;
/** Somebody may take a port between the look and the start. */
const ATTEMPTS = 3;

/** One node of the demo: its process comes and goes, its ports and its data stay. */
export interface DemoNode {
  readonly id: string;
  readonly url: string;
  readonly pid: number;
  /** Retries what can be retried, as clients should. */
  readonly client: SpectorClient;
}

interface Place {
  readonly id: string;
  readonly directory: string;
  readonly http: number;
  readonly grpc: number;
}

/** Three nodes on this machine, each a process with a data directory of its own. */
export class DemoCluster {
  readonly #places: readonly Place[];
  readonly #processes = new Map<string, NodeProcess>();
  readonly #expected = new Set<string>();

  private constructor(places: readonly Place[]) {
    this.#places = places;
  }

  /** Starts all three at once, as an operator would; none runs any more when this rejects. */
  static async start(directory: string): Promise<DemoCluster> {
    for (let attempt = 1; ; attempt++) {
      const ports = await freePorts([
        ...NODE_IDS.map((_, i) => HTTP_PORT + i),
        ...NODE_IDS.map((_, i) => GRPC_PORT + i),
      ]);
      const cluster = new DemoCluster(
        NODE_IDS.map((id, i) => ({
          id,
          directory: join(directory, `${attempt}`, id),
          http: ports[i],
          grpc: ports[NODE_IDS.length + i],
        })),
      );
      const started = await Promise.allSettled(cluster.#places.map((place) => cluster.#launch(place)));
      const failure = started.find((result) => result.status === 'rejected');
      if (failure === undefined) return cluster;
      await cluster.stop();
      const error: unknown = failure.reason;
      if (attempt === ATTEMPTS || !(error instanceof Error && error.message.includes('EADDRINUSE'))) throw error;
    }
  }

  get nodes(): readonly DemoNode[] {
    return this.#places.map(({ id }) => this.node(id));
  }

  node(id: string): DemoNode {
    const place = this.#place(id);
    const url = `http://127.0.0.1:${place.http}`;
    return {
      id,
      url,
      pid: this.#processes.get(id)?.pid ?? -1,
      client: new SpectorClient({ nodes: url, timeoutMs: REQUEST_TIMEOUT_MS }),
    };
  }

  /** Milliseconds until every node counts all and every shard has all its copies in sync. */
  async whole(signal: AbortSignal): Promise<Status> {
    return this.guard(
      until(
        'every copy to be in sync',
        async () => {
          const all = await Promise.all(
            this.nodes.map(async ({ client }) => {
              const ready = (await client.readyz({ signal })).ok;
              return ready ? client.status({ signal }) : undefined;
            }),
          );
          return all.every((status) => status !== undefined && isWhole(status)) ? all[0] : undefined;
        },
        READY_TIMEOUT_MS,
        signal,
      ),
    );
  }

  /** Ends a node as a crash does; resolves at once. */
  kill(id: string): void {
    this.#expected.add(id);
    this.#processes.get(id)?.signal('SIGKILL');
  }

  /** Starts a killed node again, on its data and its ports. */
  async restart(id: string): Promise<void> {
    await this.#processes.get(id)?.exited;
    await this.#launch(this.#place(id));
    this.#expected.delete(id);
  }

  /** Rejects when a node ends that was not killed; else never settles. */
  async watch(): Promise<never> {
    return new Promise((_resolve, reject) => {
      for (const [id, node] of this.#processes) {
        const ended = (exit: Exit): void => reject(endedByItself(id, node, exit));
        node.exited.then((exit) => this.#expected.has(id) || ended(exit), reject);
      }
    });
  }

  /** The result of a step; an error that shows what a node printed when it ended by itself meanwhile. */
  async guard<T>(step: Promise<T>): Promise<T> {
    try {
      return await step;
    } catch (error) {
      for (const [id, node] of this.#processes)
        if (node.exit !== undefined && !this.#expected.has(id)) throw endedByItself(id, node, node.exit);
      throw error;
    }
  }

  /** Ends all nodes. */
  async stop(): Promise<void> {
    await Promise.all([...this.#processes.values()].map((node) => node.stop(STOP_GRACE_MS)));
  }

  async #launch({ id, directory, http, grpc }: Place): Promise<void> {
    const seeds = this.#places.map((place) => `127.0.0.1:${place.grpc}`).join(',');
    const node = await NodeProcess.start({
      directory,
      httpPort: http,
      grpcPort: grpc,
      args: [
        ...['--cluster-mode', '--node-id', id, '--host', '127.0.0.1', '--advertise', '127.0.0.1', '--seeds', seeds],
        ...['--shard-count', String(SHARDS), '--replica-count', String(REPLICAS)],
      ],
      env: { SPECTOR_LOG_LEVEL: 'warn' },
      startTimeoutMs: START_TIMEOUT_MS,
    });
    this.#processes.set(id, node);
  }

  #place(id: string): Place {
    const place = this.#places.find((candidate) => candidate.id === id);
    if (place === undefined) throw new Error(`the demo has no node ${id}`);
    return place;
  }
}

/** Every node is there, and every shard has a primary and all its copies in sync, at one offset. */
export function isWhole({ activeNodes, shards }: Status): boolean {
  return (
    activeNodes === NODE_IDS.length &&
    shards.every(
      ({ primary, offset, replicas }) =>
        primary !== null &&
        replicas.length === NODE_IDS.length &&
        replicas.every((copy) => copy.inSync && copy.offset === offset),
    )
  );
}

function endedByItself(id: string, node: NodeProcess, { code, signal }: Exit): Error {
  return new Error(`${id} ended by itself (${signal ?? `exit code ${code}`}):\n${node.output.trimEnd()}`);
}
