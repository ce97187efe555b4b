import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { TopK } from './top-k.js';

/** Few distinct scores, so that ties decide. */
const scores = fc.array(fc.oneof(fc.integer({ min: -2, max: 3 }), fc.constantFrom(Infinity, -Infinity, -0, 0.5)), {
  maxLength: 80,
});
const byNumber = (a: number, b: number): number => a - b;

describe('TopK', () => {
  it('keeps exactly what a sort puts first, ties included', () => {
    fc.assert(
      fc.property(scores, fc.nat(90), fc.boolean(), (values, k, backwards) => {
        const before = backwards ? (a: number, b: number): number => b - a : byNumber;
        const best = new TopK(k, before);
        values.forEach((score, item) => best.push(item, score));
        const expected = values
          .map((score, item) => ({ score, item }))
          .sort((a, b) => (a.score === b.score ? before(a.item, b.item) : b.score - a.score))
          .slice(0, k);
        expect(best.size).toBe(expected.length);
        const worst = expected.length < k ? -Infinity : (expected.at(-1)?.score ?? Infinity);
        expect(best.threshold === worst).toBe(true);
        const { items, scores: kept } = best.drain();
        expect([...items]).toEqual(expected.map((one) => one.item));
        expect([...kept].every((score, i) => score === expected[i].score)).toBe(true);
        expect(best.size).toBe(0);
      }),
      { numRuns: 500 },
    );
  });

  it('says whether an item is kept', () => {
    const best = new TopK(1, byNumber);
    expect(best.push(5, 1)).toBe(true);
    expect(best.push(6, 1)).toBe(false);
    expect(best.push(4, 1)).toBe(true);
    expect(best.push(9, 2)).toBe(true);
    expect(new TopK(0, byNumber).push(1, 1)).toBe(false);
  });

  it('can be used again', () => {
    const best = new TopK(3, byNumber);
    best.push(1, 1);
    best.reset(2, (a, b) => b - a);
    for (const item of [1, 2, 3]) best.push(item, 7);
    expect([...best.drain().items]).toEqual([3, 2]);
  });
});
