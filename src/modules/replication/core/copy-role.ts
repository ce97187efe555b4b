import { compareEpochs, sameEpoch, type Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { FORCED_EPOCH_LEAP } from '../../ring/core/forced-set.js';
import { nodeByUuid } from '../../ring/core/map.js';
import { believedPeers } from './believed-peers.js';
import { GRANT_WAIT_MS } from './candidacy.js';
import { isRefutation } from './confirmation.js';
import type { Out } from './effects.js';
import { Election, type ElectionEnd } from './election.js';
import { EpochPromise } from './epoch-promise.js';
import { Fences, type Occupation, type WaitingFence } from './fences.js';
import { Following } from './following.js';
import type { MapForce, ReplicaInput } from './inputs.js';
import { KnownPrimary } from './known-primary.js';
import { RANK_STEP_MS } from './nomination.js';
import type { MapState } from './map-state.js';
import type { CopyPlan, FailoverTimes, Now, PeerView } from './peer-view.js';
import { Primary, type ReignEnd } from './primary.js';
import type { FenceAnswer, FenceCause, HelloAnswer, ShardLeader, ShardSet } from './protocol.js';
import type { ReplicaLog } from './replica-log.js';
import type { Retention } from './retention.js';
import { Suspicion } from './suspicion.js';

export interface CopyRoleOptions {
  readonly shard: number;
  readonly self: NodeUuid;
  readonly bootCount: number;
  readonly log: ReplicaLog;
  readonly promised: Epoch;
  readonly strict: boolean;
  readonly times: FailoverTimes;
  readonly map: MapState | undefined;
  readonly retention: Retention;
  readonly openedMs: number;
  /** The set counted by. */
  readonly set: () => ShardSet;
  /** Whether the map had a collection and has it no more. */
  readonly isDropped: (collectionId: number) => boolean;
  /** Offset in force here. */
  readonly applied: () => number;
}

/** Between the end of a candidacy that failed and the next one; members one after the other. */
const RETRY_MS = 200;

type Told<K extends ReplicaInput['kind']> = Extract<ReplicaInput, { readonly kind: K }>;

/**
 * What a copy is, follower, candidate or primary, and every change between the three (5, 6). What each of them does is the
 * part's: Following and Suspicion of a follower, Election of a candidate, Primary of a primary; the KnownPrimary, the
 * EpochPromise and the Fences belong to all.
 *
 * Flow: follower → (suspects its primary) candidate → primary → (meets a higher epoch) candidate or follower.
 *
 * Invariants: the promise never decreases and is synced before anything that follows from it is said; an epoch is used once.
 */
export class CopyRole {
  readonly following: Following;
  readonly #options: CopyRoleOptions;
  readonly #promise: EpochPromise;
  readonly #known = new KnownPrimary();
  readonly #fences: Fences;
  readonly #suspicion: Suspicion;
  #election: Election | undefined;
  #primary: Primary | undefined;
  #peers: PeerView = NO_PEERS;
  #fault: string | undefined;
  #forced: MapForce | undefined;

  constructor(options: CopyRoleOptions) {
    const { log, promised, retention } = options;
    this.#options = options;
    const promise = new EpochPromise(promised, Math.max(promised.num, log.lastEpoch.num));
    this.#promise = promise;
    // Of this copy's own probes and those for a fence.
    let round = 0;
    const nextRound = (): number => ++round;
    this.following = new Following({ ...options, promise, retention });
    this.#fences = new Fences({ ...options, promise, leader: () => this.leader, nextRound });
    this.#suspicion = new Suspicion({ ...options, known: this.#known, nextRound });
  }

  get name(): 'primary' | 'follower' | 'candidate' {
    return this.#primary !== undefined ? 'primary' : this.#election !== undefined ? 'candidate' : 'follower';
  }

  get primary(): Primary | undefined {
    return this.#primary;
  }

  get election(): Election | undefined {
    return this.#election;
  }

  get promised(): Epoch {
    return this.#promise.epoch;
  }

  get leader(): ShardLeader | undefined {
    return this.#known.leader;
  }

  /** Why it can be none of the three any more. */
  get fault(): string | undefined {
    return this.#fault;
  }

  // ---- time

  tick({ now, peers, plan, opId }: Told<'tick'>, out: Out): void {
    // What others still know of a reign that is lost must be below those of a forced set.
    if (plan.epochFloor > 0) this.#promise.saw(plan.epochFloor);
    this.#peers = believedPeers(peers, this.#promise);
    if (this.#fault !== undefined) return;
    for (const node of this.#peers.nodes()) this.#heardOf(node, now, out);
    if (this.#primary !== undefined)
      this.#end(this.#primary.tick(now, this.#peers, plan.configured, opId, out), now, out);
    else if (this.#election !== undefined)
      this.#decided(this.#election, this.#election.proceed(this.#peers, now.monotonicMs, out), now, opId, out);
    else this.#tickFollower(plan, now, out);
  }

  /** What another node's heartbeat says of who is primary. */
  #heardOf(node: NodeUuid, now: Now, out: Out): void {
    const position = this.#peers.get(node)?.position;
    if (position === undefined || position.leader === '') return;
    const { shard } = this.#options;
    this.learn({ shard, epoch: position.epoch, node: position.leader }, now, out);
  }

  #tickFollower(plan: CopyPlan, now: Now, out: Out): void {
    const nowMs = now.monotonicMs;
    this.#findPrimary();
    const { leader } = this;
    const isLeaderFull = leader !== undefined && this.#peers.get(leader.node)?.full === true;
    this.following.tick(leader, isLeaderFull, plan, nowMs, out);
    const { session } = this.following;
    const mayStand = this.#mayStand() && this.#mayWin();
    if (this.#suspicion.tick(session, this.#peers, mayStand, plan.leaving, nowMs, out))
      this.#stand('suspect', now, out);
  }

  /**
   * A copy that was removed from the set suspects nobody and never stands: knowing no primary it turns to whoever says it
   * reigns. One in a lower epoch than was promised here learns that from the hello, and fences above it (5.4): else what this
   * copy wrote in a reign of its own would never be merged (6.4).
   */
  #findPrimary(): void {
    const { set, self, shard } = this.#options;
    if (this.leader !== undefined || set().members.includes(self)) return;
    for (const node of this.#peers.nodes()) {
      const facts = this.#peers.get(node);
      if (facts?.live !== true || facts.position?.role !== 'primary') continue;
      this.#known.is({ shard, epoch: facts.position.epoch, node });
      return;
    }
  }

  #mayStand(): boolean {
    return (
      !this.following.isAltering && !this.#fences.isGranting && this.#options.set().members.includes(this.#options.self)
    );
  }

  /**
   * Strict: not while so many members are gone that no majority could grant it. Each candidacy takes an epoch, and one that
   * stood all the while would in the end be further ahead than is believed of anybody (1.2).
   */
  #mayWin(): boolean {
    const { strict, set } = this.#options;
    const { members } = set();
    return !strict || members.filter((node) => this.#peers.get(node)?.gone === true).length * 2 < members.length;
  }

  // ---- who is primary

  welcomed({ answer, now }: Told<'welcomed'>, out: Out): void {
    const welcome = this.following.welcomed(answer, now.monotonicMs, out);
    if (welcome === undefined) return;
    if (welcome.kind === 'follows') {
      this.#suspicion.follows();
      this.#known.is(welcome.leader);
      if (welcome.problem !== undefined) this.fail(welcome.problem, out);
      return;
    }
    const { by, reason, hint } = welcome;
    if (reason === 'BEHIND' && this.#mayStand()) {
      this.#stand('heal', now, out);
      return;
    }
    if (reason === 'NOT_PRIMARY' || reason === 'UNKNOWN_SHARD' || reason === 'FAULTED') {
      this.#known.deniedBy(by);
      if (hint !== undefined && hint.node !== by) this.learn(hint, now, out);
    }
  }

  /** Somebody names a primary: only ever moves upward. */
  learn(leader: ShardLeader, now: Now, out: Out): void {
    if (!this.#promise.saw(leader.epoch.num) || !this.#known.isAbove(leader)) return;
    if (this.#primary !== undefined || leader.node === this.#options.self) return;
    this.#known.is(leader);
    if (this.#election !== undefined && compareEpochs(leader.epoch, this.#election.epoch) > 0) this.#giveUp(now, out);
    const { session } = this.following;
    if (session?.to !== leader.node) this.following.leave(out);
    this.#suspicion.clear();
    this.following.hurry(now.monotonicMs);
  }

  /**
   * A primary lives. It may be the one that was suspected; or one in a lower epoch than another that is known and reigns no
   * more, say of a node that left the set: the hello tells it of the higher promise, and it fences above that (5.4).
   */
  #followLiving(living: ShardLeader | undefined, now: Now): void {
    if (living !== undefined && living.node !== this.#options.self && this.leader === undefined) this.#known.is(living);
    else this.#known.lives();
    this.following.hurry(now.monotonicMs);
  }

  takeOver({ epoch, now }: Told<'takeOver'>, out: Out): void {
    const { session } = this.following;
    if (session?.phase !== 'streaming' || !sameEpoch(session.epoch, epoch) || !this.#mayStand()) return;
    this.#stand('transfer', now, out);
  }

  /** Stands at once, whoever else may reign; nobody else is asked (5.8). */
  force(force: MapForce, now: Now, out: Out): void {
    const base = this.#options.map?.tentative;
    // A copy that its own map does not know can be no voter of it.
    if (base === undefined || nodeByUuid(base, this.#options.self) === undefined) return;
    if (this.#options.log.alteration !== undefined) return;
    this.#forced = force;
    this.#promise.leap(FORCED_EPOCH_LEAP);
    this.#stand('heal', now, out);
    if (this.#election === undefined) this.#forced = undefined;
  }

  /** An operator made it stand: until the forced set is logged, with the BARRIER, it counts alone. */
  get isForced(): boolean {
    return this.#forced !== undefined;
  }

  // ---- standing (5.3–5.5)

  probed({ round, alive, now }: Told<'probed'>, out: Out): void {
    const granted = this.#fences.probed(round, alive, this.#occupation(now.monotonicMs), out);
    if (granted !== undefined) for (const fence of granted) this.#grant(fence, now, out);
    else if (this.#suspicion.probed(round, alive, now.monotonicMs)) this.#stand('suspect', now, out);
  }

  /** Becomes a candidate in a new epoch: promises it, then fences (5.4). */
  #stand(cause: FenceCause, now: Now, out: Out): void {
    const { self } = this.#options;
    if (this.#primary !== undefined) this.#stepDown('a higher epoch was met', out);
    if (!this.#options.set().members.includes(self) || this.#fault !== undefined) return;
    if (this.following.isAltering) return;
    this.following.leave(out);
    const epoch = this.#promise.next(self);
    this.#election = new Election({ ...this.#options, epoch, cause, beganMs: now.monotonicMs });
    this.#suspicion.clear();
    out.push({ kind: 'role', role: 'candidate', epoch });
    this.#promise.make(epoch, out);
  }

  promisedDurably({ epoch, now, opId }: Told<'promised'>, out: Out): void {
    this.#promise.synced(epoch);
    this.#fences.promised(epoch, out);
    const election = this.#election;
    if (election === undefined) return;
    this.#decided(election, election.promised(epoch, this.#peers, now.monotonicMs, out), now, opId, out);
  }

  fenced({ epoch, from, answer, now, opId }: Told<'fenced'>, out: Out): void {
    const [primary, election] = [this.#primary, this.#election];
    if (primary?.isConfirming === true && sameEpoch(primary.epoch, epoch)) {
      this.#confirmed(primary, from, answer, now, out);
      return;
    }
    if (election === undefined || !sameEpoch(election.epoch, epoch)) return;
    this.#decided(election, election.answered(from, answer, this.#peers, now.monotonicMs, out), now, opId, out);
  }

  pulled({ epoch, answer, problem, stored, now, opId }: Told<'pulled'>, out: Out): void {
    const election = this.#election;
    if (election === undefined || !sameEpoch(election.epoch, epoch)) return;
    const entries = problem === undefined ? answer?.entries : undefined;
    this.#decided(election, election.pulled(entries, stored, this.#peers, now.monotonicMs, out), now, opId, out);
  }

  /** @param opId for the BARRIER */
  #decided(election: Election, end: ElectionEnd | undefined, now: Now, opId: Uint8Array, out: Out): void {
    switch (end?.kind) {
      case 'reign':
        this.#begin(election.epoch, end.granters, now, opId, out);
        return;
      case 'give up':
        this.#giveUp(now, out);
        return;
      case 'leave to another':
        this.#giveUp(now, out);
        // That one granted just now, and gives this candidate its time (`#grant`) before it stands itself, after its turn.
        this.#suspicion.yield(
          now.monotonicMs + 2 * (GRANT_WAIT_MS + RETRY_MS) + this.#options.set().members.length * RANK_STEP_MS,
        );
        return;
      case 'refused': {
        const { promised, hint, reason } = end.answer;
        this.#promise.saw(promised.num);
        this.#giveUp(now, out);
        if (hint !== undefined) this.learn(hint, now, out);
        if (reason === 'PRIMARY_LIVES') this.#followLiving(hint, now);
        return;
      }
      case undefined:
        return;
    }
  }

  #giveUp(now: Now, out: Out): void {
    if (this.#election === undefined) return;
    // The driver may still cut: what it brings is taken in as a follower.
    this.#election = undefined;
    this.#forced = undefined;
    const place = Math.max(0, this.#options.set().members.indexOf(this.#options.self));
    this.#suspicion.holdBack(now.monotonicMs + RETRY_MS * (1 + place));
    out.push({ kind: 'role', role: 'follower', epoch: this.#promise.epoch });
  }

  // ---- reigning

  #begin(epoch: Epoch, granters: ReadonlySet<NodeUuid>, now: Now, opId: Uint8Array, out: Out): void {
    this.#election = undefined;
    const primary = new Primary({
      ...this.#options,
      epoch,
      granters,
      applied: this.#options.applied(),
      beganMs: now.monotonicMs,
    });
    this.#primary = primary;
    this.#known.is(primary.leader);
    this.following.reigns(out);
    out.push({ kind: 'role', role: 'primary', epoch });
    const forced = this.#forced;
    this.#forced = undefined;
    primary.begin(now.wallMs, opId, out, forced);
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
        this.learn(end.leader, now, out);
        return;
      case 'step down':
        this.#stepDown(end.detail, out);
        return;
      case undefined:
        return;
    }
  }

  #stepDown(detail: string, out: Out): void {
    const primary = this.#primary;
    if (primary === undefined) return;
    this.#primary = undefined;
    this.#known.denies();
    primary.reign.stop(detail, out);
    out.push({ kind: 'dismiss' }, { kind: 'role', role: 'follower', epoch: this.#promise.epoch });
  }

  // ---- what others ask

  hello({ link, hello, chainThere, now }: Told<'hello'>, out: Out): void {
    const believed = this.#promise.saw(hello.promised.num);
    const primary = this.#primary;
    if (believed && primary !== undefined && this.#fault === undefined) {
      this.#end(primary.hello(link, hello, chainThere, now.monotonicMs, out), now, out);
      return;
    }
    const reason = this.#fault !== undefined ? 'FAULTED' : believed ? 'NOT_PRIMARY' : 'STALE_EPOCH';
    const hint = this.leader;
    const answer: HelloAnswer = { kind: 'reject', reason, ...(hint === undefined ? {} : { hint }) };
    out.push({ kind: 'welcome', link, answer });
  }

  fence({ ticket, from, request, now }: Told<'fence'>, out: Out): void {
    const fence = { ticket, from, request };
    if (this.#fences.asked(fence, this.#occupation(now.monotonicMs), this.#peers, out)) this.#grant(fence, now, out);
  }

  /** The log was cut, or replaced: who asked for a promise meanwhile is answered. */
  altered(now: Now, out: Out): void {
    for (const fence of this.#fences.takeWaiting()) {
      if (this.#fences.asked(fence, this.#occupation(now.monotonicMs), this.#peers, out)) this.#grant(fence, now, out);
    }
  }

  #occupation(nowMs: number): Occupation {
    const { session } = this.following;
    const { alteration } = this.#options.log;
    const primary = this.#primary;
    const held = primary?.couldAcknowledge(primary.epoch, nowMs) === false;
    return {
      faulted: this.#fault !== undefined,
      altering: alteration ?? (session?.phase === 'receiving' ? 'replacing' : undefined),
      reigning: primary === undefined ? undefined : held ? 'held' : 'acknowledging',
      streaming: session?.isFresh(nowMs) === true ? session.to : undefined,
    };
  }

  #grant(fence: WaitingFence, now: Now, out: Out): void {
    const { epoch } = fence.request;
    if (compareEpochs(epoch, this.#promise.epoch) <= 0) return void this.#fences.refuse(fence, 'PROMISED', out);
    if (this.#primary !== undefined) this.#stepDown('another replica takes over', out);
    this.#giveUp(now, out);
    this.following.leave(out);
    this.#suspicion.clear();
    // Time for the one it was granted to, which may wait for members that are silent: two that stand sooner than the other
    // one can begin to reign would fence each other off for ever. Whoever comes out of it announces itself.
    this.#suspicion.holdBack(now.monotonicMs + GRANT_WAIT_MS + RETRY_MS);
    this.#fences.grant(fence);
    this.#promise.make(epoch, out);
  }

  /** The copy is damaged: it says and does nothing any more. */
  fail(detail: string, out: Out): void {
    if (this.#fault !== undefined) return;
    this.#fault = detail;
    this.#election = undefined;
    this.#forced = undefined;
    this.following.leave(out);
    this.#fences.forsake(out);
    const primary = this.#primary;
    this.#primary = undefined;
    this.#known.denies();
    primary?.reign.fail(detail, out);
    out.push({ kind: 'dismiss' }, { kind: 'fault', detail });
  }
}

const NO_PEERS: PeerView = { get: () => undefined, nodes: () => [] };
