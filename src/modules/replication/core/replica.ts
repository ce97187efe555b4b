import { assert, unreachable } from '../../../kernel/assert.js';
import { equalBytes, fromHex } from '../../../kernel/bytes.js';
import {
  compareEpochs,
  EPOCH_LEAP_MAX,
  NO_EPOCH,
  sameEpoch,
  type Epoch,
  type EpochStart,
} from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { versionText } from '../../../kernel/version.js';
import { entryCollectionId, entryOffset, entryOp, entryPayload } from '../../log/core/entry-codec.js';
import { shardKey } from '../../log/core/keys.js';
import { Candidacy, GRANT_WAIT_MS } from './candidacy.js';
import type { Out, ReplicaEffect } from './effects.js';
import { Followers } from './followers.js';
import { FollowSession } from './follow.js';
import { forkOf } from './fork.js';
import { Leader } from './leader.js';
import { decodeMapOperation, encodeAgreedMap } from './map-codec.js';
import type { ReplicaInput } from './inputs.js';
import type { MapState } from './map-state.js';
import { rankOf, RANK_STEP_MS } from './nomination.js';
import { isBaseAbove, meetOthers, type OwnReign } from './other-reigns.js';
import type { CopyPlan, FailoverTimes, Now, PeerView } from './peer-view.js';
import type {
  Ack,
  EntriesBatch,
  FenceAnswer,
  FenceCause,
  FenceRequest,
  Hello,
  HelloAnswer,
  LogEnd,
  Offer,
  RejectReason,
  ReplicaRole,
  ShardLeader,
  ShardPosition,
  ShardSet,
} from './protocol.js';
import type { ReplicaLog } from './replica-log.js';
import { Retention } from './retention.js';
import type { Proposal } from './write.js';

/**
 * One copy of one shard, as a pure machine: follower, candidate or primary (replication 4–6). `step(input)` returns the
 * effects the driver performs in order; `step` never reads storage, the driver passes what a decision needs.
 *
 * Owns: the promise, who is followed, the reign. The log's end and rows are the ReplicaLog's, writes the Leader's, one
 * attempt to reign the Candidacy's, one stream the FollowSession's.
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
/** A copy waits this long for news of a primary before it suspects that there is none, when it has fellows. */
const SETTLE_MS = 750;
/** Between two hellos, and after a candidacy that failed. */
const RETRY_MS = 200;
/** An answer to a hello that takes longer will not come. */
const HELLO_WAIT_MS = 1_000;
const PROBE_WAIT_MS = 600;
/** A gap this long between two ticks is a pause (1.5). */
const PAUSE_MS = 1_500;
/** A stream that brought something this recently proves its primary alive (keep-alives come every 500 ms). */
const FRESH_MS = 1_000;
/** A higher epoch whose primary does not show itself for this long is stepped over. */
const STEP_OVER_MS = 1_000;
/** A question after a pause that was not answered is asked again. */
const CONFIRM_AGAIN_MS = 1_500;
/** Whoever granted a reign follows it within this, or is gone again. */
const GRANTERS_EXPECTED_MS = 1_500;
/** So long after a promotion a write waits for followers that did not grant it, but may be there. */
const GATHERING_MS = 1_000;
const TRANSFER_WAIT_MS = 3_000;
const PULL_BYTES = 1024 * 1024;
const OTHERS_PROBING_MAX = 3;

