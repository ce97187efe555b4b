import type { Bitmap } from './bitmap.js';
import { bm25 } from './bm25.js';
import type { KeywordDocuments } from './keyword-documents.js';
import { FREQUENCY_BITS, FREQUENCY_MASK, PostingCursor } from './posting-lists.js';
import type { PostingLists } from './posting-lists.js';
import { kthGreatest, rankBest } from './rank-best.js';
import type { TieOrder } from './top-k.js';
import { grown } from './grown.js';

/** What to rank by; the columns go with the query's terms, in sorted order. */
export interface KeywordQuery {
  /** The term's list, settled, or −1 when no document has the term. */
  readonly lists: readonly number[];
  /** The term's idf. */
  readonly weights: readonly number[];
  readonly averageLength: number;
  readonly k: number;
  /** Labels that may be found; undefined for all. */
  readonly allowed: Bitmap | undefined;
  readonly compareLabels: TieOrder;
}

/** Columns of equal length, best first. */
export interface KeywordRanking {
  readonly labels: Uint32Array;
  readonly scores: Float64Array;
  /** Term frequencies, row-major: candidate × term. */
  readonly frequencies: Uint32Array;
  /** Terms in each candidate's text. */
  readonly lengths: Uint32Array;
  /** Whether every document that matches is among them. */
  readonly complete: boolean;
}

/** One term of a query with a list; `at` is its place among the query's terms. */
interface ScoredTerm {
  readonly at: number;
  readonly list: number;
  readonly count: number;
  readonly weight: number;
  /** No document gets more from this term. */
  readonly bound: number;
}

/** Queries that read fewer postings are summed straight through. */
const PRUNING_POSTINGS_MIN = 4_096;
/** Partial sums and bounds are added in other orders than the score: what is this close may be equal. */
const ROUNDING = 1e-9;
/** Looking one document up in a list costs about as much as scanning this many postings. */
const LOOKUP_POSTINGS = 16;

/**
 * Ranks the documents of posting lists by BM25: exactly the k best by score, then tie order.
 *
 * Scores add up term at a time in an array over ordinals. A long query reads its terms from the highest bound down
 * (MaxScore; Turtle & Flood 1995): once the k-th best sum exceeds what all remaining terms can add, documents not met yet
 * are out, those that cannot reach the k-th are dropped, and the rest is looked up in the remaining, longest lists instead
 * of reading them. As sums then have another order than the score's definition (see `bm25`), the few documents in
 * question are summed again, in term order: the order of reading never shows in a result.
 */
export class KeywordScorer {
  readonly #lists: PostingLists;
  readonly #documents: KeywordDocuments;
  readonly #cursor: PostingCursor;
  /** By ordinal: the sum so far; 0 for documents not met. All 0 between searches. */
  #sums = new Float64Array(0);
  /** Ordinals met, in the order met. */
  #met = new Uint32Array(0);
  #metCount = 0;
  /** Frequencies of one term, for `#met` or `#ascending`. */
  #column = new Uint32Array(0);
  /** Winners by ordinal, and their places. */
  #ascending = new Uint32Array(0);
  #pairs = new Float64Array(0);
  /** Sums of the documents met, and room to rearrange them. */
  #taken = new Float64Array(0);
  #scratch = new Float64Array(0);

  constructor(lists: PostingLists, documents: KeywordDocuments) {
    this.#lists = lists;
    this.#documents = documents;
    this.#cursor = new PostingCursor(lists);
  }

