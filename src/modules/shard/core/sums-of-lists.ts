import type { Bitmap } from './bitmap.js';
import { grown } from './grown.js';
import type { KeywordDocuments } from './keyword-documents.js';
import type { PostingLists } from './posting-lists.js';
import type { PostingSums } from './posting-sums.js';

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
  readonly #outcome = new Uint32Array(2);

  constructor(sums: PostingSums, lists: PostingLists, documents: KeywordDocuments) {
    this.#sums = sums;
    this.#lists = lists;
    this.#documents = documents;
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
  take(terms: readonly { readonly list: number; readonly weight: number }[]): boolean {
    this.#chains = grown(this.#chains, 2 * terms.length);
    this.#weights = grown(this.#weights, terms.length);
    for (let i = 0; i < terms.length; i++) {
      const { list, weight } = terms[i];
      if (this.#lists.frequencyMax(list) === Infinity) return false;
      this.#chains[2 * i] = this.#lists.head(list);
      this.#chains[2 * i + 1] = this.#lists.count(list);
      this.#weights[i] = weight;
    }
    this.#count = terms.length;
    this.#showPages();
    return true;
  }

  /** False when there was no room for all that are kept. */
  gather(
    { averageLength, k, allowed }: { averageLength: number; k: number; allowed: Bitmap | undefined },
    rest: number,
    ordinals: Uint32Array,
    sums: Float64Array,
  ): boolean {
    const { lengths, labels, used } = this.#documents;
    const lists = {
      chains: this.#chains,
      weights: this.#weights,
      lists: this.#count,
      averageLength,
      lengths,
      labels,
      documents: used,
      allowed: allowed?.words,
      k,
      rest,
    };
    this.#sums.gather(lists, ordinals, sums, this.#outcome);
    return this.kept <= Math.min(ordinals.length, sums.length);
  }

  frequencies(ordinals: Uint32Array, n: number, into: Uint32Array): void {
    this.#sums.frequencies({ chains: this.#chains, lists: this.#count }, ordinals, n, into);
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
