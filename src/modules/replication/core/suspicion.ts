import { compareEpochs } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { Out } from './effects.js';
import type { FollowSession } from './follow.js';
import type { KnownPrimary } from './known-primary.js';
import { RANK_STEP_MS, rankOf } from './nomination.js';
import type { FailoverTimes, PeerView } from './peer-view.js';
import type { ShardSet } from './protocol.js';
import type { ReplicaLog } from './replica-log.js';

export interface SuspicionOptions {
  readonly shard: number;
  readonly self: NodeUuid;
  readonly log: ReplicaLog;
  readonly times: FailoverTimes;
  readonly openedMs: number;
  readonly known: KnownPrimary;
  /** The set counted by. */
  readonly set: () => ShardSet;
  /** Offset in force here. */
  readonly applied: () => number;
  /** Numbers its probes among those of this copy. */
  readonly nextRound: () => number;
}

/** A copy waits this long for news of a primary before it suspects that there is none, when it has fellows. */
const SETTLE_MS = 750;
const PROBE_WAIT_MS = 600;
const OTHERS_PROBING_MAX = 3;

/** Whether a follower has a primary (5.1); if not, when it stands itself: after its place in the nomination (5.2) and a probe (5.3). */
export class Suspicion {
  readonly #options: SuspicionOptions;
  #sinceMs: number | undefined;
  /** When this copy may stand next. */
  #standAtMs: number;
  /** Until then another one, which is the better candidate, has its time, whatever is granted meanwhile. */
  #yieldUntilMs = -Infinity;
  #probing: { readonly round: number; readonly startedMs: number; left: number } | undefined;

  constructor(options: SuspicionOptions) {
    this.#options = options;
    this.#standAtMs = options.openedMs;
  }

  /** There is a primary, or will be one: of this copy's own candidacy or another one's. */
  clear(): void {
    this.#sinceMs = undefined;
    this.#probing = undefined;
  }

  /** Another copy is the better candidate: this one does not stand before, unless it has followed a primary since. */
  yield(untilMs: number): void {
    this.#yieldUntilMs = untilMs;
  }

  /** This copy follows a primary. */
  follows(): void {
    this.#yieldUntilMs = -Infinity;
  }

  /** This copy does not stand before. */
  holdBack(untilMs: number): void {
    this.#standAtMs = untilMs;
  }

  /**
   * True: this copy stands now.
   * @param mayStand it is in the set and has its hands free
   * @param reluctant another one is to be nominated before it, if there is one
   */
  tick(
    session: FollowSession | undefined,
    peers: PeerView,
    mayStand: boolean,
    reluctant: boolean,
    nowMs: number,
    out: Out,
  ): boolean {
    if (this.#isProbeOver(nowMs)) return true;
    if (!mayStand || this.#probing !== undefined) return false;
    if (!this.#lacksPrimary(session, peers, nowMs)) {
      this.#sinceMs = undefined;
      return false;
    }
    this.#sinceMs ??= nowMs;
    if (nowMs < Math.max(this.#standAtMs, this.#yieldUntilMs)) return false;
    if (nowMs - this.#sinceMs < this.#rank(peers, reluctant) * RANK_STEP_MS) return false;
    return !this.#probe(peers, nowMs, out);
  }

  /** Whether there is no primary to follow (5.1). */
  #lacksPrimary(session: FollowSession | undefined, peers: PeerView, nowMs: number): boolean {
    const { self, set, known, times, openedMs } = this.#options;
    const { leader } = known;
    if (leader === undefined || leader.node === self)
      return set().members.length === 1 || nowMs - openedMs >= SETTLE_MS;
    if (session?.isFresh(nowMs) === true) return false;
    const facts = peers.get(leader.node);
    if (facts?.gone === true || facts?.refused === true) return true;
    if (facts === undefined || facts.heardMs === -Infinity) return nowMs - openedMs >= times.failoverAfterMs;
    const { position } = facts;
    // It lives and says that it does not reign: it was restarted, or gave way.
    const denies = facts.live && position !== undefined && position.role !== 'primary';
    if (denies && session === undefined && compareEpochs(position.epoch, leader.epoch) <= 0) return true;
    // A hello without an answer is no news of it, however often one is said.
    const streamMs = session === undefined || session.phase === 'hello' ? -Infinity : session.heardMs;
    const heardMs = Math.max(facts.heardMs, streamMs);
    return nowMs - heardMs >= times.failoverAfterMs;
  }

  #rank(peers: PeerView, reluctant: boolean): number {
    const { self, log, set, known, applied } = this.#options;
    const own = { ...log.end(), setEpoch: set().mapEpoch, applied: applied(), reluctant };
    return rankOf(self, own, set(), known.named?.node, peers);
  }

  /** Before it fences, a candidate lets others look (5.3). False: there is nobody to be looked at. */
  #probe(peers: PeerView, nowMs: number, out: Out): boolean {
    const { shard, self, known, nextRound } = this.#options;
    if (known.named === undefined || known.named.node === self) return false;
    const { epoch, node } = known.named;
    const asked = this.#probers(node, peers);
    const round = nextRound();
    this.#probing = { round, startedMs: nowMs, left: asked.length + 1 };
    out.push(
      { kind: 'probe', to: [node], request: { shard, epoch }, round },
      { kind: 'probe', to: asked, request: { shard, epoch, via: node }, round },
    );
    return true;
  }

  /** Who is asked whether it reaches the primary: live members, then a few others. */
  #probers(leader: NodeUuid, peers: PeerView): readonly NodeUuid[] {
    const { self, set } = this.#options;
    const { members } = set();
    const others = peers.nodes().filter((node) => node !== leader && node !== self && peers.get(node)?.live === true);
    const rest = others.filter((node) => !members.includes(node)).slice(0, OTHERS_PROBING_MAX);
    return [...others.filter((node) => members.includes(node)), ...rest];
  }

  /** One of them saw it alive, or not. True: nobody did, and this copy stands now. */
  probed(round: number, alive: boolean, nowMs: number): boolean {
    const probing = this.#probing;
    if (probing?.round !== round) return false;
    probing.left--;
    if (alive) {
      // One yes, from anyone, aborts.
      this.clear();
      this.#options.known.lives();
      this.holdBack(nowMs + this.#options.times.heartbeatMs / 2);
      return false;
    }
    if (probing.left > 0) return false;
    this.#probing = undefined;
    return true;
  }

  /** The probe was not answered in time: nobody saw the primary alive. */
  #isProbeOver(nowMs: number): boolean {
    if (this.#probing === undefined || nowMs - this.#probing.startedMs < PROBE_WAIT_MS) return false;
    this.#probing = undefined;
    return true;
  }
}
