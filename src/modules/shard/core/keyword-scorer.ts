import type { Bitmap } from './bitmap.js';
import { bm25, lengthNorm, termScore } from './bm25.js';
import type { KeywordDocuments } from './keyword-documents.js';
import type { KeywordRanking } from './keyword-ranking.js';
import { PostingCursor } from './posting-chunks.js';
import { FREQUENCY_BITS, FREQUENCY_MASK } from './posting-lists.js';
import type { PostingLists } from './posting-lists.js';
import type { PostingSums } from './posting-sums.js';
import { SumsOfLists } from './sums-of-lists.js';
import { kthGreatest } from './kth-greatest.js';
import type { LabelTies } from './id-columns.js';
import { TopK } from './top-k.js';
import { grown } from './grown.js';

/** What to rank by; the columns go with the query's terms, in sorted order. */
export interface KeywordQuery {
  /** The term's list, settled, or −1 when no document has the term. */
  readonly lists: readonly number[];
  /** The term's idf. */
  readonly weights: readonly number[];
  readonly averageLength: number;
  readonly k: number;
  /** What scores less is left out. */
  readonly least: number;
  /** Labels that may be found; undefined for all. */
  readonly allowed: Bitmap | undefined;
  readonly ties: LabelTies;
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

/** Ordinals whose sums are made at once: 16 KiB of them, which stay in the processor's nearest cache. */
const WINDOW = 2_048;
/** Texts of fewer terms have what depends on their length alone in tables. */
const NORMS = 512;
/** Documents met beyond the wanted ones before those that cannot be among the best are dropped. */
const SURPLUS_MAX = 512;
/** Queries that read fewer postings are summed straight through; with sums made elsewhere that pays for longer. */
const PRUNING_POSTINGS_MIN = 4_096;
const PRUNING_POSTINGS_MIN_ELSEWHERE = 65_536;
/** Partial sums and bounds are added in other orders than the score: what is this close may be equal. */
const ROUNDING = 1e-9;
/** Looking one document up in a list costs about as much as scanning this many postings. */
const LOOKUP_POSTINGS = 16;

/**
 * Ranks the documents of posting lists by BM25: exactly the k best by score, then tie order, as far as they score enough.
 *
 * Lists are read side by side, a window of ordinals at a time, and sums made in term order; what matched comes out as two
 * columns, ordinals and their sums. A long query may read only its terms of the highest bounds (MaxScore;
 * Turtle & Flood 1995): when the k-th best sum exceeds what the other terms can add, documents without any of these terms
 * are out, those that cannot reach the k-th are dropped, and the rest is looked up in the other, longest lists instead of
 * reading them. Sums then have another order than the score's definition (see `bm25`), so the few documents in question
 * are summed again, in term order: how lists were read never shows in a result.
 */
export class KeywordScorer {
  readonly #lists: PostingLists;
  readonly #documents: KeywordDocuments;
  readonly #cursors: PostingCursor[] = [];
  /** By ordinal from the window's first: the sum so far. All 0 between windows. */
  readonly #window = new Float64Array(WINDOW);
  /** By length: `lengthNorm` for `#normsAverage`. */
  readonly #norms = new Float64Array(NORMS);
  #normsAverage = 0;
  /** By term and length: the term's score at frequency 1, which most postings have; 0 where it was not asked for yet. */
  readonly #singles: Float64Array[] = [];
  /** The documents met that may be among the best: ordinals and their sums. */
  #met = new Uint32Array(0);
  #sums = new Float64Array(0);
  #metCount = 0;
  /** All documents met. */
  #matched = 0;
  /** Room to rearrange sums. */
  #scratch = new Float64Array(0);
  readonly #best = new TopK(0, () => 0);
  /** Of an answer: labels and lengths of its documents, and their frequencies. */
  #labels = new Uint32Array(0);
  #lengths = new Uint32Array(0);
  #matrix = new Uint32Array(0);
  /** Frequencies, term by term. */
  #frequencyColumns = new Uint32Array(0);
  readonly #elsewhere: SumsOfLists | undefined;

  /** @param sums makes sums and looks frequencies up, where all are small */
  constructor(lists: PostingLists, documents: KeywordDocuments, sums?: PostingSums) {
    this.#lists = lists;
    this.#documents = documents;
    this.#elsewhere = sums === undefined ? undefined : new SumsOfLists(sums, lists, documents);
  }

