import type { KeywordStatistics } from './search.js';

/** Saturation of a term's frequency. */
export const BM25_K1 = 1.2;
/** Weight of a text's length. */
export const BM25_B = 0.75;

/**
 * Weight of a term: ln(1 + (N − df + 0.5) / (df + 0.5)); always above 0.
 * @param documents N, documents in the keyword index
 * @param documentFrequency df, those with the term; taken as N when sums read at different moments make it larger
 */
export function idf(documents: number, documentFrequency: number): number {
  const df = Math.min(documentFrequency, documents);
  return Math.log(1 + (documents - df + 0.5) / (df + 0.5));
}

/** Terms in a text on average; 1 when there is none, so that every score stays finite and above 0. */
export function averageLength(statistics: Pick<KeywordStatistics, 'documents' | 'totalLength'>): number {
  return statistics.documents > 0 && statistics.totalLength > 0 ? statistics.totalLength / statistics.documents : 1;
}

/** How much a text's length dampens frequencies in it; the dear half of `bm25`, the same for all terms. */
export function lengthNorm(length: number, average: number): number {
  return BM25_K1 * (1 - BM25_B + (BM25_B * length) / average);
}

/** `bm25` with the text's `lengthNorm` at hand. */
export function termScore(weight: number, frequency: number, norm: number): number {
  return (weight * (frequency * (BM25_K1 + 1))) / (frequency + norm);
}

/**
 * What one term adds to a document's score (Okapi BM25; Robertson & Zaragoza 2009), in double precision. A document's
 * score is the sum over the query's terms *in sorted order*: shards and coordinator then get the same bits.
 * @param weight the term's `idf`
 * @param frequency how often the document has the term; 0 adds 0
 * @param length terms in the document's text
 * @param average `averageLength`
 */
export function bm25(weight: number, frequency: number, length: number, average: number): number {
  return termScore(weight, frequency, lengthNorm(length, average));
}
