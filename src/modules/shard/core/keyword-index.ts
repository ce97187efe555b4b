import type { Bitmap } from './bitmap.js';
import { averageLength, idf } from './bm25.js';
import { grown } from './grown.js';
import type { LabelTies } from './id-columns.js';
import { BREATH } from './index-sections.js';
import { KeywordDocuments } from './keyword-documents.js';
import { decodeKeywordIndex, encodeKeywordIndex } from './keyword-index-codec.js';
import { KeywordScorer } from './keyword-scorer.js';
import type { KeywordRanking } from './keyword-ranking.js';
import { PostingLists } from './posting-lists.js';
import { PostingUpkeep } from './posting-upkeep.js';
import type { PostingSums } from './posting-sums.js';
import type { KeywordStatistics } from './search.js';
import { TermDictionary } from './term-dictionary.js';

export interface KeywordSearchOptions {
  /** For documents of equal score. */
  readonly ties: LabelTies;
  /** Sums to rank by, their frequencies in the order of the terms; by default the index's own. */
  readonly statistics?: KeywordStatistics | undefined;
  /** Labels that may be found; by default all. */
  readonly allowed?: Bitmap | undefined;
  /** What scores less is not looked for; by default all is. */
  readonly least?: number;
}

/** The candidates of one search and the index's own statistics of its terms. */
export interface KeywordMatches extends KeywordRanking {
  readonly statistics: KeywordStatistics;
}

export interface KeywordIndexSize {
  readonly documents: number;
  readonly terms: number;
  /** Those of dead documents not yet taken out included. */
  readonly postings: number;
  /** An estimate of everything it holds. */
  readonly bytes: number;
}

/**
 * An inverted index of one collection in one shard, in typed arrays, ranking by BM25 (api.md, Scores; architecture.md,
 * the index of a shard).
 *
 * Who owns what: `TermDictionary` numbers terms, and a term's number is its list in `PostingLists`; `KeywordDocuments`
 * numbers documents by ordinal; `PostingUpkeep` takes dead documents out of lists and frees terms nobody has;
 * `KeywordScorer` ranks. Here they are put together, by label and by term.
 *
 * Invariants: what is found and counted depends on the documents present alone, never on what was there before; a list is
 * settled before it is read.
 */
export class KeywordIndex {
  readonly #terms: TermDictionary;
  readonly #lists: PostingLists;
  readonly #texts: KeywordDocuments;
  readonly #upkeep: PostingUpkeep;
  readonly #scorer: KeywordScorer;
  /** By term, within `add`: occurrences; all 0 between. */
  #occurrences = new Uint32Array(0);

  /** @param sums ranks sooner */
  constructor(sums?: PostingSums) {
    this.#terms = new TermDictionary();
    this.#lists = new PostingLists();
    this.#texts = new KeywordDocuments();
    this.#upkeep = new PostingUpkeep(this.#terms, this.#lists, this.#texts);
    this.#scorer = new KeywordScorer(this.#lists, this.#texts, sums);
  }

  /** Reads what `serialize` wrote; throws IndexDamagedError when it is anything else. */
  static deserialize(bytes: Uint8Array, sums?: PostingSums): KeywordIndex {
    const index = new KeywordIndex(sums);
    decodeKeywordIndex(bytes, {
      text: (label, length) => index.#texts.add(label, length),
      list: (term, postings, frequencyMax, lengthMin) => {
        const list = index.#add(term);
        index.#lists.load(list, postings, frequencyMax, lengthMin);
        return list;
      },
      large: (list, ordinal, frequency) => index.#lists.loadLarge(list, ordinal, frequency),
    });
    return index;
  }

  /** Documents in the index. */
  get documents(): number {
    return this.#texts.documents;
  }

  /** Terms of all documents, repeated ones counted. */
  get totalLength(): number {
    return this.#texts.totalLength;
  }

  has(label: number): boolean {
    return this.#texts.ordinalOf(label) >= 0;
  }

