import type { Bitmap } from './bitmap.js';
import { grown } from './grown.js';
import type { KeywordDocuments } from './keyword-documents.js';
import type { PostingLists } from './posting-lists.js';
import type { LabelTies } from './id-columns.js';
import type { KeywordRanking } from './keyword-ranking.js';
import type { ListsToSum, PostingSums } from './posting-sums.js';

interface ListOfTerm {
  readonly list: number;
  readonly weight: number;
  /** Place of its term in the query. */
  readonly at: number;
}

interface SumsQuery {
  readonly averageLength: number;
  readonly k: number;
  readonly allowed: Bitmap | undefined;
}

/** Shows a keyword index to `PostingSums`: its pages as they are now, and a query's lists as numbers. */
export class SumsOfLists {
  readonly #sums: PostingSums;
  readonly #lists: PostingLists;
  readonly #documents: KeywordDocuments;
  /** The pages `#sums` knows. */
  readonly #pages: Uint32Array[] = [];
  #chains = new Uint32Array(0);
  #weights = new Float64Array(0);
  #count = 0;
  /** By list: its place among the terms of the query. */
  #termOf = new Uint32Array(0);
  #postings = 0;
  readonly #outcome = new Uint32Array(2);
  /** Room for what a ranking finds. */
  #labels = new Uint32Array(0);
  #scores = new Float64Array(0);
  #lengths = new Uint32Array(0);
  #frequencies = new Uint32Array(0);

  constructor(sums: PostingSums, lists: PostingLists, documents: KeywordDocuments) {
    this.#sums = sums;
    this.#lists = lists;
    this.#documents = documents;
  }

  get bytes(): number {
    const columns = [this.#chains, this.#weights, this.#termOf];
    columns.push(this.#labels, this.#scores, this.#lengths, this.#frequencies);
    return columns.reduce((bytes, column) => bytes + column.byteLength, 0);
  }

  /** Documents the last gathering kept. */
  get kept(): number {
    return this.#outcome[0];
  }

  /** Documents it met. */
  get matched(): number {
    return this.#outcome[1];
  }

  /** The lists of the next calls; false when one has frequencies its postings do not say. */
  take(terms: readonly ListOfTerm[]): boolean {
    this.#chains = grown(this.#chains, 2 * terms.length);
    this.#weights = grown(this.#weights, terms.length);
    this.#termOf = grown(this.#termOf, terms.length);
    this.#postings = 0;
    for (let i = 0; i < terms.length; i++) {
      const { list, weight, at } = terms[i];
      if (this.#lists.frequencyMax(list) === Infinity) return false;
      this.#chains[2 * i] = this.#lists.head(list);
      this.#chains[2 * i + 1] = this.#lists.count(list);
      this.#weights[i] = weight;
      this.#termOf[i] = at;
      this.#postings += this.#lists.count(list);
    }
    this.#count = terms.length;
    this.#showPages();
    return true;
  }

  /** False when there was no room for all that are kept. */
  gather(query: SumsQuery, rest: number, ordinals: Uint32Array, sums: Float64Array): boolean {
    this.#sums.gather(this.#listsFor(query), rest, ordinals, sums, this.#outcome);
    return this.kept <= Math.min(ordinals.length, sums.length);
  }

  /** Ranks the documents of all `terms`; undefined when that cannot be done here. Valid until the next ranking. */
  rank(
    query: SumsQuery & { readonly lists: readonly number[]; readonly least: number; readonly ties: LabelTies },
    terms: readonly ListOfTerm[],
  ): KeywordRanking | undefined {
    const { ids } = query.ties;
    if (ids === undefined || !this.take(terms)) return undefined;
    const columns = query.lists.length;
    const most = Math.min(query.k, this.#postings);
    const labels = (this.#labels = grown(this.#labels, most));
    const scores = (this.#scores = grown(this.#scores, most));
    const lengths = (this.#lengths = grown(this.#lengths, most));
    const frequencies = (this.#frequencies = grown(this.#frequencies, most * columns));
    const into = { labels, scores, lengths, frequencies, terms: columns, termOf: this.#termOf };
    const leftOut = this.#sums.rank(this.#listsFor(query), query.least, ids, into, this.#outcome);
    const found = this.kept;
    return {
      labels: labels.subarray(0, found),
      scores: scores.subarray(0, found),
      lengths: lengths.subarray(0, found),
      frequencies: frequencies.subarray(0, found * columns),
      leftOut,
    };
  }

  frequencies(ordinals: Uint32Array, n: number, into: Uint32Array): void {
    this.#sums.frequencies({ chains: this.#chains, lists: this.#count }, ordinals, n, into);
  }

  #listsFor({ averageLength, k, allowed }: SumsQuery): ListsToSum {
    const { lengths, labels, used } = this.#documents;
    return {
      chains: this.#chains,
      weights: this.#weights,
      lists: this.#count,
      averageLength,
      lengths,
      labels,
      documents: used,
      allowed: allowed?.words,
      k,
    };
  }

  #showPages(): void {
    const { pages } = this.#lists;
    // Of an arena's pages only the first is ever replaced.
    if (this.#pages.length > 0 && this.#pages[0] !== pages[0]) this.#show(0, pages[0]);
    for (let index = this.#pages.length; index < pages.length; index++) this.#show(index, pages[index]);
  }

  #show(index: number, page: Uint32Array): void {
    this.#sums.setPage(index, page);
    this.#pages[index] = page;
  }
}
