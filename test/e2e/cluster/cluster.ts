import { TemporaryDirectory } from '../../../src/cli/processes/temporary-directory.js';
import { expectStatus } from '../support/problem.js';
import { Rest } from '../support/rest.js';
import { freePort } from './free-port.js';
import { Network } from './network.js';
import { NodeProcess, type RestartOptions } from './node-process.js';
import { waitFor } from './wait-for.js';

/** The answer of /api/v1/status, as far as tests look at it. */
export interface Status {
  readonly status: 'STARTING' | 'RUNNING' | 'DEGRADED' | 'DRAINING';
  readonly activeNodes: number;
  readonly shardCount: number;
  readonly replicaCount: number;
  readonly topology: Readonly<
    Record<string, { readonly status: string; readonly shards: readonly (number | string)[] }>
  >;
  readonly nodeId: string;
  readonly clusterId: string;
  readonly mapEpoch: number;
  readonly viewDigest: string;
  readonly insecure: boolean;
  readonly documents: number;
  readonly shards: readonly {
    readonly shard: number;
    readonly epoch: number;
    readonly primary: string | null;
    readonly documents: number;
    readonly offset: number;
    readonly replicas: readonly {
      readonly node: string;
      readonly role: 'primary' | 'replica' | 'learner';
      readonly inSync: boolean;
      readonly offset: number;
      readonly lagMs: number;
      readonly held?: string;
    }[];
  }[];
}

/** The answer of /api/v1/shards/{n}/digest. */
export interface Digest {
  readonly shard: number;
  readonly offset: number;
  readonly chain: string;
  readonly live: string;
  readonly replicas: readonly {
    readonly node: string;
    readonly offset: number;
    readonly chain: string;
    readonly live: string;
  }[];
}

export interface ClusterOptions {
  /** Default 3. */
  readonly nodes?: number;
  readonly shards?: number;
  /** Copies beside the primary. */
  readonly replicas?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Variables of one node. */
  readonly envOf?: (nodeId: string) => Readonly<Record<string, string>>;
  /** Nodes reach each other through proxies, whose `network` can be made faulty. Default false. */
  readonly proxied?: boolean;
}

/** Timers short enough for tests (replication 5.1): suspected after 1.8 s, unavailable after 3 s. */
export const HEARTBEAT = { SPECTOR_HEARTBEAT_INTERVAL: '500ms', SPECTOR_HEARTBEAT_TIMEOUT: '3s' } as const;
/** max(2.5 × interval, 0.6 × timeout) of them. */
export const FAILOVER_AFTER_MS = 1_800;

/** Milliseconds until a cluster has settled, on a busy machine. */
export const SETTLE_TIMEOUT_MS = 60_000;
const OUTPUT_CHARS = 200_000;

/** One node of a cluster: its process, once it was started, its ports and a bare client of it. */
export class ClusterNode {
  #process: NodeProcess | undefined;
  #rest: Rest | undefined;

  constructor(
    readonly nodeId: string,
    readonly httpPort: number,
    readonly grpcPort: number,
    readonly directory: string,
    private readonly args: readonly string[],
    private readonly env: Readonly<Record<string, string>>,
  ) {}

  get process(): NodeProcess {
    if (this.#process === undefined) throw new Error(`${this.nodeId} was not started`);
    return this.#process;
  }

  get started(): boolean {
    return this.#process !== undefined;
  }

  get running(): boolean {
    return this.#process !== undefined && this.#process.exit === undefined;
  }

  /** A bare client of this node: it retries nothing and hides nothing. */
  get rest(): Rest {
    this.#rest ??= new Rest(`http://127.0.0.1:${this.httpPort}`);
    return this.#rest;
  }

  get pid(): number | undefined {
    return this.running ? this.process.pid : undefined;
  }

  get output(): string {
    return this.process.output;
  }

  /** Starts it, or starts it again on the same data and ports. */
  async start(change: RestartOptions = {}): Promise<void> {
    if (this.#process !== undefined) {
      await this.#process.restart({ ready: true, ...change });
      return;
    }
    this.#process = await NodeProcess.start({
      nodeId: this.nodeId,
      directory: this.directory,
      httpPort: this.httpPort,
      grpcPort: this.grpcPort,
      args: this.args,
      env: this.env,
      outputChars: OUTPUT_CHARS,
      ...change,
    });
  }

  /** Ends it as a crash does. */
  kill(): Promise<unknown> {
    return this.process.stop('SIGKILL');
  }

  async status(): Promise<Status> {
    return expectStatus<Status>(await this.rest.get('/api/v1/status'), 200);
  }

  /** The sum of a counter over its labels that match. */
  async metric(name: string, labels = ''): Promise<number> {
    const { text } = await this.rest.get('/metrics');
    let sum = 0;
    for (const line of text.split('\n'))
      if ((line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(labels))
        sum += Number(line.slice(line.lastIndexOf(' ') + 1));
    return sum;
  }

  async dispose(): Promise<void> {
    await this.#rest?.close();
    await this.#process?.dispose();
  }
}

