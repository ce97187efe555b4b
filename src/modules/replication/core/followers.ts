import type { NodeUuid } from '../../../kernel/peer.js';
import type { Ack, ShardSet } from './protocol.js';

/** A copy counts as in sync when it had everything this long ago at most, and was heard since (replication 7.1). */
export const IN_SYNC_MS = 2_000;

/** What a primary knows of one follower: lives in the stream, dies with it (replication 4.4). */
interface Follower {
  readonly link: number;
  readonly node: NodeUuid;
  durable: number;
  applied: number;
  heardMs: number;
  /** When it last had applied all there was; undefined before it did. */
  caughtUpMs: number | undefined;
  /** The primary's tail at the last ack: reached by the next one, the follower had everything at that moment. */
  tailAtAck: number;
  ackedMs: number;
}

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
      tailAtAck: Number.MAX_SAFE_INTEGER,
      ackedMs: nowMs,
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
    if (follower.applied >= tail) follower.caughtUpMs = nowMs;
    else if (follower.applied >= follower.tailAtAck) follower.caughtUpMs = follower.ackedMs;
    follower.tailAtAck = tail;
    follower.ackedMs = nowMs;
    follower.heardMs = nowMs;
    return true;
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

  appliedOf(node: NodeUuid): number {
    return this.#byNode.get(node)?.applied ?? 0;
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
      if (follower?.caughtUpMs === undefined) return false;
      return (
        nowMs - follower.caughtUpMs <= IN_SYNC_MS + heartbeatMs && nowMs - follower.heardMs <= IN_SYNC_MS + heartbeatMs
      );
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

/** Members that make a majority (replication 2.8). */
export function majority(set: ShardSet): number {
  return Math.floor(set.members.length / 2) + 1;
}
