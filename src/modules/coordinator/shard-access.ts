import type { NodeUuid } from '../../kernel/peer.js';
import type { ShardAnswer, ShardAsk, ShardCall } from './core/shard-calls.js';

export interface ShardCallOptions {
  /** The call ends by then, with PeerError TIMEOUT at the latest. */
  readonly timeoutMs: number;
  /** Ends the wait, and tells the other side that nobody waits any more. */
  readonly signal?: AbortSignal;
}

/**
 * The shards of one node, this one or another (architecture, "Who owns what"). Implementations: LocalShards, and the
 * gRPC client of another node. Rejects with PeerError when a node gave no answer, with NodeError OVERLOADED when too
 * many calls wait for it; refusals of single shards are values.
 */
export interface ShardAccess {
  call<C extends ShardCall>(kind: C, ask: ShardAsk<C>, options: ShardCallOptions): Promise<ShardAnswer<C>>;
}

/** The way to the shards of other nodes, by uuid: the implementation knows their addresses from the view. */
export interface PeerShards {
  of(node: NodeUuid): ShardAccess;
  /** Calls under way there, as that node last said of itself; 0 when it said nothing lately. */
  reportedLoad(node: NodeUuid): number;
  /** The generation that what is sent there from now on has at least: above those of all streams that broke. */
  generation(node: NodeUuid): number;
  /** The node is gone from the map: what waits for it fails. */
  forget(node: NodeUuid): void;
}

/** Injection token of the PeerShards. */
export const PEER_SHARDS = Symbol('PEER_SHARDS');