  get bytes(): number {
    const arrays = [this.#sums, this.#met, this.#taken, this.#scratch, this.#column, this.#ascending, this.#pairs];
    return arrays.reduce((bytes, array) => bytes + array.byteLength, 0);
  }

  rank(query: KeywordQuery): KeywordRanking {
    const used = this.#documents.used;
    this.#sums = grown(this.#sums, used);
    this.#met = grown(this.#met, used);
    this.#metCount = 0;
    const terms = this.#terms(query);
    let postings = 0;
    for (const term of terms) postings += term.count;

    let complete = true;
    if (query.allowed !== undefined && this.#lookUpAllowed(query, query.allowed, terms, postings)) {
      complete = this.#metCount <= query.k;
    } else if (postings < PRUNING_POSTINGS_MIN || terms.length < 2) {
      for (const term of terms) this.#accumulate(term, query);
      complete = this.#metCount <= query.k;
    } else complete = this.#accumulatePruning(query, terms);
    return this.#answer(query, terms, complete);
  }

  #terms(query: KeywordQuery): ScoredTerm[] {
    const terms: ScoredTerm[] = [];
    for (let at = 0; at < query.lists.length; at++) {
      const list = query.lists[at];
      if (list < 0 || this.#lists.count(list) === 0) continue;
      const weight = query.weights[at];
      // Frequency only helps and length only harms, so no document beats the best of both; 2.2 is reached at infinity.
      const frequency = Math.min(this.#lists.frequencyMax(list), Number.MAX_SAFE_INTEGER);
      const bound = bm25(weight, frequency, this.#lists.lengthMin(list), query.averageLength);
      terms.push({ at, list, count: this.#lists.count(list), weight, bound });
    }
    return terms;
  }

  /** When few labels are allowed, looks each up in every list; false when reading the lists is cheaper. */
  #lookUpAllowed(query: KeywordQuery, allowed: Bitmap, terms: readonly ScoredTerm[], postings: number): boolean {
    if (allowed.count() * LOOKUP_POSTINGS * terms.length >= postings) return false;
    allowed.forEach((label) => {
      const ordinal = this.#documents.ordinalOf(label);
      if (ordinal >= 0) this.#met[this.#metCount++] = ordinal;
    });
    this.#met.subarray(0, this.#metCount).sort();
    for (const term of terms) this.#lookUp(term, query.averageLength);
    this.#keep(Number.MIN_VALUE);
    return true;
  }

  /** Adds what a term gives to every document of its list. */
  #accumulate(term: ScoredTerm, query: KeywordQuery): void {
    const { list, weight } = term;
    const { averageLength: average, allowed } = query;
    const { lengths, labels } = this.#documents;
    const sums = this.#sums;
    const met = this.#met;
    let metCount = this.#metCount;
    const cursor = this.#cursor.open(list);
    while (cursor.next()) {
      const { page, to } = cursor;
      for (let i = cursor.from; i < to; i++) {
        const posting = page[i];
        const ordinal = posting >>> FREQUENCY_BITS;
        const sum = sums[ordinal];
        if (sum === 0) {
          if (allowed !== undefined && !allowed.has(labels[ordinal])) continue;
          met[metCount++] = ordinal;
        }
        let frequency = posting & FREQUENCY_MASK;
        if (frequency === FREQUENCY_MASK) frequency = this.#lists.largeFrequency(list, ordinal);
        sums[ordinal] = sum + bm25(weight, frequency, lengths[ordinal], average);
      }
    }
    this.#metCount = metCount;
  }

  /** Adds what a term gives to the documents met already, by reading its list. */
  #accumulateMet(term: ScoredTerm, average: number): void {
    const { list, weight } = term;
    const { lengths } = this.#documents;
    const sums = this.#sums;
    const cursor = this.#cursor.open(list);
    while (cursor.next()) {
      const { page, to } = cursor;
      for (let i = cursor.from; i < to; i++) {
        const posting = page[i];
        const ordinal = posting >>> FREQUENCY_BITS;
        const sum = sums[ordinal];
        if (sum === 0) continue;
        let frequency = posting & FREQUENCY_MASK;
        if (frequency === FREQUENCY_MASK) frequency = this.#lists.largeFrequency(list, ordinal);
        sums[ordinal] = sum + bm25(weight, frequency, lengths[ordinal], average);
      }
    }
  }

  /** Adds what a term gives to the documents met already, which are ascending, by looking them up. */
  #lookUp(term: ScoredTerm, average: number): void {
    const n = this.#metCount;
    this.#column = grown(this.#column, n);
    this.#lists.frequencies(term.list, this.#met, n, this.#column);
    const { lengths } = this.#documents;
    for (let i = 0; i < n; i++) {
      const ordinal = this.#met[i];
      if (this.#column[i] !== 0) this.#sums[ordinal] += bm25(term.weight, this.#column[i], lengths[ordinal], average);
    }
  }

  /** Reads lists from the highest bound down until documents not met are out. @returns whether all matches were met and fit */
  #accumulatePruning(query: KeywordQuery, terms: readonly ScoredTerm[]): boolean {
    const { averageLength, k } = query;
    const order = [...terms].sort((a, b) => b.bound - a.bound || a.at - b.at);
    const remaining = suffixSums(order);
    let read = 0;
    let kth = -Infinity;
    for (; read < order.length; read++) {
      // The k-th best sum is worth finding when the bounds allow it to end the reading, and finding it costs less.
      const rest = remaining[read];
      if (remaining[0] - rest > rest && this.#metCount > k && this.#metCount < 2 * order[read].count) {
        kth = this.#kth(k);
        if (rest < kth * (1 - ROUNDING)) break;
      }
      this.#accumulate(order[read], query);
    }
    const complete = this.#metCount <= k;
    if (read < order.length) {
      this.#keep(kth * (1 - ROUNDING) - remaining[read]);
      this.#met.subarray(0, this.#metCount).sort();
      for (const term of order.slice(read)) {
        if (this.#metCount * LOOKUP_POSTINGS < term.count) this.#lookUp(term, averageLength);
        else this.#accumulateMet(term, averageLength);
      }
    }
    // Two summands may change places; more may not.
    if (order.length > 2) this.#sumAgain(terms, averageLength, k);
    return complete;
  }

  /** Keeps the documents that are or may be among the k best and gives them their score to the bit. */
  #sumAgain(terms: readonly ScoredTerm[], average: number, k: number): void {
    if (this.#metCount > k) this.#keep(this.#kth(k) * (1 - ROUNDING));
    this.#met.subarray(0, this.#metCount).sort();
    for (let i = 0; i < this.#metCount; i++) this.#sums[this.#met[i]] = 0;
    for (const term of terms) this.#lookUp(term, average);
  }

  /** The k-th best sum of the documents met (more than k); ∞ when k is 0. */
  #kth(k: number): number {
    if (k === 0) return Infinity;
    this.#takeSums(false);
    return kthGreatest(this.#taken, this.#metCount, k);
  }

  /** Drops the documents met whose sum is below `least`. */
  #keep(least: number): void {
    let kept = 0;
    for (let i = 0; i < this.#metCount; i++) {
      const ordinal = this.#met[i];
      if (this.#sums[ordinal] >= least) this.#met[kept++] = ordinal;
      else this.#sums[ordinal] = 0;
    }
    this.#metCount = kept;
  }

  /** The k best of the documents met; clears the sums. */
  #answer(query: KeywordQuery, terms: readonly ScoredTerm[], complete: boolean): KeywordRanking {
    const { labels: labelOf, lengths: lengthOf } = this.#documents;
    const met = this.#met;
    // The sums lie far apart in memory: one visit takes each and clears it.
    this.#takeSums(true);
    const before = (a: number, b: number): number => query.compareLabels(labelOf[met[a]], labelOf[met[b]]);
    const places = rankBest(this.#taken, this.#metCount, query.k, before, this.#scratch);
    const n = places.length;
    const ordinals = new Uint32Array(n);
    const labels = new Uint32Array(n);
    const lengths = new Uint32Array(n);
    const scores = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      const ordinal = met[places[i]];
      ordinals[i] = ordinal;
      labels[i] = labelOf[ordinal];
      lengths[i] = lengthOf[ordinal];
      scores[i] = this.#taken[places[i]];
    }
    const frequencies = this.#frequencies(ordinals, terms, query.lists.length);
    return { labels, scores, frequencies, lengths, complete };
  }

  /** Copies the sums of the documents met, in their order, into `#taken`. */
  #takeSums(clear: boolean): void {
    const n = this.#metCount;
    this.#taken = grown(this.#taken, n);
    this.#scratch = grown(this.#scratch, n);
    const taken = this.#taken;
    const sums = this.#sums;
    const met = this.#met;
    for (let i = 0; i < n; i++) {
      taken[i] = sums[met[i]];
      if (clear) sums[met[i]] = 0;
    }
  }

  /** The matrix ordinals × terms. */
  #frequencies(ordinals: Uint32Array, terms: readonly ScoredTerm[], columns: number): Uint32Array {
    const n = ordinals.length;
    const matrix = new Uint32Array(n * columns);
    // Lists are looked up in ascending order: sort (ordinal, row) pairs as one number each.
    this.#pairs = grown(this.#pairs, n);
    this.#column = grown(this.#column, n);
    this.#ascending = grown(this.#ascending, n);
    const pairs = this.#pairs.subarray(0, n);
    for (let row = 0; row < n; row++) pairs[row] = ordinals[row] * n + row;
    pairs.sort();
    for (let i = 0; i < n; i++) {
      const ordinal = Math.floor(pairs[i] / n);
      this.#ascending[i] = ordinal;
      pairs[i] -= ordinal * n;
    }
    for (const term of terms) {
      this.#lists.frequencies(term.list, this.#ascending, n, this.#column);
      for (let i = 0; i < n; i++) matrix[pairs[i] * columns + term.at] = this.#column[i];
    }
    return matrix;
  }
}

/** By position: the bounds from there to the end. */
function suffixSums(terms: readonly ScoredTerm[]): Float64Array {
  const sums = new Float64Array(terms.length + 1);
  for (let i = terms.length - 1; i >= 0; i--) sums[i] = sums[i + 1] + terms[i].bound;
  return sums;
}
