import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NodeError } from '../../../kernel/errors.js';
import { PeerError, type NodeUuid } from '../../../kernel/peer.js';
import { systemClock } from '../../../platform/clock/system-clock.js';
import { systemRandom } from '../../../platform/clock/system-random.js';
import { systemTimers } from '../../../platform/clock/system-timers.js';
import { loadConfig } from '../../../platform/config/load-config.js';
import { systemMachine } from '../../../platform/config/machine.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { Metrics } from '../../../platform/metrics/metrics.js';
import { MemoryLogStore } from '../../log/adapters/memory-log-store.js';
import type { Link, LinkEvents } from '../../../kernel/link.js';
import { ReplicationService } from '../../replication/replication.service.js';
import type { VectorIndexes } from '../../shard/core/vector-index.js';
import { ShardService } from '../../shard/shard.service.js';
import { CatalogService } from '../catalog.service.js';
import { ClusterKeys } from '../cluster-keys.js';
import { ClusterService } from '../cluster.service.js';
import type { CopyRoute, ShardRoute } from '../core/route.js';
import type { ShardGate, ShardWriteOutcome } from '../core/shard-calls.js';
import { DocumentReader } from '../document-reader.js';
import { DocumentsService } from '../documents.service.js';
import { EventsService } from '../events.service.js';
import { FanOut } from '../fan-out.js';
import { LocalShards } from '../local-shards.js';
import { ForwardedMapChanges, type MapChanges } from '../map-changes.js';
import type { AnswerMessage, QueryLinks, QueryMessage } from '../query-stream.js';
import { type GatedWrite, ReplicationGate, type GateAnswer } from '../replica-gate.js';
import type { Routes } from '../routes.js';
import { SearchService } from '../search.service.js';
import { Sessions } from '../session.js';
import { ShardCallClients } from '../shard-call-client.js';
import { RelayingShards } from '../relaying-shards.js';
import { ShardCallServer } from '../shard-call-server.js';
import { StreamsService } from '../streams.service.js';
import { WinnerFetch } from '../winner-fetch.js';
import { WriteRouter } from '../write-router.js';
import { Writer } from '../writer.js';

/**
 * What reaches a node: nothing is there (`gone`), it hears and says nothing (`silent`), or it does what it is asked once
 * more and its connection breaks before it can say so (`breaks`).
 */
export type Health = 'well' | 'gone' | 'silent' | 'breaks';

/**
 * Nodes in one process, each with real services of its own, and shards dealt out among them: shard s has its primary on
 * node s mod n. What they ask each other goes through the query stream as it would over a network.
 */
export class MemoryCluster {
  readonly nodes: ClusterNode[] = [];
  /** Node index of each shard's primary; undefined: none. */
  readonly primaries: (number | undefined)[];
  /** How long a write takes to come to the disk. */
  writeMs = 0;
  /** Shards that a node follows in sync as well, for the routes only. */
  readonly followers = new Map<number, number>();
  /** Connections that cannot be made: "from>to", by index. */
  readonly cut = new Set<string>();

  private constructor(readonly shardCount: number) {
    this.primaries = [];
  }

  static async start(
    size: number,
    shardCount: number,
    indexes: VectorIndexes,
    dimensions: number,
  ): Promise<MemoryCluster> {
    const cluster = new MemoryCluster(shardCount);
    const starting = Array.from({ length: size }, (_, index) =>
      ClusterNode.start(cluster, index, shardCount, indexes, dimensions),
    );
    cluster.nodes.push(...(await Promise.all(starting)));
    for (let shard = 0; shard < shardCount; shard++) cluster.primaries.push(shard % size);
    return cluster;
  }

  byUuid(uuid: NodeUuid): ClusterNode | undefined {
    return this.nodes.find((node) => node.uuid === uuid);
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) await node.stop();
  }
}

const FULL = new NodeError('INSUFFICIENT_STORAGE', 'there is no room', { retryAfterMs: 5_000 });

export class ClusterNode {
  health: Health = 'well';
  /** It has no room for an upsert, or for nothing at all. */
  full: 'upsert' | 'full' | undefined;
  readonly events = new EventsService();
  readonly uuid: NodeUuid;
  readonly nodeId: string;
  readonly clients: ShardCallClients;
  readonly server: ShardCallServer;
  readonly refused: string[] = [];
  readonly documents: DocumentsService;
  readonly search: SearchService;
  readonly streams: StreamsService;
  readonly changes: MapChanges;
  readonly catalog: CatalogService;
  /** Knows the shards; not the view, nor operations. */
  readonly operator: ClusterService;
  readonly sessions: Sessions;
  readonly local: LocalShards;
  readonly routes: Routes;
  /** Ends of streams that lead to this node. */
  readonly links = new Set<MemoryLink>();

