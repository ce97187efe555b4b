import type { NodeUuid } from '../../../kernel/peer.js';
import type { Ack, ShardSet } from './protocol.js';

/** A copy counts as in sync when it had everything this long ago at most, and was heard since (replication 7.1). */
export const IN_SYNC_MS = 2_000;

/** Writes are throttled while a copy in sync applies this late (replication 3). */
export const APPLY_LATE_MS = 1_000;
/** Writes are paced while a copy in sync has had for so long what is not in its index: a longer queue there gains nothing. */
export const APPLY_PACE_MS = 150;
/** Keep-alives come, and are acknowledged, every 500 ms (4.5): who was silent for two of them is not slow, but gone or cut off. */
export const HEARD_MS = 1_000;

/** What a primary knows of one follower: lives in the stream, dies with it (replication 4.4). */
interface Follower {
  readonly link: number;
  readonly node: NodeUuid;
  durable: number;
  applied: number;
  heardMs: number;
  /** When it last had applied all there was; undefined before it did. */
  caughtUpMs: number | undefined;
  /** A tail of the primary that it had not applied then: reached, it had everything at that moment. */
  goal: { readonly tail: number; readonly ms: number } | undefined;
}

/** How a copy in sync keeps up with what is logged: it does; its index is a little behind; it is late as a whole. */
export type Lateness = 'none' | 'paced' | 'late';

/** The followers of one reign. Positions of the past are of no use: a follower that reconnects tells anew. */
export class Followers {
  readonly #byLink = new Map<number, Follower>();
  readonly #byNode = new Map<NodeUuid, Follower>();

  /**
   * A stream is accepted. A node may have two for a moment, since a hello that was held up on the way can come behind that
   * of the next stream: the one that acknowledges is the one that counts.
   */
  accept(link: number, node: NodeUuid, durable: number, nowMs: number): void {
    const follower: Follower = {
      link,
      node,
      durable,
      applied: 0,
      heardMs: nowMs,
      caughtUpMs: undefined,
      goal: undefined,
    };
    this.#byLink.set(link, follower);
    this.#byNode.set(node, follower);
  }

  /** False when the stream is not (any more) one of this reign. */
  ack(link: number, ack: Ack, tail: number, nowMs: number): boolean {
    const follower = this.#byLink.get(link);
    if (follower === undefined) return false;
    this.#byNode.set(follower.node, follower);
    follower.durable = Math.max(follower.durable, Math.min(ack.durableOffset, tail));
    follower.applied = Math.max(follower.applied, Math.min(ack.appliedOffset, tail));
    const { goal } = follower;
    if (follower.applied >= tail) follower.caughtUpMs = nowMs;
    else if (goal !== undefined && follower.applied >= goal.tail) follower.caughtUpMs = goal.ms;
    if (goal !== undefined && follower.applied >= goal.tail) follower.goal = undefined;
    follower.heardMs = nowMs;
    aim(follower, tail, nowMs);
    return true;
  }

  /**
   * Whether a copy in sync has not applied what was logged more than a second ago, or a moment ago though it has it on the
   * disk: new writes wait for it (replication 3). One that is out of sync is waited for no more (7.1), nor one that is silent.
   */
  lateness(set: ShardSet, nowMs: number, heartbeatMs: number): Lateness {
    let lateness: Lateness = 'none';
    for (const node of set.members) {
      const follower = this.#byNode.get(node);
      if (follower?.goal === undefined) continue;
      const waitedMs = nowMs - follower.goal.ms;
      if (waitedMs <= APPLY_PACE_MS || nowMs - follower.heardMs > HEARD_MS) continue;
      if (!isInSync(follower, nowMs, heartbeatMs)) continue;
      if (waitedMs > APPLY_LATE_MS) return 'late';
      // One that has not even got it is slow to reach, and would be no sooner up to date.
      if (follower.durable >= follower.goal.tail) lateness = 'paced';
    }
    return lateness;
  }

  /** The primary logged entries, up to here now. */
  logged(tail: number, nowMs: number): void {
    for (const follower of this.#byLink.values()) aim(follower, tail, nowMs);
  }

  lost(link: number): void {
    const follower = this.#byLink.get(link);
    if (follower === undefined) return;
    this.#byLink.delete(link);
    if (this.#byNode.get(follower.node) !== follower) return;
    this.#byNode.delete(follower.node);
    for (const other of this.#byLink.values()) if (other.node === follower.node) this.#byNode.set(other.node, other);
  }

  has(node: NodeUuid): boolean {
    return this.#byNode.has(node);
  }

  /** Whose stream this is, while it is one of this reign. */
  nodeOf(link: number): NodeUuid | undefined {
    return this.#byLink.get(link)?.node;
  }

  durableOf(node: NodeUuid): number {
    return this.#byNode.get(node)?.durable ?? 0;
  }

  nodes(): readonly NodeUuid[] {
    return [...this.#byNode.keys()].sort();
  }

  /** When a follower was last heard, or undefined. */
  heardMs(node: NodeUuid): number | undefined {
    return this.#byNode.get(node)?.heardMs;
  }

  /** Followers that are in sync now (7.1); learners never are. */
  inSync(set: ShardSet, nowMs: number, heartbeatMs: number): readonly NodeUuid[] {
    return set.members.filter((node) => {
      const follower = this.#byNode.get(node);
      return follower !== undefined && isInSync(follower, nowMs, heartbeatMs);
    });
  }

  /** Whether a copy that is not a member yet has caught up: what a learner must, to be admitted (9.6). */
  caughtUp(node: NodeUuid, nowMs: number): boolean {
    const at = this.#byNode.get(node)?.caughtUpMs;
    return at !== undefined && nowMs - at <= IN_SYNC_MS;
  }

  /** Durable offsets of the members, the primary's own being `own`, descending. */
  durables(set: ShardSet, self: NodeUuid, own: number): readonly number[] {
    return set.members.map((node) => (node === self ? own : this.durableOf(node))).sort((a, b) => b - a);
  }
}

/** It is measured from now on how long the follower takes for what is logged by now. */
function aim(follower: Follower, tail: number, nowMs: number): void {
  if (follower.applied < tail) follower.goal ??= { tail, ms: nowMs };
}

function isInSync({ caughtUpMs, heardMs }: Follower, nowMs: number, heartbeatMs: number): boolean {
  const patienceMs = IN_SYNC_MS + heartbeatMs;
  return caughtUpMs !== undefined && nowMs - caughtUpMs <= patienceMs && nowMs - heardMs <= patienceMs;
}

/** Members that make a majority (replication 2.8). */
export function majority(set: ShardSet): number {
  return Math.floor(set.members.length / 2) + 1;
}
