import { compareIds } from '../../../kernel/ids.js';
import { averageLength, BM25_K1, idf } from '../../shard/core/bm25.js';
import type { KeywordCandidates } from '../../shard/core/search-answer.js';
import type { KeywordStatistics } from '../../shard/core/search.js';

/**
 * Whether a document the shard did not return could still be among the best, given the last of the best so far
 * (architecture, "Keyword answers"). The shard ranked by `ranked`: its own statistics, or remembered sums. It says what the
 * best it left out may have scored; by the sums that is at most as much, blown up by how much they raise the weights of the
 * terms it can have and dampen less for length.
 * @param last of the best so far; undefined while there are fewer than wanted
 */
export function couldStillWin(
  answer: KeywordCandidates,
  ranked: KeywordStatistics,
  sums: KeywordStatistics,
  last: { readonly score: number; readonly id: string } | undefined,
): boolean {
  const { bestLeftOut } = answer;
  if (bestLeftOut === -Infinity) return false;
  if (last === undefined) return true;
  if (sameStatistics(ranked, sums)) {
    if (bestLeftOut !== last.score) return bestLeftOut > last.score;
    const row = answer.count - 1;
    const comesAfterRow = row >= 0 && answer.score(row) === bestLeftOut;
    return !comesAfterRow || compareIds(answer.id(row), last.id) < 0;
  }
  const lengthRatio = Math.max(1, averageLength(sums) / averageLength(ranked));
  return raisedAtMost(answer, ranked, sums) * lengthRatio * (1 + ROUNDING) >= last.score;
}

/** Relative error that sums of a few products can have, with room. */
const ROUNDING = 1e-9;

/** The most that the weights of `sums` make of what by the weights of `ranked` is the best score left out. */
function raisedAtMost(answer: KeywordCandidates, ranked: KeywordStatistics, sums: KeywordStatistics): number {
  const parts: { readonly ratio: number; readonly most: number }[] = [];
  for (let t = 0; t < sums.documentFrequencies.length; t++) {
    if (hasAllOf(answer, t)) continue;
    const weight = idf(ranked.documents, ranked.documentFrequencies[t]);
    const ratio = idf(sums.documents, sums.documentFrequencies[t]) / weight;
    parts.push({ ratio, most: weight * (BM25_K1 + 1) });
  }
  // The worst case spends the score on the terms that gain most, each up to what a term can give.
  parts.sort((a, b) => b.ratio - a.ratio);
  let left = answer.bestLeftOut;
  let raised = 0;
  for (const { ratio, most } of parts) {
    const part = Math.min(left, most);
    raised += part * ratio;
    left -= part;
  }
  return raised;
}

/** Whether every document of the shard with the term is among the candidates, so that none left out has it. */
function hasAllOf(answer: KeywordCandidates, term: number): boolean {
  const wanted = answer.statistics.documentFrequencies[term];
  if (wanted > answer.count) return false;
  let found = 0;
  for (let row = 0; row < answer.count; row++) if (answer.frequency(row, term) > 0) found++;
  return found >= wanted;
}

function sameStatistics(a: KeywordStatistics, b: KeywordStatistics): boolean {
  return (
    a.documents === b.documents &&
    a.totalLength === b.totalLength &&
    a.documentFrequencies.every((frequency, t) => frequency === b.documentFrequencies[t])
  );
}
