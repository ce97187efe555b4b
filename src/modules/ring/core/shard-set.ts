import { META_SHARD } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { ClusterMap, ShardPlacement } from './map.js';

/** The configured replicas of a shard, by which majorities are counted (replication 9.6). */
export interface ShardSet {
  /** Map epoch that decided it; 0 before the map decided anything. */
  readonly mapEpoch: number;
  /** In the map's order: the first is the preferred primary. The order may change within one `mapEpoch`. */
  readonly members: readonly NodeUuid[];
}

export const NO_SET: ShardSet = { mapEpoch: 0, members: [] };

/** Where a shard's copies are; META_SHARD's are its voters, and all other registered nodes learn (replication 9.1). */
export function placementOf(map: ClusterMap, shard: number): ShardPlacement | undefined {
  return shard === META_SHARD ? map.meta : map.placement[shard];
}

/** The set the map decided for a shard: what its primary logs as SET as soon as it may (replication 9.6). */
export function shardSetOf(map: ClusterMap, shard: number): ShardSet {
  const placement = placementOf(map, shard);
  return placement === undefined ? NO_SET : { mapEpoch: placement.epoch, members: placement.members };
}
