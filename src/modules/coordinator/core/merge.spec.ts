import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { bm25, idf, averageLength } from '../../shard/core/bm25.js';
import type { KeywordCandidates, KeywordStatistics } from '../../shard/core/search.js';
import { couldStillWin, keywordScorer, mergeLeg, sumStatistics, type MergedLeg } from './merge.js';

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

/** The same, ranked by sums of some other moment. */
function answerBy(docs: readonly Doc[], k: number, ranked: KeywordStatistics): KeywordCandidates {
  const own = answer(docs, docs.length);
  const best = docs
    .map((doc) => ({ doc, score: score(doc, ranked) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score || (a.doc.id < b.doc.id ? -1 : 1));
  const top = best.slice(0, k);
  return {
    ...answer(
      top.map(({ doc }) => doc),
      0,
    ),
    ids: top.map(({ doc }) => doc.id),
    scores: Float64Array.from(top, ({ score }) => score),
    frequencies: Uint32Array.from(top.flatMap(({ doc }) => doc.frequencies)),
    lengths: Uint32Array.from(top, ({ doc }) => doc.length),
    statistics: own.statistics,
    complete: top.length === best.length,
  };
}

function lastOf(merged: MergedLeg, size: number): { readonly id: string; readonly score: number } | undefined {
  const end = merged.ids.length - 1;
  return end + 1 < size ? undefined : { id: merged.ids[end], score: merged.scores[end] };
}

const listed = ({ ids, scores }: MergedLeg) => ids.map((id, i) => ({ id, score: scores[i] }));

/** What one shard with everything would answer. */
function whole(all: readonly Doc[], sums: KeywordStatistics, k: number) {
  return all
    .map((doc) => ({ id: doc.id, score: score(doc, sums) }))
    .filter((doc) => doc.score > 0)
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
    .slice(0, k);
}

function byShard(all: readonly Doc[]): readonly (readonly Doc[])[] {
  return [0, 1, 2].map((shard) => all.filter((doc) => doc.shard === shard)).filter((list) => list.length > 0);
}

describe('keyword merge', () => {
  it('ranks over shards exactly as one shard would, asking again only the shards that could still win', () => {
    fc.assert(
      fc.property(docs, fc.integer({ min: 1, max: 10 }), (all, k) => {
        const lists = byShard(all);
        const answers = lists.map((list) => ({ shard: list[0].shard, columns: answer(list, k) }));
        const sums = sumStatistics(
          answers.map(({ columns }) => columns.statistics),
          TERMS,
        );
        const first = mergeLeg(answers, k, keywordScorer(sums));
        const second = answers.map((given, i) =>
          couldStillWin(given.columns, given.columns.statistics, sums, lastOf(first, k))
            ? { ...given, columns: answer(lists[i], Infinity) }
            : given,
        );
        expect(listed(mergeLeg(second, k, keywordScorer(sums)))).toEqual(whole(all, sums, k));
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
      fc.property(docs, fc.integer({ min: 1, max: 10 }), sumsThen, (all, k, ranked) => {
        const lists = byShard(all);
        const answers = lists.map((list) => ({ shard: list[0].shard, columns: answerBy(list, k, ranked) }));
        const sums = sumStatistics(
          answers.map(({ columns }) => columns.statistics),
          TERMS,
        );
        const first = mergeLeg(answers, k, keywordScorer(sums));
        const second = answers.map((given, i) =>
          couldStillWin(given.columns, ranked, sums, lastOf(first, k))
            ? { ...given, columns: answer(lists[i], Infinity) }
            : given,
        );
        expect(listed(mergeLeg(second, k, keywordScorer(sums)))).toEqual(whole(all, sums, k));
      }),
      { numRuns: 1_000 },
    );
  });

  it('asks no shard again that ranked by the very sums, unless what it left out comes before the last', () => {
    fc.assert(
      fc.property(docs, fc.integer({ min: 1, max: 10 }), (all, k) => {
        const lists = byShard(all);
        const sums = sumStatistics(
          lists.map((list) => answer(list, k).statistics),
          TERMS,
        );
        const answers = lists.map((list) => ({ shard: list[0].shard, columns: answerBy(list, k, sums) }));
        const last = lastOf(mergeLeg(answers, k, keywordScorer(sums)), k);
        // Each gave as many as are wanted in all.
        for (const { columns } of answers) expect(couldStillWin(columns, sums, sums, last)).toBe(false);
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
    const kth = { score: given.scores[2], id: 'a' };
    expect(couldStillWin(given, given.statistics, sums, kth)).toBe(false);
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
    const { ids, from } = mergeLeg(
      [
        { shard: 0, columns: one },
        { shard: 1, columns: two },
      ],
      5,
    );
    expect([ids, from]).toEqual([['x'], [1]]);
  });
});

describe('mergeLeg', () => {
  it('finds a document that is there twice among many that end alike', () => {
    const columns = (ids: readonly string[]) => ({
      ids,
      offsets: new Float64Array(ids.length),
      versionMs: new Float64Array(ids.length),
      versionCounter: new Float64Array(ids.length),
      scores: Float64Array.from(ids, (_, row) => -row),
    });
    const ids = Array.from({ length: 500 }, (_, i) => `${i} of the same ending`);
    const merged = mergeLeg(
      [
        { shard: 0, columns: columns(ids) },
        { shard: 1, columns: columns(['b of the same ending', ids[499]]) },
      ],
      1_000,
    );
    expect(merged.ids).toHaveLength(501);
    expect(merged.ids.indexOf(ids[499])).toBe(merged.ids.lastIndexOf(ids[499]));
  });

  const candidate = fc.record({ id: fc.integer({ min: 0, max: 30 }), score: fc.nat(6), ms: fc.nat(3) });
  const shard = fc.uniqueArray(candidate, { selector: ({ id }) => id, maxLength: 20 });

  it('is a sort of everything, cut to size, of each document its newest version', () => {
    fc.assert(
      fc.property(fc.array(shard, { maxLength: 5 }), fc.integer({ min: 1, max: 40 }), (shards, size) => {
        const all = shards.flatMap((list, from) => list.map((one) => ({ ...one, from, id: `d${one.id}` })));
        const sorted = all.sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
        const newest = new Map<string, (typeof sorted)[number]>();
        for (const one of sorted) if (one.ms > (newest.get(one.id)?.ms ?? -1)) newest.set(one.id, one);
        const expected = sorted.filter((one) => newest.get(one.id) === one).slice(0, size);
        const merged = mergeLeg(
          shards.map((list, i) => ({
            shard: i,
            columns: {
              ids: list.map(({ id }) => `d${id}`),
              offsets: Float64Array.from(list, (_, row) => row + 1),
              versionMs: Float64Array.from(list, ({ ms }) => ms),
              versionCounter: new Float64Array(list.length),
              scores: Float64Array.from(list, ({ score }) => score),
            },
          })),
          size,
        );
        expect(listed(merged)).toEqual(expected.map(({ id, score }) => ({ id, score })));
        expect(merged.from).toEqual(expected.map(({ from }) => from));
        merged.rows.forEach((row, i) => {
          expect(merged.sources[merged.from[i]].columns.ids[row]).toBe(merged.ids[i]);
        });
      }),
      { numRuns: 500 },
    );
  });
});
