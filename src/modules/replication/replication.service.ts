import { assert } from '../../kernel/assert.js';
import { toHex } from '../../kernel/bytes.js';
import type { Clock } from '../../kernel/clock.js';
import { compareEpochs, type Epoch } from '../../kernel/epoch.js';
import { NodeError } from '../../kernel/errors.js';
import type { Hasher } from '../../kernel/hasher.js';
import { META_SHARD } from '../../kernel/ids.js';
import { PeerError, PROTOCOL, type NodeUuid } from '../../kernel/peer.js';

import type { Random } from '../../kernel/random.js';
import type { CancelTimer, Timers } from '../../kernel/timers.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import { idempotencyKey, shardKey } from '../log/core/keys.js';
import { LogDamagedError, StorageFailedError, type Damage, type LogStore, type RowChange } from '../log/log-store.js';
import { nodeByUuid, type ClusterMap, type Collection, type NodeRegistration } from '../ring/core/map.js';
import { placementOf, shardSetOf } from '../ring/core/shard-set.js';
import type { CollectionSpec } from '../shard/core/search.js';
import { liveDocuments, looseRows, type DocumentRow, type ShardCounters } from '../shard/core/rows.js';
import type { ShardService } from '../shard/shard.service.js';
import type { CopyPlan, FailoverTimes } from './core/peer-view.js';
import type {
  CoversAnswer,
  CoversRequest,
  FenceAnswer,
  FenceRequest,
  FetchAnswer,
  FetchRequest,
  FollowerMessage,
  PrimaryMessage,
  ProbeAnswer,
  ProbeRequest,
  PullAnswer,
  PullRequest,
  ShardLeader,
  ShardPosition,
} from './core/protocol.js';
import type { AckLevel, WriteOutcome, WriteRequest } from './core/write.js';
import { BulkPlaces } from './bulk-places.js';
import { NO_FELLOWS, ShardView, type Fellows } from './fellows.js';
import { NO_REPLICA_PEERS } from './replica-peers-none.js';
import { MAP_ROW } from './core/replica.js';
import { COUNTERS_ROW, SCRUB_ROW, SETS_ROW } from './core/replica-log.js';
import { RECEIVING_ROW } from './core/snapshot.js';
import { LogHealing } from './log-healing.js';
import { LooseStore } from './loose-store.js';
import { MapService } from './map.service.js';
import { openIdentity, retireIdentity, type NodeIdentity } from './node-identity.js';
import type { Link, LinkEvents, ReplicaPeers, ReplicaServer } from './replica-peers.js';
import { ShardReplica } from './shard-replica.js';
import { storedCounters } from './stored-copy.js';

/** What of the configuration replication goes by. */
export type ReplicationSettings = Pick<
  NodeConfig,
  | 'nodeId'
  | 'shardCount'
  | 'replicaCount'
  | 'writeConsistency'
  | 'partitionMode'
  | 'rebalanceGraceMs'
  | 'heartbeatIntervalMs'
  | 'heartbeatTimeoutMs'
  | 'similarity'
  | 'hnswM'
  | 'hnswEfConstruction'
  | 'hnswEfSearch'
  | 'dimensions'
>;

/** The indexes of this node's shards, as replication feeds them. */
export type ShardIndexes = Pick<
  ShardService,
  'open' | 'closeShard' | 'dropShard' | 'defineCollections' | 'apply' | 'rewind' | 'markFaulted'
>;

/** What the replication service needs; all of it swapped under test. */
export interface ReplicationPorts {
  readonly log: LogStore;
  readonly shards: ShardIndexes;
  readonly hasher: Hasher;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: ReplicationLogger;
  readonly events: ReplicationEvents;
  /** The disk is down to its reserve: upserts are refused. */
  readonly isFull?: () => boolean;
}

export interface ReplicationLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What happened to a copy, or to what is kept for one. */
export interface CopyEvent {
  /**
   * `dropped`: it had moved away and was deleted here (replication 9.6). `demoted`: it is behind, and the log of the shard,
   * which is over its budget, is kept for it no more: it will get a snapshot (2.11). `healed`: it was damaged here, has been
   * made whole from another one, and serves again (2.12).
   */
  readonly kind: 'dropped' | 'demoted' | 'healed';
  readonly shard: number;
  /** Whose copy. */
  readonly node: NodeUuid;
}

/** What is counted for operators. */
export interface ReplicationEvents {
  copy(event: CopyEvent): void;
  /** Entries of a log were sent to a follower: for one that returns, what it had missed and nothing else (replication 4). */
  streamed(shard: number, to: NodeUuid, entries: number, bytes: number): void;
}

