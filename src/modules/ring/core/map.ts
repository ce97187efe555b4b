import type { HnswParameters, Similarity } from '../../../kernel/collection.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { OperationRecord } from './operation-record.js';

/** Registered nodes of a cluster: the full mesh of heartbeats is built for so many (replication 8.1). */
export const NODES_MAX = 64;

/**
 * The cluster's map (replication 9.1): what all nodes agree on. An immutable value, plain JSON; `applyMapOperation` is
 * the only way to the next one. `epoch` counts applied operations.
 */
export interface ClusterMap {
  readonly epoch: number;
  /** UUID text. */
  readonly clusterId: string;
  readonly shardCount: number;
  readonly settings: ClusterSettings;
  /** By nodeId, ascending. Both names and uuids are unique. */
  readonly nodes: readonly RegisteredNode[];
  /** Per shard, by number. */
  readonly placement: readonly ShardPlacement[];
  /** Voters of META_SHARD. Its learners are all other registered nodes and are not listed. */
  readonly meta: ShardPlacement;
  /** In the order in which they started. */
  readonly operations: readonly OperationRecord[];
  readonly collections: readonly Collection[];
  readonly aliases: readonly Alias[];
  /** The next collectionId: ids are never reused. */
  readonly nextCollectionId: number;
}

export interface ClusterSettings {
  readonly replicaCount: number;
  readonly writeConsistency: 'auto' | 'one' | 'quorum' | 'all';
  readonly partitionMode: 'available' | 'strict';
  readonly rebalanceGraceMs: number;
}

/**
 * What the cluster asks of a node. `serving`: hold copies. `draining` and `removing`: hand all copies over; then the one
 * is `drained` until it starts again, the other is no longer registered.
 */
export type NodeDuty = 'serving' | 'draining' | 'drained' | 'removing';

/** What a node says of itself when it registers. */
export interface NodeRegistration {
  readonly nodeId: string;
  readonly nodeUuid: NodeUuid;
  /** `host:port` other nodes use for gRPC. */
  readonly address: string;
  readonly protocolMin: number;
  readonly protocolMax: number;
}

export interface RegisteredNode extends NodeRegistration {
  readonly duty: NodeDuty;
  /** Map epoch at which this uuid was first registered: older nodes come first where nothing else decides. */
  readonly since: number;
}

/**
 * The configured copies of a shard (replication 9.6).
 *
 * Invariants: at least one member; no node twice; at most one learner, so that one change runs at a time.
 */
export interface ShardPlacement {
  /** They count. The first is the preferred primary (replication 5.7). */
  readonly members: readonly NodeUuid[];
  /** On the way to become members: they count nowhere. */
  readonly learners: readonly NodeUuid[];
  /** Map epoch at which a member last came or went: `mapEpoch` of the shard's set. */
  readonly epoch: number;
  /** An operator chose the first member: balancing leaves it first as long as it is a member. */
  readonly pinned?: true;
  /** An operator forced this set: its first reign has a higher epoch number (replication 5.8). */
  readonly epochFloor?: number;
}

export interface Collection {
  readonly id: number;
  readonly name: string;
  /** Undefined until the first vector proposes it. */
  readonly dimensions?: number;
  readonly similarity: Similarity;
  readonly hnsw: HnswParameters;
}

export interface Alias {
  readonly name: string;
  readonly collection: string;
}

/** The registered node of a uuid. */
export function nodeByUuid(map: ClusterMap, uuid: NodeUuid): RegisteredNode | undefined {
  return map.nodes.find((node) => node.nodeUuid === uuid);
}

/** The registered node of a name. */
export function nodeById(map: ClusterMap, nodeId: string): RegisteredNode | undefined {
  return map.nodes.find((node) => node.nodeId === nodeId);
}

/** Copies the map wants of every shard: as many as asked for, as many as nodes are there to hold them (replication 2.8). */
export function wantedCopies(map: ClusterMap): number {
  const serving = map.nodes.filter((node) => node.duty === 'serving').length;
  return Math.max(1, Math.min(1 + map.settings.replicaCount, serving));
}

/** Whether a collection was dropped; 0 is none, and one with an id that the map has not given yet was made since. */
export function isDropped({ collections, nextCollectionId }: ClusterMap, collectionId: number): boolean {
  return collectionId > 0 && collectionId < nextCollectionId && !collections.some(({ id }) => id === collectionId);
}
