import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Bitmap } from './bitmap.js';

const labels = fc.uniqueArray(fc.nat(300), { maxLength: 120 });
const ascending = (values: Iterable<number>): number[] => [...values].sort((a, b) => a - b);

describe('Bitmap', () => {
  it('has what was set and not cleared, whatever its room', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(300))), fc.nat(100), (changes, room) => {
        const bitmap = new Bitmap(room);
        const model = new Set<number>();
        for (const [set, label] of changes) {
          if (set) bitmap.set(label);
          else bitmap.clear(label);
          if (set) model.add(label);
          else model.delete(label);
        }
        const expected = ascending(model);
        const visited: number[] = [];
        bitmap.forEach((label) => visited.push(label));
        expect(visited).toEqual(expected);
        expect([...bitmap]).toEqual(expected);
        expect([...bitmap.toArray()]).toEqual(expected);
        expect(bitmap.count()).toBe(expected.length);
        expect(bitmap.isEmpty()).toBe(expected.length === 0);
        for (let label = 0; label < 340; label++) expect(bitmap.has(label)).toBe(model.has(label));
        expect(bitmap.next(150)).toBe(expected.find((label) => label >= 150) ?? -1);
      }),
    );
  });

  it('combines as sets do', () => {
    fc.assert(
      fc.property(labels, labels, (a, b) => {
        const inB = new Set(b);
        const inA = new Set(a);
        expect([...Bitmap.of(a).and(Bitmap.of(b))]).toEqual(ascending(a.filter((label) => inB.has(label))));
        expect([...Bitmap.of(a).or(Bitmap.of(b))]).toEqual(ascending(new Set([...a, ...b])));
        expect([...Bitmap.of(a).andNot(Bitmap.of(b))]).toEqual(ascending(a.filter((label) => !inB.has(label))));
        const copy = Bitmap.of(a).clone();
        copy.set(301);
        expect(inA.has(301)).toBe(false);
        expect(copy.has(301)).toBe(true);
      }),
    );
  });

  it('is full up to a number of labels and no further', () => {
    for (const n of [0, 1, 31, 32, 33, 64, 100]) {
      expect(Bitmap.full(n).count()).toBe(n);
      expect(Bitmap.full(n).has(n)).toBe(false);
    }
  });

  it('does not share words with its clone, and empties', () => {
    const bitmap = Bitmap.of([1, 40]);
    const copy = bitmap.clone();
    bitmap.reset();
    expect([...bitmap]).toEqual([]);
    expect([...copy]).toEqual([1, 40]);
  });
});
