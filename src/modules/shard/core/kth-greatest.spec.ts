import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { kthGreatest } from './kth-greatest.js';

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
