import { unreachable } from '../../../kernel/assert.js';
import { NO_EPOCH, type Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { entryCollectionId, entryOp } from '../../log/core/entry-codec.js';
import { shardKey } from '../../log/core/keys.js';
import { CopyRole } from './copy-role.js';
import type { Out, ReplicaEffect } from './effects.js';
import { forceMapProblem, type ForceMapProblem } from './forced-map.js';
import { epochAt } from './fork.js';
import type { ReplicaInput } from './inputs.js';
import type { Leader } from './leader.js';
import { encodeAgreedMap } from './map-codec.js';
import type { MapState } from './map-state.js';
import type { CopyPlan, FailoverTimes, Now, PeerView } from './peer-view.js';
import type { Offer, ReplicaRole, ShardLeader, ShardPosition, ShardSet } from './protocol.js';
import type { ReplicaLog } from './replica-log.js';
import { Retention } from './retention.js';
import type { Proposal } from './write.js';

/**
 * One copy of one shard, as a pure machine (replication 4–6). `step(input)` returns the effects the driver performs in order;
 * `step` never reads storage, the driver passes what a decision needs.
 *
 * Owns what is in force of the log (applied, agreed), and how the copy stands in the eyes of others. What it is, follower,
 * candidate or primary, its CopyRole knows; the log's end and rows are the ReplicaLog's.
 *
 * Invariants: nothing of an epoch below the promise is appended; the log is cut only when nothing is on its way to the disk.
 */
export interface ReplicaOptions {
  readonly shard: number;
  /** This node, in hex. */
  readonly self: NodeUuid;
  readonly bootCount: number;
  readonly log: ReplicaLog;
  /** The highest epoch this disk promised. */
  readonly promised: Epoch;
  /** Only what a majority has counts: META_SHARD always (9.1). */
  readonly strict: boolean;
  readonly times: FailoverTimes;
  /** Offset applied to the index when it was opened. */
  readonly applied: number;
  /** Only of META_SHARD. */
  readonly map: MapState | undefined;
  readonly openedMs: number;
}

export const MAP_ROW = 'map';
/** A gap this long between two ticks is a pause (1.5). */
const PAUSE_MS = 1_500;

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #log: ReplicaLog;
  readonly #retention = new Retention();
  readonly #role: CopyRole;
  #plan: CopyPlan = {
    configured: { mapEpoch: 0, members: [] },
    leaving: false,
    epochFloor: 0,
    room: 'upserts',
    isDropped: () => false,
  };
  #applied: number;
  #lastTickMs: number;
  /** The last tick before which a primary had no doubt of its reign. */
  #soundMs: number;
  /** When it last had everything, as of the last tick: on an earlier stream, or in a reign of its own; at first when it was opened. */
  #hadAllMs: number;

  constructor(options: ReplicaOptions) {
    const { log, openedMs } = options;
    this.#options = options;
    this.#log = log;
    this.#applied = options.applied;
    this.#role = new CopyRole({
      ...options,
      retention: this.#retention,
      set: () => this.set,
      isDropped: (collectionId) => this.#plan.isDropped(collectionId),
      applied: () => this.#applied,
    });
    this.#lastTickMs = openedMs;
    this.#soundMs = openedMs;
    this.#hadAllMs = openedMs;
  }

  get role(): 'primary' | 'follower' | 'candidate' {
    return this.#role.name;
  }

  get reign(): Leader | undefined {
    return this.#role.primary?.reign;
  }

  get log(): ReplicaLog {
    return this.#log;
  }

  get applied(): number {
    return this.#applied;
  }

  get promised(): Epoch {
    return this.#role.promised;
  }

  /** The epoch it reigns in or follows; the one its log ends in when it knows of no primary. */
  get epoch(): Epoch {
    return this.reign?.epoch ?? this.leader?.epoch ?? this.#log.lastEpoch;
  }

  /** Who is primary as far as this copy knows, itself included. */
  get leader(): ShardLeader | undefined {
    return this.#role.leader;
  }

  /** The set counted by: the newer of the log's and, in available mode, the map's (9.6). */
  get set(): ShardSet {
    const logged = this.#log.set;
    const { configured } = this.#plan;
    if (this.#role.isForced) return { mapEpoch: logged.mapEpoch, members: [this.#options.self] };
    if (this.#options.strict) return logged.mapEpoch > 0 || logged.members.length > 0 ? logged : configured;
    return configured.mapEpoch > logged.mapEpoch || logged.members.length === 0 ? configured : logged;
  }

  /** Whether this process could acknowledge a write now: what a probe asks (5.3). */
  couldAcknowledge(epoch: Epoch, nowMs: number): boolean {
    return this.#role.fault === undefined && this.#role.primary?.couldAcknowledge(epoch, nowMs) === true;
  }

  /** Whether reads may be answered from this copy as if it were the primary (7.1). */
  inSync(nowMs: number): boolean {
    if (this.#role.fault !== undefined) return false;
    if (this.#role.primary !== undefined) return this.doubtMs(nowMs) === undefined;
    return this.#role.following.session?.isInSync(nowMs, this.#options.times.heartbeatMs) === true;
  }

  /**
   * Milliseconds since a primary began whose index does not have all that was logged before, or was acknowledged since without
   * waiting for that: a search there would miss it, and says how old it may be. Undefined when it has.
   */
  indexBehindMs(nowMs: number): number | undefined {
    const { primary } = this.#role;
    if (primary === undefined || this.#applied >= primary.reign.owed) return undefined;
    return Math.max(1, Math.round(nowMs - primary.beganMs));
  }

  /**
   * Of a primary that stood still, or that a hello spoke against: milliseconds since nobody had reason to reign in its place
   * (5.4). Until its members have answered it may lack what another one acknowledged. Undefined when it need not doubt.
   */
  doubtMs(nowMs: number): number | undefined {
    const { primary } = this.#role;
    const pausedMs = nowMs - this.#lastTickMs;
    if (primary === undefined || this.set.members.length < 2) return undefined;
    if (pausedMs > PAUSE_MS) return Math.round(pausedMs);
    return primary.isConfirming ? Math.max(1, Math.round(nowMs - this.#soundMs)) : undefined;
  }

  /** Followers a primary holds in sync, itself included; a follower answers what its primary told. */
  syncedNodes(nowMs: number): readonly NodeUuid[] {
    return this.#role.primary?.syncedNodes(nowMs) ?? this.#role.following.session?.inSync ?? [];
  }

  /** A learner that has caught up may become a member (9.6). */
  hasCaughtUp(node: NodeUuid, nowMs: number): boolean {
    return this.#role.primary?.hasCaughtUp(node, nowMs) === true;
  }

  /** Whole milliseconds since this copy last had everything its primary had: 0 when nothing is outstanding, or it reigns. */
  lagMs(nowMs: number): number {
    return Math.max(0, Math.round(nowMs - this.#lastHadAllMs(nowMs)));
  }

  #lastHadAllMs(nowMs: number): number {
    if (this.#role.primary !== undefined) return nowMs;
    return this.#role.following.session?.hadAllMs(nowMs) ?? this.#hadAllMs;
  }

  get highWaterMark(): number {
    return this.#role.primary?.reign.highWaterMark ?? this.#role.following.session?.highWaterMark ?? 0;
  }

  /** Where the log ends: here, or as the primary told last. */
  get knownTail(): number {
    return Math.max(this.#log.tail, this.#role.following.session?.tail ?? 0);
  }

  get fault(): string | undefined {
    return this.#role.fault;
  }

  /** Of the map: what was agreed here was cut off, and only a forced map leads on (5.8). */
  get isMapAstray(): boolean {
    return this.#options.map?.astray === true;
  }

  /** Why an operator may not make this copy of the map the only voter (5.8). */
  forceMapProblem(peers: PeerView): ForceMapProblem | undefined {
    const { self, map } = this.#options;
    const led = peers
      .nodes()
      .some((node) => peers.get(node)?.live === true && peers.get(node)?.position?.role === 'primary');
    // Nothing else can change a map that its log does not make.
    if (map?.astray === true && !led) return undefined;
    return forceMapProblem({ self, set: this.#log.set, end: this.#log.end(), peers });
  }

  /** Whether superseded entries may go now: a log is cut or replaced as it was when that was decided (6.3). */
  get mayCompact(): boolean {
    return this.#role.fault === undefined && this.#log.alteration === undefined;
  }

  /** Up to here every replica that the log is kept for has it (2.11). */
  get floor(): number {
    if (this.#role.primary === undefined) return this.#retention.told;
    return this.#retention.floor(this.#role.primary.keptFor(), this.#log.durable);
  }

  /** The replica that has least of the log, of those a primary keeps it for; undefined while that takes a snapshot in. */
  get slowest(): NodeUuid | undefined {
    return this.#role.primary === undefined ? undefined : this.#retention.slowest(this.#role.primary.keptFor());
  }

  /** Whether a set the map decided at `mapEpoch` or later, in which `node` is not, agreed to the log up to `offset` (9.6). */
  agreedWithout(node: NodeUuid, mapEpoch: number, offset: number): boolean {
    const reign = this.reign;
    if (reign === undefined || this.#role.fault !== undefined) return false;
    const { set, setOffset } = this.#log;
    if (set.mapEpoch < mapEpoch || set.members.includes(node)) return false;
    return reign.highWaterMark >= Math.max(offset, setOffset);
  }

  /** How this copy stands, for the heartbeats; the driver adds the number of documents. */
  position(nowMs: number): Omit<ShardPosition, 'documents'> {
    const { self, shard } = this.#options;
    const { set, leader } = this;
    const role: ReplicaRole =
      this.#role.primary !== undefined ? 'primary' : set.members.includes(self) ? 'replica' : 'learner';
    return {
      shard,
      role,
      epoch: leader?.epoch ?? NO_EPOCH,
      leader: leader?.node ?? '',
      setEpoch: set.mapEpoch,
      settled: this.#role.primary?.settled() ?? 0,
      lastEpoch: this.#log.lastEpoch,
      lastStart: this.#log.history.at(-1)?.start ?? 0,
      lastOffset: this.#log.tail,
      agreedEpoch: epochAt(this.#log.history, this.#log.agreed),
      agreed: this.#log.agreed,
      durable: this.#log.durable,
      applied: this.#applied,
      inSync: this.inSync(nowMs),
      faulted: this.#role.fault !== undefined,
      held: this.#role.following.isHeld,
      loose: this.#log.loose,
      lagMs: this.lagMs(nowMs),
    };
  }

  step(input: ReplicaInput): readonly ReplicaEffect[] {
    const out: Out = [];
    switch (input.kind) {
      case 'tick':
        this.#tick(input, out);
        break;
      case 'propose':
        this.#propose(input.proposals, input.now, out);
        break;
      case 'persisted':
        this.#persisted(input.offset, input.now, out);
        break;
      case 'promised':
        this.#role.promisedDurably(input, out);
        break;
      case 'applied':
        this.#appliedUpTo(input.offset, input.now, out);
        break;
      case 'sending':
        this.#retention.receives(input.node, input.offset, input.now.monotonicMs);
        break;
      case 'staged':
        this.#retention.staged(input.node, input.offset, input.now.monotonicMs);
        break;
      case 'demote':
        this.#retention.demote(input.node);
        break;
      case 'compacting':
        this.#log.compacting(input.start);
        break;
      case 'compacted':
        this.#log.compacted(input.bytes);
        break;
      case 'fail':
        this.#role.fail(input.detail, out);
        break;
      case 'paused':
        this.#role.primary?.confirm(input.now.monotonicMs, out);
        break;
      case 'transfer':
        this.#role.primary?.handOver(input.to, input.now.monotonicMs);
        break;
      case 'force':
        this.#role.force(input.force, input.now, out);
        break;
      case 'announced':
        this.#role.learn(input.leader, input.now, out);
        break;
      case 'welcomed':
        this.#role.welcomed(input, out);
        break;
      case 'batch':
        this.#batch(input, out);
        break;
      case 'streamEnded':
        this.#role.following.ended(input.now.monotonicMs);
        break;
      case 'takeOver':
        this.#role.takeOver(input, out);
        break;
      case 'replacing':
        this.#log.alter('replacing');
        break;
      case 'replaced':
        this.#replaced(input, out);
        break;
      case 'hello':
        this.#role.hello(input, out);
        break;
      case 'acked':
        this.#acked(input, out);
        break;
      case 'offered':
        this.#offered(input.offer, input.stored, input.now, input.opId, out);
        break;
      case 'linkEnded':
        this.#role.primary?.lost(input.link);
        break;
      case 'loose':
        this.#ownLoose(input, out);
        break;
      case 'probed':
        this.#role.probed(input, out);
        break;
      case 'fenced':
        this.#role.fenced(input, out);
        break;
      case 'fence':
        this.#role.fence(input, out);
        break;
      case 'pulled':
        this.#role.pulled(input, out);
        break;
      default:
        unreachable(input);
    }
    return out;
  }

  // ---- time

  #tick(input: Extract<ReplicaInput, { kind: 'tick' }>, out: Out): void {
    this.#plan = input.plan;
    this.#noticePause(input.now, out);
    this.#hadAllMs = this.#lastHadAllMs(input.now.monotonicMs);
    this.#role.tick(input, out);
  }

  /** A gap between two ticks means that this process stood still (1.5): what it believes may be old. */
  #noticePause(now: Now, out: Out): void {
    const paused = now.monotonicMs - this.#lastTickMs > PAUSE_MS;
    if (this.#role.primary?.isConfirming !== true) this.#soundMs = this.#lastTickMs;
    this.#lastTickMs = now.monotonicMs;
    if (paused) this.#role.primary?.confirm(now.monotonicMs, out);
  }

  // ---- following

  #batch(input: Extract<ReplicaInput, { kind: 'batch' }>, out: Out): void {
    const { following } = this.#role;
    following.batch(input, this.#applied, out);
    const { session } = following;
    if (session?.phase === 'streaming') this.#agree(Math.min(session.highWaterMark, this.#log.durable), out);
  }

  #replaced({ log, applied, now }: Extract<ReplicaInput, { kind: 'replaced' }>, out: Out): void {
    this.#log.replaced(log);
    this.#retention.cut(log.tail);
    this.#options.map?.cut(log.tail);
    this.#applied = Math.min(applied, log.tail);
    const { election, following } = this.#role;
    if (election?.isCutting === true) election.cut(out);
    else following.restart(now.monotonicMs, out);
    this.#role.altered(now, out);
  }

  // ---- writing

  #propose(proposals: readonly Proposal[], now: Now, out: Out): void {
    const primary = this.#role.primary;
    if (this.#role.fault !== undefined) {
      const outcome = { kind: 'refused', code: 'LOG_CORRUPT', detail: this.#role.fault } as const;
      for (const { ticket } of proposals) out.push({ kind: 'reply', reply: { ticket, outcome } });
      return;
    }
    if (primary === undefined) {
      const hint = this.leader;
      const outcome = { kind: 'redirect', ...(hint === undefined ? {} : { hint }) } as const;
      for (const { ticket } of proposals) out.push({ kind: 'reply', reply: { ticket, outcome } });
      return;
    }
    if (now.monotonicMs - this.#lastTickMs > PAUSE_MS) this.#noticePause(now, out);
    // Whoever is turned away from a primary that goes on after all would wait for another one in vain.
    if (primary.isHandingOver) primary.reign.keep(proposals, now.monotonicMs, out);
    else primary.reign.propose(proposals, now.wallMs, now.monotonicMs, out);
  }

  #persisted(offset: number, now: Now, out: Out): void {
    const entries = this.#log.persisted(offset);
    const { strict } = this.#options;
    if (!strict) out.push({ kind: 'apply', entries, tail: offset });
    const primary = this.#role.primary;
    if (primary !== undefined) {
      primary.persisted(now.monotonicMs, out);
      this.#agree(primary.reign.highWaterMark, out);
      return;
    }
    this.#role.election?.persisted(out);
    const { session } = this.#role.following;
    if (session !== undefined) {
      out.push({ kind: 'ack' });
      this.#agree(Math.min(session.highWaterMark, offset), out);
    }
    if (!strict) this.#sweepPurged(entries, out);
  }

  /** A follower drops the rows of collections whose end it logged. */
  #sweepPurged(entries: readonly Uint8Array[], out: Out): void {
    for (const entry of entries)
      if (entryOp(entry) === 'COLLECTION_PURGE') out.push({ kind: 'sweep', collectionId: entryCollectionId(entry) });
  }

  #appliedUpTo(offset: number, now: Now, out: Out): void {
    const { session } = this.#role.following;
    this.#applied = Math.max(this.#applied, Math.min(offset, this.#log.durable));
    session?.applied(this.#applied);
    if (this.#role.primary !== undefined) this.#role.primary.reign.applied(this.#applied, now.monotonicMs, out);
    // Said before the hello is answered, the credit it grants would be lost (4.2).
    else if (session?.phase === 'streaming') out.push({ kind: 'ack' });
  }

  /** What is below the high-water mark is agreed; strict: it takes effect (9.1). */
  #agree(highWaterMark: number, out: Out): void {
    const { map, shard, strict } = this.#options;
    this.#log.agree(highWaterMark);
    if (!strict) return;
    this.#applied = Math.max(this.#applied, highWaterMark);
    this.#role.following.session?.applied(this.#applied);
    // What is agreed is in force: there is no index to wait for.
    this.#role.primary?.reign.applied(this.#applied, this.#lastTickMs, out);
    const agreed = map?.agree(highWaterMark);
    if (map === undefined || agreed === undefined) return;
    const value = encodeAgreedMap({ map: agreed, offset: map.agreedOffset });
    out.push(
      { kind: 'append', batch: { shard, entries: [], rows: [{ key: shardKey(shard, MAP_ROW), value }] }, tail: 0 },
      { kind: 'map', map: agreed },
    );
  }

  // ---- followers of this primary

  #acked({ link, ack, now }: Extract<ReplicaInput, { kind: 'acked' }>, out: Out): void {
    const primary = this.#role.primary;
    if (primary?.acked(link, ack, now.monotonicMs, out) !== true) return;
    this.#agree(Math.min(primary.reign.highWaterMark, this.#log.durable), out);
    primary.proceedHandover(now.monotonicMs, out);
  }

  #offered(offer: Offer, stored: readonly (Uint8Array | undefined)[], now: Now, opId: Uint8Array, out: Out): void {
    const { reign } = this;
    if (reign === undefined) return;
    reign.merge(offer.entries, stored, offer.branch, false, out);
    if (offer.last) reign.merged(offer.branch, now.wallMs, opId, out);
  }

  /** Loose rows of this copy, now that it reigns (5.6). */
  #ownLoose({ entries, stored, last, now, opId }: Extract<ReplicaInput, { kind: 'loose' }>, out: Out): void {
    const { unmerged } = this.#log;
    this.reign?.merge(entries, stored, unmerged, true, out);
    if (last) this.reign?.merged(unmerged, now.wallMs, opId, out);
  }
}