/**
 * A cluster of real nodes on this machine, each on a data directory and ports of its own. Ends all of them, and the
 * network between them, when it is disposed of.
 *
 *     cluster = await Cluster.start({ shards: 4, replicas: 2 });
 */
export class Cluster implements AsyncDisposable {
  readonly #nodes: ClusterNode[] = [];
  readonly #temporary: TemporaryDirectory;
  readonly network: Network;
  #seeds = '';

  private constructor(
    private readonly options: ClusterOptions,
    temporary: TemporaryDirectory,
  ) {
    this.#temporary = temporary;
    this.network = new Network(() => this.#nodes);
  }

  /** Chooses ports and directories for `nodes` nodes and starts none. */
  static async plan(options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(options, await TemporaryDirectory.make('spector-cluster-'));
    const count = options.nodes ?? 3;
    const ports: number[] = [];
    for (let i = 1; i <= count; i++) {
      const grpcPort = await freePort();
      ports.push(grpcPort);
    }
    const names = ports.map((_, i) => `node-${i + 1}`);
    const reached: number[] = [];
    for (const [i, nodeId] of names.entries())
      reached.push(options.proxied === true ? await cluster.network.open(nodeId) : ports[i]);
    cluster.#seeds = reached.map((port) => `127.0.0.1:${port}`).join(',');
    for (const [i, nodeId] of names.entries()) await cluster.#add(nodeId, ports[i], reached[i]);
    return cluster;
  }

  /** Starts all nodes together and waits until they are one cluster with every copy in sync and all the map's voters. */
  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = await Cluster.plan(options);
    try {
      await Promise.all(cluster.nodes.map((node) => node.start({ ready: false })));
      await cluster.settled();
      await cluster.voting();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get nodes(): readonly ClusterNode[] {
    return this.#nodes;
  }

  /** `host:port` of all, as the seeds are given. */
  get seeds(): string {
    return this.#seeds;
  }

  /** Nodes whose process runs. */
  get living(): readonly ClusterNode[] {
    return this.#nodes.filter((node) => node.running);
  }

  node(nodeId: string): ClusterNode {
    const node = this.#nodes.find((candidate) => candidate.nodeId === nodeId);
    if (node === undefined) throw new Error(`there is no ${nodeId}`);
    return node;
  }

  others(nodeId: string): readonly ClusterNode[] {
    return this.living.filter((node) => node.nodeId !== nodeId);
  }

  /** Another node, with the same seeds; not started. */
  async add(nodeId: string): Promise<ClusterNode> {
    const grpcPort = await freePort();
    const reached = this.options.proxied === true ? await this.network.open(nodeId) : grpcPort;
    return this.#add(nodeId, grpcPort, reached);
  }

  /**
   * Waits until the nodes agree: `active` of them (default: those that run), one view, one topology, one map, every copy
   * in sync at one offset and no operation under way.
   */
  async settled(timeoutMs = SETTLE_TIMEOUT_MS, asked = this.living, active = this.living.length): Promise<Status> {
    return waitFor(
      'the cluster to settle',
      async () => {
        const all = await Promise.all(asked.map((node) => node.status()));
        const [first] = all;
        for (const status of all) {
          const problem = unsettled(status, first, active);
          if (problem !== undefined) throw new Error(`${status.nodeId}: ${problem}`);
        }
        return first;
      },
      timeoutMs,
    );
  }

  /** Waits until the map has as many voters as it shall have (replication 9.1): the loss of one of two would freeze it. */
  async voting(): Promise<void> {
    const count = this.#nodes.length;
    const wanted = Math.min(5, count % 2 === 1 ? count : count - 1);
    await waitFor(
      `the map to have ${wanted} voters`,
      async () => {
        for (const { rest } of this.#nodes) {
          const { mapVoters } = expectStatus<{ mapVoters: string[] }>(await rest.get('/api/v1/cluster'), 200);
          if (mapVoters.length !== wanted) throw new Error(`they are ${mapVoters.join(', ')}`);
        }
        return true;
      },
      SETTLE_TIMEOUT_MS,
    );
  }

  /** Waits until the copies of these nodes have one offset in each shard, as each of them sees it. */
  async agreed(nodes: readonly ClusterNode[], timeoutMs = SETTLE_TIMEOUT_MS): Promise<void> {
    const names = nodes.map(({ nodeId }) => nodeId);
    await waitFor(
      `${names.join(', ')} to have the same entries`,
      async () => {
        for (const { shards } of await Promise.all(nodes.map((node) => node.status())))
          for (const { shard, primary, replicas } of shards) {
            const offsets = replicas.filter(({ node }) => names.includes(node)).map(({ offset }) => offset);
            if (primary === null || !names.includes(primary) || new Set(offsets).size !== 1)
              throw new Error(`shard ${shard} of ${primary ?? 'nobody'}: ${offsets.join(', ')}`);
          }
        return true;
      },
      timeoutMs,
    );
  }

  /** Waits until every shard's copies, `copies` of each and those that wait to be dropped, have one digest; gives them. */
  async converged(copies: number, timeoutMs = SETTLE_TIMEOUT_MS): Promise<readonly Digest[]> {
    const [node] = this.living;
    return waitFor(
      'the digests of all copies to be equal',
      async () => {
        const { shardCount } = await node.status();
        const digests: Digest[] = [];
        for (let shard = 0; shard < shardCount; shard++) {
          const digest = expectStatus<Digest>(await node.rest.get(`/api/v1/shards/${shard}/digest`), 200);
          const different = new Set(digest.replicas.map(({ offset, chain, live }) => `${offset} ${chain} ${live}`));
          if (different.size !== 1 || digest.replicas.length < copies)
            throw new Error(`shard ${shard}: ${JSON.stringify(digest.replicas)}`);
          digests.push(digest);
        }
        return digests;
      },
      timeoutMs,
    );
  }

  /** Waits until an operation is over and gives how it ended. */
  async operation(node: ClusterNode, id: string, timeoutMs = SETTLE_TIMEOUT_MS): Promise<Record<string, unknown>> {
    return waitFor(
      `the operation ${id} to end`,
      async () => {
        const answer = await node.rest.get(`/api/v1/cluster/operations/${id}`);
        const operation = expectStatus<Record<string, unknown>>(answer, 200);
        if (operation.state === 'running') throw new Error(answer.text);
        return operation;
      },
      timeoutMs,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const problems: unknown[] = [];
    for (const node of this.#nodes) await node.dispose().catch((error: unknown) => problems.push(error));
    await this.network[Symbol.asyncDispose]();
    await this.#temporary.remove();
    if (problems.length > 0) throw problems[0];
  }

  /** As `[Symbol.asyncDispose]`, for hooks. */
  dispose(): Promise<void> {
    return this[Symbol.asyncDispose]();
  }

  async #add(nodeId: string, grpcPort: number, reached: number): Promise<ClusterNode> {
    const { shards = 4, replicas = 2, env = {}, envOf } = this.options;
    const args = ['--cluster-mode', '--shard-count', String(shards), '--replica-count', String(replicas)];
    const node = new ClusterNode(
      nodeId,
      await freePort(),
      grpcPort,
      `${this.#temporary.path}/${nodeId}`,
      [...args, '--seeds', this.#seeds],
      {
        ...HEARTBEAT,
        SPECTOR_HOST: '127.0.0.1',
        SPECTOR_ADVERTISE: `127.0.0.1:${reached}`,
        ...env,
        ...envOf?.(nodeId),
      },
    );
    this.#nodes.push(node);
    return node;
  }
}

/** What is missing for the cluster to be settled in the eyes of one node; `first` is what another one sees. */
function unsettled(status: Status, first: Status, active: number): string | undefined {
  if (status.status !== 'RUNNING') return `is ${status.status}`;
  if (status.activeNodes !== active) return `sees ${status.activeNodes} active nodes, not ${active}`;
  if (status.clusterId !== first.clusterId) return 'is in another cluster';
  if (status.mapEpoch !== first.mapEpoch) return `has map ${status.mapEpoch}, not ${first.mapEpoch}`;
  if (status.viewDigest !== first.viewDigest) return 'has another view';
  if (JSON.stringify(status.topology) !== JSON.stringify(first.topology)) return 'shows another topology';
  const wanted = Math.min(1 + status.replicaCount, active);
  for (const { shard, primary, replicas } of status.shards) {
    if (primary === null) return `shard ${shard} has no primary`;
    const synced = replicas.filter(({ inSync, role }) => inSync && role !== 'learner');
    if (synced.length < wanted) return `shard ${shard} has ${synced.length} copies in sync, not ${wanted}`;
    if (new Set(synced.map(({ offset }) => offset)).size !== 1) return `copies of shard ${shard} differ in offset`;
  }
  return undefined;
}
