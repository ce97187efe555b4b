import type { NodeUuid } from '../../kernel/peer.js';

/**
 * Slow changes of the cluster: records in the map that the primary of the map's shard drives, so that another one resumes
 * them (architecture, "Who owns what"). From any node.
 */
export interface ClusterOperations {
  /** Moves everything off a node, then lets it leave. @throws NodeError OPERATION_CONFLICT */
  startDrain(node: NodeUuid): Promise<{ readonly operation: string }>;
  /** Replaces the copies of a node that is gone, or makes one that is not leave at once. @throws NodeError OPERATION_CONFLICT */
  remove(node: NodeUuid): Promise<{ readonly operation: string }>;
  /** Hands the primary of a shard to a node that holds it in sync (replication 5.7). @throws NodeError OPERATION_CONFLICT */
  movePrimary(shard: number, to: NodeUuid): Promise<{ readonly operation: string }>;
  /** Goes on with a shard whose disks are all gone (replication 5.8). @throws NodeError OPERATION_CONFLICT */
  force(shard: number, to: NodeUuid, empty: boolean): Promise<{ readonly operation: string }>;
  /** Goes on with the map from the copy of this node, whose other voters are gone (replication 5.8). @throws NodeError OPERATION_CONFLICT */
  forceMap(): Promise<{ readonly operation: string }>;
  /** The operation as clients see it, or undefined. */
  operation(id: string): Promise<unknown>;
  /** @throws NodeError OPERATION_NOT_FOUND, OPERATION_CONFLICT when it cannot be stopped any more */
  abort(id: string): Promise<void>;
}

/** Injection token of the ClusterOperations. */
export const CLUSTER_OPERATIONS = Symbol('CLUSTER_OPERATIONS');
