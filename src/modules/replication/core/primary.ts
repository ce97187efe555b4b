import { compareEpochs, sameEpoch, type Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { Confirmation } from './confirmation.js';
import type { Out } from './effects.js';
import { Followers, majority } from './followers.js';
import { compareAgreed, containsAgreed } from './fork.js';
import { Handover } from './handover.js';
import type { MapForce } from './inputs.js';
import { Leader } from './leader.js';
import type { MapState } from './map-state.js';
import { isBaseAbove, meetOthers, type OwnReign } from './other-reigns.js';
import type { FailoverTimes, Now, PeerView } from './peer-view.js';
import type { Ack, FenceAnswer, Hello, ShardLeader, ShardSet } from './protocol.js';
import type { ReplicaLog } from './replica-log.js';
import type { Retention } from './retention.js';
import { answerHello } from './welcome.js';

export interface PrimaryOptions {
  readonly shard: number;
  readonly self: NodeUuid;
  readonly epoch: Epoch;
  readonly log: ReplicaLog;
  readonly strict: boolean;
  readonly times: FailoverTimes;
  /** The set counted by. */
  readonly set: () => ShardSet;
  /** Whether the map had a collection and has it no more. */
  readonly isDropped: (collectionId: number) => boolean;
  readonly map: MapState | undefined;
  readonly retention: Retention;
  /** Members that granted the reign. */
  readonly granters: ReadonlySet<NodeUuid>;
  readonly applied: number;
  readonly beganMs: number;
}

/** What a primary does about its own reign: the Replica changes the role. */
export type ReignEnd =
  /** A higher epoch was met that is not to be followed: it fences above it (5.4). */
  | { readonly kind: 'fence above' }
  /** A higher reign is the base (6.2): it is followed. */
  | { readonly kind: 'give way'; readonly leader: ShardLeader }
  | { readonly kind: 'step down'; readonly detail: string };

/** A higher epoch whose primary does not show itself for this long is stepped over. */
const STEP_OVER_MS = 1_000;
/** Whoever granted a reign follows it within this, or is gone again. */
const GRANTERS_EXPECTED_MS = 1_500;
/** A member whose log is the base has this long to take the reign over. */
const BEHIND_MS = 3_000;
/** Before anything of a reign is agreed, no member's log is cut for so long after the first that must be. */
const CUT_AFTER_MS = 1_000;
/** So long after a promotion a write waits for followers that did not grant it, but may be there. */
const GATHERING_MS = 1_000;

/**
 * The primary's part of a copy, for the length of one reign: which followers it takes (4.1), the sets it logs (9.6), whom it
 * hands over to (5.7), and whether the reign still stands (5.4, 6.2). The writes are the Leader's.
 */
export class Primary {
  readonly reign: Leader;
  readonly #options: PrimaryOptions;
  readonly #log: ReplicaLog;
  readonly #followers = new Followers();
  #announced = false;
  #handover: Handover | undefined;
  #confirmation: Confirmation | undefined;
  /** Members that know more to be agreed than this log has, and since when that is known. */
  readonly #ahead = new Map<NodeUuid, number>();
  /** When the first member came whose log must be cut. */
  #cutAskedMs: number | undefined;
  /** A higher epoch whose primary nobody sees, and since when. */
  #unseen: { readonly epoch: Epoch; readonly ms: number } | undefined;

  constructor(options: PrimaryOptions) {
    const { log, epoch, self, strict, set, isDropped, times, map, granters, applied, beganMs } = options;
    this.#options = options;
    this.#log = log;
    this.reign = new Leader(
      {
        log,
        epoch,
        self,
        strict,
        set,
        isDropped,
        followers: this.#followers,
        silentMs: times.failoverAfterMs,
        heartbeatMs: times.heartbeatMs,
        map,
        expected: { nodes: granters, untilMs: beganMs + GRANTERS_EXPECTED_MS },
        gatheringUntilMs: beganMs + GATHERING_MS,
      },
      applied,
    );
  }

  get epoch(): Epoch {
    return this.#options.epoch;
  }

  get beganMs(): number {
    return this.#options.beganMs;
  }

  /** Itself, as others are told of it. */
  get leader(): ShardLeader {
    const { shard, self } = this.#options;
    return { shard, epoch: this.epoch, node: self };
  }

  /** The reign is being handed over: nothing is admitted, what comes is kept. */
  get isHandingOver(): boolean {
    return this.#handover !== undefined;
  }

  /** Whether it could acknowledge a write now: what a probe asks (5.3). */
  couldAcknowledge(epoch: Epoch, nowMs: number): boolean {
    if (this.reign.held || compareEpochs(this.epoch, epoch) < 0 || this.#handover?.handed === true) return false;
    const { self, strict, set, times } = this.#options;
    if (!strict) return true;
    const { members } = set();
    const heard = members.filter(
      (node) => node === self || nowMs - (this.#followers.heardMs(node) ?? -Infinity) <= times.failoverAfterMs,
    );
    return heard.length > members.length / 2;
  }

  /** Who is in sync, itself included (7.1). */
  syncedNodes(nowMs: number): readonly NodeUuid[] {
    const { self, set, times } = this.#options;
    return [self, ...this.#followers.inSync(set(), nowMs, times.heartbeatMs)];
  }

  /** A learner that has caught up may become a member (9.6). */
  hasCaughtUp(node: NodeUuid, nowMs: number): boolean {
    return this.#followers.caughtUp(node, nowMs);
  }

  /** For whom the log is kept: members, here or away, and whoever else follows or gets a snapshot: a learner would begin anew (2.11). */
  keptFor(): readonly NodeUuid[] {
    const { set, retention } = this.#options;
    const all = new Set([...set().members, ...this.#followers.nodes(), ...retention.receivers()]);
    all.delete(this.#options.self);
    return [...all].sort();
  }

  /** Opens the reign: the BARRIER is logged, loose rows of this copy are merged. */
  begin(wallMs: number, opId: Uint8Array, out: Out, forced?: MapForce): void {
    this.#options.retention.begin();
    this.reign.begin(wallMs, opId, out, forced);
    const isWhole = this.#log.loose === 0 && this.#log.unmerged.length === 0;
    if (!this.#options.strict && !isWhole) out.push({ kind: 'loadLoose' });
  }

  tick(now: Now, peers: PeerView, configured: ShardSet, opId: Uint8Array, out: Out): ReignEnd | undefined {
    const { self, strict, set, retention } = this.#options;
    const nowMs = now.monotonicMs;
    retention.tick(nowMs);
    this.reign.acknowledge(nowMs, out);
    const end = this.#checkConfirmed(nowMs, out);
    if (end !== undefined) return end;
    if (this.#confirmation?.isToRepeat(nowMs) === true) this.confirm(nowMs, out);
    const agreed = !strict || this.reign.highWaterMark >= this.#log.setOffset;
    if (agreed && configured.mapEpoch > 0 && !set().members.includes(self)) {
      // 9.6: a primary that is no longer of the set gives way; who is elects another. Strict: once the others have agreed.
      return { kind: 'step down', detail: 'this copy is no longer in the set of its shard' };
    }
    this.#followPlan(configured, now.wallMs, opId, out);
    this.proceedHandover(nowMs, out);
    return this.#meetOthers(peers, nowMs);
  }

  /** More of the log is durable here. Persist before promise: the reign is announced when its BARRIER is (5.6). */
  persisted(nowMs: number, out: Out): void {
    this.reign.progress(nowMs, out);
    if (this.#announced || this.#log.durable < this.reign.barrier) return;
    this.#announced = true;
    out.push({ kind: 'announce', leader: this.leader });
  }

  // ---- followers

  hello(link: number, hello: Hello, chainThere: Uint8Array | undefined, nowMs: number, out: Out): ReignEnd | undefined {
    if (compareEpochs(hello.promised, this.epoch) > 0) {
      // 5.4: a primary that meets a higher promise anywhere stops and fences above it. The hello may have waited in a stopped
      // process or on a broken link: the members are asked first, and name the reign that promise may belong to.
      out.push({ kind: 'welcome', link, answer: { kind: 'reject', reason: 'STALE_EPOCH', hint: this.leader } });
      if (this.#confirmation === undefined) this.confirm(nowMs, out);
      if (this.#confirmation === undefined) return { kind: 'fence above' };
      this.#confirmation.refuted = true;
      return undefined;
    }
    if (this.#isBehind(hello, nowMs)) {
      out.push({ kind: 'welcome', link, answer: { kind: 'reject', reason: 'BEHIND', hint: this.leader } });
      return undefined;
    }
    const answer = answerHello(this.#log, this.epoch, hello, chainThere);
    if (answer.kind !== 'accept' && hello.damaged !== true && this.#mayBeBehind(hello.nodeUuid, nowMs)) {
      out.push({ kind: 'welcome', link, answer: { kind: 'reject', reason: 'BUSY', hint: this.leader } });
      return undefined;
    }
    if (answer.kind === 'accept') {
      this.#ahead.delete(hello.nodeUuid);
      this.#followers.accept(link, hello.nodeUuid, hello.lastOffset, nowMs);
      this.#options.retention.joined(hello.nodeUuid, hello.lastOffset);
    }
    out.push({ kind: 'welcome', link, answer });
    if (answer.kind === 'accept') this.reign.progress(nowMs, out);
    return undefined;
  }

  /**
   * Whether a member knows more to be agreed than this log has: this copy reigns over a branch that is not the base (6.2), and
   * that member can do better. When it does not, within a while, the base is the log that reigns.
   */
  #isBehind(hello: Hello, nowMs: number): boolean {
    const { strict, set } = this.#options;
    const { mapEpoch, members } = set();
    if (strict || hello.damaged === true || hello.mapEpoch < mapEpoch) return false;
    // Of a newer set than the one known here it may be a member.
    if (hello.mapEpoch === mapEpoch && !members.includes(hello.nodeUuid)) return false;
    const end = this.#log.end();
    if (compareAgreed(hello, end) <= 0 || containsAgreed(end, hello)) return false;
    const sinceMs = this.#ahead.get(hello.nodeUuid) ?? nowMs;
    this.#ahead.set(hello.nodeUuid, sinceMs);
    return nowMs - sinceMs < BEHIND_MS;
  }

  /**
   * Whether a member that may know better is still to be waited for before the log of another one is cut: while nothing of this
   * reign is agreed, for a moment. A copy that was started again knows of nothing agreed, and would make this branch that of a
   * majority.
   */
  #mayBeBehind(node: NodeUuid, nowMs: number): boolean {
    const { strict, set } = this.#options;
    const { members } = set();
    if (strict || this.reign.highWaterMark > 0 || members.length < 3 || !members.includes(node)) return false;
    this.#cutAskedMs ??= nowMs;
    return nowMs - this.#cutAskedMs < CUT_AFTER_MS;
  }

  /** False when the stream is not (any more) one of this reign. */
  acked(link: number, ack: Ack, nowMs: number, out: Out): boolean {
    if (!this.#followers.ack(link, ack, this.#log.tail, nowMs)) return false;
    const node = this.#followers.nodeOf(link);
    if (node !== undefined) this.#options.retention.synced(node, this.#followers.durableOf(node));
    this.reign.progress(nowMs, out);
    return true;
  }

  lost(link: number): void {
    this.#followers.lost(link);
  }

  // ---- the set (9.6)

  /** Map epoch of the set in force when the next change of it may be made, else 0. */
  settled(): number {
    const logged = this.#log.set.mapEpoch;
    return logged === this.#options.set().mapEpoch && this.#mayChangeSet(true) ? logged : 0;
  }

  /** Logs the set the map decided, one change at a time. */
  #followPlan(configured: ShardSet, wallMs: number, opId: Uint8Array, out: Out): void {
    const logged = this.#log.set;
    if (configured.mapEpoch <= logged.mapEpoch) return;
    const adds = logged.members.every((node) => configured.members.includes(node));
    if (logged.mapEpoch > 0 && !this.#mayChangeSet(adds)) return;
    this.reign.changeSet(configured, wallMs, opId, out);
  }

  /**
   * Whether the next change of the set may be made: the last SET and a BARRIER of this epoch are below the high-water mark, or
   * on a majority of the set that is logged: of one that the map decided meanwhile too few may be left for that.
   * In available mode an addition need not wait while the live members are no majority of the set: nothing could ever
   * become agreed without it (docs/adr, the wait of an addition).
   */
  #mayChangeSet(adds: boolean): boolean {
    const { self, strict } = this.#options;
    const { set, setOffset, durable } = this.#log;
    const { members } = set;
    const logged = members.length === 0 ? 0 : this.#followers.durables(set, self, durable)[majority(set) - 1];
    if (Math.max(this.reign.highWaterMark, logged) >= Math.max(this.reign.barrier, setOffset)) return true;
    if (strict || !adds) return false;
    const live = members.filter((node) => node === self || this.#followers.has(node)).length;
    return live <= members.length / 2;
  }

  // ---- handing over (5.7)

  handOver(to: NodeUuid, nowMs: number): void {
    if (this.#handover === undefined && this.#followers.has(to)) this.#handover = new Handover(to, nowMs);
  }

  proceedHandover(nowMs: number, out: Out): void {
    const { ops } = this.reign.inFlight;
    if (this.#handover?.proceed(this.#log, this.#followers, ops, nowMs, out) !== false) return;
    this.#handover = undefined;
    this.reign.resume(out);
  }

  // ---- other reigns (5.4, 6.2)

  /** Two primaries, or a higher epoch anywhere, end in one reign. */
  #meetOthers(peers: PeerView, nowMs: number): ReignEnd | undefined {
    const met = meetOthers(this.#own(), peers);
    switch (met.kind) {
      case 'base below':
        return { kind: 'fence above' };
      case 'base above':
        return { kind: 'give way', leader: met.leader };
      case 'unseen':
        return this.#stepOver(met.leader.epoch, nowMs);
      case 'none':
        this.#unseen = undefined;
        return undefined;
      case 'in sight':
        return undefined;
    }
  }

  /** A higher epoch whose primary does not show itself for a while is stepped over (5.4). */
  #stepOver(epoch: Epoch, nowMs: number): ReignEnd | undefined {
    if (this.#unseen === undefined || !sameEpoch(this.#unseen.epoch, epoch)) this.#unseen = { epoch, ms: nowMs };
    else if (nowMs - this.#unseen.ms >= STEP_OVER_MS) return { kind: 'fence above' };
    return undefined;
  }

  #own(): OwnReign {
    const { self, shard, set, beganMs } = this.#options;
    return { self, shard, epoch: this.epoch, end: this.#log.end(), setEpoch: set().mapEpoch, sinceMs: beganMs };
  }

  // ---- after a pause, or when a higher promise was heard of (5.4)

  /** The members' answers to `confirm` are awaited. */
  get isConfirming(): boolean {
    return this.#confirmation !== undefined;
  }

  /** Asks the members whether they stand by this reign; nothing is acknowledged meanwhile. */
  confirm(nowMs: number, out: Out): void {
    const { self, shard, set: current } = this.#options;
    const set = current();
    const others = set.members.filter((node) => node !== self);
    if (others.length === 0) return;
    this.reign.hold(true, nowMs, out);
    this.#confirmation = new Confirmation(others, nowMs, this.#confirmation?.refuted === true);
    out.push({ kind: 'fence', to: others, request: { shard, epoch: this.epoch, cause: 'heal', set } });
  }

  /** A member has no objection. */
  confirmed(from: NodeUuid, nowMs: number, out: Out): ReignEnd | undefined {
    this.#confirmation?.answered(from);
    return this.#checkConfirmed(nowMs, out);
  }

  /** A member does not stand by this reign, and may name the one it stands by. */
  refuted({ reason, hint }: Extract<FenceAnswer, { kind: 'refused' }>, peers: PeerView): ReignEnd {
    if (hint !== undefined && isBaseAbove(this.#own(), hint, peers)) return { kind: 'give way', leader: hint };
    if (reason === 'PROMISED') return { kind: 'fence above' };
    return { kind: 'step down', detail: 'the set has changed meanwhile' };
  }

  #checkConfirmed(nowMs: number, out: Out): ReignEnd | undefined {
    const { strict, set } = this.#options;
    const confirmation = this.#confirmation;
    if (confirmation?.isEnough(set().members, strict, nowMs) !== true) return undefined;
    this.#confirmation = undefined;
    if (confirmation.refuted) return { kind: 'fence above' };
    this.reign.hold(false, nowMs, out);
    return undefined;
  }
}
