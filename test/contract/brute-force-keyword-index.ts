import type { Bitmap } from '../../src/modules/shard/core/bitmap.js';
import { averageLength, bm25, idf } from '../../src/modules/shard/core/bm25.js';
import type { KeywordIndex, KeywordMatches, KeywordSearchOptions } from '../../src/modules/shard/core/keyword-index.js';
import type { KeywordStatistics } from '../../src/modules/shard/core/search.js';

/** What a keyword index is to its users. */
export type KeywordIndexContract = Pick<
  KeywordIndex,
  'documents' | 'totalLength' | 'has' | 'add' | 'remove' | 'documentFrequencies' | 'statisticsOf' | 'search'
>;

/** The keyword index by definition: keeps every text, reads all of them for every question, and sorts. */
export class BruteForceKeywordIndex implements KeywordIndexContract {
  readonly #texts = new Map<number, readonly string[]>();

  get documents(): number {
    return this.#texts.size;
  }

  get totalLength(): number {
    let length = 0;
    for (const tokens of this.#texts.values()) length += tokens.length;
    return length;
  }

  has(label: number): boolean {
    return this.#texts.has(label);
  }

  add(label: number, tokens: readonly string[]): void {
    if (tokens.length > 0) this.#texts.set(label, [...tokens]);
    else this.#texts.delete(label);
  }

  remove(label: number): boolean {
    return this.#texts.delete(label);
  }

  documentFrequencies(terms: readonly string[]): number[] {
    return terms.map((term) => [...this.#texts.values()].filter((tokens) => tokens.includes(term)).length);
  }

  statisticsOf(terms: readonly string[]): KeywordStatistics {
    return {
      documents: this.documents,
      totalLength: this.totalLength,
      documentFrequencies: this.documentFrequencies(terms),
    };
  }

  search(terms: readonly string[], k: number, options: KeywordSearchOptions): KeywordMatches {
    const own = this.statisticsOf(terms);
    const statistics = options.statistics ?? own;
    const matching = [...this.#texts]
      .filter(([label, tokens]) => isAllowed(label, options.allowed) && terms.some((term) => tokens.includes(term)))
      .map(([label, tokens]) => {
        const frequencies = terms.map((term) => tokens.filter((token) => token === term).length);
        const score = terms.reduce(
          (sum, _, i) =>
            sum +
            bm25(
              idf(statistics.documents, statistics.documentFrequencies[i]),
              frequencies[i],
              tokens.length,
              averageLength(statistics),
            ),
          0,
        );
        return { label, score, frequencies, length: tokens.length };
      })
      .sort((a, b) => b.score - a.score || options.ties.compare(a.label, b.label));
    const best = matching.slice(0, k).filter(({ score }) => score >= (options.least ?? -Infinity));
    return {
      labels: Uint32Array.from(best, (one) => one.label),
      scores: Float64Array.from(best, (one) => one.score),
      frequencies: Uint32Array.from(best.flatMap((one) => one.frequencies)),
      lengths: Uint32Array.from(best, (one) => one.length),
      leftOut: bestLeftOut(matching, best.length, k),
      statistics: own,
    };
  }
}

/** No document that is not among the first `count` scores more. */
function bestLeftOut(matching: readonly { score: number }[], count: number, k: number): number {
  if (count === matching.length) return -Infinity;
  if (count < k) return matching[count].score;
  return k === 0 ? Infinity : matching[k - 1].score;
}

function isAllowed(label: number, allowed: Bitmap | undefined): boolean {
  return allowed === undefined || allowed.has(label);
}
