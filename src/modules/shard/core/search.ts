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
export interface ShardSearch {
  readonly collectionId: number;
  readonly shards: readonly number[];
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
}

export interface KeywordLeg {
  /** Distinct terms, sorted. */
  readonly terms: readonly string[];
  /** Candidates wanted from each shard. */
  readonly k: number;
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

/** What one shard answers. */
export interface ShardSearchAnswer {
  readonly shard: number;
  /** Live documents of the collection in this shard, with or without text and vector. */
  readonly documents: number;
  readonly vector?: VectorCandidates;
  readonly keyword?: KeywordCandidates;
  /** Set instead of legs when the shard cannot answer. */
  readonly failed?: 'NOT_READY' | 'FAULTED';
}

/** Columns of equal length, best first. */
export interface CandidateColumns {
  readonly ids: readonly string[];
  /** Log offset of each candidate's entry. */
  readonly offsets: Float64Array;
  /** hlc of each candidate's version; ms and counter, for the dedup by highest version (replication 7.4). */
  readonly versionMs: Float64Array;
  readonly versionCounter: Float64Array;
  /** Double precision, recomputed from the stored float32 vector; or BM25 by the statistics the shard used. */
  readonly scores: Float64Array;
}

export type VectorCandidates = CandidateColumns;

/** Whole numbers of a column; between threads every column is held in doubles. */
export type Counts = Uint32Array | Float64Array;

export interface KeywordCandidates extends CandidateColumns {
  /** Term frequencies, row-major: candidate × term. */
  readonly frequencies: Counts;
  /** Length in terms of each candidate's text. */
  readonly lengths: Counts;
  readonly statistics: KeywordStatistics;
  /** True when every matching document of the shard is among the candidates. */
  readonly complete: boolean;
}