  get bytes(): number {
    const columns = [this.#window, ...this.#singles, this.#met, this.#sums, this.#scratch, this.#frequencyColumns];
    columns.push(this.#labels, this.#lengths, this.#matrix);
    return columns.reduce((bytes, column) => bytes + column.byteLength, this.#elsewhere?.bytes ?? 0);
  }

  rank(query: KeywordQuery): KeywordRanking {
    const terms = this.#terms(query);
    let postings = 0;
    for (const term of terms) postings += term.count;
    const { labels } = this.#documents;
    const { compare } = query.ties;
    this.#best.reset(query.k, (a, b) => compare(labels[a], labels[b]));
    if (this.#lookUpAllowed(query, terms, postings)) this.#offer();
    else if (postings < this.#pruningMin || !this.#prune(query, terms)) {
      const ranked = this.#elsewhere?.rank(query, terms);
      if (ranked !== undefined) return ranked;
      this.#gather(query, terms, undefined);
    }
    return this.#answer(query, terms);
  }

  get #pruningMin(): number {
    return this.#elsewhere === undefined ? PRUNING_POSTINGS_MIN : PRUNING_POSTINGS_MIN_ELSEWHERE;
  }

  #terms(query: KeywordQuery): ScoredTerm[] {
    const terms: ScoredTerm[] = [];
    for (let at = 0; at < query.lists.length; at++) {
      const list = query.lists[at];
      if (list < 0 || this.#lists.count(list) === 0) continue;
      const weight = query.weights[at];
      // Frequency only helps and length only harms, so no document beats the best of both.
      const frequency = Math.min(this.#lists.frequencyMax(list), Number.MAX_SAFE_INTEGER);
      const bound = bm25(weight, frequency, this.#lists.lengthMin(list), query.averageLength);
      terms.push({ at, list, count: this.#lists.count(list), weight, bound });
    }
    return terms;
  }

  /** When few labels are allowed, looks each up in every list; false when reading the lists is cheaper. */
  #lookUpAllowed(query: KeywordQuery, terms: readonly ScoredTerm[], postings: number): boolean {
    const { allowed } = query;
    if (allowed === undefined) return false;
    const count = allowed.count();
    if (count * LOOKUP_POSTINGS * terms.length >= postings) return false;
    this.#makeRoom(count);
    let met = 0;
    for (let label = allowed.next(0); label >= 0; label = allowed.next(label + 1)) {
      const ordinal = this.#documents.ordinalOf(label);
      if (ordinal >= 0) this.#met[met++] = ordinal;
    }
    this.#metCount = met;
    this.#sumAgain(terms, query.averageLength);
    this.#keep(Number.MIN_VALUE);
    this.#matched = this.#metCount;
    return true;
  }

  /**
   * Reads the lists of `terms`, adding in their order: every document that has any and is allowed is met. Without `rest`
   * the sums are scores, and go to the best at once; with it, of those met at least all stay whose sum is within `rest` of
   * the k-th best.
   */
  #gather(query: KeywordQuery, terms: readonly ScoredTerm[], rest: number | undefined): void {
    if (this.#gatherElsewhere(query, terms, rest ?? 0)) {
      if (rest === undefined) this.#offer();
      return;
    }
    this.#metCount = 0;
    this.#matched = 0;
    let least = 0;
    this.#prepareNorms(query.averageLength);
    while (this.#cursors.length < terms.length) {
      this.#cursors.push(new PostingCursor(this.#lists));
      this.#singles.push(new Float64Array(NORMS));
    }
    for (let i = 0; i < terms.length; i++) {
      this.#cursors[i].open(terms[i].list).next();
      this.#singles[i].fill(0);
    }
    for (let first = this.#firstUnread(terms.length); first < Infinity; first = this.#firstUnread(terms.length)) {
      const before = this.#metCount;
      this.#makeRoom(before + WINDOW);
      for (let i = 0; i < terms.length; i++) this.#addWindow(terms[i], i, first, query);
      this.#matched += this.#metCount - before;
      if (rest === undefined) {
        this.#offerWindow(first);
        continue;
      }
      this.#takeWindow(first, before, least);
      if (this.#metCount > query.k + SURPLUS_MAX) {
        least = Math.max(least, this.#kth(query.k) - rest);
        this.#keep(least);
      }
    }
  }

  /** False when the sums must be made here. */
  #gatherElsewhere(query: KeywordQuery, terms: readonly ScoredTerm[], rest: number): boolean {
    const elsewhere = this.#elsewhere;
    if (elsewhere?.take(terms) !== true) return false;
    this.#makeRoom(query.k + SURPLUS_MAX);
    while (!elsewhere.gather(query, rest, this.#met, this.#sums)) this.#makeRoom(elsewhere.kept);
    this.#metCount = elsewhere.kept;
    this.#matched = elsewhere.matched;
    return true;
  }

  #prepareNorms(average: number): void {
    if (average === this.#normsAverage) return;
    for (let length = 0; length < NORMS; length++) this.#norms[length] = lengthNorm(length, average);
    this.#normsAverage = average;
  }

  /** The lowest ordinal the first `n` cursors have not read; Infinity at the end. */
  #firstUnread(n: number): number {
    let posting = Infinity;
    for (let i = 0; i < n; i++) {
      const cursor = this.#cursors[i];
      if (cursor.from < cursor.to) posting = Math.min(posting, cursor.page[cursor.from]);
    }
    return posting === Infinity ? Infinity : posting >>> FREQUENCY_BITS;
  }

  /** Adds what the term at `place` gives to the documents of the window that begins with ordinal `first`. */
  #addWindow(term: ScoredTerm, place: number, first: number, query: KeywordQuery): void {
    const cursor = this.#cursors[place];
    const { list, weight } = term;
    const { averageLength: average, allowed } = query;
    const { lengths, labels } = this.#documents;
    const norms = this.#norms;
    const singles = this.#singles[place];
    const window = this.#window;
    const met = this.#met;
    let metCount = this.#metCount;
    const end = (first + WINDOW) * (FREQUENCY_MASK + 1);
    do {
      const { page, to } = cursor;
      let i = cursor.from;
      for (; i < to; i++) {
        const posting = page[i];
        if (posting >= end) break;
        const ordinal = posting >>> FREQUENCY_BITS;
        const slot = ordinal - first;
        const sum = window[slot];
        if (sum === 0) {
          if (allowed !== undefined && !allowed.has(labels[ordinal])) continue;
          met[metCount++] = ordinal;
        }
        const length = lengths[ordinal];
        let frequency = posting & FREQUENCY_MASK;
        if (frequency === 1 && length < NORMS) {
          let score = singles[length];
          if (score === 0) singles[length] = score = termScore(weight, 1, norms[length]);
          window[slot] = sum + score;
          continue;
        }
        if (frequency === FREQUENCY_MASK) frequency = this.#lists.largeFrequency(list, ordinal);
        const norm = length < NORMS ? norms[length] : lengthNorm(length, average);
        window[slot] = sum + termScore(weight, frequency, norm);
      }
      cursor.from = i;
      if (i < to) break;
    } while (cursor.next());
    this.#metCount = metCount;
  }

  /** Offers the window's sums to the best, and forgets the documents met. */
  #offerWindow(first: number): void {
    const window = this.#window;
    const met = this.#met;
    const best = this.#best;
    let { threshold } = best;
    for (let i = 0; i < this.#metCount; i++) {
      const ordinal = met[i];
      const slot = ordinal - first;
      const sum = window[slot];
      window[slot] = 0;
      if (sum >= threshold && best.push(ordinal, sum)) ({ threshold } = best);
    }
    this.#metCount = 0;
  }

  /** Offers the documents met to the best. */
  #offer(): void {
    for (let i = 0; i < this.#metCount; i++) this.#best.push(this.#met[i], this.#sums[i]);
  }

  /** Moves the window's sums of at least `least` to the column of sums, for the documents met from `from` on. */
  #takeWindow(first: number, from: number, least: number): void {
    const window = this.#window;
    const met = this.#met;
    const sums = this.#sums;
    let kept = from;
    for (let i = from; i < this.#metCount; i++) {
      const ordinal = met[i];
      const slot = ordinal - first;
      const sum = window[slot];
      window[slot] = 0;
      if (sum < least) continue;
      met[kept] = ordinal;
      sums[kept++] = sum;
    }
    this.#metCount = kept;
  }

  /** Answers from the lists of the highest bounds, when the others cannot bring another document; false when they can. */
  #prune(query: KeywordQuery, terms: readonly ScoredTerm[]): boolean {
    const { averageLength, k } = query;
    const order = [...terms].sort((a, b) => b.bound - a.bound || a.at - b.at);
    const bounds = order.reduce((sum, term) => sum + term.bound, 0);
    const postings = order.reduce((sum, term) => sum + term.count, 0);
    let bound = 0;
    let reading = 0;
    let tried = 0;
    for (let read = 1; read < order.length; read++) {
      bound += order[read - 1].bound;
      reading += order[read - 1].count;
      const rest = (bounds - bound) * (1 + ROUNDING);
      // Worth an attempt when it may succeed, would save more than it costs, and earlier attempts were much cheaper.
      if (reading <= k || bound <= rest || reading * 2 > postings - reading || reading < 2 * tried) continue;
      tried = reading;
      this.#gather(query, order.slice(0, read), rest + bounds * ROUNDING);
      if (this.#matched <= k) continue;
      const kth = this.#kth(k) * (1 - ROUNDING);
      if (rest >= kth) continue;
      this.#keep(kth - rest);
      this.#sumAgain(terms, averageLength);
      this.#offer();
      return true;
    }
    return false;
  }

  /** Gives the documents met their scores to the bit, by looking each up in every list; brings them into ascending order. */
  #sumAgain(terms: readonly ScoredTerm[], average: number): void {
    const n = this.#metCount;
    this.#met.subarray(0, n).sort();
    this.#sums.fill(0, 0, n);
    const { lengths } = this.#documents;
    const frequencies = this.#lookUp(terms, n);
    for (let t = 0; t < terms.length; t++) {
      for (let i = 0; i < n; i++) {
        const frequency = frequencies[t * n + i];
        if (frequency !== 0) this.#sums[i] += bm25(terms[t].weight, frequency, lengths[this.#met[i]], average);
      }
    }
  }

  /** The frequencies of the first `n` documents met (ascending), term by term; valid until the next call. */
  #lookUp(terms: readonly ScoredTerm[], n: number): Uint32Array {
    this.#frequencyColumns = grown(this.#frequencyColumns, n * terms.length);
    const columns = this.#frequencyColumns;
    if (this.#elsewhere?.take(terms) === true) this.#elsewhere.frequencies(this.#met, n, columns);
    else terms.forEach(({ list }, t) => this.#lists.frequencies(list, this.#met, n, columns.subarray(t * n)));
    return columns;
  }

  /** The k-th best sum of the documents met (more than k); ∞ when k is 0. */
  #kth(k: number): number {
    if (k === 0) return Infinity;
    this.#scratch.set(this.#sums.subarray(0, this.#metCount));
    return kthGreatest(this.#scratch, this.#metCount, k);
  }

  /** Drops the documents met whose sum is below `least`. */
  #keep(least: number): void {
    let kept = 0;
    for (let i = 0; i < this.#metCount; i++) {
      if (this.#sums[i] < least) continue;
      this.#met[kept] = this.#met[i];
      this.#sums[kept++] = this.#sums[i];
    }
    this.#metCount = kept;
  }

  /** The best documents, with everything an answer says of them. */
  #answer(query: KeywordQuery, terms: readonly ScoredTerm[]): KeywordRanking {
    const { labels: labelOf, lengths: lengthOf } = this.#documents;
    const best = this.#best.drain();
    let n = best.items.length;
    while (n > 0 && best.scores[n - 1] < query.least) n--;
    const ordinals = best.items.subarray(0, n);
    const scores = best.scores.subarray(0, n);
    this.#makeRoom(n);
    this.#labels = grown(this.#labels, n);
    this.#lengths = grown(this.#lengths, n);
    const labels = this.#labels.subarray(0, n);
    const lengths = this.#lengths.subarray(0, n);
    for (let i = 0; i < n; i++) {
      labels[i] = labelOf[ordinals[i]];
      lengths[i] = lengthOf[ordinals[i]];
    }
    const frequencies = this.#frequencies(ordinals, terms, query.lists.length);
    let leftOut = -Infinity;
    if (n < this.#matched) leftOut = n < query.k ? best.scores[n] : (scores.at(-1) ?? Infinity);
    return { labels, scores, frequencies, lengths, leftOut };
  }

  /** The matrix ordinals × the query's terms. */
  #frequencies(ordinals: Uint32Array, terms: readonly ScoredTerm[], columns: number): Uint32Array {
    const n = ordinals.length;
    this.#matrix = grown(this.#matrix, n * columns);
    const matrix = this.#matrix.subarray(0, n * columns).fill(0);
    // Lists are looked up in ascending order: sort (ordinal, row) pairs as one number each.
    const pairs = this.#scratch.subarray(0, n);
    for (let row = 0; row < n; row++) pairs[row] = ordinals[row] * n + row;
    pairs.sort();
    for (let i = 0; i < n; i++) {
      const ordinal = Math.floor(pairs[i] / n);
      pairs[i] -= ordinal * n;
      this.#met[i] = ordinal;
    }
    const frequencies = this.#lookUp(terms, n);
    for (let t = 0; t < terms.length; t++) {
      for (let i = 0; i < n; i++) matrix[pairs[i] * columns + terms[t].at] = frequencies[t * n + i];
    }
    return matrix;
  }

  /** Makes the columns hold at least `n` documents. */
  #makeRoom(n: number): void {
    this.#met = grown(this.#met, n);
    this.#sums = grown(this.#sums, n);
    this.#scratch = grown(this.#scratch, n);
  }
}