  private constructor(
    cluster: MemoryCluster,
    readonly index: number,
    readonly replication: ReplicationService,
    readonly shards: ShardService,
    readonly log: MemoryLogStore,
    private readonly directory: string,
    config: ReturnType<typeof configOf>,
  ) {
    this.uuid = replication.self;
    this.nodeId = `node-${index + 1}`;
    const routes = new MemoryRoutes(cluster, this);
    this.routes = routes;
    const reader = new DocumentReader(replication, log);
    const gate = new PlacedGate(cluster, this, log);
    this.local = new LocalShards(gate, replication, shards, log, reader, {
      refusal: (_, kind) => (this.full === 'full' || this.full === kind ? FULL : undefined),
    });
    this.clients = new ShardCallClients(new MemoryLinks(cluster, this), () => 1);
    const served = new RelayingShards(this.local, this.clients, (uuid) => cluster.byUuid(uuid) !== undefined);
    this.server = new ShardCallServer(served, {
      refused: (_, problem) => this.refused.push(problem),
      failed: (_, error) => {
        throw error;
      },
    });
    const fanOut = new FanOut(routes, this.local, this.clients, () => 0.5);
    const sessions = new Sessions(replication.map);
    this.sessions = sessions;
    const metrics = new Metrics({ nodeId: this.nodeId, version: '0' });
    const router = new WriteRouter(routes, this.local, this.clients, systemRandom);
    const changes = new ForwardedMapChanges(routes, replication.map, gate, this.clients);
    this.changes = changes;
    this.catalog = new CatalogService(config, replication, fanOut, router, changes);
    const none = undefined as never;
    this.operator = new ClusterService(config, replication, routes, fanOut, none, none, none);
    const keys = new ClusterKeys(systemClock, routes, fanOut);
    const writer = new Writer(replication, router, fanOut, changes, nodeHasher, keys, metrics);
    this.documents = new DocumentsService(config, replication, fanOut, writer, changes, sessions, this.events);
    const winners = new WinnerFetch(routes, fanOut, this.local, replication);
    this.search = new SearchService(
      config,
      replication,
      routes,
      fanOut,
      winners,
      changes,
      sessions,
      this.events,
      metrics,
    );
    this.streams = new StreamsService(replication, routes, fanOut, changes);
  }

