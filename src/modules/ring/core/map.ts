import type { HnswParameters, Similarity } from '../../../kernel/collection.js';

/**
 * The cluster's map (replication 9.1): what all nodes agree on. An immutable value; `applyMapOperation` is the only way
 * to the next one. `epoch` counts applied operations.
 */
export interface ClusterMap {
  readonly epoch: number;
  /** UUID text. */
  readonly clusterId: string;
  readonly shardCount: number;
  readonly settings: ClusterSettings;
  readonly nodes: readonly RegisteredNode[];
  /** Per shard the configured replicas, by nodeUuid hex; the first is the preferred primary. */
  readonly placement: readonly (readonly string[])[];
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

export interface RegisteredNode {
  readonly nodeId: string;
  /** Hex. */
  readonly nodeUuid: string;
  readonly address: string;
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
