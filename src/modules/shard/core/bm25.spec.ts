import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { averageLength, bm25, idf, lengthNorm, termScore } from './bm25.js';

describe('idf', () => {
  it('is the published formula', () => {
    expect(idf(10, 3)).toBe(Math.log(1 + (10 - 3 + 0.5) / (3 + 0.5)));
    expect(idf(1, 1)).toBeCloseTo(Math.log(4 / 3), 12);
  });

  it('stays above 0 for any counts, even ones read at different moments', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (documents, frequency) => expect(idf(documents, frequency)).toBeGreaterThan(0)),
    );
  });
});

describe('averageLength', () => {
  it('divides, and is 1 where there is nothing to divide', () => {
    expect(averageLength({ documents: 4, totalLength: 10 })).toBe(2.5);
    expect(averageLength({ documents: 0, totalLength: 0 })).toBe(1);
    expect(averageLength({ documents: 3, totalLength: 0 })).toBe(1);
  });
});

describe('bm25', () => {
  it('is Okapi with k1 1.2 and b 0.75', () => {
    expect(bm25(2, 3, 10, 5)).toBeCloseTo((2 * 3 * 2.2) / (3 + 1.2 * (0.25 + (0.75 * 10) / 5)), 12);
    expect(bm25(2, 0, 10, 5)).toBe(0);
    expect(termScore(2, 3, lengthNorm(10, 5))).toBe(bm25(2, 3, 10, 5));
  });

  it('grows with frequency and shrinks with length, within 2.2 times the weight', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 1e6 }), (frequency, length) => {
        const score = bm25(1, frequency, length, 20);
        expect(score).toBeGreaterThan(0);
        expect(score).toBeLessThan(2.2);
        expect(bm25(1, frequency + 1, length, 20)).toBeGreaterThanOrEqual(score);
        expect(bm25(1, frequency, length + 1, 20)).toBeLessThanOrEqual(score);
      }),
    );
  });
});
