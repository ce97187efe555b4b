import type { NodeUuid } from '../../kernel/peer.js';
import type { ShardLeader } from '../replication/core/protocol.js';
import type { ShardRoute } from './core/route.js';

/**
 * Where the shards are, as this node knows it now: the map says which nodes hold one, epochs who is primary, heartbeats
 * who is in sync, the view who is alive. Read for every request, so an implementation keeps what it answers until
 * something changes.
 */
export interface Routes {
  readonly self: NodeUuid;
  /** Of the map the routes were made from. */
  readonly mapEpoch: number;
  /** In number order, one for each shard of the map. @throws NodeError STARTING before the map is loaded */
  shards(): readonly ShardRoute[];
  /** What is answered next is as new as can be: for those who look, not for those who route. */
  refresh(): void;
  /** The shard of the map itself (replication 9.1). */
  meta(): ShardRoute;
  /** The configured name of a node; its uuid when it is not known. */
  nodeIdOf(node: NodeUuid): string;
  /** A node said it is not the primary, and perhaps who is: routes move upward only (replication 5.6). */
  onStaleLeader(shard: number, hint: ShardLeader | undefined): void;
}

/** Injection token of the Routes. */
export const ROUTES = Symbol('ROUTES');
