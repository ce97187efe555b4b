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

/** Scores a candidate's row with the given statistics; terms in their sorted order, so that the sum is the same everywhere. */
export function keywordScorer(statistics: KeywordStatistics): Scorer<KeywordCandidates> {
  const weights = statistics.documentFrequencies.map((df) => idf(statistics.documents, df));
  const average = averageLength(statistics);
  const terms = weights.length;
  return (leg, row) => {
    const norm = lengthNorm(leg.length(row), average);
    let score = 0;
    for (let t = 0; t < terms; t++) {
      const frequency = leg.frequency(row, t);
      if (frequency > 0) score += termScore(weights[t], frequency, norm);
    }
    return score;
  };
}
