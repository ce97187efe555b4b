import { compareEpochs } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { FollowSession } from './follow.js';
import { RANK_STEP_MS } from './nomination.js';
import type { PeerView } from './peer-view.js';
import type { ShardLeader, ShardSet } from './protocol.js';

/** A copy waits this long for news of a primary before it suspects that there is none, when it has fellows. */
const SETTLE_MS = 750;
const PROBE_WAIT_MS = 600;
const OTHERS_PROBING_MAX = 3;

/** What a copy that does not reign goes by when it asks itself whether there is a primary. */
export interface Outlook {
  readonly self: NodeUuid;
  readonly set: ShardSet;
  /** The primary it follows or knows of; undefined when it knows none, or the known one says it is none. */
  readonly leader: ShardLeader | undefined;
  readonly session: FollowSession | undefined;
  readonly peers: PeerView;
  readonly openedMs: number;
  readonly failoverAfterMs: number;
}

/** Whether there is no primary to follow (5.1). */
export function lacksPrimary(outlook: Outlook, nowMs: number): boolean {
  const { self, set, leader, session, peers, openedMs, failoverAfterMs } = outlook;
  if (leader === undefined || leader.node === self) return set.members.length === 1 || nowMs - openedMs >= SETTLE_MS;
  if (session?.isFresh(nowMs) === true) return false;
  const facts = peers.get(leader.node);
  if (facts?.gone === true || facts?.refused === true) return true;
  if (facts === undefined || facts.heardMs === -Infinity) return nowMs - openedMs >= failoverAfterMs;
  const { position } = facts;
  // It lives and says that it does not reign: it was restarted, or gave way.
  const denies = facts.live && position !== undefined && position.role !== 'primary';
  if (denies && session === undefined && compareEpochs(position.epoch, leader.epoch) <= 0) return true;
  const heardMs = Math.max(facts.heardMs, session?.heardMs ?? -Infinity);
  return nowMs - heardMs >= failoverAfterMs;
}

/** Who is asked whether it reaches the primary too, before it is fenced (5.3): live members, then a few others. */
export function probersOf(leader: NodeUuid, self: NodeUuid, set: ShardSet, peers: PeerView): readonly NodeUuid[] {
  const others = peers.nodes().filter((node) => node !== leader && node !== self && peers.get(node)?.live === true);
  const members = others.filter((node) => set.members.includes(node));
  const rest = others.filter((node) => !members.includes(node)).slice(0, OTHERS_PROBING_MAX);
  return [...members, ...rest];
}

/** How long a copy has lacked a primary, and when it stands itself: after its place in the nomination (5.2) and a probe (5.3). */
export class Suspicion {
  #sinceMs: number | undefined;
  /** When this copy may stand next. */
  #standAtMs: number;
  #probing: { readonly round: number; readonly startedMs: number; left: number } | undefined;

  constructor(openedMs: number) {
    this.#standAtMs = openedMs;
  }

  /** There is a primary, or will be one: of this copy's own candidacy or another one's. */
  clear(): void {
    this.#sinceMs = undefined;
    this.#probing = undefined;
  }

  /** This copy does not stand before. */
  holdBack(untilMs: number): void {
    this.#standAtMs = untilMs;
  }

  get isProbing(): boolean {
    return this.#probing !== undefined;
  }

  /** @param rank this copy's place in the order of nomination, asked for when it matters */
  isRipe(lacksPrimary: boolean, nowMs: number, rank: () => number): boolean {
    if (!lacksPrimary) {
      this.#sinceMs = undefined;
      return false;
    }
    this.#sinceMs ??= nowMs;
    return nowMs >= this.#standAtMs && nowMs - this.#sinceMs >= rank() * RANK_STEP_MS;
  }

  /** So many nodes, this one included, look whether the primary lives. */
  probe(round: number, count: number, nowMs: number): void {
    this.#probing = { round, startedMs: nowMs, left: count };
  }

  /** One of them saw it alive, or not; one yes, from anyone, aborts. Undefined: not decided yet, or over long ago. */
  probed(round: number, alive: boolean): 'lives' | 'silent' | undefined {
    const probing = this.#probing;
    if (probing?.round !== round) return undefined;
    probing.left--;
    if (alive) {
      this.clear();
      return 'lives';
    }
    if (probing.left > 0) return undefined;
    this.#probing = undefined;
    return 'silent';
  }

  /** The probe was not answered in time: nobody saw the primary alive. */
  isProbeOver(nowMs: number): boolean {
    if (this.#probing === undefined || nowMs - this.#probing.startedMs < PROBE_WAIT_MS) return false;
    this.#probing = undefined;
    return true;
  }
}
