import { averageLength, bm25, idf } from '../../shard/core/bm25.js';
import type { KeywordCandidates } from '../../shard/core/search-answer.js';
import type { KeywordStatistics } from '../../shard/core/search.js';
import type { Fused } from './fusion.js';
import type { MergedLeg } from './merge.js';
import type { Plan } from './plan.js';
import type { HitExplanation, SearchExplanation, SearchRequest } from './requests.js';

/** When the phases of a query ended, in milliseconds of one clock. */
export interface QueryTimes {
  readonly startedMs: number;
  readonly plannedMs: number;
  readonly answeredMs: number;
  readonly fusedMs: number;
  readonly endMs: number;
}

/** How a query was searched, for `explain`. */
export function explainQuery(
  request: SearchRequest,
  plan: Plan,
  terms: readonly string[],
  rounds: number,
  statistics: KeywordStatistics | undefined,
  times: QueryTimes,
): SearchExplanation {
  return {
    ...(terms.length > 0 ? { terms } : {}),
    legSize: plan.legSize,
    ...(request.vector === undefined || request.exact ? {} : { ef: plan.ef }),
    rounds,
    ...(statistics === undefined
      ? {}
      : { statistics: { documents: statistics.documents, averageLength: averageLength(statistics) } }),
    timings: {
      planMs: rounded(times.plannedMs - times.startedMs),
      shardsMs: rounded(times.answeredMs - times.plannedMs),
      fuseMs: rounded(times.fusedMs - times.answeredMs),
      fetchMs: rounded(times.endMs - times.fusedMs),
    },
  };
}

/** Where a hit's score comes from, for `explain`. */
export function explainHit(
  result: Fused,
  shard: number,
  vector: MergedLeg,
  keyword: MergedLeg<KeywordCandidates>,
  terms: readonly string[],
  statistics: KeywordStatistics | undefined,
): HitExplanation {
  const { vectorRank, keywordRank, vectorPart, keywordPart } = result;
  return {
    shard,
    ...(vectorRank === undefined
      ? {}
      : { vector: { rank: vectorRank, score: vector.scores[vectorRank - 1], contribution: vectorPart } }),
    ...(keywordRank === undefined
      ? {}
      : {
          keyword: {
            rank: keywordRank,
            score: keyword.scores[keywordRank - 1],
            contribution: keywordPart,
            ...explainTerms(keyword, keywordRank - 1, terms, statistics),
          },
        }),
  };
}

function explainTerms(
  keyword: MergedLeg<KeywordCandidates>,
  place: number,
  terms: readonly string[],
  statistics: KeywordStatistics | undefined,
): Pick<NonNullable<HitExplanation['keyword']>, 'length' | 'averageLength' | 'terms'> {
  if (statistics === undefined) return { length: 0, averageLength: 0, terms: [] };
  const leg = keyword.leg(place);
  const row = keyword.row(place);
  const length = leg.length(row);
  const average = averageLength(statistics);
  const explained = terms.map((term, t) => {
    const frequency = leg.frequency(row, t);
    const weight = idf(statistics.documents, statistics.documentFrequencies[t]);
    return { term, frequency, idf: weight, score: frequency === 0 ? 0 : bm25(weight, frequency, length, average) };
  });
  return { length, averageLength: average, terms: explained.filter(({ frequency }) => frequency > 0) };
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
