import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { bm25, idf, averageLength } from '../../shard/core/bm25.js';
import type { KeywordCandidates } from '../../shard/core/search-answer.js';
import type { KeywordStatistics } from '../../shard/core/search.js';
import { written } from '../../shard/testing/written-answer.js';
import { SumsScorer, sumStatistics } from './keyword-sums.js';
import { mergeLeg, type MergedLeg } from './merge.js';
import { couldStillWin } from './second-round.js';

interface Doc {
  readonly id: string;
  readonly shard: number;
  readonly frequencies: readonly number[];
  readonly length: number;
}

const TERMS = 2;

function statisticsOf(docs: readonly Doc[]): KeywordStatistics {
  return {
    documents: docs.length,
    totalLength: docs.reduce((sum, doc) => sum + doc.length, 0),
    documentFrequencies: [0, 1].map((t) => docs.filter((doc) => doc.frequencies[t] > 0).length),
  };
}

/** What a shard would answer: its best `k` by the given sums, or by its own, less what scores below `least`. */
function answer(docs: readonly Doc[], k: number, ranked = statisticsOf(docs), least = -Infinity): KeywordCandidates {
  const scored = docs
    .map((doc) => ({ ...doc, score: score(doc, ranked) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1));
  const candidates = scored.slice(0, k);
  const complete = candidates.length === scored.length;
  const leg = written({ keyword: { candidates, statistics: statisticsOf(docs), complete, least } }).keyword();
  if (leg === undefined) throw new Error('it was written');
  return leg;
}

function score(doc: Doc, statistics: KeywordStatistics): number {
  let sum = 0;
  for (let t = 0; t < TERMS; t++) {
    if (doc.frequencies[t] > 0) {
      sum += bm25(
        idf(statistics.documents, statistics.documentFrequencies[t]),
        doc.frequencies[t],
        doc.length,
        averageLength(statistics),
      );
    }
  }
  return sum;
}

const docs = fc
  .array(
    fc.record({
      shard: fc.nat(2),
      frequencies: fc.tuple(fc.nat(3), fc.nat(3)),
      length: fc.integer({ min: 1, max: 40 }),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((list) =>
    list.map((doc, i): Doc => ({
      ...doc,
      id: `d${i}`,
      length: Math.max(doc.length, doc.frequencies[0] + doc.frequencies[1]),
    })),
  );

function lastOf(merged: MergedLeg, size: number): { readonly id: string; readonly score: number } | undefined {
  const end = merged.length - 1;
  return end + 1 < size ? undefined : { id: merged.id(end), score: merged.scores[end] };
}

const listed = (merged: MergedLeg) => [...merged.scores].map((score, i) => ({ id: merged.id(i), score }));

/** What one shard with everything would answer. */
function whole(all: readonly Doc[], sums: KeywordStatistics, k: number) {
  return all
    .map((doc) => ({ id: doc.id, score: score(doc, sums) }))
    .filter((doc) => doc.score > 0)
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
    .slice(0, k);
}

/** The k-th best of some shards, which answers of these may end with. */
function leastOf(lists: readonly (readonly Doc[])[], k: number, ranked: KeywordStatistics): number {
  const scores = lists.flatMap((list) => list.map((doc) => score(doc, ranked))).sort((a, b) => b - a);
  return scores.length < k ? -Infinity : scores[k - 1];
}

function byShard(all: readonly Doc[]): readonly (readonly Doc[])[] {
  return [0, 1, 2].map((shard) => all.filter((doc) => doc.shard === shard)).filter((list) => list.length > 0);
}

describe('keyword merge', () => {
  it('ranks over shards exactly as one shard would, asking again only the shards that could still win', () => {
    fc.assert(
      fc.property(docs, fc.integer({ min: 1, max: 10 }), (all, k) => {
        const lists = byShard(all);
        const answers = lists.map((list) => ({ shard: list[0].shard, leg: answer(list, k) }));
        const sums = sumStatistics(
          answers.map(({ leg }) => leg.statistics),
          TERMS,
        );
        const first = mergeLeg(answers, k, new SumsScorer(sums));
        const second = answers.map((given, i) =>
          couldStillWin(given.leg, given.leg.statistics, sums, lastOf(first, k))
            ? { ...given, leg: answer(lists[i], Infinity) }
            : given,
        );
        expect(listed(mergeLeg(second, k, new SumsScorer(sums)))).toEqual(whole(all, sums, k));
      }),
      { numRuns: 1_000 },
    );
  });

  it('does so too when the shards rank by sums of another moment', () => {
    const frequency = fc.nat(40);
    const sumsThen = fc.record({
      documents: fc.integer({ min: 1, max: 80 }),
      totalLength: fc.integer({ min: 1, max: 2_000 }),
      documentFrequencies: fc.tuple(frequency, frequency),
    });
    fc.assert(
      fc.property(docs, fc.integer({ min: 1, max: 10 }), sumsThen, fc.nat(3), (all, k, ranked, together) => {
        const lists = byShard(all);
        // Of so many shards in one place what is beyond the best of them all is left out.
        const least = leastOf(lists.slice(0, together), k, ranked);
        const answers = lists.map((list, i) => ({
          shard: list[0].shard,
          leg: answer(list, k, ranked, i < together ? least : -Infinity),
        }));
        const sums = sumStatistics(
          answers.map(({ leg }) => leg.statistics),
          TERMS,
        );
        const first = mergeLeg(answers, k, new SumsScorer(sums));
        const second = answers.map((given, i) =>
          couldStillWin(given.leg, ranked, sums, lastOf(first, k))
            ? { ...given, leg: answer(lists[i], Infinity) }
            : given,
        );
        expect(listed(mergeLeg(second, k, new SumsScorer(sums)))).toEqual(whole(all, sums, k));
      }),
      { numRuns: 1_000 },
    );
  });

  it('asks no shard again that ranked by the very sums, unless what it left out comes before the last', () => {
    fc.assert(
      fc.property(docs, fc.integer({ min: 1, max: 10 }), fc.nat(3), (all, k, together) => {
        const lists = byShard(all);
        const sums = sumStatistics(
          lists.map((list) => answer(list, k).statistics),
          TERMS,
        );
        const least = leastOf(lists.slice(0, together), k, sums);
        const answers = lists.map((list, i) => ({
          shard: list[0].shard,
          leg: answer(list, k, sums, i < together ? least : -Infinity),
        }));
        const last = lastOf(mergeLeg(answers, k, new SumsScorer(sums)), k);
        // Each gave as many as are wanted in all.
        for (const { leg } of answers) expect(couldStillWin(leg, sums, sums, last)).toBe(false);
      }),
    );
  });

  it('does not fear terms whose documents are all there already', () => {
    const rare = { id: 'r', shard: 0, frequencies: [3, 0], length: 5 };
    const common = Array.from({ length: 20 }, (_, i) => ({
      id: `c${i}`,
      shard: 0,
      frequencies: [0, 1],
      length: 5 + i,
    }));
    const given = answer([rare, ...common], 4);
    // The rare term weighs twice as much over all shards; what is left out does not have it.
    const sums = { documents: 42, totalLength: given.statistics.totalLength * 2, documentFrequencies: [1, 40] };
    const kth = { score: given.score(2), id: 'a' };
    expect(couldStillWin(given, given.statistics, sums, kth)).toBe(false);
  });
});
