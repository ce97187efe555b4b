import type { NodeUuid } from '../../../kernel/peer.js';
import type { NodeStatus } from '../../membership/core/node-record.js';

/**
 * What the planner knows beside the map: who is alive, what copies say of themselves, who reigns. Gathered from
 * heartbeats by the primary of META_SHARD; another one that takes over starts with its own readings.
 */
export interface ClusterFacts {
  /** Monotonic clock (replication 1.5); every `…SinceMs` is of the same clock. */
  readonly nowMs: number;
  /** Wall clock: for the times in operation records. */
  readonly wallMs: number;
  readonly nodes: ReadonlyMap<NodeUuid, NodeFacts>;
  /** By shard number, META_SHARD included. */
  readonly shards: ReadonlyMap<number, ShardFacts>;
  /** Transfers of a reign that were asked for and have not ended. */
  readonly transfers: readonly Transfer[];
}

export interface NodeFacts {
  /** In the view. */
  readonly status: NodeStatus;
  /** Since when it has been reachable, or unreachable: whichever it is now. */
  readonly sinceMs: number;
  /** Its disk: `full`: it refuses upserts; `little`: it soon may; absent: ample, or not known. */
  readonly disk?: 'full' | 'little';
}

export interface ShardFacts {
  /** Who reigns, as far as a reachable node says so of itself. */
  readonly primary: NodeUuid | undefined;
  /**
   * Map epoch of the set the primary counts by, once its SET and a BARRIER of its epoch are below the high-water mark;
   * 0 until then (replication 9.6: the next change waits for it).
   */
  readonly settled: number;
  readonly copies: ReadonlyMap<NodeUuid, CopyFacts>;
}

export interface CopyFacts {
  /** By 7.1, whatever its role: a learner that has everything is ready to become a member. */
  readonly inSync: boolean;
  /** Only meaningful while it is in sync. */
  readonly inSyncSinceMs: number;
  readonly faulted: boolean;
}

/** A graceful hand-over of one shard (replication 5.7). */
export interface Transfer {
  readonly shard: number;
  readonly from: NodeUuid;
  readonly to: NodeUuid;
}

/** Whether a node answers; LEAVING and SUSPECT ones still do. */
export function reachable(status: NodeStatus): boolean {
  return status === 'ACTIVE' || status === 'SUSPECT' || status === 'LEAVING' || status === 'JOINING';
}