  static async start(
    cluster: MemoryCluster,
    index: number,
    shardCount: number,
    indexes: VectorIndexes,
    dimensions: number,
  ): Promise<ClusterNode> {
    const directory = await mkdtemp(join(tmpdir(), 'memory-cluster-'));
    const delay = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, cluster.writeMs));
    const log = await MemoryLogStore.open({ hasher: nodeHasher, delay });
    const config = configOf(index, shardCount, dimensions);
    const shards = new ShardService({
      log,
      hasher: nodeHasher,
      clock: systemClock,
      directory,
      threads: 0,
      indexes,
      spaceFor: () => true,
      report: () => undefined,
    });
    const replication = new ReplicationService(config, {
      log,
      shards,
      hasher: nodeHasher,
      clock: systemClock,
      timers: systemTimers,
      random: systemRandom,
      logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
      events: { streamed: () => undefined, copy: () => undefined },
    });
    await replication.identify();
    await replication.openMap(true);
    await replication.found('00000000-0000-4000-8000-000000000001', `node-${index + 1}:9090`);
    await replication.openShards();
    return new ClusterNode(cluster, index, replication, shards, log, directory, config);
  }

  /** Its process ends: whoever is connected notices. */
  vanish(): void {
    this.health = 'gone';
    for (const link of [...this.links]) link.break('RESET');
  }

  async stop(): Promise<void> {
    this.clients.close();
    this.replication.stop();
    await this.shards.close(false);
    await this.log.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

function configOf(index: number, shardCount: number, dimensions: number) {
  return loadConfig({
    argv: ['--node-id', `node-${index + 1}`, '--shard-count', String(shardCount), '--replica-count', '0'],
    env: { SPECTOR_DIMENSIONS: String(dimensions), SPECTOR_QUERY_TIMEOUT: '10s' },
    readFile: () => '',
    machine: systemMachine,
  });
}

class MemoryRoutes implements Routes {
  constructor(
    private readonly cluster: MemoryCluster,
    private readonly node: ClusterNode,
  ) {}

  get self(): NodeUuid {
    return this.node.uuid;
  }

  get mapEpoch(): number {
    return this.node.replication.map.current().epoch;
  }

  refresh(): void {
    // Each answer is made anew.
  }

  shards(): readonly ShardRoute[] {
    return this.cluster.primaries.map((at, shard) =>
      this.#route(shard, at === undefined ? undefined : this.cluster.nodes[at]),
    );
  }

  meta(): ShardRoute {
    return this.#route(0, this.node);
  }

  nodeIdOf(node: NodeUuid): string {
    return this.cluster.byUuid(node)?.nodeId ?? node;
  }

  onStaleLeader(): void {
    // The placement is always the newest.
  }

  #route(shard: number, primary: ClusterNode | undefined): ShardRoute {
    const follower = this.cluster.followers.get(shard);
    const copies: CopyRoute[] = primary === undefined ? [] : [this.#copy(primary, 'primary')];
    if (follower !== undefined) copies.push(this.#copy(this.cluster.nodes[follower], 'replica'));
    return { shard, epoch: 1, lastEpoch: 1, primary: primary?.uuid, copies, documents: 10, wanted: 1 };
  }

  #copy({ uuid: node, nodeId }: ClusterNode, role: CopyRoute['role']): CopyRoute {
    const self = node === this.self;
    const standing = {
      inSync: true,
      status: 'ACTIVE',
      lagMs: 0,
      offset: 0,
      durable: 0,
      faulted: false,
      held: false,
    } as const;
    return { node, nodeId, self, role, ...standing };
  }
}

/** A node answers only for the shards that were dealt to it. */
class PlacedGate extends ReplicationGate {
  constructor(
    private readonly cluster: MemoryCluster,
    private readonly node: ClusterNode,
    log: MemoryLogStore,
  ) {
    super(node.replication, log);
  }

  override check(gate: ShardGate, searched: boolean): GateAnswer {
    if (!this.#holds(gate.shard)) return { open: false, refusal: { code: 'NOT_PRIMARY' } };
    return super.check(gate, searched);
  }

  override write(write: GatedWrite): Promise<ShardWriteOutcome> {
    if (!this.#holds(write.shard)) return Promise.resolve({ kind: 'turned-away', refusal: { code: 'NOT_PRIMARY' } });
    return super.write(write);
  }

  #holds(shard: number): boolean {
    return this.cluster.primaries[shard] === this.node.index;
  }
}

/** Both ends of a stream between two nodes; messages arrive in a later turn, in order. */
class MemoryLink implements Link<QueryMessage> {
  #open = true;
  readonly #served: LinkEvents<QueryMessage>;

  constructor(
    from: NodeUuid,
    private readonly to: ClusterNode,
    private readonly events: LinkEvents<AnswerMessage>,
  ) {
    this.#served = to.server.onQuery(from, {
      send: (message) => {
        this.#later(() => this.events.message(message));
        return true;
      },
      drained: () => Promise.resolve(),
      close: () => this.break('RESET'),
    });
    to.links.add(this);
    if (to.health === 'gone') setImmediate(() => this.break('REFUSED'));
  }

  send(message: QueryMessage): boolean {
    this.#later(() => this.#served.message(message));
    if (this.to.health === 'breaks') {
      setImmediate(() => setImmediate(() => this.break('RESET')));
      this.to.health = 'well';
    }
    return true;
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.#open = false;
    this.to.links.delete(this);
    this.#served.ended(undefined);
  }

  break(reason: 'REFUSED' | 'RESET'): void {
    if (!this.#open) return;
    this.close();
    this.events.ended(new PeerError(reason, `the connection to ${this.to.nodeId} broke`));
  }

  #later(arrive: () => void): void {
    setImmediate(() => {
      if (this.#open && this.to.health !== 'silent' && this.to.health !== 'gone') arrive();
    });
  }
}

class MemoryLinks implements QueryLinks {
  constructor(
    private readonly cluster: MemoryCluster,
    private readonly from: ClusterNode,
  ) {}

  open(node: NodeUuid, events: LinkEvents<AnswerMessage>): Link<QueryMessage> {
    const to = this.cluster.byUuid(node);
    if (to === undefined) throw new Error(`there is no node ${node}`);
    const link = new MemoryLink(this.from.uuid, to, events);
    if (this.cluster.cut.has(`${this.from.index}>${to.index}`)) setImmediate(() => link.break('RESET'));
    return link;
  }
}