  /** Puts a document in, in place of what the label had. A text without terms is not in the index: nothing can find it. */
  add(label: number, tokens: readonly string[]): void {
    this.remove(label);
    if (tokens.length === 0) return;
    const ordinal = this.#texts.add(label, tokens.length);
    const terms = this.#countTerms(tokens);
    for (const term of terms) {
      this.#upkeep.readyToAppend(term);
      this.#lists.append(term, ordinal, this.#occurrences[term], tokens.length);
      this.#occurrences[term] = 0;
    }
    this.#upkeep.added();
  }

  /** Takes a document out; false when the label has none. The label may be used again at once. */
  remove(label: number): boolean {
    if (!this.#texts.remove(label)) return false;
    this.#upkeep.removed();
    return true;
  }

  /** How many documents have each term. */
  documentFrequencies(terms: readonly string[]): number[] {
    return this.#listsOf(terms).map((list) => (list < 0 ? 0 : this.#lists.count(list)));
  }

  /** The index's own sums, with the frequencies of `terms`. */
  statisticsOf(terms: readonly string[]): KeywordStatistics {
    const { documents, totalLength } = this.#texts;
    return { documents, totalLength, documentFrequencies: this.documentFrequencies(terms) };
  }

  /**
   * The best `k` documents that have any of `terms`: exactly those a sort by (score descending, `ties`) puts first, as far as
   * they score `least`.
   * @param terms distinct, sorted; scores are summed in this order
   * @param k ≥ 0
   * @returns columns valid until the next search
   */
  search(terms: readonly string[], k: number, options: KeywordSearchOptions): KeywordMatches {
    const lists = this.#listsOf(terms);
    const { documents, totalLength } = this.#texts;
    const documentFrequencies = lists.map((list) => (list < 0 ? 0 : this.#lists.count(list)));
    const statistics = { documents, totalLength, documentFrequencies };
    const by = options.statistics ?? statistics;
    const { labels, scores, frequencies, lengths, leftOut } = this.#scorer.rank({
      lists,
      weights: by.documentFrequencies.map((frequency) => idf(by.documents, frequency)),
      averageLength: averageLength(by),
      k,
      least: options.least ?? -Infinity,
      allowed: options.allowed,
      ties: options.ties,
    });
    return { labels, scores, frequencies, lengths, leftOut, statistics };
  }

  /** The whole index as bytes to be written one after the other; nothing may change before the last is. Compacts first. */
  *serialize(): Generator<Uint8Array> {
    for (const _ of this.#upkeep.compact()) yield BREATH;
    yield* encodeKeywordIndex(this.#terms, this.#lists, this.#texts);
  }

  /** What it holds and about how much memory that takes. */
  statistics(): KeywordIndexSize {
    return {
      documents: this.#texts.documents,
      terms: this.#terms.size,
      postings: this.#lists.postings,
      bytes:
        this.#terms.bytes +
        this.#lists.bytes +
        this.#texts.bytes +
        this.#upkeep.bytes +
        this.#scorer.bytes +
        this.#occurrences.byteLength,
    };
  }

  /** Counts tokens into `#occurrences`. @returns the distinct terms */
  #countTerms(tokens: readonly string[]): number[] {
    const distinct: number[] = [];
    for (const token of tokens) {
      const term = this.#terms.find(token) ?? this.#add(token);
      if (this.#occurrences[term]++ === 0) distinct.push(term);
    }
    return distinct;
  }

  #add(token: string): number {
    const term = this.#terms.add(token);
    this.#lists.create(term);
    this.#upkeep.created(term);
    this.#occurrences = grown(this.#occurrences, term + 1);
    return term;
  }

  /** The terms' lists, settled; −1 for a term nobody has. */
  #listsOf(terms: readonly string[]): number[] {
    return terms.map((term) => {
      const list = this.#terms.find(term);
      if (list === undefined) return -1;
      this.#upkeep.settle(list);
      return list;
    });
  }
}
