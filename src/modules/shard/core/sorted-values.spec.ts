import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { inRange } from './filter-eval.js';
import { SortedValues } from './sorted-values.js';

function found<V extends number | string>(values: SortedValues<V>, bounds: Record<string, V>): number[] {
  const sets: number[] = [];
  values.range(bounds, (set) => sets.push(set));
  return sets.sort((a, b) => a - b);
}

describe('SortedValues', () => {
  it('finds the sets within bounds, sorted in or not', () => {
    const value = fc.oneof(fc.integer({ min: -5, max: 900 }), fc.double({ noNaN: true }));
    const bounds = fc.record({ gt: value, gte: value, lt: value, lte: value }, { requiredKeys: [] });
    fc.assert(
      fc.property(
        fc.uniqueArray(value, { maxLength: 700, minLength: 0, size: 'max' }),
        fc.array(bounds),
        (all, ranges) => {
          const distinct = [...new Set(all)];
          const values = new SortedValues<number>((one) => distinct.indexOf(one));
          distinct.forEach((one, set) => {
            values.add(one);
            if (set % 300 === 299) found(values, { gt: 0 });
          });
          for (const range of ranges) {
            const expected = distinct.flatMap((one, set) =>
              inRange(one, { kind: 'range', key: 'k', ...range }) ? [set] : [],
            );
            expect(found(values, range)).toEqual(expected);
          }
          values.retain((set) => set % 2 === 0);
          expect(found(values, {})).toEqual(distinct.flatMap((_, set) => (set % 2 === 0 ? [set] : [])));
        },
      ),
      { numRuns: 50 },
    );
  });

  it('orders strings by code units: dates as text', () => {
    const all = ['2024-01-02', '2023-12-31', '2024-01-10T00:00:00Z', 'B', 'a', ''];
    const values = new SortedValues<string>((one) => all.indexOf(one));
    all.forEach((one) => values.add(one));
    expect(found(values, { gte: '2024-01-01', lt: '2024-02' })).toEqual([0, 2]);
    expect(found(values, { gt: 'A', lt: 'Z' })).toEqual([3]);
    expect(found(values, { lte: '' })).toEqual([5]);
  });
});
