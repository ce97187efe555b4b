import type { NodeUuid } from '../../../kernel/peer.js';
import { baseOf } from './fork.js';
import { majority } from './followers.js';
import type { LogEnd, ShardSet } from './protocol.js';
import type { PeerView } from './peer-view.js';

/** Wait for the grants of members that may still answer (5.4). */
export const GRANT_WAIT_MS = 1_000;
/** The same while fewer than a majority granted and a missing one was heard lately. */
export const GRANT_WAIT_HEARD_MS = 3_000;

export interface Grant {
  readonly setEpoch: number;
  readonly end: LogEnd;
}

export type Decision =
  /** Too few answers yet. */
  | { readonly kind: 'wait' }
  /** This candidacy cannot succeed: the copy is not in the set, or a majority is out of reach. */
  | { readonly kind: 'give up' }
  /** Another granter's log is the base: adopt it first (5.5). */
  | { readonly kind: 'adopt'; readonly from: NodeUuid; readonly end: LogEnd }
  | { readonly kind: 'reign' };

/**
 * Who granted one attempt to become primary, and what that allows (5.4, 5.5). Decides only; the Election asks.
 */
export class Candidacy {
  readonly #startedMs: number;
  readonly #grants = new Map<NodeUuid, Grant>();
  readonly #refusing = new Set<NodeUuid>();

  constructor(startedMs: number) {
    this.#startedMs = startedMs;
  }

  granted(node: NodeUuid, grant: Grant): void {
    this.#grants.set(node, grant);
  }

  /** The node's port refused the connection: it is not waited for. */
  unreachable(node: NodeUuid): void {
    this.#refusing.add(node);
  }

  /** Its log cannot be adopted: what it has beyond ours waits for it to come back (available mode only). */
  forget(node: NodeUuid): void {
    this.#grants.delete(node);
    this.#refusing.add(node);
  }

  /** Who granted it. */
  granters(): ReadonlySet<NodeUuid> {
    return new Set(this.#grants.keys());
  }

  decide(self: NodeUuid, own: LogEnd, set: ShardSet, strict: boolean, peers: PeerView, nowMs: number): Decision {
    if (!set.members.includes(self)) return { kind: 'give up' };
    const granted = set.members.filter((node) => node === self || this.#grants.has(node)).length;
    const waitedMs = nowMs - this.#startedMs;
    if (strict) {
      if (granted < majority(set)) {
        return waitedMs < GRANT_WAIT_HEARD_MS ? { kind: 'wait' } : { kind: 'give up' };
      }
    } else if (!this.#settled(self, set, granted, peers, nowMs, waitedMs)) return { kind: 'wait' };
    const others = [...this.#grants].filter(
      ([node, { setEpoch }]) => node !== self && set.members.includes(node) && (strict || setEpoch >= set.mapEpoch),
    );
    others.sort(([a], [b]) => (a < b ? -1 : 1));
    const base = baseOf([own, ...others.map(([, { end }]) => end)]);
    if (base === 0) return { kind: 'reign' };
    const [from, { end }] = others[base - 1];
    return { kind: 'adopt', from, end };
  }

  /** Available mode: every other member granted, is gone, refused the connection, or was waited for long enough. */
  #settled(self: NodeUuid, set: ShardSet, granted: number, peers: PeerView, nowMs: number, waitedMs: number): boolean {
    let lately = false;
    let missing = false;
    for (const node of set.members) {
      if (node === self || this.#grants.has(node) || this.#refusing.has(node)) continue;
      const facts = peers.get(node);
      if (facts?.gone === true || facts?.refused === true) continue;
      missing = true;
      if (facts !== undefined && nowMs - facts.heardMs <= GRANT_WAIT_HEARD_MS) lately = true;
    }
    if (!missing) return true;
    const limitMs = granted < majority(set) && lately ? GRANT_WAIT_HEARD_MS : GRANT_WAIT_MS;
    return waitedMs >= limitMs;
  }
}
