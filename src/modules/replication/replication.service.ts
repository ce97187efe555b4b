import { toHex } from '../../kernel/bytes.js';
import { compareEpochs, EPOCH_LEAP_MAX, NO_EPOCH, type Epoch } from '../../kernel/epoch.js';
import { NodeError } from '../../kernel/errors.js';
import { failoverAfterMs } from '../../kernel/failover.js';
import { META_SHARD } from '../../kernel/ids.js';
import { Listeners } from '../../kernel/listeners.js';
import { PROTOCOL, type NodeUuid } from '../../kernel/peer.js';
import type { CancelTimer } from '../../kernel/timers.js';
import { idempotencyKey } from '../log/core/keys.js';
import { LogDamagedError, StorageFailedError } from '../log/log-store.js';
import { isDropped, nodeByUuid, type ClusterMap, type NodeRegistration } from '../ring/core/map.js';
import { placementOf, shardSetOf } from '../ring/core/shard-set.js';
import { liveDocuments, ZERO_COUNTERS, type DocumentRow, type ShardCounters } from '../shard/core/rows.js';
import type { OpenReport } from '../shard/shard-ports.js';
import { CollectionPurge } from './collection-purge.js';
import { toSpec } from './collection-spec.js';
import { CopyHealing } from './copy-healing.js';
import { CopyOpener } from './copy-opener.js';
import type { CopyPlan, FailoverTimes } from './core/peer-view.js';
import { MovePace } from './core/move-pace.js';
import type { ShardLeader, ShardPosition } from './core/protocol.js';
import { levelOf } from './core/write-level.js';
import type { AckLevel, WriteOutcome, WriteRequest } from './core/write.js';
import { NO_FELLOWS, type Fellows } from './fellows.js';
import { ForcedNews } from './forced-news.js';
import { LocalCopies } from './local-copies.js';
import { MapService } from './map.service.js';
import { MovedCopies } from './moved-copies.js';
import { openIdentity, retireIdentity, type NodeIdentity } from './node-identity.js';
import { hostedCopies } from './operations/copies.js';
import { ReplicaDesk } from './replica-desk.js';
import { NO_REPLICA_PEERS } from './replica-peers-none.js';
import type { ReplicaPeers, ReplicaServer } from './replica-peers.js';
import type { CopyEvent, ReplicationPorts, ReplicationSettings } from './replication-ports.js';
import type { ShardReplica } from './shard-replica.js';
import { storedCounters } from './stored-copy.js';

/** Payload bytes of writes in flight on the node (replication 3). */
const NODE_BYTES_MAX = 256 * 1024 * 1024;
/** How often time passes for the replicas. */
const TICK_MS = 100;
/** A reign that follows from its own log alone begins within this. */
const REIGN_WAIT_MS = 30_000;
/** Reigns are handed over within this when the node leaves in good order (5.7). */
const LEAVE_WAIT_MS = 3_000;

/**
 * The copies of this node: opens their logs and indexes, drives them, owns every write, and answers other nodes
 * (architecture, "Who owns what"). A damaged copy is faulted and the others go on (replication 2.6).
 */
export class ReplicationService {
  readonly map: MapService;
  /** Answers other nodes. */
  readonly server: ReplicaServer;
  /** What this node sends to copies that are being built elsewhere (9.6). */
  readonly moves: MovePace;
  /** Copies that the map no longer gives this node. */
  readonly moved: MovedCopies;
  readonly #config: ReplicationSettings;
  readonly #ports: ReplicationPorts;
  readonly #times: FailoverTimes;
  readonly #copies: LocalCopies;
  readonly #opener: CopyOpener;
  /** Who reigns over shards that have no copy here. */
  readonly #leaders = new Map<number, ShardLeader>();
  readonly #durableListeners = new Listeners<[shard: number, offset: number]>();
  readonly #sweepListeners = new Listeners<[shard: number, collectionId: number]>();
  readonly #roleListeners = new Listeners();
  readonly #copyListeners = new Listeners<[event: CopyEvent]>();
  readonly #healing: CopyHealing;
  readonly #purge: CollectionPurge;
  readonly #forced: ForcedNews;
  #identity: NodeIdentity | undefined;
  #self: NodeUuid = '';
  /** Who counts in the map's shard before there is a map. */
  #founders: readonly NodeUuid[] = [];
  #peers: ReplicaPeers = NO_REPLICA_PEERS;
  #fellows: Fellows = NO_FELLOWS;
  #leaving = false;
  #bytesInFlight = 0;
  #cancelTick: CancelTimer | undefined;

