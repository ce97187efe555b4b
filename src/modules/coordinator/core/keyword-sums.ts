import { averageLength, idf, lengthNorm, termScore } from '../../shard/core/bm25.js';
import type { KeywordCandidates } from '../../shard/core/search-answer.js';
import type { KeywordStatistics } from '../../shard/core/search.js';
import type { Scorer } from './merge.js';

/** Sums the shards' statistics: integers, so the sum is the same for any number of shards. */
export function sumStatistics(all: readonly KeywordStatistics[], terms: number): KeywordStatistics {
  let documents = 0;
  let totalLength = 0;
  const documentFrequencies = new Array<number>(terms).fill(0);
  for (const statistics of all) {
    documents += statistics.documents;
    totalLength += statistics.totalLength;
    for (let t = 0; t < terms; t++) documentFrequencies[t] += statistics.documentFrequencies[t];
  }
  return { documents, totalLength, documentFrequencies };
}

/** Scores candidates by the given statistics; terms in their sorted order, so that the sum is the same everywhere. */
export class SumsScorer implements Scorer<KeywordCandidates> {
  readonly #weights: readonly number[];
  readonly #average: number;

  constructor(sums: KeywordStatistics) {
    this.#weights = sums.documentFrequencies.map((df) => idf(sums.documents, df));
    this.#average = averageLength(sums);
  }

  of(leg: KeywordCandidates, row: number): number {
    const weights = this.#weights;
    const norm = lengthNorm(leg.length(row), this.#average);
    let score = 0;
    for (let t = 0; t < weights.length; t++) {
      const frequency = leg.frequency(row, t);
      if (frequency > 0) score += termScore(weights[t], frequency, norm);
    }
    return score;
  }

  all(leg: KeywordCandidates, scores: Float64Array, at: number): void {
    for (let row = 0; row < leg.count; row++) scores[at + row] = this.of(leg, row);
  }
}
