import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { kthGreatest, rankBest } from './rank-best.js';

/** Few distinct scores, so that ties decide. */
const scores = fc.array(fc.oneof(fc.integer({ min: -2, max: 3 }), fc.constantFrom(Infinity, -Infinity, 0.5)), {
  maxLength: 80,
});

describe('kthGreatest', () => {
  it('is the k-th of the sorted', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: 0, max: 5 }), fc.double({ noNaN: true })), { minLength: 1 }),
        fc.nat(),
        (values, at) => {
          const k = (at % values.length) + 1;
          const expected = [...values].sort((a, b) => b - a)[k - 1];
          expect(kthGreatest(Float64Array.from(values), values.length, k) === expected).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('rankBest', () => {
  it('is the first of a sort by score and tie order', () => {
    fc.assert(
      fc.property(scores, fc.nat(90), fc.boolean(), (values, k, backwards) => {
        const before = (a: number, b: number): number => (backwards ? b - a : ((a * 37) % 101) - ((b * 37) % 101));
        const expected = values
          .map((score, place) => ({ score, place }))
          .sort((a, b) => (a.score === b.score ? before(a.place, b.place) : a.score < b.score ? 1 : -1))
          .slice(0, k)
          .map((one) => one.place);
        const column = Float64Array.from([...values, 99]);
        expect(rankBest(column, values.length, k, before, new Float64Array(values.length))).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });

  it('asks about ties only where they matter', () => {
    let asked = 0;
    const values = Float64Array.from({ length: 1_000 }, (_, i) => (i < 20 ? 2 : 1));
    const before = (a: number, b: number): number => {
      asked++;
      return a - b;
    };
    expect(rankBest(values, 1_000, 20, before, new Float64Array(1_000))).toHaveLength(20);
    expect(asked).toBeLessThan(200);
  });
});