  constructor(config: ReplicationSettings, ports: ReplicationPorts) {
    this.#config = config;
    this.#ports = ports;
    this.map = new MapService(ports.hasher, ports.timers);
    this.moves = new MovePace(config.moveBytesPerSecond);
    this.#times = {
      heartbeatMs: config.heartbeatIntervalMs,
      failoverAfterMs: failoverAfterMs(config.heartbeatIntervalMs, config.heartbeatTimeoutMs),
    };
    this.server = new ReplicaDesk({
      log: ports.log,
      self: () => this.#self,
      peers: () => this.#peers,
      replica: (shard) => this.replica(shard),
      leader: (shard) => this.#leaders.get(shard),
      learn: (leader) => this.learn(leader),
    });
    this.#healing = new CopyHealing(ports, {
      peers: () => this.#peers,
      fellows: () => this.#fellows,
      leader: (shard) => this.leader(shard),
      self: () => ({ node: this.#self, bootCount: this.identity.bootCount }),
      isFaulted: (shard) => this.fault(shard) !== undefined,
      hasRoom: () => (ports.disk?.room() ?? 'upserts') === 'upserts',
      isResting: (shard) => this.#copies.isResting(shard),
      idle: (shard) => this.#copies.idle(shard),
      reopen: (shard) => this.#copies.reopen(shard),
      healed: (shard) => {
        this.#happened({ kind: 'healed', shard, node: this.#self });
        this.#roleListeners.tell();
      },
    });
    const opener = new CopyOpener(ports, this.moves, {
      map: this.map,
      times: this.#times,
      self: () => ({ node: this.#self, bootCount: this.identity.bootCount }),
      peers: () => this.#peers,
      fellows: () => this.#fellows,
      plan: (shard) => this.#plan(shard),
      sweep: (shard, collectionId) => this.#sweepListeners.tell(shard, collectionId),
      fault: (shard, error) => this.faultShard(shard, error),
      durable: (shard, offset) => this.#durableListeners.tell(shard, offset),
      held: (shard, held) => this.#held(shard, held),
      role: (shard, role, epoch) => this.#roleChanged(shard, role, epoch),
    });
    const { log, hasher, shards, logger } = ports;
    this.#opener = opener;
    this.#copies = new LocalCopies({
      log,
      hasher,
      shards,
      open: (shard) => opener.open(shard),
      damaged: (shard, error) => this.faultShard(shard, error),
    });
    this.moved = new MovedCopies(this.map, this.#copies, ports, {
      self: () => this.#self,
      peers: () => this.#peers,
      leader: (shard) => this.leader(shard),
      learn: (leader) => this.learn(leader),
      counters: (shard) => this.#counters(shard),
      isHealing: (shard) => this.#healing.isHealing(shard),
      dropped: (shard) => this.#dropped(shard),
    });
    this.#forced = new ForcedNews(logger, (event) => this.#happened(event));
    this.#purge = new CollectionPurge(logger, this.map, this.#copies, (shard, request) => this.write(shard, request));
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
    this.#leaders.clear();
    this.#founders = [];
    this.map.forget();
    await this.#copies.surrender();
    await this.openMap(false);
  }

  /** Opens the copy of the map; what it was cut off from it follows from its primary. A node that founds a cluster reigns. */
  async openMap(founder: boolean): Promise<void> {
    const { log } = this.#ports;
    const damage = log.openDamages().find((found) => found.shard === META_SHARD);
    // The map as it was last agreed is known all the same: with it other copies are found, which heal this one (2.12).
    if (damage !== undefined && (damage.offset < 1 || !this.#hasFellows()))
      throw new StorageFailedError(
        `the log of the map is damaged at offset ${damage.offset} (${damage.problem}); restore a backup`,
      );
    if (founder) this.#founders = [this.#self];
    await this.#copies.open(META_SHARD);
    this.map.attach(this);
    this.#tick();
    if (founder) await this.#untilReigning(META_SHARD, () => true);
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
    this.#forced.look(map);
    this.map.onChange((next) => this.#followMap(next));
    await this.#openHosted(map);
    await Promise.all(
      this.localShards()
        .filter((shard) => this.#isSole(shard))
        .map((shard) => this.#untilReigning(shard, () => this.#isSole(shard))),
    );
    this.purgeDropped();
  }

  /** Gives its reigns away where another copy is in sync, then ends (replication 5.7). */
  async leave(): Promise<void> {
    this.#leaving = true;
    const { clock } = this.#ports;
    const until = clock.monotonicMs() + LEAVE_WAIT_MS;
    while (clock.monotonicMs() < until) {
      const led = [...this.#copies].filter(([, replica]) => replica.role === 'primary');
      const moving = led.flatMap(([, replica]) => {
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
    for (const [, replica] of this.#copies) replica.paused();
  }

  stop(): void {
    this.#healing.stop();
    this.#cancelTick?.();
    this.#copies.stop();
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
    return this.#copies.shards();
  }

  /** The copy of a shard; undefined while it is faulted before it could open, or when there is none here. */
  replica(shard: number): ShardReplica | undefined {
    return this.#copies.get(shard);
  }

  /** Reads the index of a copy anew, from the newest checkpoint of its log that there is now. */
  readIndex(shard: number): Promise<OpenReport> {
    return this.#opener.openIndex(shard);
  }

  /** Why a copy does not serve, or undefined. */
  fault(shard: number): Error | undefined {
    return this.#copies.fault(shard);
  }

  /** Who is primary of a shard, as far as this node knows. */
  leader(shard: number): ShardLeader | undefined {
    return this.#copies.get(shard)?.leader ?? this.#leaders.get(shard);
  }

  /** Somebody says who is primary: only ever moves upward (replication 5.6), and not by a leap that is none (1.2). */
  learn(leader: ShardLeader): void {
    const known = this.#leaders.get(leader.shard)?.epoch ?? NO_EPOCH;
    if (compareEpochs(leader.epoch, known) > 0 && leader.epoch.num - known.num <= EPOCH_LEAP_MAX) {
      this.#leaders.set(leader.shard, leader);
      this.#roleListeners.tell();
    }
    this.#copies.get(leader.shard)?.announced(leader);
  }

  /** Makes a write when this node is the shard's primary, or says who may be. Never rejects. */
  write(shard: number, request: WriteRequest): Promise<WriteOutcome> {
    const fault = this.#copies.fault(shard);
    const replica = this.#copies.get(shard);
    if (fault !== undefined && (shard !== META_SHARD || !this.#hasFellows()))
      return Promise.resolve({ kind: 'refused', code: 'LOG_CORRUPT', detail: fault.message });
    if (replica === undefined || fault !== undefined) {
      const hint = this.leader(shard);
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
    const replica = this.#copies.get(shard);
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
    return [...this.#copies].some(
      ([other, replica]) =>
        other !== shard &&
        other !== META_SHARD &&
        this.#ports.log.row(idempotencyKey(other, opId, replica.generation)) !== undefined,
    );
  }

  /** What the rows of a copy add up to; of one whose counters are damaged nothing is known, as if it held nothing. */
  counters(shard: number): ShardCounters {
    try {
      return this.#counters(shard);
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error;
      return ZERO_COUNTERS;
    }
  }

  /** @throws LogDamagedError */
  #counters(shard: number): ShardCounters {
    return this.#copies.get(shard)?.counters() ?? storedCounters(this.#ports.log, shard);
  }

  /** A damaged entry was met while reading: the copy stops serving (replication 2.6). */
  faultShard(shard: number, error: Error): void {
    if (!this.#copies.markFaulted(shard, error)) return;
    this.#ports.logger.error(
      { shard, err: error },
      'the shard is faulted: restore it from a backup, or let another replica heal it',
    );
    this.#ports.shards.markFaulted(shard, error.message);
    this.#copies.get(shard)?.fail(error);
    if (error instanceof LogDamagedError) this.#healing.later(shard, [error.damage]);
  }

  /** The consistency asked for, made a number of copies (replication 2.8). */
  level(asked: 'auto' | AckLevel): AckLevel {
    return levelOf(asked, this.map.current());
  }

  onDurable(listener: (shard: number, offset: number) => void): () => void {
    return this.#durableListeners.add(listener);
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
    this.#copyListeners.tell(event);
  }

  /** Logs the end of dropped collections that still have rows, where this node reigns (2.3). */
  purgeDropped(): void {
    this.#purge.purgeDropped();
  }

  /** The log of a shard this node leads is over its budget: it is kept no more for the replica that has least of it (2.11). */
  demoteSlowest(shard: number): void {
    const node = this.#copies.get(shard)?.demoteSlowest();
    if (node === undefined) return;
    const nodeId = this.map.known ? nodeByUuid(this.map.current(), node)?.nodeId : undefined;
    this.#ports.logger.warn(
      { shard, node: nodeId ?? node },
      'the log is over LOG_RETENTION_BYTES and is kept no more for the slowest replica: it will get a snapshot',
    );
    this.#happened({ kind: 'demoted', shard, node });
  }

  async #dropped(shard: number): Promise<void> {
    this.#happened({ kind: 'dropped', shard, node: this.#self });
    this.#tell(true);
    this.#roleListeners.tell();
    // The map may have given it back meanwhile: it begins anew then.
    if (this.map.known) await this.#openHosted(this.map.current());
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

  async #openHosted(map: ClusterMap): Promise<void> {
    // A copy the map no longer wants is kept open until it may be dropped (9.6): it may hold what no other copy has.
    const held = this.#ports.log.shards().filter((shard) => shard !== META_SHARD && shard < map.shardCount);
    const wanted = hostedCopies(map, this.#self).filter(({ shard }) => shard !== META_SHARD);
    await this.#copies.openAll([...wanted.map(({ shard }) => shard), ...held]);
  }

  #plan(shard: number): CopyPlan {
    const room = this.#ports.disk?.room() ?? 'upserts';
    const leaving = this.#leaving || room !== 'upserts';
    const none = { mapEpoch: 0, members: this.#founders };
    if (!this.map.known) return { configured: none, leaving, epochFloor: 0, room, isDropped: () => false };
    const map = this.map.current();
    const epochFloor = placementOf(map, shard)?.epochFloor ?? 0;
    return {
      configured: shardSetOf(map, shard),
      leaving,
      epochFloor,
      room,
      isDropped: (collectionId) => isDropped(map, collectionId),
    };
  }

  /** A full disk must not meet what a primary elsewhere, which has room, goes on sending (replication 5.8). */
  #held(shard: number, held: boolean): void {
    if (held)
      this.#ports.logger.warn(
        { shard },
        'the disk is down to its reserve: the copy takes no more entries until there is room',
      );
    else this.#ports.logger.info({ shard }, 'there is room on the disk: the copy takes entries again');
    this.#happened({ kind: held ? 'held' : 'resumed', shard, node: this.#self });
    this.#ports.timers.soon(() => this.#tell(true));
    this.#roleListeners.tell();
  }

  #roleChanged(shard: number, role: 'primary' | 'follower' | 'candidate', epoch: Epoch): void {
    this.#ports.logger.info({ shard: shard === META_SHARD ? 'map' : shard, role, epoch: epoch.num }, 'role of a copy');
    if (role === 'primary') {
      const leader = { shard, epoch, node: this.#self };
      const known = this.#leaders.get(shard);
      if (known === undefined || compareEpochs(epoch, known.epoch) > 0) this.#leaders.set(shard, leader);
      this.#ports.timers.soon(() => this.purgeDropped());
    }
    // The others should know at once, not with the next heartbeat.
    this.#ports.timers.soon(() => this.#tell(true));
    this.#roleListeners.tell();
  }

  /** The map knows of other nodes. */
  #hasFellows(): boolean {
    return this.map.known && this.map.current().nodes.some(({ nodeUuid }) => nodeUuid !== this.#self);
  }

  #isSole(shard: number): boolean {
    if (this.fault(shard) !== undefined || !this.map.known) return false;
    const members = placementOf(this.map.current(), shard)?.members ?? [];
    return members.length === 1 && members[0] === this.#self;
  }

  /**
   * A copy that is the only one reigns as soon as its promise and BARRIER are durable; unless a newer map, which comes in
   * meanwhile, knows of others.
   */
  async #untilReigning(shard: number, isSole: () => boolean): Promise<void> {
    const { clock, timers } = this.#ports;
    const until = clock.monotonicMs() + REIGN_WAIT_MS;
    for (;;) {
      const replica = this.#copies.get(shard);
      if (replica === undefined || this.fault(shard) !== undefined || this.#copies.stopped || !isSole()) return;
      const { durable, tail } = replica.position;
      if (replica.role === 'primary' && durable === tail) return;
      if (clock.monotonicMs() >= until)
        throw new NodeError('SHARD_UNAVAILABLE', `the only copy of shard ${shard} did not begin to serve`);
      replica.tick();
      await new Promise<void>((resolve) => timers.after(2, resolve));
    }
  }

  #tick(): void {
    if (this.#copies.stopped) return;
    // A node that gave a provisional cluster up begins anew, and must not tick twice.
    this.#cancelTick?.();
    for (const [, replica] of this.#copies) replica.tick();
    for (const facts of this.#fellows.all().values())
      for (const { shard, epoch, leader } of facts.positions.values())
        if (leader !== '' && (this.#copies.get(shard) === undefined || this.fault(shard) !== undefined))
          this.learn({ shard, epoch, node: leader });
    this.#tell(false);
    this.#cancelTick = this.#ports.timers.after(TICK_MS, () => this.#tick());
  }

  #tell(atOnce: boolean): void {
    if (!this.#copies.stopped) this.#fellows.tell(this.positions(), atOnce);
  }

  /** How the copies of this node stand. */
  positions(): readonly ShardPosition[] {
    return [...this.#copies].map(([shard, replica]) => ({
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
    for (const [, replica] of this.#copies) replica.tick();
    this.purgeDropped();
    this.#forced.look(map);
  }

  #serving(shard: number): ShardReplica {
    const fault = this.#copies.fault(shard);
    if (fault !== undefined) throw new NodeError('LOG_CORRUPT', fault.message);
    const replica = this.#copies.get(shard);
    if (replica === undefined) throw new NodeError('STARTING', `shard ${shard} is opening; try again in a moment`);
    return replica;
  }

  /** Whether the map still counts this node in. */
  get registered(): boolean {
    return this.map.known && nodeByUuid(this.map.current(), this.#self) !== undefined;
  }
}
