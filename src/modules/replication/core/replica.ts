import { unreachable } from '../../../kernel/assert.js';
import { compareEpochs, NO_EPOCH, sameEpoch, type Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { versionText } from '../../../kernel/version.js';
import { entryCollectionId, entryOffset, entryOp, entryPayload } from '../../log/core/entry-codec.js';
import { shardKey } from '../../log/core/keys.js';
import { Adoption } from './adoption.js';
import { Candidacy, GRANT_WAIT_MS } from './candidacy.js';
import { isRefutation } from './confirmation.js';
import type { Out, ReplicaEffect } from './effects.js';
import { EpochPromise } from './epoch-promise.js';
import { Fences, judgeFence, type FenceRefusal, type WaitingFence } from './fences.js';
import { Following } from './following.js';
import type { ReplicaInput } from './inputs.js';
import type { Leader } from './leader.js';
import { decodeMapOperation, encodeAgreedMap } from './map-codec.js';
import type { MapState } from './map-state.js';
import { rankOf } from './nomination.js';
import type { CopyPlan, FailoverTimes, Now, PeerView } from './peer-view.js';
import { Primary, type ReignEnd } from './primary.js';
import type {
  EntriesBatch,
  FenceAnswer,
  FenceCause,
  Hello,
  HelloAnswer,
  Offer,
  RejectReason,
  ReplicaRole,
  ShardLeader,
  ShardPosition,
  ShardSet,
} from './protocol.js';
import type { ReplicaLog } from './replica-log.js';
import { Retention } from './retention.js';
import { lacksPrimary, probersOf, Suspicion } from './suspicion.js';
import type { Proposal } from './write.js';

/**
 * One copy of one shard, as a pure machine: follower, candidate or primary (replication 4–6). `step(input)` returns the
 * effects the driver performs in order; `step` never reads storage, the driver passes what a decision needs.
 *
 * Owns who it is of the three, and every change between them. What each does is the part's: Following and Suspicion of a
 * follower, Candidacy and Adoption of a candidate, Primary of a primary; the EpochPromise and the Fences outlast them.
 *
 * Flow: follower → (suspects its primary) candidate → primary → (meets a higher epoch) candidate or follower.
 *
 * Invariants: the promise never decreases and is synced before anything that follows from it is said; an epoch is used
 * once; nothing of an epoch below the promise is appended; the log is cut only when nothing is on its way to the disk.
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
/** Between the end of a candidacy that failed and the next one; members one after the other. */
const RETRY_MS = 200;
/** A gap this long between two ticks is a pause (1.5). */
const PAUSE_MS = 1_500;

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #log: ReplicaLog;
  readonly #promise: EpochPromise;
  readonly #fences = new Fences();
  readonly #retention = new Retention();
  readonly #following: Following;
  readonly #suspicion: Suspicion;
  #candidacy: Candidacy | undefined;
  #primary: Primary | undefined;
  #leader: ShardLeader | undefined;
  /** The known primary says it is none (5.1). */
  #noPrimary = false;
  #plan: CopyPlan = { configured: { mapEpoch: 0, members: [] }, leaving: false };
  #peers: PeerView = NO_PEERS;
  #applied: number;
  #faulted: string | undefined;
  /** Of probes, this copy's own and those for a fence. */
  #round = 0;
  #lastTickMs: number;
  /** When it last had everything, as of the last tick: on an earlier stream, or in a reign of its own; at first when it was opened. */
  #hadAllMs: number;

  constructor(options: ReplicaOptions) {
    const { log, promised, openedMs, times } = options;
    this.#options = options;
    this.#log = log;
    this.#promise = new EpochPromise(promised, Math.max(promised.num, log.lastEpoch.num));
    this.#following = new Following({ ...options, failoverAfterMs: times.failoverAfterMs });
    this.#suspicion = new Suspicion(openedMs);
    this.#applied = options.applied;
    this.#lastTickMs = openedMs;
    this.#hadAllMs = openedMs;
  }

  get role(): 'primary' | 'follower' | 'candidate' {
    return this.#primary !== undefined ? 'primary' : this.#candidacy !== undefined ? 'candidate' : 'follower';
  }

  get reign(): Leader | undefined {
    return this.#primary?.reign;
  }

  get log(): ReplicaLog {
    return this.#log;
  }

  get applied(): number {
    return this.#applied;
  }

  get promised(): Epoch {
    return this.#promise.epoch;
  }

  /** Who is primary as far as this copy knows, itself included. */
  get leader(): ShardLeader | undefined {
    return this.#noPrimary ? undefined : this.#leader;
  }

  /** The set counted by: the newer of the log's and, in available mode, the map's (9.6). */
  get set(): ShardSet {
    const logged = this.#log.set;
    const { configured } = this.#plan;
    if (this.#options.strict) return logged.mapEpoch > 0 || logged.members.length > 0 ? logged : configured;
    return configured.mapEpoch > logged.mapEpoch || logged.members.length === 0 ? configured : logged;
  }

  /** Whether this process could acknowledge a write now: what a probe asks (5.3). */
  couldAcknowledge(epoch: Epoch, nowMs: number): boolean {
    return this.#faulted === undefined && this.#primary?.couldAcknowledge(epoch, nowMs) === true;
  }

  /** Whether reads may be answered from this copy as if it were the primary (7.1). */
  inSync(nowMs: number): boolean {
    if (this.#faulted !== undefined) return false;
    if (this.#primary !== undefined) return true;
    return this.#following.session?.isInSync(nowMs, this.#options.times.heartbeatMs) === true;
  }

  /** Followers a primary holds in sync, itself included; a follower answers what its primary told. */
  syncedNodes(nowMs: number): readonly NodeUuid[] {
    return this.#primary?.syncedNodes(nowMs) ?? this.#following.session?.inSync ?? [];
  }

  /** A learner that has caught up may become a member (9.6). */
  hasCaughtUp(node: NodeUuid, nowMs: number): boolean {
    return this.#primary?.hasCaughtUp(node, nowMs) === true;
  }

  /** Whole milliseconds since this copy last had everything its primary had: 0 when nothing is outstanding, or it reigns. */
  lagMs(nowMs: number): number {
    return Math.max(0, Math.round(nowMs - this.#lastHadAllMs(nowMs)));
  }

  #lastHadAllMs(nowMs: number): number {
    if (this.#primary !== undefined) return nowMs;
    return this.#following.session?.hadAllMs(nowMs) ?? this.#hadAllMs;
  }

  get highWaterMark(): number {
    return this.#primary?.reign.highWaterMark ?? this.#following.session?.highWaterMark ?? 0;
  }

  get fault(): string | undefined {
    return this.#faulted;
  }

  /** Up to here every replica that the log is kept for has it (2.11). */
  get floor(): number {
    if (this.#primary === undefined) return this.#retention.told;
    return this.#retention.floor(this.#primary.keptFor(), this.#log.durable);
  }

  /** The replica that has least of the log, of those a primary keeps it for. */
  get slowest(): NodeUuid | undefined {
    return this.#primary === undefined ? undefined : this.#retention.slowest(this.#primary.keptFor());
  }

  /** Whether a set the map decided at `mapEpoch` or later, in which `node` is not, agreed to the log up to `offset` (9.6). */
  agreedWithout(node: NodeUuid, mapEpoch: number, offset: number): boolean {
    const reign = this.reign;
    if (reign === undefined || this.#faulted !== undefined) return false;
    const { set, setOffset } = this.#log;
    if (set.mapEpoch < mapEpoch || set.members.includes(node)) return false;
    return reign.highWaterMark >= Math.max(offset, setOffset);
  }

  /** How this copy stands, for the heartbeats; the driver adds the number of documents. */
  position(nowMs: number): Omit<ShardPosition, 'documents'> {
    const { self, shard } = this.#options;
    const { set, leader } = this;
    const role: ReplicaRole =
      this.#primary !== undefined ? 'primary' : set.members.includes(self) ? 'replica' : 'learner';
    return {
      shard,
      role,
      epoch: leader?.epoch ?? NO_EPOCH,
      leader: leader?.node ?? '',
      setEpoch: set.mapEpoch,
      settled: this.#primary?.settled() ?? 0,
      lastEpoch: this.#log.lastEpoch,
      lastOffset: this.#log.tail,
      durable: this.#log.durable,
      applied: this.#applied,
      inSync: this.inSync(nowMs),
      faulted: this.#faulted !== undefined,
      loose: this.#log.loose,
      lagMs: this.lagMs(nowMs),
    };
  }

  step(input: ReplicaInput): readonly ReplicaEffect[] {
    const out: Out = [];
    switch (input.kind) {
      case 'tick':
        this.#tick(input.now, input.peers, input.plan, input.opId, out);
        break;
      case 'propose':
        this.#propose(input.proposals, input.now, out);
        break;
      case 'persisted':
        this.#persisted(input.offset, input.now, out);
        break;
      case 'promised':
        this.#promisedDurably(input.epoch, input.now, input.opId, out);
        break;
      case 'applied':
        this.#appliedUpTo(input.offset, input.now, out);
        break;
      case 'demote':
        this.#retention.demote(input.node);
        break;
      case 'compacted':
        this.#log.compacted(input.bytes, input.start);
        break;
      case 'fail':
        this.#fail(input.detail, out);
        break;
      case 'paused':
        this.#primary?.confirm(input.now.monotonicMs, out);
        break;
      case 'transfer':
        this.#primary?.handOver(input.to, input.now.monotonicMs);
        break;
      case 'announced':
        this.#learn(input.leader, input.now, out);
        break;
      case 'welcomed':
        this.#welcomed(input.answer, input.now, out);
        break;
      case 'batch':
        this.#batch(input.batch, input.problem, input.stored, input.now, out);
        break;
      case 'streamEnded':
        this.#following.ended(input.now.monotonicMs);
        break;
      case 'takeOver':
        this.#takeOver(input.epoch, input.now, out);
        break;
      case 'replaced':
        this.#replaced(input, out);
        break;
      case 'hello':
        this.#hello(input.link, input.hello, input.chainThere, input.now, out);
        break;
      case 'acked':
        this.#acked(input, out);
        break;
      case 'offered':
        this.#offered(input.offer, input.stored, input.now, input.opId, out);
        break;
      case 'linkEnded':
        this.#primary?.lost(input.link);
        break;
      case 'loose':
        this.reign?.merge(input.entries, input.stored, true, out);
        break;
      case 'probed':
        this.#probed(input.round, input.alive, input.now, out);
        break;
      case 'fenced':
        this.#fenced(input, out);
        break;
      case 'fence':
        this.#fence(input, out);
        break;
      case 'pulled':
        this.#pulled(input, out);
        break;
      default:
        unreachable(input);
    }
    return out;
  }

  // ---- time

  #tick(now: Now, peers: PeerView, plan: CopyPlan, opId: Uint8Array, out: Out): void {
    this.#peers = peers;
    this.#plan = plan;
    this.#noticePause(now, out);
    this.#hadAllMs = this.#lastHadAllMs(now.monotonicMs);
    if (this.#faulted !== undefined) return;
    for (const node of peers.nodes()) this.#heardOf(node, now, out);
    if (this.#primary !== undefined) this.#end(this.#primary.tick(now, peers, plan.configured, opId, out), now, out);
    else if (this.#candidacy !== undefined) this.#proceed(this.#candidacy, now, opId, out);
    else this.#tickFollower(now, out);
  }

  /** A gap between two ticks means that this process stood still (1.5): what it believes may be old. */
  #noticePause(now: Now, out: Out): void {
    const paused = now.monotonicMs - this.#lastTickMs > PAUSE_MS;
    this.#lastTickMs = now.monotonicMs;
    if (paused) this.#primary?.confirm(now.monotonicMs, out);
  }

  /** What another node's heartbeat says of who is primary. */
  #heardOf(node: NodeUuid, now: Now, out: Out): void {
    const position = this.#peers.get(node)?.position;
    if (position === undefined || position.leader === '') return;
    const { shard } = this.#options;
    this.#learn({ shard, epoch: position.epoch, node: position.leader }, now, out);
  }

  #tickFollower(now: Now, out: Out): void {
    const nowMs = now.monotonicMs;
    this.#following.tick(this.leader, this.#plan, this.#promise.epoch, nowMs, out);
    if (this.#suspicion.isProbeOver(nowMs)) {
      this.#stand('suspect', now, out);
      return;
    }
    if (!this.#mayStand() || this.#suspicion.isProbing) return;
    const { self, openedMs, times } = this.#options;
    const { session } = this.#following;
    const { set, leader } = this;
    const outlook = {
      self,
      set,
      leader,
      session,
      peers: this.#peers,
      openedMs,
      failoverAfterMs: times.failoverAfterMs,
    };
    if (this.#suspicion.isRipe(lacksPrimary(outlook, nowMs), nowMs, () => this.#rank())) this.#probeFirst(now, out);
  }

  /** This copy's place in the order of nomination (5.2). */
  #rank(): number {
    const own = { ...this.#log.end(), setEpoch: this.set.mapEpoch, reluctant: this.#plan.leaving };
    return rankOf(this.#options.self, own, this.set, this.#leader?.node, this.#peers);
  }

  #mayStand(): boolean {
    return !this.#following.isAltering && !this.#fences.isGranting && this.set.members.includes(this.#options.self);
  }

  // ---- following

  #welcomed(answer: HelloAnswer, now: Now, out: Out): void {
    const { session } = this.#following;
    if (session?.phase !== 'hello') return;
    session.heard(now.monotonicMs);
    if (answer.kind === 'reject') {
      this.#rejected(session.to, answer.reason, answer.hint, now, out);
      return;
    }
    this.#promise.saw(answer.epoch.num);
    const order = compareEpochs(answer.epoch, this.#promise.epoch);
    if (order < 0) {
      this.#following.refuse(now.monotonicMs, out);
      return;
    }
    session.epoch = answer.epoch;
    this.#noPrimary = false;
    this.#leader = { shard: this.#options.shard, epoch: answer.epoch, node: session.to };
    // Following a higher epoch raises the promise (4.3): synced before the first acknowledgement, which comes behind it.
    if (order > 0) this.#promise.make(answer.epoch, out);
    const problem = this.#following.enter(session, answer, out);
    if (problem !== undefined) this.#fail(problem, out);
  }

  #rejected(by: NodeUuid, reason: RejectReason, hint: ShardLeader | undefined, now: Now, out: Out): void {
    this.#following.refuse(now.monotonicMs, out);
    if (reason === 'NOT_PRIMARY' || reason === 'UNKNOWN_SHARD' || reason === 'FAULTED') {
      if (this.#leader?.node === by) this.#noPrimary = true;
      if (hint !== undefined && hint.node !== by) this.#learn(hint, now, out);
    }
  }

  #batch(
    batch: EntriesBatch,
    problem: string | undefined,
    stored: readonly (Uint8Array | undefined)[],
    now: Now,
    out: Out,
  ): void {
    const { session } = this.#following;
    if (session?.phase !== 'streaming') return;
    if ((problem ?? this.#following.problemOf(session, batch, this.#promise.epoch)) !== undefined) {
      this.#following.refuse(now.monotonicMs, out);
      return;
    }
    session.took(batch, this.#applied, now.monotonicMs);
    this.#retention.tell(batch.floor);
    if (batch.entries.length > 0) this.#followEntries(batch.entries, stored, out);
    else out.push({ kind: 'ack' });
    this.#agree(Math.min(session.highWaterMark, this.#log.durable), out);
    this.#following.offerLoose(session, out);
  }

  /** Appends entries of a primary, and notes the operations of the map among them. */
  #followEntries(entries: readonly Uint8Array[], stored: readonly (Uint8Array | undefined)[], out: Out): void {
    const { batch, beaten } = this.#log.follow(entries, stored);
    for (const loser of beaten)
      out.push({ kind: 'conflict', loser, winner: { versionText: versionText(loser.winner) } });
    out.push({ kind: 'append', batch, tail: this.#log.tail });
    for (const entry of entries)
      if (entryOp(entry) === 'MAP')
        this.#options.map?.logged(entryOffset(entry), decodeMapOperation(entryPayload(entry)));
  }

  #replaced({ log, applied, now }: Extract<ReplicaInput, { kind: 'replaced' }>, out: Out): void {
    this.#log.replaced(log);
    this.#retention.cut(log.tail);
    this.#options.map?.cut(log.tail);
    this.#applied = Math.min(applied, log.tail);
    if (this.#candidacy?.adoption?.phase === 'cutting') this.#pullNext(this.#candidacy, out);
    else this.#following.restart(now.monotonicMs, out);
  }

  // ---- writing

  #propose(proposals: readonly Proposal[], now: Now, out: Out): void {
    const primary = this.#primary;
    if (this.#faulted !== undefined) {
      const outcome = { kind: 'refused', code: 'LOG_CORRUPT', detail: this.#faulted } as const;
      for (const { ticket } of proposals) out.push({ kind: 'reply', reply: { ticket, outcome } });
      return;
    }
    if (primary === undefined || primary.isHandingOver) {
      const hint = primary === undefined ? this.leader : undefined;
      const outcome = { kind: 'redirect', ...(hint === undefined ? {} : { hint }) } as const;
      for (const { ticket } of proposals) out.push({ kind: 'reply', reply: { ticket, outcome } });
      return;
    }
    if (now.monotonicMs - this.#lastTickMs > PAUSE_MS) this.#noticePause(now, out);
    primary.reign.propose(proposals, now.wallMs, now.monotonicMs, out);
  }

  #persisted(offset: number, now: Now, out: Out): void {
    const entries = this.#log.persisted(offset);
    const { strict } = this.#options;
    if (!strict) out.push({ kind: 'apply', entries, tail: offset });
    const primary = this.#primary;
    if (primary !== undefined) {
      primary.persisted(now.monotonicMs, out);
      this.#agree(primary.reign.highWaterMark, out);
      return;
    }
    if (this.#candidacy?.adoption?.phase === 'pulling') this.#pullNext(this.#candidacy, out);
    const { session } = this.#following;
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
    const { session } = this.#following;
    this.#applied = Math.max(this.#applied, Math.min(offset, this.#log.durable));
    session?.applied(this.#applied);
    if (this.#primary !== undefined) this.#primary.reign.applied(this.#applied, now.monotonicMs, out);
    else if (session !== undefined) out.push({ kind: 'ack' });
  }

  /** Strict: what is below the high-water mark takes effect (9.1). */
  #agree(highWaterMark: number, out: Out): void {
    const { map, shard, strict } = this.#options;
    if (!strict) return;
    this.#applied = Math.max(this.#applied, highWaterMark);
    this.#following.session?.applied(this.#applied);
    // What is agreed is in force: there is no index to wait for.
    this.#primary?.reign.applied(this.#applied, this.#lastTickMs, out);
    const agreed = map?.agree(highWaterMark);
    if (map === undefined || agreed === undefined) return;
    const value = encodeAgreedMap({ map: agreed, offset: map.agreedOffset });
    out.push(
      { kind: 'append', batch: { shard, entries: [], rows: [{ key: shardKey(shard, MAP_ROW), value }] }, tail: 0 },
      { kind: 'map', map: agreed },
    );
  }

  // ---- followers of this primary

  #hello(link: number, hello: Hello, chainThere: Uint8Array | undefined, now: Now, out: Out): void {
    this.#promise.saw(hello.promised.num);
    const primary = this.#primary;
    if (this.#faulted !== undefined || primary === undefined) {
      const reason = this.#faulted === undefined ? 'NOT_PRIMARY' : 'FAULTED';
      const hint = this.leader;
      const answer = { kind: 'reject', reason, ...(hint === undefined ? {} : { hint }) } as const;
      out.push({ kind: 'welcome', link, answer });
      return;
    }
    this.#end(primary.hello(link, hello, chainThere, now.monotonicMs, out), now, out);
  }

  #acked({ link, ack, now }: Extract<ReplicaInput, { kind: 'acked' }>, out: Out): void {
    const primary = this.#primary;
    if (primary?.acked(link, ack, now.monotonicMs, out) !== true) return;
    this.#agree(Math.min(primary.reign.highWaterMark, this.#log.durable), out);
    primary.proceedHandover(now.monotonicMs, out);
  }

  #offered(offer: Offer, stored: readonly (Uint8Array | undefined)[], now: Now, opId: Uint8Array, out: Out): void {
    const { reign } = this;
    if (reign === undefined) return;
    reign.merge(offer.entries, stored, false, out);
    if (offer.last && offer.branch.length > 0) reign.merged(offer.branch, now.wallMs, opId, out);
  }

  // ---- who is primary

  /** Somebody names a primary: only ever moves upward. */
  #learn(leader: ShardLeader, now: Now, out: Out): void {
    const known = this.#leader;
    if (!this.#promise.saw(leader.epoch.num)) return;
    if (known !== undefined && compareEpochs(leader.epoch, known.epoch) <= 0) return;
    if (this.#primary !== undefined || leader.node === this.#options.self) return;
    this.#leader = leader;
    this.#noPrimary = false;
    if (this.#candidacy !== undefined && compareEpochs(leader.epoch, this.#candidacy.epoch) > 0) this.#giveUp(now, out);
    const { session } = this.#following;
    if (session?.phase !== 'cutting' && session?.to !== leader.node) this.#following.leave(out);
    this.#suspicion.clear();
    this.#following.hurry(now.monotonicMs);
  }

  /**
   * A primary lives. It may be the one that was suspected; or one in a lower epoch than another that is known and reigns no
   * more, say of a node that left the set: the hello tells it of the higher promise, and it fences above that (5.4).
   */
  #followLiving(living: ShardLeader | undefined, now: Now): void {
    if (living !== undefined && living.node !== this.#options.self && this.leader === undefined) this.#leader = living;
    this.#noPrimary = false;
    this.#following.hurry(now.monotonicMs);
  }

  #takeOver(epoch: Epoch, now: Now, out: Out): void {
    const { session } = this.#following;
    if (session?.phase !== 'streaming' || !sameEpoch(session.epoch, epoch) || !this.#mayStand()) return;
    this.#stand('transfer', now, out);
  }

  // ---- standing (5.3–5.5)

  /** Before it fences, a candidate lets others look (5.3). */
  #probeFirst(now: Now, out: Out): void {
    const leader = this.#leader;
    const { shard, self } = this.#options;
    if (leader === undefined || leader.node === self) {
      this.#stand('suspect', now, out);
      return;
    }
    const { epoch, node } = leader;
    const asked = probersOf(node, self, this.set, this.#peers);
    const round = ++this.#round;
    this.#suspicion.probe(round, asked.length + 1, now.monotonicMs);
    out.push(
      { kind: 'probe', to: [node], request: { shard, epoch }, round },
      { kind: 'probe', to: asked, request: { shard, epoch, via: node }, round },
    );
  }

  #probed(round: number, alive: boolean, now: Now, out: Out): void {
    const fence = this.#fences.probed(round);
    if (fence !== undefined) {
      if (alive) this.#refuse(fence.ticket, 'PRIMARY_LIVES', out);
      else this.#grant(fence, now, out);
      return;
    }
    switch (this.#suspicion.probed(round, alive)) {
      case 'lives':
        this.#noPrimary = false;
        this.#suspicion.holdBack(now.monotonicMs + this.#options.times.heartbeatMs / 2);
        return;
      case 'silent':
        this.#stand('suspect', now, out);
        return;
      case undefined:
        return;
    }
  }

  /** Becomes a candidate in a new epoch: promises it, then fences (5.4). */
  #stand(cause: FenceCause, now: Now, out: Out): void {
    const { self } = this.#options;
    if (this.#primary !== undefined) this.#stepDown('a higher epoch was met', out);
    if (!this.set.members.includes(self) || this.#faulted !== undefined) return;
    if (this.#following.isAltering) return;
    this.#following.leave(out);
    const epoch = this.#promise.next(self);
    this.#candidacy = new Candidacy(epoch, cause, now.monotonicMs);
    this.#suspicion.clear();
    out.push({ kind: 'role', role: 'candidate', epoch });
    this.#promise.make(epoch, out);
  }

  #promisedDurably(epoch: Epoch, now: Now, opId: Uint8Array, out: Out): void {
    this.#promise.synced(epoch);
    for (const fence of this.#fences.promised(epoch)) this.#answerGrant(fence, out);
    const candidacy = this.#candidacy;
    if (candidacy?.phase !== 'promising' || !sameEpoch(candidacy.epoch, epoch)) return;
    candidacy.phase = 'fencing';
    const { self, shard } = this.#options;
    const to = this.set.members.filter((node) => node !== self);
    if (to.length > 0)
      out.push({ kind: 'fence', to, request: { shard, epoch, cause: candidacy.cause, set: this.set } });
    this.#proceed(candidacy, now, opId, out);
  }

  #fenced({ epoch, from, answer, now, opId }: Extract<ReplicaInput, { kind: 'fenced' }>, out: Out): void {
    const primary = this.#primary;
    if (primary?.isConfirming === true && sameEpoch(primary.epoch, epoch)) {
      this.#confirmed(primary, from, answer, now, out);
      return;
    }
    const candidacy = this.#candidacy;
    if (candidacy === undefined || !sameEpoch(candidacy.epoch, epoch)) return;
    if (answer === 'refused') candidacy.unreachable(from);
    else if (answer !== 'silent') {
      if (answer.kind === 'granted') candidacy.granted(from, { setEpoch: answer.setEpoch, end: answer.end });
      else if (answer.reason === 'FAULTED' || answer.reason === 'UNKNOWN_SHARD') candidacy.unreachable(from);
      else {
        this.#promise.saw(answer.promised.num);
        this.#giveUp(now, out);
        if (answer.hint !== undefined) this.#learn(answer.hint, now, out);
        if (answer.reason === 'PRIMARY_LIVES') this.#followLiving(answer.hint, now);
        return;
      }
    }
    this.#proceed(candidacy, now, opId, out);
  }

  /** Looks whether a candidacy can be decided. @param opId for the BARRIER */
  #proceed(candidacy: Candidacy, now: Now, opId: Uint8Array, out: Out): void {
    if (candidacy.phase !== 'fencing' || candidacy.adoption !== undefined) return;
    if (this.#log.durable !== this.#log.tail) return;
    const { self, strict } = this.#options;
    const decision = candidacy.decide(self, this.#log.end(), this.set, strict, this.#peers, now.monotonicMs);
    switch (decision.kind) {
      case 'wait':
        return;
      case 'give up':
        this.#giveUp(now, out);
        return;
      case 'reign':
        this.#begin(candidacy, now, opId, out);
        return;
      case 'adopt':
        this.#adopt(candidacy, new Adoption(this.#log, candidacy.epoch, decision.from, decision.end), now, out);
        return;
    }
  }

  #adopt(candidacy: Candidacy, adoption: Adoption, now: Now, out: Out): void {
    if (!adoption.begin(out)) {
      // The granter itself is the better candidate, and is nominated before this copy (5.2).
      this.#giveUp(now, out);
      // That one granted just now, and gives this candidate its time (`#grant`) before it stands itself.
      this.#suspicion.holdBack(now.monotonicMs + 2 * (GRANT_WAIT_MS + RETRY_MS));
      return;
    }
    candidacy.adoption = adoption;
    if (adoption.phase === 'pulling') this.#pullNext(candidacy, out);
  }

  #pullNext(candidacy: Candidacy, out: Out): void {
    // Looked at again as a whole: the adopted log may have brought another set (5.5).
    if (candidacy.adoption?.proceed(out) === true) candidacy.adoption = undefined;
  }

  #pulled({ epoch, answer, problem, stored, now, opId }: Extract<ReplicaInput, { kind: 'pulled' }>, out: Out): void {
    const candidacy = this.#candidacy;
    if (candidacy?.adoption?.phase !== 'pulling' || !sameEpoch(candidacy.epoch, epoch)) return;
    if (answer !== undefined && problem === undefined && answer.entries.length > 0) {
      this.#followEntries(answer.entries, stored, out);
      return;
    }
    const { from } = candidacy.adoption;
    candidacy.adoption = undefined;
    if (this.#options.strict) this.#giveUp(now, out);
    else {
      candidacy.forget(from);
      this.#proceed(candidacy, now, opId, out);
    }
  }

  #giveUp(now: Now, out: Out): void {
    if (this.#candidacy === undefined) return;
    // The driver may still cut: what it brings is taken in as a follower.
    this.#candidacy = undefined;
    const place = Math.max(0, this.set.members.indexOf(this.#options.self));
    this.#suspicion.holdBack(now.monotonicMs + RETRY_MS * (1 + place));
    out.push({ kind: 'role', role: 'follower', epoch: this.#promise.epoch });
  }

  // ---- reigning

  #begin(candidacy: Candidacy, now: Now, opId: Uint8Array, out: Out): void {
    const { epoch } = candidacy;
    this.#candidacy = undefined;
    const primary = new Primary({
      ...this.#options,
      epoch,
      set: () => this.set,
      retention: this.#retention,
      granters: candidacy.granters(),
      applied: this.#applied,
      beganMs: now.monotonicMs,
    });
    this.#primary = primary;
    this.#leader = primary.leader;
    this.#noPrimary = false;
    out.push({ kind: 'role', role: 'primary', epoch });
    primary.begin(now.wallMs, opId, out);
  }

  /** What a member answers whether it stands by this reign (5.4). */
  #confirmed(primary: Primary, from: NodeUuid, answer: FenceAnswer | 'refused' | 'silent', now: Now, out: Out): void {
    if (answer === 'silent') return;
    if (isRefutation(answer)) {
      this.#promise.saw(answer.promised.num);
      this.#end(primary.refuted(answer, this.#peers), now, out);
    } else this.#end(primary.confirmed(from, now.monotonicMs, out), now, out);
  }

  #end(end: ReignEnd | undefined, now: Now, out: Out): void {
    switch (end?.kind) {
      case 'fence above':
        this.#stand('heal', now, out);
        return;
      case 'give way':
        // Its branch is the base: the rows beyond the fork become loose there (6.4).
        this.#stepDown('a higher epoch was met', out);
        this.#learn(end.leader, now, out);
        return;
      case 'step down':
        this.#stepDown(end.detail, out);
        return;
      case undefined:
        return;
    }
  }

  #stepDown(detail: string, out: Out): void {
    const { reign } = this;
    if (reign === undefined) return;
    this.#primary = undefined;
    this.#noPrimary = true;
    reign.stop(detail, out);
    out.push({ kind: 'dismiss' }, { kind: 'role', role: 'follower', epoch: this.#promise.epoch });
  }

  // ---- answering a fence (5.4)

  #fence({ ticket, from, request, now }: Extract<ReplicaInput, { kind: 'fence' }>, out: Out): void {
    const nowMs = now.monotonicMs;
    const fence: WaitingFence = { ticket, from, request };
    const believed = this.#promise.saw(request.epoch.num);
    if (this.#faulted !== undefined) return void this.#refuse(ticket, 'FAULTED', out);
    if (!believed) return void this.#refuse(ticket, 'PROMISED', out);
    const { self, strict, shard } = this.#options;
    const { session } = this.#following;
    const primary = this.#primary;
    const cutting = session?.phase === 'cutting' || this.#candidacy?.adoption?.phase === 'cutting';
    const verdict = judgeFence(fence, {
      self,
      strict,
      set: this.set,
      promised: this.#promise.epoch,
      altering: session?.phase === 'receiving' ? 'receiving' : cutting ? 'cutting' : undefined,
      acknowledges: primary?.couldAcknowledge(primary.epoch, nowMs) === true,
      leader: primary === undefined ? this.leader : undefined,
      streaming: session?.isFresh(nowMs) === true ? session.to : undefined,
      probing: this.#fences.isProbing,
      peers: this.#peers,
    });
    switch (verdict.kind) {
      case 'refuse':
        this.#refuse(ticket, verdict.reason, out);
        return;
      case 'repeat':
        // It is granted no sooner than the first time.
        if (this.#promise.isSynced(request.epoch)) this.#answerGrant(fence, out);
        else this.#fences.grant(fence);
        return;
      case 'probe': {
        const { epoch, node } = verdict.leader;
        const round = ++this.#round;
        this.#fences.probe(fence, round);
        out.push({ kind: 'probe', to: [node], request: { shard, epoch }, round });
        return;
      }
      case 'promise':
        this.#grant(fence, now, out);
        return;
    }
  }

  #grant(fence: WaitingFence, now: Now, out: Out): void {
    const { epoch } = fence.request;
    if (compareEpochs(epoch, this.#promise.epoch) <= 0) return void this.#refuse(fence.ticket, 'PROMISED', out);
    if (this.#primary !== undefined) this.#stepDown('another replica takes over', out);
    if (this.#candidacy !== undefined) this.#giveUp(now, out);
    if (this.#following.session?.phase !== 'cutting') this.#following.leave(out);
    this.#suspicion.clear();
    // Time for the one it was granted to, which may wait for members that are silent: two that stand sooner than the other
    // one can begin to reign would fence each other off for ever. Whoever comes out of it announces itself.
    this.#suspicion.holdBack(now.monotonicMs + GRANT_WAIT_MS + RETRY_MS);
    this.#fences.grant(fence);
    this.#promise.make(epoch, out);
  }

  /** The log is durable as a whole: the promise went to the disk behind everything that was appended. */
  #answerGrant({ ticket }: WaitingFence, out: Out): void {
    const answer = { kind: 'granted', setEpoch: this.set.mapEpoch, end: this.#log.end() } as const;
    out.push({ kind: 'answerFence', ticket, answer });
  }

  #refuse(ticket: number, reason: FenceRefusal, out: Out): void {
    const hint = this.leader;
    const answer: FenceAnswer = {
      kind: 'refused',
      reason,
      promised: this.#promise.epoch,
      ...(reason === 'SET_NEWER' ? { set: this.set } : {}),
      ...(hint === undefined ? {} : { hint }),
    };
    out.push({ kind: 'answerFence', ticket, answer });
  }

  #fail(detail: string, out: Out): void {
    if (this.#faulted !== undefined) return;
    this.#faulted = detail;
    this.#candidacy = undefined;
    this.#following.leave(out);
    for (const { ticket } of this.#fences.forsake()) this.#refuse(ticket, 'FAULTED', out);
    const { reign } = this;
    this.#primary = undefined;
    this.#noPrimary = true;
    reign?.fail(detail, out);
    out.push({ kind: 'dismiss' }, { kind: 'fault', detail });
  }
}

const NO_PEERS: PeerView = { get: () => undefined, nodes: () => [] };