/** Shards opened side by side at start: enough to keep the index threads busy. */
const OPEN_AT_ONCE = 4;
/** Payload bytes of writes in flight on the node (replication 3). */
const NODE_BYTES_MAX = 256 * 1024 * 1024;
/** How often time passes for the replicas. */
const TICK_MS = 100;
/** A reign that follows from its own log alone begins within this. */
const REIGN_WAIT_MS = 30_000;

/**
 * The copies of this node: opens their logs and indexes, drives them, owns every write, and answers other nodes
 * (architecture, "Who owns what"). A damaged copy is faulted and the others go on (replication 2.6).
 */
export class ReplicationService implements ReplicaServer {
  readonly map: MapService;
  readonly #config: ReplicationSettings;
  readonly #ports: ReplicationPorts;
  readonly #times: FailoverTimes;
  readonly #replicas = new Map<number, ShardReplica>();
  readonly #opening = new Map<number, Promise<void>>();
  readonly #faults = new Map<number, Error>();
  /** Who reigns over shards that have no copy here. */
  readonly #leaders = new Map<number, ShardLeader>();
  readonly #durableListeners = new Set<(shard: number, offset: number) => void>();
  readonly #sweepListeners = new Set<(shard: number, collectionId: number) => void>();
  readonly #roleListeners = new Set<() => void>();
  readonly #copyListeners = new Set<(event: CopyEvent) => void>();
  /** Copies that are closed for now, to be dropped or opened again. */
  readonly #resting = new Set<number>();
  readonly #healing = new Map<number, Promise<void>>();
  readonly #logHealing: LogHealing;
  readonly #stopping = new AbortController();
  #identity: NodeIdentity | undefined;
  #self: NodeUuid = '';
  /** Who counts in the map's shard before there is a map. */
  #founders: readonly NodeUuid[] = [];
  readonly #bulk = new BulkPlaces();
  #peers: ReplicaPeers = NO_REPLICA_PEERS;
  #fellows: Fellows = NO_FELLOWS;
  #leaving = false;
  #stopped = false;
  #bytesInFlight = 0;
  #cancelTick: CancelTimer | undefined;

