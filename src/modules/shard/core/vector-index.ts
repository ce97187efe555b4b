import type { HnswParameters, Similarity } from '../../../kernel/collection.js';
import type { Bitmap } from './bitmap.js';
import type { IdColumns, RecordColumns } from './id-columns.js';
import type { PostingSums } from './posting-sums.js';
import type { Ranked } from './top-k.js';

/**
 * A graph over the vectors of one collection in one shard: finds near labels, never scores. Scores come from the
 * vectors themselves (`VectorPages`), so that a graph and a scan give the same number (api.md, Scores).
 *
 * Invariants: a label is added once and, once dead, never comes back into the same graph; dead labels are never found,
 * yet stay in the graph as stepping stones until it is rebuilt.
 *
 * Implementations: NativeVectorIndex, HnswVectorIndex (hnswlib) and the contract suite's ExactVectorIndex.
 */
export interface VectorIndex {
  /** Labels in the graph, dead ones included. */
  readonly size: number;
  /** Dead labels in the graph. */
  readonly dead: number;

  /** Adds a vector; grows by itself. `norm` is its Euclidean length in double precision. */
  add(label: number, vector: Float32Array, norm: number): void;

  markDead(label: number): void;

  /**
   * Labels near `query`, at most `k`; may be fewer than there are.
   * @param ef search width: candidates kept while walking; with `allowed` it counts allowed ones only
   * @param allowed leaves every other label out
   */
  search(query: Float32Array, k: number, ef: number, allowed?: Bitmap): Near;

  /** Writes the graph into a new file, without syncing it. Nothing may be added or marked until it resolves; searches may go on. */
  save(file: string): Promise<void>;

  /** Gives the memory back at once; the graph must not be used again. */
  dispose(): void;
}

/**
 * What a graph found, nearest first; views, valid until its next search. Distances are about as exact as float32, and
 * compare between graphs of one shape that were asked the same.
 */
export interface Near {
  readonly labels: Uint32Array;
  readonly distances: Float32Array;
}

/** What one graph of several is asked, as `VectorIndex.search`. */
export interface GraphSearch {
  readonly graph: VectorIndex;
  readonly k: number;
  readonly ef: number;
  readonly allowed: Bitmap | undefined;
}

/** What a graph is made for. */
export interface VectorShape {
  readonly dimensions: number;
  readonly similarity: Similarity;
  readonly hnsw: HnswParameters;
}

/** Makes and loads the graphs of one technology, and what else it does faster. */
export interface VectorIndexes {
  /** For logs and metrics. */
  readonly name: string;

  /**
   * How many vectors are scanned in the time that walking a graph takes for each allowed candidate it keeps and each
   * vector it meets on its way there; undefined when a graph itself scans where that is faster.
   */
  readonly scanPerCandidate: number | undefined;

  /** @param expected vectors it is likely to hold soon: takes the memory in one piece */
  create(shape: VectorShape, expected: number): VectorIndex;

  /**
   * Loads what `save` wrote; `size` and `dead` are what it must hold. The caller has checked the file's sums:
   * a graph trusts the bytes it loads.
   * @throws Error when the file is not such a graph
   */
  load(shape: VectorShape, file: string, size: number, dead: number): VectorIndex;

  /**
   * Searches graphs of one shape, each as `VectorIndex.search` does, side by side: none waits for memory alone. Views, valid
   * until the next search. Left out when nothing is gained by it.
   */
  searchAll?(query: Float32Array, shape: VectorShape, searches: readonly GraphSearch[]): readonly Near[];

  /** Scores faster than VectorPages can by itself; left out when nothing does. */
  scores?(shape: Pick<VectorShape, 'dimensions' | 'similarity'>, pageVectors: number): PageScores;

  /** Sums posting lists faster than a keyword index can by itself; left out when nothing does. */
  postingSums?(): PostingSums;

  /** Writes legs of answers faster than SearchAnswerWriter can by itself; left out when nothing does. */
  readonly writeLeg?: LegWriter;
}

/**
 * Writes the candidates of a leg, as `ShardSearchAnswer` says, to `into` from `at` on; nothing when there is less room than
 * they take. @returns the bytes they take
 */
export type LegWriter = (
  records: RecordColumns,
  labels: Uint32Array,
  scores: Float64Array,
  into: Uint8Array,
  at: number,
) => number;

/** Scores vectors in pages: to the bit what `VectorPages` says. */
export interface PageScores {
  /** The next page and the lengths of its vectors, both views of memory that stays where it is. */
  addPage(vectors: Float32Array, norms: Float64Array): void;

  /** Scores of the first `count` of `labels`, into `into`. @param norm length of the query */
  score(query: Float64Array, norm: number, labels: Uint32Array, count: number, into: Float64Array): void;

  /**
   * The `k` best of `labels` by score, ties by id, into columns that have room for them, best first.
   * @returns how many there are
   */
  best(query: Float64Array, norm: number, labels: Uint32Array, k: number, ids: IdColumns, into: Ranked): number;
}
