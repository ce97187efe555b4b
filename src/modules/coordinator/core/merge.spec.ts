import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { bm25, idf, averageLength } from '../../shard/core/bm25.js';
import type { KeywordCandidates } from '../../shard/core/search.js';
import { couldStillWin, keywordScorer, mergeLeg, sumStatistics } from './merge.js';

interface Doc {
  readonly id: string;
  readonly shard: number;
  readonly frequencies: readonly number[];
  readonly length: number;
}

const TERMS = 2;

/** What a shard would answer: its best `k` by its own statistics. */
function answer(docs: readonly Doc[], k: number): KeywordCandidates {
  const statistics = {
    documents: docs.length,
    totalLength: docs.reduce((sum, doc) => sum + doc.length, 0),
    documentFrequencies: [0, 1].map((t) => docs.filter((doc) => doc.frequencies[t] > 0).length),
  };
  const scored = docs
    .map((doc) => ({ doc, score: score(doc, statistics) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score || (a.doc.id < b.doc.id ? -1 : 1));
  const top = scored.slice(0, k);
  return {
    ids: top.map(({ doc }) => doc.id),
    offsets: Float64Array.from(top, () => 1),
    versionMs: Float64Array.from(top, () => 1),
    versionCounter: Float64Array.from(top, () => 0),
    scores: Float64Array.from(top, ({ score }) => score),
    frequencies: Uint32Array.from(top.flatMap(({ doc }) => doc.frequencies)),
    lengths: Uint32Array.from(top, ({ doc }) => doc.length),
    statistics,
    complete: top.length === scored.length,
  };
}

function score(doc: Doc, statistics: KeywordCandidates['statistics']): number {
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

describe('keyword merge', () => {
  it('ranks over shards exactly as one shard would, asking again only the shards that could still win', () => {
    fc.assert(
      fc.property(docs, fc.integer({ min: 1, max: 10 }), (all, k) => {
        const byShard = [0, 1, 2]
          .map((shard) => all.filter((doc) => doc.shard === shard))
          .filter((list) => list.length > 0);
        const answers = byShard.map((list) => ({ shard: list[0].shard, columns: answer(list, k) }));
        const sums = sumStatistics(
          answers.map(({ columns }) => columns.statistics),
          TERMS,
        );
        let merged = mergeLeg(answers, k, keywordScorer(sums));
        const kth = merged.length < k ? 0 : merged[merged.length - 1].score;
        const second = answers.map((given, i) =>
          couldStillWin(given.columns, sums, kth) ? { ...given, columns: answer(byShard[i], Infinity) } : given,
        );
        merged = mergeLeg(second, k, keywordScorer(sums));
        const whole = all
          .map((doc) => ({ id: doc.id, score: score(doc, sums) }))
          .filter((doc) => doc.score > 0)
          .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
          .slice(0, k);
        expect(merged.map(({ id, score }) => ({ id, score }))).toEqual(whole);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps the highest version of a document that two shards return', () => {
    const one = {
      ...answer([{ id: 'x', shard: 0, frequencies: [3, 0], length: 3 }], 5),
      versionMs: Float64Array.of(5),
    };
    const two = {
      ...answer([{ id: 'x', shard: 1, frequencies: [1, 0], length: 9 }], 5),
      versionMs: Float64Array.of(6),
    };
    const merged = mergeLeg(
      [
        { shard: 0, columns: one },
        { shard: 1, columns: two },
      ],
      5,
    );
    expect(merged.map(({ id, shard }) => ({ id, shard }))).toEqual([{ id: 'x', shard: 1 }]);
  });
});