interface WaitingFence {
  readonly ticket: number;
  readonly from: NodeUuid;
  readonly request: FenceRequest;
}

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #log: ReplicaLog;
  #promised: Epoch;
  /** Of it, what is synced: only that may be said. */
  #promisedOnDisk: Epoch;
  #leader: ShardLeader | undefined;
  /** The known primary says it is none (5.1). */
  #noPrimary = false;
  #plan: CopyPlan = { configured: { mapEpoch: 0, members: [] }, leaving: false };
  #peers: PeerView = NO_PEERS;
  #applied: number;
  #numSeen: number;
  #faulted: string | undefined;
  #reign: Leader | undefined;
  #followers = new Followers();
  readonly #retention = new Retention();
  #candidacy: Candidacy | undefined;
  #session: FollowSession | undefined;
  /** When the next hello may be said, and when this copy may stand next. */
  #helloAtMs: number;
  #standAtMs: number;
  #suspectedAtMs: number | undefined;
  #probing: { readonly round: number; readonly startedMs: number; left: number } | undefined;
  #round = 0;
  /** A fence that waits for the own probe of its primary (5.4). */
  #probingFence: (WaitingFence & { readonly round: number }) | undefined;
  /** Grants whose promise is on its way to the disk. */
  #granting: WaitingFence[] = [];
  #transfer: { readonly to: NodeUuid; readonly startedMs: number; handed: boolean } | undefined;
  /** Members asked whether they stand by this reign, after a pause or a hello that speaks against it (5.4): then `refuted`. */
  #confirming: { readonly startedMs: number; readonly missing: Set<NodeUuid>; refuted: boolean } | undefined;
  #higherSince: { readonly epoch: Epoch; readonly ms: number } | undefined;
  #announced = false;
  #reignedMs = 0;
  #lastTickMs: number;
  /** When it last had everything, as of the last tick: on an earlier stream, or in a reign of its own; at first when it was opened. */
  #hadAllMs: number;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#promised = options.promised;
    this.#promisedOnDisk = options.promised;
    this.#applied = options.applied;
    this.#numSeen = Math.max(options.promised.num, options.log.lastEpoch.num);
    this.#helloAtMs = options.openedMs;
    this.#standAtMs = options.openedMs;
    this.#lastTickMs = options.openedMs;
    this.#hadAllMs = options.openedMs;
  }

  get role(): 'primary' | 'follower' | 'candidate' {
    return this.#reign !== undefined ? 'primary' : this.#candidacy !== undefined ? 'candidate' : 'follower';
  }

  get reign(): Leader | undefined {
    return this.#reign;
  }

  get log(): ReplicaLog {
    return this.#log;
  }

  get applied(): number {
    return this.#applied;
  }

  get promised(): Epoch {
    return this.#promised;
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
    const reign = this.#reign;
    if (reign === undefined || this.#faulted !== undefined || reign.held) return false;
    if (compareEpochs(reign.epoch, epoch) < 0 || this.#transfer?.handed === true) return false;
    if (!this.#options.strict) return true;
    const { members } = this.set;
    const heard = members.filter(
      (node) =>
        node === this.#options.self ||
        nowMs - (this.#followers.heardMs(node) ?? -Infinity) <= this.#options.times.failoverAfterMs,
    );
    return heard.length > members.length / 2;
  }

  /** Whether reads may be answered from this copy as if it were the primary (7.1). */
  inSync(nowMs: number): boolean {
    if (this.#faulted !== undefined) return false;
    if (this.#reign !== undefined) return true;
    return this.#session?.isInSync(nowMs, this.#options.times.heartbeatMs) === true;
  }

  /** Followers a primary holds in sync, itself included; a follower answers what its primary told. */
  syncedNodes(nowMs: number): readonly NodeUuid[] {
    if (this.#reign === undefined) return this.#session?.inSync ?? [];
    return [this.#options.self, ...this.#followers.inSync(this.set, nowMs, this.#options.times.heartbeatMs)];
  }

  /** A learner that has caught up may become a member (9.6). */
  hasCaughtUp(node: NodeUuid, nowMs: number): boolean {
    return this.#followers.caughtUp(node, nowMs);
  }

  /** Whole milliseconds since this copy last had everything its primary had: 0 when nothing is outstanding, or it reigns. */
  lagMs(nowMs: number): number {
    return Math.max(0, Math.round(nowMs - this.#lastHadAllMs(nowMs)));
  }

  #lastHadAllMs(nowMs: number): number {
    if (this.#reign !== undefined) return nowMs;
    return this.#session?.hadAllMs(nowMs) ?? this.#hadAllMs;
  }

  get highWaterMark(): number {
    return this.#reign?.highWaterMark ?? this.#session?.highWaterMark ?? 0;
  }

  get fault(): string | undefined {
    return this.#faulted;
  }

  /** Up to here every replica that the log is kept for has it (2.11). */
  get floor(): number {
    if (this.#reign === undefined) return this.#retention.told;
    return this.#retention.floor(this.#keptFor(), this.#log.durable);
  }

  /** The replica that has least of the log, of those a primary keeps it for. */
  get slowest(): NodeUuid | undefined {
    return this.#reign === undefined ? undefined : this.#retention.slowest(this.#keptFor());
  }

  /** Members, here or away, and whoever else follows: a learner would begin anew. */
  #keptFor(): readonly NodeUuid[] {
    const all = new Set([...this.set.members, ...this.#followers.nodes()]);
    all.delete(this.#options.self);
    return [...all].sort();
  }

  /** Whether a set the map decided at `mapEpoch` or later, in which `node` is not, agreed to the log up to `offset` (9.6). */
  agreedWithout(node: NodeUuid, mapEpoch: number, offset: number): boolean {
    const reign = this.#reign;
    if (reign === undefined || this.#faulted !== undefined) return false;
    const { set, setOffset } = this.#log;
    if (set.mapEpoch < mapEpoch || set.members.includes(node)) return false;
    return reign.highWaterMark >= Math.max(offset, setOffset);
  }

  /** How this copy stands, for the heartbeats; the driver adds the number of documents. */
  position(nowMs: number): Omit<ShardPosition, 'documents'> {
    const { self } = this.#options;
    const role: ReplicaRole =
      this.#reign !== undefined ? 'primary' : this.set.members.includes(self) ? 'replica' : 'learner';
    return {
      shard: this.#options.shard,
      role,
      epoch: this.leader?.epoch ?? NO_EPOCH,
      leader: this.leader?.node ?? '',
      setEpoch: this.set.mapEpoch,
      settled: this.#settled(),
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
        this.#revalidate(input.now, out);
        break;
      case 'transfer':
        this.#beginTransfer(input.to, input.now);
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
        this.#endSession(input.now);
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
        this.#acked(input.link, input.ack, input.now, out);
        break;
      case 'offered':
        this.#offered(input.offer, input.stored, input.now, input.opId, out);
        break;
      case 'linkEnded':
        this.#followers.lost(input.link);
        break;
      case 'loose':
        this.#reign?.merge(input.entries, input.stored, true, out);
        break;
      case 'probed':
        this.#probed(input.round, input.alive, input.now, out);
        break;
      case 'fenced':
        this.#fenced(input, out);
        break;
      case 'fence':
        this.#fence(input, input.now, out);
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
    if (this.#reign !== undefined) this.#tickPrimary(this.#reign, now, opId, out);
    else if (this.#candidacy !== undefined) this.#proceed(this.#candidacy, now, opId, out);
    else this.#tickFollower(now, out);
  }

  /** A gap between two ticks means that this process stood still (1.5): what it believes may be old. */
  #noticePause(now: Now, out: Out): void {
    const paused = now.monotonicMs - this.#lastTickMs > PAUSE_MS;
    this.#lastTickMs = now.monotonicMs;
    if (paused) this.#revalidate(now, out);
  }

  /** What another node's heartbeat says of who is primary. */
  #heardOf(node: NodeUuid, now: Now, out: Out): void {
    const position = this.#peers.get(node)?.position;
    if (position === undefined || position.leader === '') return;
    const { shard } = this.#options;
    this.#learn({ shard, epoch: position.epoch, node: position.leader }, now, out);
  }

  #tickPrimary(reign: Leader, now: Now, opId: Uint8Array, out: Out): void {
    const { self, strict } = this.#options;
    const nowMs = now.monotonicMs;
    reign.acknowledge(nowMs, out);
    this.#checkConfirmed(now, out);
    // It may have ended with that.
    if (this.#reign !== reign) return;
    if (this.#confirming !== undefined && nowMs - this.#confirming.startedMs >= CONFIRM_AGAIN_MS)
      this.#revalidate(now, out);
    const agreed = !strict || reign.highWaterMark >= this.#log.setOffset;
    if (agreed && this.#plan.configured.mapEpoch > 0 && !this.set.members.includes(self)) {
      // 9.6: a primary that is no longer of the set gives way; who is elects another. Strict: once the others have agreed.
      this.#stepDown('this copy is no longer in the set of its shard', out);
      return;
    }
    this.#followPlan(reign, now, opId, out);
    this.#proceedTransfer(nowMs, out);
    this.#meetOthers(reign, now, out);
  }

  /** Two primaries, or a higher epoch anywhere, end in one reign (5.4, 6.2). */
  #meetOthers(reign: Leader, now: Now, out: Out): void {
    const met = meetOthers(this.#ownReign(reign), this.#peers);
    switch (met.kind) {
      case 'base below':
        this.#stand('heal', now, out);
        return;
      case 'base above':
        this.#giveWay(met.leader, now, out);
        return;
      case 'unseen':
        this.#stepOver(met.leader.epoch, now, out);
        return;
      case 'none':
        this.#higherSince = undefined;
        return;
      case 'in sight':
        return;
    }
  }

  /** A higher epoch whose primary does not show itself for a while is stepped over (5.4). */
  #stepOver(epoch: Epoch, now: Now, out: Out): void {
    if (this.#higherSince === undefined || !sameEpoch(this.#higherSince.epoch, epoch)) {
      this.#higherSince = { epoch, ms: now.monotonicMs };
    } else if (now.monotonicMs - this.#higherSince.ms >= STEP_OVER_MS) this.#stand('heal', now, out);
  }

  /** Ends the reign for a higher one, whose branch is the base: the rows beyond the fork become loose there (6.4). */
  #giveWay(leader: ShardLeader, now: Now, out: Out): void {
    this.#stepDown('a higher epoch was met', out);
    this.#learn(leader, now, out);
  }

  #ownReign({ epoch }: Leader): OwnReign {
    const { self, shard } = this.#options;
    return { self, shard, epoch, end: this.#log.end(), setEpoch: this.set.mapEpoch, sinceMs: this.#reignedMs };
  }

  #tickFollower(now: Now, out: Out): void {
    const nowMs = now.monotonicMs;
    if (this.#session === undefined) this.#sayHello(now, out);
    else if (this.#session.phase !== 'cutting' && this.#session.phase !== 'receiving') {
      // A stream on which nothing comes, not even keep-alives or an answer to the hello, is no stream.
      const patienceMs = this.#session.phase === 'hello' ? HELLO_WAIT_MS : this.#options.times.failoverAfterMs;
      if (nowMs - this.#session.heardMs > patienceMs) {
        out.push({ kind: 'unfollow' });
        this.#endSession(now);
      }
    }
    if (this.#probing !== undefined && nowMs - this.#probing.startedMs >= PROBE_WAIT_MS) {
      this.#probing = undefined;
      this.#stand('suspect', now, out);
      return;
    }
    if (!this.#mayStand() || this.#probing !== undefined) return;
    if (!this.#suspects(nowMs)) {
      this.#suspectedAtMs = undefined;
      return;
    }
    this.#suspectedAtMs ??= nowMs;
    if (nowMs < this.#standAtMs) return;
    const suspected = this.#leader?.node;
    const own = { ...this.#log.end(), setEpoch: this.set.mapEpoch, reluctant: this.#plan.leaving };
    const rank = rankOf(this.#options.self, own, this.set, suspected, this.#peers);
    if (nowMs - this.#suspectedAtMs < rank * RANK_STEP_MS) return;
    this.#probeFirst(now, out);
  }

  #mayStand(): boolean {
    const busy = this.#session?.phase === 'cutting' || this.#session?.phase === 'receiving';
    return !busy && this.#granting.length === 0 && this.set.members.includes(this.#options.self);
  }

  /** Whether there is no primary to follow (5.1). */
  #suspects(nowMs: number): boolean {
    const { self, openedMs, times } = this.#options;
    const alone = this.set.members.length === 1;
    const leader = this.#leader;
    if (leader === undefined || this.#noPrimary || leader.node === self) return alone || nowMs - openedMs >= SETTLE_MS;
    if (this.#session?.phase === 'streaming' && nowMs - this.#session.heardMs < FRESH_MS) return false;
    const facts = this.#peers.get(leader.node);
    if (facts?.gone === true || facts?.refused === true) return true;
    if (facts === undefined || facts.heardMs === -Infinity) return nowMs - openedMs >= times.failoverAfterMs;
    const { position } = facts;
    if (facts.live && position !== undefined) {
      // It lives and says that it does not reign: it was restarted, or gave way.
      if (
        position.role !== 'primary' &&
        this.#session === undefined &&
        compareEpochs(position.epoch, leader.epoch) <= 0
      )
        return true;
    }
    const heardMs = Math.max(facts.heardMs, this.#session?.heardMs ?? -Infinity);
    return nowMs - heardMs >= times.failoverAfterMs;
  }

  // ---- following

  #sayHello(now: Now, out: Out): void {
    const leader = this.leader;
    if (leader === undefined || leader.node === this.#options.self || now.monotonicMs < this.#helloAtMs) return;
    // Only a log that is durable as a whole can be compared.
    if (this.#log.durable !== this.#log.tail) return;
    this.#helloAtMs = now.monotonicMs + RETRY_MS;
    this.#session = new FollowSession(leader.node, now.monotonicMs);
    const { shard, self, bootCount } = this.#options;
    const hello: Hello = {
      ...this.#log.end(),
      shard,
      nodeUuid: self,
      bootCount,
      mapEpoch: this.#plan.configured.mapEpoch,
      promised: this.#promised,
      loose: this.#log.loose,
    };
    out.push({ kind: 'follow', to: leader.node, hello });
  }

  #welcomed(answer: HelloAnswer, now: Now, out: Out): void {
    const session = this.#session;
    if (session?.phase !== 'hello') return;
    session.heard(now.monotonicMs);
    if (answer.kind === 'reject') {
      this.#rejected(answer.reason, answer.hint, now, out);
      return;
    }
    this.#saw(answer.epoch.num);
    if (compareEpochs(answer.epoch, this.#promised) < 0) {
      out.push({ kind: 'unfollow' });
      this.#endSession(now);
      return;
    }
    session.epoch = answer.epoch;
    this.#noPrimary = false;
    this.#leader = { shard: this.#options.shard, epoch: answer.epoch, node: session.to };
    // Following a higher epoch raises the promise (4.3): synced before the first acknowledgement, which comes behind it.
    if (compareEpochs(answer.epoch, this.#promised) > 0) this.#promise(answer.epoch, out);
    switch (answer.kind) {
      case 'accept':
        session.phase = 'streaming';
        out.push({ kind: 'role', role: 'follower', epoch: answer.epoch }, { kind: 'ack' });
        this.#offerLoose(session, out);
        return;
      case 'diverged':
        if (answer.fork < this.#log.start || answer.fork >= this.#log.tail) {
          this.#fail(`the primary names offset ${answer.fork} as the fork of this log, which cannot be cut there`, out);
          return;
        }
        session.phase = 'cutting';
        out.push({ kind: 'truncate', to: answer.fork });
        return;
      case 'snapshot':
        session.phase = 'receiving';
        out.push({ kind: 'receive', at: answer.at, fork: answer.fork });
        return;
    }
  }

  #rejected(reason: RejectReason, hint: ShardLeader | undefined, now: Now, out: Out): void {
    const { to } = this.#session ?? { to: '' };
    out.push({ kind: 'unfollow' });
    this.#endSession(now);
    if (reason === 'NOT_PRIMARY' || reason === 'UNKNOWN_SHARD' || reason === 'FAULTED') {
      if (this.#leader?.node === to) this.#noPrimary = true;
      if (hint !== undefined && hint.node !== to) this.#learn(hint, now, out);
    }
  }

  #batch(
    batch: EntriesBatch,
    problem: string | undefined,
    stored: readonly (Uint8Array | undefined)[],
    now: Now,
    out: Out,
  ): void {
    const session = this.#session;
    if (session?.phase !== 'streaming') return;
    const refused =
      problem ??
      (!sameEpoch(batch.epoch, session.epoch)
        ? 'the batch is of another epoch'
        : compareEpochs(batch.epoch, this.#promised) < 0
          ? 'a higher epoch was promised meanwhile'
          : batch.prevOffset !== this.#log.tail || !equalBytes(batch.prevChain, this.#log.chain)
            ? 'the batch does not continue this log'
            : undefined);
    if (refused !== undefined) {
      out.push({ kind: 'unfollow' });
      this.#endSession(now);
      return;
    }
    session.took(batch, this.#applied, now.monotonicMs);
    this.#retention.tell(batch.floor);
    if (batch.entries.length > 0) this.#followEntries(batch.entries, stored, out);
    else out.push({ kind: 'ack' });
    this.#agree(Math.min(session.highWaterMark, this.#log.durable), out);
    this.#offerLoose(session, out);
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

  #offerLoose(session: FollowSession, out: Out): void {
    if (session.offered || this.#log.loose === 0 || this.#options.strict) return;
    session.offered = true;
    out.push({ kind: 'offer', branch: branchOf(this.#log.history, this.#log.tail) });
  }

  #endSession(now: Now): void {
    if (this.#session === undefined) return;
    const { phase } = this.#session;
    // The driver still cuts, or takes the snapshot in: its completion ends the session.
    if (phase === 'cutting') return;
    this.#session = undefined;
    this.#helloAtMs = Math.max(this.#helloAtMs, now.monotonicMs + RETRY_MS / 4);
  }

  #replaced({ log, applied, now }: Extract<ReplicaInput, { kind: 'replaced' }>, out: Out): void {
    this.#log.replaced(log);
    this.#retention.cut(log.tail);
    this.#options.map?.cut(log.tail);
    this.#applied = Math.min(applied, log.tail);
    const candidacy = this.#candidacy;
    if (candidacy?.phase === 'cutting') {
      this.#pullNext(candidacy, out);
      return;
    }
    if (this.#session !== undefined) {
      out.push({ kind: 'unfollow' });
      this.#session = undefined;
    }
    this.#helloAtMs = now.monotonicMs;
  }

  // ---- writing

  #propose(proposals: readonly Proposal[], now: Now, out: Out): void {
    const reign = this.#reign;
    if (this.#faulted !== undefined) {
      const outcome = { kind: 'refused', code: 'LOG_CORRUPT', detail: this.#faulted } as const;
      for (const { ticket } of proposals) out.push({ kind: 'reply', reply: { ticket, outcome } });
      return;
    }
    if (reign === undefined || this.#transfer !== undefined) {
      const hint = this.#transfer === undefined ? this.leader : undefined;
      const outcome = { kind: 'redirect', ...(hint === undefined ? {} : { hint }) } as const;
      for (const { ticket } of proposals) out.push({ kind: 'reply', reply: { ticket, outcome } });
      return;
    }
    if (now.monotonicMs - this.#lastTickMs > PAUSE_MS) this.#noticePause(now, out);
    reign.propose(proposals, now.wallMs, now.monotonicMs, out);
  }

  #persisted(offset: number, now: Now, out: Out): void {
    const entries = this.#log.persisted(offset);
    const { strict } = this.#options;
    if (!strict) out.push({ kind: 'apply', entries, tail: offset });
    const reign = this.#reign;
    if (reign !== undefined) {
      reign.progress(now.monotonicMs, out);
      this.#announce(reign, out);
      this.#agree(reign.highWaterMark, out);
      return;
    }
    if (this.#candidacy?.phase === 'pulling') this.#pullNext(this.#candidacy, out);
    if (this.#session !== undefined) {
      out.push({ kind: 'ack' });
      this.#agree(Math.min(this.#session.highWaterMark, offset), out);
    }
    if (!strict) this.#sweepPurged(entries, out);
  }

  /** A follower drops the rows of collections whose end it logged. */
  #sweepPurged(entries: readonly Uint8Array[], out: Out): void {
    for (const entry of entries)
      if (entryOp(entry) === 'COLLECTION_PURGE') out.push({ kind: 'sweep', collectionId: entryCollectionId(entry) });
  }

  #appliedUpTo(offset: number, now: Now, out: Out): void {
    this.#applied = Math.max(this.#applied, Math.min(offset, this.#log.durable));
    this.#session?.applied(this.#applied);
    if (this.#reign !== undefined) this.#reign.applied(this.#applied, now.monotonicMs, out);
    else if (this.#session !== undefined) out.push({ kind: 'ack' });
  }

  /** Strict: what is below the high-water mark takes effect (9.1). */
  #agree(highWaterMark: number, out: Out): void {
    const { map, shard, strict } = this.#options;
    if (!strict) return;
    this.#applied = Math.max(this.#applied, highWaterMark);
    this.#session?.applied(this.#applied);
    // What is agreed is in force: there is no index to wait for.
    this.#reign?.applied(this.#applied, this.#lastTickMs, out);
    const agreed = map?.agree(highWaterMark);
    if (map === undefined || agreed === undefined) return;
    const value = encodeAgreedMap({ map: agreed, offset: map.agreedOffset });
    out.push(
      { kind: 'append', batch: { shard, entries: [], rows: [{ key: shardKey(shard, MAP_ROW), value }] }, tail: 0 },
      { kind: 'map', map: agreed },
    );
  }

  /** Logs the set the map decided (9.6), one change at a time. */
  #followPlan(reign: Leader, now: Now, opId: Uint8Array, out: Out): void {
    const { configured } = this.#plan;
    const logged = this.#log.set;
    if (configured.mapEpoch <= logged.mapEpoch) return;
    const adds = logged.members.every((node) => configured.members.includes(node));
    if (logged.mapEpoch > 0 && !this.#mayChangeSet(reign, adds)) return;
    reign.changeSet(configured, now.wallMs, opId, out);
  }

  /**
   * Whether the next change of the set may be made: the last SET and a BARRIER of this epoch are below the high-water mark.
   * In available mode an addition need not wait while the live members are no majority of the set: nothing could ever
   * become agreed without it (docs/adr, the wait of an addition).
   */
  #mayChangeSet(reign: Leader, adds: boolean): boolean {
    if (reign.highWaterMark >= reign.barrier && reign.highWaterMark >= this.#log.setOffset) return true;
    if (this.#options.strict || !adds) return false;
    const { members } = this.#log.set;
    const live = members.filter((node) => node === this.#options.self || this.#followers.has(node)).length;
    return live <= members.length / 2;
  }

  #settled(): number {
    const reign = this.#reign;
    if (reign === undefined) return 0;
    const logged = this.#log.set.mapEpoch;
    return logged === this.set.mapEpoch && this.#mayChangeSet(reign, true) ? logged : 0;
  }

  // ---- followers of this primary

  #hello(link: number, hello: Hello, chainThere: Uint8Array | undefined, now: Now, out: Out): void {
    this.#saw(hello.promised.num);
    const reject = (reason: RejectReason): void => {
      const hint = this.leader;
      const answer = { kind: 'reject', reason, ...(hint === undefined ? {} : { hint }) } as const;
      out.push({ kind: 'welcome', link, answer });
    };
    const reign = this.#reign;
    if (this.#faulted !== undefined) return void reject('FAULTED');
    if (reign === undefined) return void reject('NOT_PRIMARY');
    if (compareEpochs(hello.promised, reign.epoch) > 0) {
      // 5.4: a primary that meets a higher promise anywhere stops and fences above it. The hello may have waited in a stopped
      // process or on a broken link: the members are asked first, and name the reign that promise may belong to.
      reject('STALE_EPOCH');
      if (this.#confirming === undefined) this.#revalidate(now, out);
      if (this.#confirming === undefined) this.#stand('heal', now, out);
      else this.#confirming.refuted = true;
      return;
    }
    const { epoch } = reign;
    const fork = forkOf(this.#log.end(), hello);
    const whole =
      fork === hello.lastOffset && (fork === 0 || (chainThere !== undefined && equalBytes(chainThere, hello.chain)));
    if (whole && fork >= this.#log.start) {
      this.#followers.accept(link, hello.nodeUuid, hello.lastOffset, now.monotonicMs);
      this.#retention.joined(hello.nodeUuid, hello.lastOffset);
      out.push({ kind: 'welcome', link, answer: { kind: 'accept', epoch, from: fork + 1 } });
      reign.progress(now.monotonicMs, out);
      return;
    }
    const damaged = fork === hello.lastOffset && !whole && fork >= this.#log.start;
    if (fork < this.#log.start || fork < hello.start || damaged) {
      out.push({
        kind: 'welcome',
        link,
        answer: { kind: 'snapshot', epoch, fork: damaged ? 0 : fork, at: this.#log.end() },
      });
      return;
    }
    out.push({ kind: 'welcome', link, answer: { kind: 'diverged', epoch, fork } });
  }

  #acked(link: number, ack: Ack, now: Now, out: Out): void {
    const reign = this.#reign;
    if (reign === undefined || !this.#followers.ack(link, ack, this.#log.tail, now.monotonicMs)) return;
    const node = this.#followers.nodeOf(link);
    if (node !== undefined) this.#retention.synced(node, this.#followers.durableOf(node));
    reign.progress(now.monotonicMs, out);
    this.#agree(Math.min(reign.highWaterMark, this.#log.durable), out);
    this.#proceedTransfer(now.monotonicMs, out);
  }

  #offered(offer: Offer, stored: readonly (Uint8Array | undefined)[], now: Now, opId: Uint8Array, out: Out): void {
    const reign = this.#reign;
    if (reign === undefined) return;
    reign.merge(offer.entries, stored, false, out);
    if (offer.last && offer.branch.length > 0) reign.merged(offer.branch, now.wallMs, opId, out);
  }

  // ---- handing over (5.7)

  #beginTransfer(to: NodeUuid, now: Now): void {
    if (this.#reign === undefined || this.#transfer !== undefined || !this.#followers.has(to)) return;
    this.#transfer = { to, startedMs: now.monotonicMs, handed: false };
  }

  #proceedTransfer(nowMs: number, out: Out): void {
    const transfer = this.#transfer;
    if (transfer === undefined) return;
    if (nowMs - transfer.startedMs > TRANSFER_WAIT_MS || !this.#followers.has(transfer.to)) {
      this.#transfer = undefined;
      return;
    }
    const { tail, durable } = this.#log;
    if (transfer.handed || durable !== tail || this.#reign?.inFlight.ops !== 0) return;
    if (this.#followers.durableOf(transfer.to) !== tail) return;
    transfer.handed = true;
    out.push({ kind: 'handOver', to: transfer.to });
  }

  #takeOver(epoch: Epoch, now: Now, out: Out): void {
    const session = this.#session;
    if (session?.phase !== 'streaming' || !sameEpoch(session.epoch, epoch) || !this.#mayStand()) return;
    this.#stand('transfer', now, out);
  }

  // ---- elections

  #saw(num: number): void {
    // 1.2: a leap this far is an error or an attack, not a reign.
    if (num > this.#numSeen && num - this.#numSeen <= EPOCH_LEAP_MAX) this.#numSeen = num;
  }

  #learn(leader: ShardLeader, now: Now, out: Out): void {
    const known = this.#leader;
    this.#saw(leader.epoch.num);
    if (leader.epoch.num > this.#numSeen) return;
    if (known !== undefined && compareEpochs(leader.epoch, known.epoch) <= 0) return;
    if (this.#reign !== undefined || leader.node === this.#options.self) return;
    this.#leader = leader;
    this.#noPrimary = false;
    if (this.#candidacy !== undefined && compareEpochs(leader.epoch, this.#candidacy.epoch) > 0) this.#giveUp(now, out);
    if (this.#session !== undefined && this.#session.phase !== 'cutting' && this.#session.to !== leader.node) {
      out.push({ kind: 'unfollow' });
      this.#session = undefined;
    }
    this.#suspectedAtMs = undefined;
    this.#probing = undefined;
    this.#helloAtMs = Math.min(this.#helloAtMs, now.monotonicMs);
  }

  /** Before it fences, a candidate lets others look (5.3). */
  #probeFirst(now: Now, out: Out): void {
    const leader = this.#leader;
    if (leader === undefined || leader.node === this.#options.self) {
      this.#stand('suspect', now, out);
      return;
    }
    const { shard, self } = this.#options;
    const others = this.#peers
      .nodes()
      .filter((node) => node !== leader.node && node !== self && this.#peers.get(node)?.live === true);
    const members = others.filter((node) => this.set.members.includes(node));
    const rest = others.filter((node) => !members.includes(node)).slice(0, OTHERS_PROBING_MAX);
    const asks = [...members, ...rest];
    this.#round++;
    this.#probing = { round: this.#round, startedMs: now.monotonicMs, left: asks.length + 1 };
    out.push(
      { kind: 'probe', to: [leader.node], request: { shard, epoch: leader.epoch }, round: this.#round },
      { kind: 'probe', to: asks, request: { shard, epoch: leader.epoch, via: leader.node }, round: this.#round },
    );
  }

  #probed(round: number, alive: boolean, now: Now, out: Out): void {
    if (this.#probingFence?.round === round) {
      const waiting = this.#probingFence;
      this.#probingFence = undefined;
      if (alive) this.#refuse(waiting.ticket, 'PRIMARY_LIVES', out);
      else this.#grant(waiting, now, out);
      return;
    }
    const probing = this.#probing;
    if (probing?.round !== round) return;
    probing.left--;
    if (alive) {
      // One yes, from anyone, aborts.
      this.#probing = undefined;
      this.#suspectedAtMs = undefined;
      this.#noPrimary = false;
      this.#standAtMs = now.monotonicMs + this.#options.times.heartbeatMs / 2;
    } else if (probing.left === 0) {
      this.#probing = undefined;
      this.#stand('suspect', now, out);
    }
  }

  /** Becomes a candidate in a new epoch: promises it, then fences (5.4). */
  #stand(cause: FenceCause, now: Now, out: Out): void {
    const { self } = this.#options;
    if (this.#reign !== undefined) this.#stepDown('a higher epoch was met', out);
    if (!this.set.members.includes(self) || this.#faulted !== undefined) return;
    if (this.#session !== undefined) {
      if (this.#session.phase === 'cutting' || this.#session.phase === 'receiving') return;
      out.push({ kind: 'unfollow' });
      this.#session = undefined;
    }
    const uuid = fromHex(self);
    assert(uuid !== undefined, 'a node uuid is hexadecimal');
    const epoch: Epoch = { num: this.#numSeen + 1, uuid };
    this.#numSeen = epoch.num;
    this.#candidacy = new Candidacy(epoch, cause, now.monotonicMs);
    this.#suspectedAtMs = undefined;
    this.#probing = undefined;
    out.push({ kind: 'role', role: 'candidate', epoch });
    this.#promise(epoch, out);
  }

  #promise(epoch: Epoch, out: Out): void {
    this.#promised = epoch;
    out.push({ kind: 'promise', epoch });
  }

  #promisedDurably(epoch: Epoch, now: Now, opId: Uint8Array, out: Out): void {
    if (compareEpochs(epoch, this.#promisedOnDisk) > 0) this.#promisedOnDisk = epoch;
    for (const waiting of this.#granting.filter(({ request }) => sameEpoch(request.epoch, epoch)))
      this.#answerGrant(waiting, out);
    this.#granting = this.#granting.filter(({ request }) => !sameEpoch(request.epoch, epoch));
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
    if (this.#confirming !== undefined && this.#reign !== undefined && sameEpoch(this.#reign.epoch, epoch)) {
      this.#confirmed(from, answer, now, out);
      return;
    }
    const candidacy = this.#candidacy;
    if (candidacy === undefined || !sameEpoch(candidacy.epoch, epoch)) return;
    if (answer === 'refused') candidacy.unreachable(from);
    else if (answer !== 'silent') {
      if (answer.kind === 'granted') candidacy.granted(from, { setEpoch: answer.setEpoch, end: answer.end });
      else if (answer.reason === 'FAULTED' || answer.reason === 'UNKNOWN_SHARD') candidacy.unreachable(from);
      else {
        this.#saw(answer.promised.num);
        this.#giveUp(now, out);
        if (answer.hint !== undefined) this.#learn(answer.hint, now, out);
        if (answer.reason === 'PRIMARY_LIVES') this.#followLiving(answer.hint, now);
        return;
      }
    }
    this.#proceed(candidacy, now, opId, out);
  }

  /**
   * A primary lives. It may be the one that was suspected; or one in a lower epoch than another that is known and reigns no
   * more, say of a node that left the set: the hello tells it of the higher promise, and it fences above that (5.4).
   */
  #followLiving(living: ShardLeader | undefined, now: Now): void {
    if (living !== undefined && living.node !== this.#options.self && (this.#noPrimary || this.#leader === undefined))
      this.#leader = living;
    this.#noPrimary = false;
    this.#helloAtMs = Math.min(this.#helloAtMs, now.monotonicMs);
  }

  /** Looks whether a candidacy can be decided. @param opId for the BARRIER */
  #proceed(candidacy: Candidacy, now: Now, opId: Uint8Array, out: Out): void {
    if (candidacy.phase !== 'fencing') return;
    if (this.#log.durable !== this.#log.tail) return;
    const { self, strict } = this.#options;
    const end = this.#log.end();
    const decision = candidacy.decide(self, end, this.set, strict, this.#peers, now.monotonicMs);
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
        this.#adopt(candidacy, decision.from, decision.end, now, out);
        return;
    }
  }

  /** Takes the part of a granter's log that goes further (5.5): cut to the fork, pull the rest. */
  #adopt(candidacy: Candidacy, from: NodeUuid, end: LogEnd, now: Now, out: Out): void {
    const fork = forkOf(this.#log.end(), end);
    if (fork < this.#log.start || fork < end.start) {
      // Only a snapshot would do: the granter itself is the better candidate, and is nominated before this copy (5.2).
      this.#giveUp(now, out);
      // That one granted just now, and gives this candidate its time (`#grant`) before it stands itself.
      this.#standAtMs = now.monotonicMs + 2 * (GRANT_WAIT_MS + RETRY_MS);
      return;
    }
    candidacy.adopting = { from, end };
    if (fork < this.#log.tail) {
      candidacy.phase = 'cutting';
      out.push({ kind: 'truncate', to: fork });
    } else this.#pullNext(candidacy, out);
  }

  #pullNext(candidacy: Candidacy, out: Out): void {
    const { adopting, epoch } = candidacy;
    if (adopting === undefined || this.#log.durable !== this.#log.tail) return;
    if (this.#log.tail >= adopting.end.lastOffset) {
      // Looked at again as a whole: the adopted log may have brought another set (5.5).
      candidacy.adopting = undefined;
      candidacy.phase = 'fencing';
      return;
    }
    candidacy.phase = 'pulling';
    const { shard } = this.#options;
    out.push({
      kind: 'pull',
      to: adopting.from,
      request: { shard, epoch, from: this.#log.tail + 1, bytesMax: PULL_BYTES },
    });
  }

  #pulled(input: Extract<ReplicaInput, { kind: 'pulled' }>, out: Out): void {
    const candidacy = this.#candidacy;
    if (candidacy?.phase !== 'pulling' || !sameEpoch(candidacy.epoch, input.epoch)) return;
    const { answer, problem, stored, now } = input;
    if (answer === undefined || problem !== undefined || answer.entries.length === 0) {
      const from = candidacy.adopting?.from ?? '';
      candidacy.adopting = undefined;
      candidacy.phase = 'fencing';
      if (this.#options.strict) this.#giveUp(now, out);
      else {
        candidacy.forget(from);
        this.#proceed(candidacy, now, input.opId, out);
      }
      return;
    }
    this.#followEntries(answer.entries, stored, out);
  }

  #giveUp(now: Now, out: Out): void {
    const candidacy = this.#candidacy;
    if (candidacy === undefined) return;
    // The driver still cuts: what it brings is taken in as a follower.
    this.#candidacy = undefined;
    const place = Math.max(0, this.set.members.indexOf(this.#options.self));
    this.#standAtMs = now.monotonicMs + RETRY_MS * (1 + place);
    out.push({ kind: 'role', role: 'follower', epoch: this.#promised });
  }

  #begin(candidacy: Candidacy, now: Now, opId: Uint8Array, out: Out): void {
    const { self, shard, strict, map } = this.#options;
    this.#candidacy = undefined;
    this.#followers = new Followers();
    this.#retention.begin();
    this.#transfer = undefined;
    this.#higherSince = undefined;
    this.#announced = false;
    this.#reignedMs = now.monotonicMs;
    const { epoch } = candidacy;
    const reign = new Leader(
      {
        log: this.#log,
        epoch,
        self,
        strict,
        set: () => this.set,
        followers: this.#followers,
        silentMs: this.#options.times.failoverAfterMs,
        map,
        expected: { nodes: candidacy.granters(), untilMs: now.monotonicMs + GRANTERS_EXPECTED_MS },
        gatheringUntilMs: now.monotonicMs + GATHERING_MS,
      },
      this.#applied,
    );
    this.#reign = reign;
    this.#leader = { shard, epoch, node: self };
    this.#noPrimary = false;
    out.push({ kind: 'role', role: 'primary', epoch });
    reign.begin(now.wallMs, opId, out);
    if (!strict && this.#log.loose > 0) out.push({ kind: 'loadLoose' });
  }

  /** Persist before promise: the reign is announced when its BARRIER is durable (5.6). */
  #announce(reign: Leader, out: Out): void {
    if (this.#announced || this.#log.durable < reign.barrier) return;
    this.#announced = true;
    out.push({
      kind: 'announce',
      leader: { shard: this.#options.shard, epoch: reign.epoch, node: this.#options.self },
    });
  }

  #stepDown(detail: string, out: Out): void {
    const reign = this.#reign;
    if (reign === undefined) return;
    this.#reign = undefined;
    this.#transfer = undefined;
    this.#confirming = undefined;
    this.#followers = new Followers();
    this.#noPrimary = true;
    reign.stop(detail, out);
    out.push({ kind: 'dismiss' }, { kind: 'role', role: 'follower', epoch: this.#promised });
  }

  // ---- answering a fence (5.4)

  #fence(input: WaitingFence, now: Now, out: Out): void {
    const { ticket, from, request } = input;
    this.#saw(request.epoch.num);
    if (this.#faulted !== undefined) return void this.#refuse(ticket, 'FAULTED', out);
    if (request.epoch.num > this.#numSeen) return void this.#refuse(ticket, 'PROMISED', out);
    if (!this.#options.strict && request.set.mapEpoch < this.set.mapEpoch)
      return void this.#refuse(ticket, 'SET_NEWER', out);
    const order = compareEpochs(request.epoch, this.#promised);
    if (order < 0) return void this.#refuse(ticket, 'PROMISED', out);
    if (order === 0) {
      // Its own grant repeated is granted again, and no sooner than the first time.
      if (compareEpochs(this.#promisedOnDisk, request.epoch) >= 0) this.#answerGrant({ ticket, from, request }, out);
      else this.#granting.push({ ticket, from, request });
      return;
    }
    // A log that is being cut has no end to tell for a moment; one that a snapshot replaces counts nowhere until then.
    if (this.#session?.phase === 'receiving') return void this.#refuse(ticket, 'FAULTED', out);
    if (this.#session?.phase === 'cutting' || this.#candidacy?.phase === 'cutting')
      return void this.#refuse(ticket, 'PROMISED', out);
    if (request.cause === 'suspect') {
      if (this.#reign !== undefined && this.couldAcknowledge(this.#reign.epoch, now.monotonicMs))
        return void this.#refuse(ticket, 'PRIMARY_LIVES', out);
      const leader = this.leader;
      if (
        this.#reign === undefined &&
        leader !== undefined &&
        leader.node !== from &&
        leader.node !== this.#options.self
      ) {
        const session = this.#session;
        const fresh = session?.phase === 'streaming' && now.monotonicMs - session.heardMs < FRESH_MS;
        if (fresh && session.to === leader.node) return void this.#refuse(ticket, 'PRIMARY_LIVES', out);
        const facts = this.#peers.get(leader.node);
        if (facts !== undefined && !facts.gone && !facts.refused && this.#probingFence === undefined) {
          // Its own probe decides.
          this.#round++;
          this.#probingFence = { ticket, from, request, round: this.#round };
          const { shard } = this.#options;
          out.push({ kind: 'probe', to: [leader.node], request: { shard, epoch: leader.epoch }, round: this.#round });
          return;
        }
      }
    }
    this.#grant({ ticket, from, request }, now, out);
  }

  #grant(waiting: WaitingFence, now: Now, out: Out): void {
    const { request } = waiting;
    if (compareEpochs(request.epoch, this.#promised) <= 0) return void this.#refuse(waiting.ticket, 'PROMISED', out);
    if (this.#reign !== undefined) this.#stepDown('another replica takes over', out);
    if (this.#candidacy !== undefined) this.#giveUp(now, out);
    if (this.#session !== undefined && this.#session.phase !== 'cutting') {
      out.push({ kind: 'unfollow' });
      this.#session = undefined;
    }
    this.#suspectedAtMs = undefined;
    this.#probing = undefined;
    // Time for the one it was granted to, which may wait for members that are silent: two that stand sooner than the other
    // one can begin to reign would fence each other off for ever. Whoever comes out of it announces itself.
    this.#standAtMs = now.monotonicMs + GRANT_WAIT_MS + RETRY_MS;
    this.#granting.push(waiting);
    this.#promise(request.epoch, out);
  }

  /** The log is durable as a whole: the promise went to the disk behind everything that was appended. */
  #answerGrant({ ticket }: WaitingFence, out: Out): void {
    out.push({
      kind: 'answerFence',
      ticket,
      answer: { kind: 'granted', setEpoch: this.set.mapEpoch, end: this.#log.end() },
    });
  }

  #refuse(ticket: number, reason: Extract<FenceAnswer, { kind: 'refused' }>['reason'], out: Out): void {
    const hint = this.leader;
    const answer: FenceAnswer = {
      kind: 'refused',
      reason,
      promised: this.#promised,
      ...(reason === 'SET_NEWER' ? { set: this.set } : {}),
      ...(hint === undefined ? {} : { hint }),
    };
    out.push({ kind: 'answerFence', ticket, answer });
  }

  // ---- after a pause, or when a higher promise was heard of (5.4)

  #revalidate(now: Now, out: Out): void {
    const reign = this.#reign;
    const { self, shard } = this.#options;
    const others = this.set.members.filter((node) => node !== self);
    if (reign === undefined || others.length === 0) return;
    reign.hold(true, now.monotonicMs, out);
    const refuted = this.#confirming?.refuted === true;
    this.#confirming = { startedMs: now.monotonicMs, missing: new Set(others), refuted };
    out.push({ kind: 'fence', to: others, request: { shard, epoch: reign.epoch, cause: 'heal', set: this.set } });
  }

  #confirmed(from: NodeUuid, answer: FenceAnswer | 'refused' | 'silent', now: Now, out: Out): void {
    if (answer === 'silent') return;
    if (
      answer !== 'refused' &&
      answer.kind === 'refused' &&
      (answer.reason === 'PROMISED' || answer.reason === 'SET_NEWER')
    ) {
      this.#saw(answer.promised.num);
      const { hint } = answer;
      const reign = this.#reign;
      if (hint !== undefined && reign !== undefined && isBaseAbove(this.#ownReign(reign), hint, this.#peers))
        this.#giveWay(hint, now, out);
      else if (answer.reason === 'PROMISED') this.#stand('heal', now, out);
      else this.#stepDown('the set has changed meanwhile', out);
      return;
    }
    this.#confirming?.missing.delete(from);
    this.#checkConfirmed(now, out);
  }

  #checkConfirmed(now: Now, out: Out): void {
    const confirming = this.#confirming;
    if (confirming === undefined || this.#reign === undefined) return;
    const { members } = this.set;
    const nowMs = now.monotonicMs;
    const answered = members.length - confirming.missing.size;
    const enough = this.#options.strict
      ? answered > members.length / 2
      : confirming.missing.size === 0 || nowMs - confirming.startedMs >= FRESH_MS;
    if (!enough) return;
    this.#confirming = undefined;
    if (confirming.refuted) this.#stand('heal', now, out);
    else this.#reign.hold(false, nowMs, out);
  }

  #fail(detail: string, out: Out): void {
    if (this.#faulted !== undefined) return;
    this.#faulted = detail;
    this.#candidacy = undefined;
    if (this.#session !== undefined) out.push({ kind: 'unfollow' });
    this.#session = undefined;
    for (const { ticket } of this.#granting) this.#refuse(ticket, 'FAULTED', out);
    this.#granting = [];
    const reign = this.#reign;
    this.#reign = undefined;
    this.#noPrimary = true;
    reign?.fail(detail, out);
    out.push({ kind: 'dismiss' }, { kind: 'fault', detail });
  }
}

const NO_PEERS: PeerView = { get: () => undefined, nodes: () => [] };

/** The epochs of a log and where each ends: what MERGED says of a branch. */
function branchOf(history: readonly EpochStart[], tail: number): Offer['branch'] {
  return history.map(({ epoch }, i) => ({ epoch, end: i + 1 < history.length ? history[i + 1].start - 1 : tail }));
}
