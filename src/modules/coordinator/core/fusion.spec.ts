import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { written } from '../../shard/testing/written-answer.js';
import { fuse as fusePage, single, type Fused } from './fusion.js';
import { mergeLeg, type MergedLeg } from './merge.js';
import type { Fusion } from './requests.js';

const rrf = { method: 'rrf', k: 60, weights: { vector: 1, keyword: 1 } } as const;
const leg = (...pairs: readonly (readonly [string, number])[]): MergedLeg => {
  const candidates = written({ vector: pairs.map(([id, score]) => ({ id, score })) }).vector();
  if (candidates === undefined) throw new Error('it was written');
  return mergeLeg([{ shard: 0, leg: candidates }], pairs.length);
};
const descending = (ids: readonly string[]): MergedLeg => leg(...ids.map((id, i) => [id, -i] as const));

/** Everything, on one page. */
const fuse = (vector: MergedLeg, keyword: MergedLeg, fusion: Fusion): readonly Fused[] =>
  fusePage(vector, keyword, fusion, { offset: 0, size: vector.length + keyword.length });

describe('fuse', () => {
  it('sums 1 / (k + rank) over the legs, ranks from 1, ties by id', () => {
    const fused = fuse(leg(['a', 0.9], ['b', 0.8]), leg(['c', 7], ['b', 5]), rrf);
    expect(fused.map(({ id }) => id)).toEqual(['b', 'a', 'c']);
    expect(fused[0].score).toBe(1 / 62 + 1 / 62);
    expect(fused[1]).toMatchObject({ score: 1 / 61, vectorRank: 1, keywordRank: undefined });
    expect(fused[2]).toMatchObject({ score: 1 / 61, vectorRank: undefined, keywordRank: 1 });
  });

  it('weighs the legs', () => {
    const fused = fuse(leg(['a', 1]), leg(['b', 1]), { ...rrf, weights: { vector: 1, keyword: 3 } });
    expect(fused.map(({ id, score }) => [id, score])).toEqual([
      ['b', 3 / 61],
      ['a', 1 / 61],
    ]);
  });

  it('relative: min–max over each leg, missing counts 0, alpha 1 is the vector leg alone', () => {
    const vector = leg(['a', 0.9], ['b', 0.5], ['c', 0.1]);
    const keyword = leg(['c', 8], ['d', 4]);
    expect(fuse(vector, keyword, { method: 'relative', alpha: 0.5 }).map(({ id, score }) => [id, score])).toEqual([
      ['a', 0.5],
      ['c', 0.5],
      ['b', 0.25],
      ['d', 0],
    ]);
    const vectorOnly = fuse(vector, keyword, { method: 'relative', alpha: 1 });
    expect(vectorOnly.slice(0, 2).map(({ id }) => id)).toEqual(['a', 'b']);
  });

  it('a leg with one distinct score is as good as it gets', () => {
    expect(fuse(leg(['a', 2], ['b', 2]), leg(), { method: 'relative', alpha: 0.5 }).map(({ score }) => score)).toEqual([
      0.5, 0.5,
    ]);
  });

  it('returns each document once, sorted, with every id of both legs', () => {
    const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: 20 });
    fc.assert(
      fc.property(ids, ids, (a, b) => {
        const fused = fuse(descending(a), descending(b), rrf);
        expect(new Set(fused.map(({ id }) => id))).toEqual(new Set([...a, ...b]));
        expect(fused.length).toBe(new Set([...a, ...b]).size);
        for (let i = 1; i < fused.length; i++) {
          const [left, right] = [fused[i - 1], fused[i]];
          expect(left.score > right.score || (left.score === right.score && left.id < right.id)).toBe(true);
        }
      }),
    );
  });

  it('gives the page that the whole ranking has there', () => {
    const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: 150 });
    fc.assert(
      fc.property(ids, ids, fc.nat(40), fc.nat(120), (a, b, offset, size) => {
        const vector = descending(a);
        const keyword = descending(b);
        expect(fusePage(vector, keyword, rrf, { offset, size })).toEqual(
          fuse(vector, keyword, rrf).slice(offset, offset + size),
        );
      }),
    );
  });
});

describe('single', () => {
  it('ranks a page of the only leg from its place in it', () => {
    expect(single(leg(['a', 3], ['b', 2], ['c', 1]), 'KEYWORD', { offset: 1, size: 5 })).toEqual([
      { id: 'b', score: 2, vectorRank: undefined, keywordRank: 2, vectorPart: 0, keywordPart: 2 },
      { id: 'c', score: 1, vectorRank: undefined, keywordRank: 3, vectorPart: 0, keywordPart: 1 },
    ]);
  });
});