  constructor(config: ReplicationSettings, ports: ReplicationPorts) {
    this.#config = config;
    this.#ports = ports;
    this.map = new MapService(ports.hasher, ports.timers);
    this.#logHealing = new LogHealing({
      log: ports.log,
      hasher: ports.hasher,
      sources: (shard) => this.#sources(shard),
      fetch: (from, request) => this.#peers.fetch(from, request, FETCH_TIMEOUT_MS),
    });
    this.#times = {
      heartbeatMs: config.heartbeatIntervalMs,
      failoverAfterMs: Math.max(2.5 * config.heartbeatIntervalMs, 0.6 * config.heartbeatTimeoutMs),
    };
  }

  /** Says who this disk is; before anything else. A log that went back retires the uuid (replication 5.8). */
  async identify(): Promise<NodeIdentity> {
    const { log, random, logger } = this.#ports;
    const regressions = log.regressions();
    if (regressions.length > 0) {
      logger.error({ regressions }, 'logs end before what this disk had synced: the node joins anew, as a learner');
      this.#identity = await retireIdentity(log, random);
      await log.acceptRegressions();
    } else this.#identity = await openIdentity(log, random);
    this.#self = toHex(this.#identity.nodeUuid);
    const stored = MapService.stored(log);
    if (stored !== undefined) this.map.accept(stored);
    return this.#identity;
  }

  /** The way to other nodes; before anything is opened. Without it this is a cluster of one. */
  connect(peers: ReplicaPeers, fellows: Fellows): void {
    this.#peers = peers;
    this.#fellows = fellows;
  }

  /** Gives a provisional cluster up with all it holds, which is no document (replication 9.2). */
  async surrender(): Promise<void> {
    const shards = [...this.#replicas.keys()];
    for (const replica of this.#replicas.values()) replica.close();
    this.#replicas.clear();
    this.#leaders.clear();
    this.#founders = [];
    this.map.forget();
    for (const shard of shards) await this.#delete(shard);
    await this.openMap(false);
  }

  /** Opens the copy of the map; what it was cut off from it follows from its primary. A node that founds a cluster reigns. */
  async openMap(founder: boolean): Promise<void> {
    const { log } = this.#ports;
    const damage = log.openDamages().find((found) => found.shard === META_SHARD);
    if (damage !== undefined)
      throw new StorageFailedError(
        `the log of the map is damaged at offset ${damage.offset} (${damage.problem}); restore a backup`,
      );
    if (founder) this.#founders = [this.#self];
    await this.#open(META_SHARD);
    this.map.attach(this);
    this.#tick();
    if (founder) await this.#untilReigning(META_SHARD);
  }

  /** Makes the map of a new cluster of this node alone (replication 9.2); after `openMap`. */
  async found(clusterId: string, address: string): Promise<void> {
    const { shardCount, replicaCount, writeConsistency, partitionMode, rebalanceGraceMs } = this.#config;
    await this.map.change({
      kind: 'bootstrap',
      clusterId,
      shardCount,
      settings: { replicaCount, writeConsistency, partitionMode, rebalanceGraceMs },
      node: this.registration(address),
      defaults: {
        similarity: this.#config.similarity,
        hnsw: {
          m: this.#config.hnswM,
          efConstruction: this.#config.hnswEfConstruction,
          efSearch: this.#config.hnswEfSearch,
        },
        ...(this.#config.dimensions === undefined ? {} : { dimensions: this.#config.dimensions }),
      },
    });
  }

  /** Opens the copies the map wants here; resolves when every one is open or known to be faulted. */
  async openShards(): Promise<void> {
    const { logger } = this.#ports;
    const map = await this.map.wait();
    if (map.shardCount !== this.#config.shardCount) {
      logger.info(
        { configured: this.#config.shardCount, actual: map.shardCount },
        'the shard count was fixed when the cluster was made; the configured one is not used',
      );
    }
    this.map.onChange((next) => this.#followMap(next));
    await this.#openHosted(map);
    await Promise.all(
      this.localShards().map((shard) => (this.#isSole(shard) ? this.#untilReigning(shard) : Promise.resolve())),
    );
    this.#purgeDropped();
  }

  /** Gives its reigns away where another copy is in sync, then ends (replication 5.7). */
  async leave(): Promise<void> {
    this.#leaving = true;
    const { clock } = this.#ports;
    const until = clock.monotonicMs() + LEAVE_WAIT_MS;
    while (clock.monotonicMs() < until) {
      const led = [...this.#replicas.values()].filter((replica) => replica.role === 'primary');
      const moving = led.flatMap((replica) => {
        const to = replica.syncedNodes.find((node) => node !== this.#self);
        return to === undefined ? [] : [{ replica, to }];
      });
      if (moving.length === 0) return;
      for (const { replica, to } of moving) replica.transfer(to);
      await new Promise<void>((resolve) => this.#ports.timers.after(TICK_MS / 2, resolve));
    }
  }

  /** This process stood still, or its clock jumped (1.5): reigns are confirmed before anything is acknowledged again. */
  paused(): void {
    for (const replica of this.#replicas.values()) replica.paused();
  }

  stop(): void {
    this.#stopped = true;
    this.#stopping.abort();
    this.#cancelTick?.();
    for (const replica of this.#replicas.values()) replica.close();
  }

  get identity(): NodeIdentity {
    if (this.#identity === undefined) throw new NodeError('STARTING', 'the node is starting; try again in a moment');
    return this.#identity;
  }

  /** This node's uuid in hex; '' before it is known. */
  get self(): NodeUuid {
    return this.#self;
  }

  get leaving(): boolean {
    return this.#leaving;
  }

  get times(): FailoverTimes {
    return this.#times;
  }

  /** Data shards with a copy here, ascending. */
  localShards(): readonly number[] {
    return [...new Set([...this.#replicas.keys(), ...this.#faults.keys()])]
      .filter((shard) => shard !== META_SHARD)
      .sort((a, b) => a - b);
  }

  /** The copy of a shard; undefined while it is faulted before it could open, or when there is none here. */
  replica(shard: number): ShardReplica | undefined {
    return this.#replicas.get(shard);
  }

  /** Why a copy does not serve, or undefined. */
  fault(shard: number): Error | undefined {
    return this.#faults.get(shard);
  }

  /** Who is primary of a shard, as far as this node knows. */
  leader(shard: number): ShardLeader | undefined {
    return this.#replicas.get(shard)?.leader ?? this.#leaders.get(shard);
  }

  /** Somebody says who is primary: only ever moves upward (replication 5.6). */
  learn(leader: ShardLeader): void {
    const known = this.#leaders.get(leader.shard);
    if (known === undefined || compareEpochs(leader.epoch, known.epoch) > 0) {
      this.#leaders.set(leader.shard, leader);
      for (const listener of this.#roleListeners) listener();
    }
    this.#replicas.get(leader.shard)?.announced(leader);
  }

  /** Makes a write when this node is the shard's primary, or says who may be. Never rejects. */
  write(shard: number, request: WriteRequest): Promise<WriteOutcome> {
    const fault = this.#faults.get(shard);
    if (fault !== undefined) return Promise.resolve({ kind: 'refused', code: 'LOG_CORRUPT', detail: fault.message });
    const replica = this.#replicas.get(shard);
    if (replica === undefined) {
      const hint = this.#leaders.get(shard);
      return Promise.resolve({ kind: 'redirect', ...(hint === undefined ? {} : { hint }) });
    }
    const bytes = request.payload.length;
    if (this.#bytesInFlight + bytes > NODE_BYTES_MAX) {
      const detail = 'too many writes are in flight on this node; send them again a little later';
      return Promise.resolve({ kind: 'refused', code: 'OVERLOADED', detail, retryAfterMs: 100 });
    }
    this.#bytesInFlight += bytes;
    return replica.write(request).then((outcome) => {
      this.#bytesInFlight -= bytes;
      return outcome;
    });
  }

  /** Hands a reign over to another copy; false when this node does not reign, or that copy is not in sync (5.7). */
  transfer(shard: number, to: NodeUuid): boolean {
    const replica = this.#replicas.get(shard);
    if (replica?.role !== 'primary' || !replica.syncedNodes.includes(to)) return false;
    replica.transfer(to);
    return true;
  }

  /** The stored row of a document. @throws NodeError when the shard does not serve */
  row(shard: number, collectionId: number, id: string): DocumentRow | undefined {
    const replica = this.#serving(shard);
    try {
      return replica.row(collectionId, id);
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error;
      this.faultShard(shard, error);
      throw new NodeError('LOG_CORRUPT', error.message, { cause: error });
    }
  }

  /** Whether another local shard holds a result under this operation id: the key was used for another document. */
  usedElsewhere(shard: number, opId: Uint8Array): boolean {
    return [...this.#replicas].some(
      ([other, replica]) =>
        other !== shard &&
        other !== META_SHARD &&
        this.#ports.log.row(idempotencyKey(other, opId, replica.generation)) !== undefined,
    );
  }

  counters(shard: number): ShardCounters {
    return this.#replicas.get(shard)?.counters() ?? storedCounters(this.#ports.log, shard);
  }

  /** A damaged entry was met while reading: the copy stops serving (replication 2.6). */
  faultShard(shard: number, error: Error): void {
    if (this.#faults.has(shard)) return;
    this.#faults.set(shard, error);
    this.#ports.logger.error(
      { shard, err: error },
      'the shard is faulted: restore it from a backup, or let another replica heal it',
    );
    this.#ports.shards.markFaulted(shard, error.message);
    this.#replicas.get(shard)?.fail(error);
    if (error instanceof LogDamagedError && shard !== META_SHARD) this.#healLater(shard, [error.damage]);
  }

  // ---- damaged copies (2.12)

  #healLater(shard: number, found: readonly Damage[], ms = HEAL_AFTER_MS): void {
    const { timers, logger } = this.#ports;
    timers.after(ms, () => {
      if (this.#stopping.signal.aborted || !this.#faults.has(shard) || this.#healing.has(shard)) return;
      const healing = this.#heal(shard, found)
        .catch((error: unknown) => {
          logger.warn({ shard, err: error }, 'a damaged shard could not be healed; it is tried again');
          return false;
        })
        .then((healed) => {
          this.#healing.delete(shard);
          if (!healed) this.#healLater(shard, found, Math.min(HEAL_AGAIN_MS_MAX, Math.max(2 * ms, HEAL_AGAIN_MS)));
        });
      this.#healing.set(shard, healing);
    });
  }

  /** Fetches what is damaged from the other copies, then takes the copy into service again. False: not now. */
  async #heal(shard: number, found: readonly Damage[]): Promise<boolean> {
    const { logger } = this.#ports;
    if (this.#sources(shard).length === 0 || this.#resting.has(shard)) return false;
    const healed = await this.#logHealing.heal(shard, found, this.#stopping.signal);
    if (this.#stopping.signal.aborted) return true;
    if (typeof healed !== 'number') {
      logger.warn({ shard, damage: healed }, 'no other copy can replace what is damaged now; it is tried again');
      return false;
    }
    this.#replicas.get(shard)?.close();
    this.#replicas.delete(shard);
    this.#faults.delete(shard);
    try {
      await this.#openOnce(shard);
    } catch (error) {
      this.#faults.set(shard, error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
    if (this.#faults.has(shard)) return true;
    logger.warn({ shard, entries: healed }, 'the log of the shard was healed from another copy; it serves again');
    this.#happened({ kind: 'healed', shard, node: this.#self });
    for (const listener of this.#roleListeners) listener();
    return true;
  }

  /** Nodes that may have what is missing here: the primary first, then whoever follows it. */
  #sources(shard: number): readonly NodeUuid[] {
    const primary = this.leader(shard)?.node;
    const others = [...this.#fellows.all()]
      .filter(([, { live, positions }]) => live && positions.get(shard)?.faulted === false)
      .map(([node]) => node);
    return others.sort((a, b) => Number(b === primary) - Number(a === primary));
  }

  /** The consistency asked for, made a number of copies (replication 2.8). */
  level(asked: 'auto' | AckLevel): AckLevel {
    const { settings, nodes } = this.map.current();
    const wanted = asked === 'auto' ? settings.writeConsistency : asked;
    const strict = settings.partitionMode === 'strict';
    if (wanted === 'auto') return strict || setSize(settings.replicaCount, nodes.length) >= 3 ? 'quorum' : 'one';
    return wanted === 'one' && strict ? 'quorum' : wanted;
  }

  onDurable(listener: (shard: number, offset: number) => void): () => void {
    this.#durableListeners.add(listener);
    return () => {
      this.#durableListeners.delete(listener);
    };
  }

  /** Rows of a dropped collection wait to be deleted. */
  onSweep(listener: (shard: number, collectionId: number) => void): void {
    this.#sweepListeners.add(listener);
  }

  /** A copy here began or ceased to reign or follows another one, or another node told of a new reign. */
  onRole(listener: () => void): void {
    this.#roleListeners.add(listener);
  }

  /** A copy was dropped, and the like. */
  onCopy(listener: (event: CopyEvent) => void): void {
    this.#copyListeners.add(listener);
  }

  #happened(event: CopyEvent): void {
    this.#ports.events.copy(event);
    for (const listener of this.#copyListeners) listener(event);
  }

  /** The log of a shard this node leads is over its budget: it is kept no more for the replica that has least of it (2.11). */
  demoteSlowest(shard: number): void {
    const node = this.#replicas.get(shard)?.demoteSlowest();
    if (node === undefined) return;
    const nodeId = this.map.known ? nodeByUuid(this.map.current(), node)?.nodeId : undefined;
    this.#ports.logger.warn(
      { shard, node: nodeId ?? node },
      'the log is over LOG_RETENTION_BYTES and is kept no more for the slowest replica: it will get a snapshot',
    );
    this.#happened({ kind: 'demoted', shard, node });
  }

  // ---- copies that moved away (9.6)

  /** Shards with a log or a damaged copy here, whatever the map says. */
  held(): readonly number[] {
    return [...new Set([...this.#ports.log.shards(), ...this.localShards()])];
  }

  /**
   * Whether the primary has all there is in the copy of a shard here, agreed by a set without this node, and no row of it is
   * loose. What was logged just now may wait a moment for its agreement.
   */
  async covered(shard: number): Promise<boolean> {
    const { log, clock, timers } = this.#ports;
    const placement = this.map.known ? placementOf(this.map.current(), shard) : undefined;
    const { tail: offset, chain } = log.state(shard);
    const until = clock.monotonicMs() + COVERED_WAIT_MS;
    for (;;) {
      if (placement === undefined || looseRows(this.counters(shard)) > 0 || this.#stopped) return false;
      const primary = this.leader(shard)?.node;
      if (primary === undefined || primary === this.#self) return false;
      const request = { shard, mapEpoch: placement.epoch, offset, chain };
      try {
        if ((await this.#peers.covers(primary, request, COVERS_TIMEOUT_MS)).covered) return true;
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
      }
      if (clock.monotonicMs() >= until) return false;
      await new Promise<void>((resolve) => timers.after(TICK_MS, resolve));
    }
  }

  /** Closes a copy for now: its log stays as it is. False while it reigns, or is being cut or replaced. */
  async rest(shard: number): Promise<boolean> {
    const replica = this.#replicas.get(shard);
    if (this.#opening.has(shard) || this.#healing.has(shard) || this.#stopped) return false;
    if (replica?.mayRest === false) return false;
    this.#resting.add(shard);
    const leader = replica?.leader;
    if (leader !== undefined) this.learn(leader);
    replica?.close();
    this.#replicas.delete(shard);
    await this.#ports.log.sync();
    return true;
  }

  /** Opens a copy that rested. */
  async wake(shard: number): Promise<void> {
    this.#resting.delete(shard);
    if (!this.#faults.has(shard)) await this.#openOnce(shard);
  }

  /** Deletes a copy that rests, with all that is kept of it on the disk but the promise. */
  async drop(shard: number): Promise<void> {
    assert(this.#resting.has(shard), `the copy of shard ${shard} rests before it is dropped`);
    const { logger } = this.#ports;
    const { tail: offset } = this.#ports.log.state(shard);
    await this.#delete(shard);
    this.#faults.delete(shard);
    this.#resting.delete(shard);
    logger.info({ shard, offset }, 'the copy of a shard that moved to another node was deleted');
    this.#happened({ kind: 'dropped', shard, node: this.#self });
    this.#tell(true);
    for (const listener of this.#roleListeners) listener();
    // The map may have given it back meanwhile: it begins anew then.
    if (this.map.known) await this.#openHosted(this.map.current());
  }

  /** The index first: a crash in between leaves a log, from which it is built again. */
  async #delete(shard: number): Promise<void> {
    const { log, hasher, shards } = this.#ports;
    if (shard !== META_SHARD) await shards.dropShard(shard);
    await new LooseStore(log, hasher).clear(shard);
    await log.drop(shard, forgetRows(shard));
  }

  /** Logs the end of a collection in one shard: its entries are ignored from then on (replication 2.3). */
  async purgeCollection(shard: number, collectionId: number): Promise<void> {
    const outcome = await this.write(shard, {
      op: 'COLLECTION_PURGE',
      collectionId,
      id: '',
      payload: new Uint8Array(0),
      level: this.level('auto'),
    });
    if (outcome.kind === 'refused') throw new NodeError(outcome.code, outcome.detail);
  }

  // ---- what other nodes ask

  onFollow(from: NodeUuid, shard: number, link: Link<PrimaryMessage>): LinkEvents<FollowerMessage> {
    const replica = this.#replicas.get(shard);
    if (replica !== undefined) return replica.onFollow(from, link);
    const hint = this.#leaders.get(shard);
    link.send({
      kind: 'answer',
      answer: { kind: 'reject', reason: 'UNKNOWN_SHARD', ...(hint === undefined ? {} : { hint }) },
    });
    link.close();
    return { message: () => undefined, ended: () => undefined };
  }

  onFence(from: NodeUuid, request: FenceRequest): Promise<FenceAnswer> {
    const replica = this.#replicas.get(request.shard);
    if (replica !== undefined) return replica.onFence(from, request);
    const { shard } = request;
    return Promise.resolve({ kind: 'refused', reason: 'UNKNOWN_SHARD', promised: this.#ports.log.promised(shard) });
  }

  async onProbe(_from: NodeUuid, { shard, epoch, via }: ProbeRequest): Promise<ProbeAnswer> {
    if (via === undefined || via === this.#self)
      return { alive: this.#replicas.get(shard)?.couldAcknowledge(epoch) === true };
    try {
      return await this.#peers.probe(via, { shard, epoch }, PROBE_RELAY_MS);
    } catch (error) {
      if (error instanceof PeerError) return { alive: false };
      throw error;
    }
  }

  async onPull(_from: NodeUuid, request: PullRequest): Promise<PullAnswer> {
    const replica = this.#replicas.get(request.shard);
    if (replica === undefined) throw new PeerError('REJECTED', `shard ${request.shard} has no copy here`);
    return replica.onPull(request);
  }

  async onFetch(_from: NodeUuid, request: FetchRequest): Promise<FetchAnswer> {
    const replica = this.#replicas.get(request.shard);
    if (replica === undefined) throw new PeerError('REJECTED', `shard ${request.shard} has no copy here`);
    return replica.onFetch(request);
  }

  async onCovers(from: NodeUuid, request: CoversRequest): Promise<CoversAnswer> {
    return (await this.#replicas.get(request.shard)?.onCovers(from, request)) ?? { covered: false };
  }

  onAnnounce(_from: NodeUuid, leader: ShardLeader): void {
    this.learn(leader);
  }

  // ---- opening

  /** What this node says of itself to the map. */
  registration(address: string): NodeRegistration {
    return {
      nodeId: this.#config.nodeId,
      nodeUuid: this.#self,
      address,
      protocolMin: PROTOCOL.min,
      protocolMax: PROTOCOL.max,
    };
  }

  /** Shards the map wants a copy of here, as a member or on the way to become one. */
  #hosted(map: ClusterMap): readonly number[] {
    return map.placement.flatMap(({ members, learners }, shard) =>
      members.includes(this.#self) || learners.includes(this.#self) ? [shard] : [],
    );
  }

  async #openHosted(map: ClusterMap): Promise<void> {
    // A copy the map no longer wants is kept open until it may be dropped (9.6): it may hold what no other copy has.
    const held = this.#ports.log.shards().filter((shard) => shard !== META_SHARD && shard < map.shardCount);
    const waiting = [...new Set([...this.#hosted(map), ...held])].filter((shard) => !this.#replicas.has(shard));
    await Promise.all(
      Array.from({ length: OPEN_AT_ONCE }, async () => {
        for (let shard = waiting.shift(); shard !== undefined; shard = waiting.shift()) await this.#openOnce(shard);
      }),
    );
  }

  #openOnce(shard: number): Promise<void> {
    const running = this.#opening.get(shard);
    if (running !== undefined) return running;
    const opening = this.#open(shard).finally(() => this.#opening.delete(shard));
    this.#opening.set(shard, opening);
    return opening;
  }

  async #open(shard: number): Promise<void> {
    const { log, shards, logger, hasher, clock, timers, random, events } = this.#ports;
    if (this.#replicas.has(shard) || this.#faults.has(shard) || this.#resting.has(shard) || this.#stopped) return;
    const meta = shard === META_SHARD;
    try {
      const damage = log.openDamages().find((found) => found.shard === shard);
      if (damage !== undefined) throw new LogDamagedError(damage);
      let applied = log.state(shard).tail;
      const loose = (): AsyncIterable<readonly Uint8Array[]> => new LooseStore(log, hasher).entries(shard);
      if (!meta) {
        const report = await shards.open(shard, this.map.current().collections.map(toSpec), undefined, loose);
        applied = report.offset;
        logger.info({ shard, ...report }, 'shard opened');
      }
      const view = new ShardView(this.#fellows, shard);
      const replica = await ShardReplica.open(shard, this.#self, this.identity.bootCount, applied, {
        log,
        hasher,
        clock,
        timers,
        random,
        times: this.#times,
        index: meta
          ? undefined
          : {
              apply: (entries) => shards.apply(shard, entries),
              rewind: (offset) => shards.rewind(shard, offset),
              rebuild: async () => {
                await shards.open(shard, this.map.current().collections.map(toSpec), undefined, loose);
              },
            },
        peers: this.#peers,
        view: () => view,
        plan: () => this.#plan(shard),
        bulk: this.#bulk,
        report: {
          map: (map) => this.map.accept(map),
          sweep: (collectionId) => {
            for (const listener of this.#sweepListeners) listener(shard, collectionId);
          },
          fault: (error) => this.faultShard(shard, error),
          durable: (offset) => {
            for (const listener of this.#durableListeners) listener(shard, offset);
          },
          role: (role, epoch) => this.#roleChanged(shard, role, epoch),
          streamed: (to, entries, bytes) => events.streamed(shard, to, entries, bytes),
          resumed: (rows) => logger.info({ shard, rows }, 'a snapshot goes on from where it was interrupted'),
          broken: (node) => this.#fellows.doubt(node),
        },
      });
      this.#replicas.set(shard, replica);
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error;
      this.faultShard(shard, error);
    }
  }

  #plan(shard: number): CopyPlan {
    const leaving = this.#leaving || this.#ports.isFull?.() === true;
    if (!this.map.known) return { configured: { mapEpoch: 0, members: this.#founders }, leaving };
    return { configured: shardSetOf(this.map.current(), shard), leaving };
  }

  #roleChanged(shard: number, role: 'primary' | 'follower' | 'candidate', epoch: Epoch): void {
    this.#ports.logger.info({ shard: shard === META_SHARD ? 'map' : shard, role, epoch: epoch.num }, 'role of a copy');
    if (role === 'primary') {
      const leader = { shard, epoch, node: this.#self };
      const known = this.#leaders.get(shard);
      if (known === undefined || compareEpochs(epoch, known.epoch) > 0) this.#leaders.set(shard, leader);
      this.#ports.timers.soon(() => this.#purgeDropped());
    }
    // The others should know at once, not with the next heartbeat.
    this.#ports.timers.soon(() => this.#tell(true));
    for (const listener of this.#roleListeners) listener();
  }

  #isSole(shard: number): boolean {
    if (this.#faults.has(shard) || !this.map.known) return false;
    const members = placementOf(this.map.current(), shard)?.members ?? [];
    return members.length === 1 && members[0] === this.#self;
  }

  /** A copy that is the only one reigns as soon as its promise and BARRIER are durable. */
  async #untilReigning(shard: number): Promise<void> {
    const { clock, timers } = this.#ports;
    const until = clock.monotonicMs() + REIGN_WAIT_MS;
    for (;;) {
      const replica = this.#replicas.get(shard);
      if (replica === undefined || this.#faults.has(shard) || this.#stopped) return;
      const { durable, tail } = replica.position;
      if (replica.role === 'primary' && durable === tail) return;
      if (clock.monotonicMs() >= until)
        throw new NodeError('SHARD_UNAVAILABLE', `the only copy of shard ${shard} did not begin to serve`);
      replica.tick();
      await new Promise<void>((resolve) => timers.after(2, resolve));
    }
  }

  #tick(): void {
    if (this.#stopped) return;
    for (const replica of this.#replicas.values()) replica.tick();
    for (const facts of this.#fellows.all().values())
      for (const { shard, epoch, leader } of facts.positions.values())
        if (leader !== '' && !this.#replicas.has(shard)) this.learn({ shard, epoch, node: leader });
    this.#tell(false);
    this.#cancelTick = this.#ports.timers.after(TICK_MS, () => this.#tick());
  }

  #tell(atOnce: boolean): void {
    if (!this.#stopped) this.#fellows.tell(this.positions(), atOnce);
  }

  /** How the copies of this node stand. */
  positions(): readonly ShardPosition[] {
    return [...this.#replicas].map(([shard, replica]) => ({
      ...replica.standing(),
      documents: shard === META_SHARD ? 0 : liveDocuments(replica.counters()),
    }));
  }

  #followMap(map: ClusterMap): void {
    this.#ports.shards.defineCollections(map.collections.map(toSpec)).catch((error: unknown) => {
      // A thread that died meanwhile is told again when its successor starts.
      this.#ports.logger.warn({ err: error }, 'the index threads could not be told of the collections');
    });
    this.#openHosted(map).catch((error: unknown) => {
      this.#ports.logger.error({ err: error }, 'a copy could not be opened');
    });
    for (const replica of this.#replicas.values()) replica.tick();
    this.#purgeDropped();
  }

  /** Where this node reigns it logs the end of collections the map dropped; a crash in between is made up for here. */
  #purgeDropped(): void {
    if (!this.map.known) return;
    const known = new Set(this.map.current().collections.map((collection) => collection.id));
    for (const [shard, replica] of this.#replicas) {
      if (shard === META_SHARD || replica.role !== 'primary') continue;
      for (const id of replica.counters().collections.keys()) {
        if (known.has(id)) continue;
        this.purgeCollection(shard, id).catch((error: unknown) => {
          this.#ports.logger.warn({ shard, err: error }, 'a dropped collection could not be purged; it is tried again');
        });
      }
    }
  }

  #serving(shard: number): ShardReplica {
    const fault = this.#faults.get(shard);
    if (fault !== undefined) throw new NodeError('LOG_CORRUPT', fault.message);
    const replica = this.#replicas.get(shard);
    if (replica === undefined) throw new NodeError('STARTING', `shard ${shard} is opening; try again in a moment`);
    return replica;
  }

  /** Whether the map still counts this node in. */
  get registered(): boolean {
    return this.map.known && nodeByUuid(this.map.current(), this.#self) !== undefined;
  }
}

/** What is kept beside a log that is emptied. */
function forgetRows(shard: number): readonly RowChange[] {
  return [MAP_ROW, COUNTERS_ROW, SETS_ROW, SCRUB_ROW, RECEIVING_ROW].map((name) => ({
    key: shardKey(shard, name),
    value: undefined,
  }));
}

/** A damaged copy is healed so long after it was found out; when it could not be, again after twice as long each time. */
const HEAL_AFTER_MS = 200;
const HEAL_AGAIN_MS = 2_000;
const HEAL_AGAIN_MS_MAX = 60_000;
const FETCH_TIMEOUT_MS = 5_000;
/** What a copy logged is agreed within this, or its primary is asked again later. */
const COVERED_WAIT_MS = 1_000;
const COVERS_TIMEOUT_MS = 2_000;
/** A probe on behalf of another node ends in time for its own. */
const PROBE_RELAY_MS = 350;
/** Reigns are handed over within this when the node leaves in good order (5.7). */
const LEAVE_WAIT_MS = 3_000;

/** Members of a shard's set: as many as asked for, as many as there are (replication 2.8). */
export function setSize(replicaCount: number, nodes: number): number {
  return Math.max(1, Math.min(1 + replicaCount, nodes));
}

/** What an index must know of a collection. */
export function toSpec(collection: Collection): CollectionSpec {
  return {
    id: collection.id,
    dimensions: collection.dimensions,
    similarity: collection.similarity,
    hnsw: collection.hnsw,
  };
}
