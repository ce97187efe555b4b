import type { IdColumns } from './id-columns.js';

/** Lists and what to sum them by. */
export interface ListsToSum {
  /** Head and count of each list, in the order their terms are added. */
  readonly chains: Uint32Array;
  /** Idf of each list's term. */
  readonly weights: Float64Array;
  /** Lists in `chains` and `weights`. */
  readonly lists: number;
  readonly averageLength: number;
  /** By ordinal. */
  readonly lengths: Uint32Array;
  readonly labels: Uint32Array;
  /** Ordinals given out. */
  readonly documents: number;
  /** Bits of the labels that may be found; undefined for all. */
  readonly allowed: Uint32Array | undefined;
  readonly k: number;
}

/** Room for the documents a ranking finds: columns, best first. */
export interface RankedColumns {
  readonly labels: Uint32Array;
  readonly scores: Float64Array;
  /** Terms in each text. */
  readonly lengths: Uint32Array;
  /** Row-major: document × term; 0 for terms without a list. */
  readonly frequencies: Uint32Array;
  readonly terms: number;
  /** By list: its term. */
  readonly termOf: Uint32Array;
}

/** Sums posting lists faster than `KeywordScorer` can by itself: to the bit what that says. */
export interface PostingSums {
  /** The page at `index` of the lists' arena is `page`: memory that stays where it is until another page takes its place. */
  setPage(index: number, page: Uint32Array): void;

  /**
   * Sums the lists; `ordinals` (in no order) and `sums` become the documents kept: those whose sum is within `rest` of the
   * k-th best. No list may have a frequency of 63 or more, which is not in the postings alone.
   * @param outcome how many are kept, how many were met; when more are kept than there is room for, none is written
   */
  gather(lists: ListsToSum, rest: number, ordinals: Uint32Array, sums: Float64Array, outcome: Uint32Array): void;

  /**
   * Sums the lists and ranks: the `k` best by score, ties by id, of those that score `least` or more, with all that is said
   * of them. There is room for `k`, or for as many as the lists have postings, whichever is less. No list may have a
   * frequency of 63 or more.
   * @param found how many there are
   * @returns as `KeywordRanking.leftOut`
   */
  rank(lists: ListsToSum, least: number, ids: IdColumns, into: RankedColumns, found: Uint32Array): number;

  /** Frequencies of the first `n` of `ordinals` (ascending) in each list, list by list, 0 where it lacks one. */
  frequencies(lists: Pick<ListsToSum, 'chains' | 'lists'>, ordinals: Uint32Array, n: number, into: Uint32Array): void;
}
