import type { HnswParameters, Similarity } from '../../../kernel/collection.js';
import type { Filter } from './filter.js';

/** What a worker must know of a collection to index it; comes from the map. */
export interface CollectionSpec {
  /** u32, never reused. */
  readonly id: number;
  /** Undefined until the first vector or the collection's creation fixed it. */
  readonly dimensions: number | undefined;
  readonly similarity: Similarity;
  readonly hnsw: HnswParameters;
}

/** One collection searched in some shards of one node: one request inside a batch (architecture, index of a shard). */
export interface ShardSearch extends SearchOfShards {
  readonly shards: readonly number[];
}

/** The same for every shard of a query. */
export interface SearchOfShards {
  readonly collectionId: number;
  readonly vector?: VectorLeg;
  readonly keyword?: KeywordLeg;
  readonly filter?: Filter;
  /** Scan instead of walking the graph; keyword scores need `keyword.statistics` then. */
  readonly exact: boolean;
}

export interface VectorLeg {
  readonly values: Float32Array;
  /** Candidates wanted from each shard. */
  readonly k: number;
  /** HNSW search width in each shard. */
  readonly ef: number;
  /** Candidates wanted from all shards: what is beyond the best so many of those asked at once may be left out. */
  readonly of?: number;
}

export interface KeywordLeg {
  /** Distinct terms, sorted. */
  readonly terms: readonly string[];
  /** Candidates wanted from each shard. */
  readonly k: number;
  /** Candidates wanted from all shards, as in a vector leg; of effect with `statistics` alone. */
  readonly of?: number;
  /** Cluster-wide sums to rank by; without them a shard ranks by its own. */
  readonly statistics?: KeywordStatistics;
}

/** Integers that add up over shards: live documents in the keyword index, their total length, documents per term. */
export interface KeywordStatistics {
  readonly documents: number;
  readonly totalLength: number;
  /** In the order of the request's terms. */
  readonly documentFrequencies: readonly number[];
}
