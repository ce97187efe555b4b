import { compareIds } from '../../../kernel/ids.js';
import type { CandidateColumns, KeywordCandidates, KeywordStatistics } from '../../shard/core/search.js';
import { averageLength, bm25, idf } from '../../shard/core/bm25.js';

/** Where a merged candidate came from: an answer and its row there. */
export interface Candidate {
  readonly id: string;
  readonly shard: number;
  readonly score: number;
  /** Log offset of its entry. */
  readonly offset: number;
  readonly versionMs: number;
  readonly versionCounter: number;
  /** Row in the shard's columns. */
  readonly row: number;
}

/** A shard's columns for one leg. */
export interface ShardColumns<Columns extends CandidateColumns> {
  readonly shard: number;
  readonly columns: Columns;
}

/**
 * Merges one leg over all shards (replication 7.4): the best `size` by score, ties by id. Of a document that two shards
 * returned (it is moving) the highest version stays.
 */
export function mergeLeg<Columns extends CandidateColumns>(
  answers: readonly ShardColumns<Columns>[],
  size: number,
  scoreOf: (columns: Columns, row: number) => number = (columns, row) => columns.scores[row],
): readonly Candidate[] {
  const all: Candidate[] = [];
  for (const { shard, columns } of answers) {
    for (let row = 0; row < columns.ids.length; row++) {
      all.push({
        id: columns.ids[row],
        shard,
        score: scoreOf(columns, row),
        offset: columns.offsets[row],
        versionMs: columns.versionMs[row],
        versionCounter: columns.versionCounter[row],
        row,
      });
    }
  }
  all.sort((a, b) => b.score - a.score || compareIds(a.id, b.id));
  return (answers.length > 1 ? newest(all) : all).slice(0, size);
}

function newest(sorted: readonly Candidate[]): readonly Candidate[] {
  const best = new Map<string, Candidate>();
  for (const candidate of sorted) {
    const other = best.get(candidate.id);
    if (other === undefined || isNewer(candidate, other)) best.set(candidate.id, candidate);
  }
  return best.size === sorted.length ? sorted : sorted.filter((candidate) => best.get(candidate.id) === candidate);
}

function isNewer(a: Candidate, b: Candidate): boolean {
  return (a.versionMs - b.versionMs || a.versionCounter - b.versionCounter) > 0;
}

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
export function keywordScorer(statistics: KeywordStatistics): (columns: KeywordCandidates, row: number) => number {
  const weights = statistics.documentFrequencies.map((df) => idf(statistics.documents, df));
  const average = averageLength(statistics);
  return (columns, row) => {
    let score = 0;
    const terms = weights.length;
    for (let t = 0; t < terms; t++) {
      const frequency = columns.frequencies[row * terms + t];
      if (frequency > 0) score += bm25(weights[t], frequency, columns.lengths[row], average);
    }
    return score;
  };
}

/**
 * Whether a document the shard did not return could still be among the best `size`, given the k-th best score so far
 * (architecture, "Keyword answers"): its score is at most its shard's last one, blown up by how much the sums can raise
 * any term's weight and the length norm.
 */
export function couldStillWin(answer: KeywordCandidates, sums: KeywordStatistics, kthScore: number): boolean {
  if (answer.complete) return false;
  const last = answer.scores[answer.scores.length - 1];
  let idfRatio = 1;
  const local = answer.statistics;
  for (let t = 0; t < sums.documentFrequencies.length; t++) {
    if (local.documentFrequencies[t] === 0) continue;
    const ratio = idf(sums.documents, sums.documentFrequencies[t]) / idf(local.documents, local.documentFrequencies[t]);
    idfRatio = Math.max(idfRatio, ratio);
  }
  const lengthRatio = Math.max(1, averageLength(sums) / averageLength(local));
  return last * idfRatio * lengthRatio >= kthScore;
}
