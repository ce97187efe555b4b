import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Bitmap } from './bitmap.js';
import { LabelSets } from './label-sets.js';

function expectSet(sets: LabelSets, set: number, model: ReadonlySet<number>): void {
  const expected = [...model].sort((a, b) => a - b);
  expect(sets.count(set)).toBe(expected.length);
  expect([...sets.labels(set)]).toEqual(expected);
  const bitmap = Bitmap.of([3]);
  sets.addTo(set, bitmap);
  expect([...bitmap]).toEqual([...new Set([3, ...expected])].sort((a, b) => a - b));
}

describe('LabelSets', () => {
  it('is a list of sets', () => {
    const change = fc.record({ set: fc.nat(3), label: fc.nat(40), add: fc.boolean() });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
        const sets = new LabelSets();
        const numbers = [0, 1, 2, 3].map(() => sets.create());
        const model = numbers.map(() => new Set<number>());
        for (const { set, label, add } of changes) {
          const had = model[set].has(label);
          expect(sets.has(numbers[set], label)).toBe(had);
          if (add) expect(sets.add(numbers[set], label)).toBe(!had);
          else expect(sets.remove(numbers[set], label)).toBe(had);
          if (add) model[set].add(label);
          else model[set].delete(label);
        }
        numbers.forEach((number, i) => expectSet(sets, number, model[i]));
      }),
    );
  });

  it('goes through every form and back, growing dense, sparse and long', () => {
    const spread = [1, 1_000, 7, 200];
    for (const step of spread) {
      const sets = new LabelSets();
      const other = sets.create();
      sets.add(other, 5);
      const set = sets.create();
      const model = new Set<number>();
      const labels = Array.from({ length: 2_000 }, (_, i) => ((i * 733) % 2_000) * step);
      labels.forEach((label, i) => {
        expect(sets.add(set, label)).toBe(true);
        model.add(label);
        if (i % 250 === 0) expectSet(sets, set, model);
      });
      expectSet(sets, set, model);
      labels.forEach((label, i) => {
        expect(sets.remove(set, label)).toBe(true);
        model.delete(label);
        if (i % 250 === 0 || model.size < 4) expectSet(sets, set, model);
      });
      expect([...sets.labels(other)]).toEqual([5]);
    }
  });

  it('turns a set that was dense into a list when it stays behind', () => {
    const sets = new LabelSets();
    const set = sets.create();
    for (let label = 0; label < 300; label++) sets.add(set, label);
    sets.add(set, 60_000_000);
    expect(sets.bytes).toBeLessThan(100_000);
    expect(sets.count(set)).toBe(301);
    expect(sets.has(set, 60_000_000) && sets.has(set, 299)).toBe(true);
  });

  it('holds more labels than any list does', () => {
    const sets = new LabelSets();
    const set = sets.create();
    for (let i = 0; i < 33_000; i++) sets.add(set, i * 100);
    expect(sets.count(set)).toBe(33_000);
    expect(sets.labels(set).every((label, i) => label === i * 100)).toBe(true);
  });

  it('loads what labels() gave', () => {
    for (const [n, step] of [
      [0, 1],
      [1, 9],
      [2, 9],
      [255, 1],
      [256, 1],
      [300, 90],
      [40_000, 40],
    ]) {
      const sets = new LabelSets();
      const set = sets.create();
      const labels = Uint32Array.from({ length: n }, (_, i) => i * step);
      sets.load(set, labels);
      expect([...sets.labels(set)]).toEqual([...labels]);
      expect(sets.add(set, 7_777_777)).toBe(true);
      expect(sets.count(set)).toBe(n + 1);
    }
  });

  it('uses released sets again, empty', () => {
    const sets = new LabelSets();
    const set = sets.create();
    for (let label = 0; label < 10; label++) sets.add(set, label);
    sets.release(set);
    expect(sets.create()).toBe(set);
    expect(sets.count(set)).toBe(0);
    expect([...sets.labels(set)]).toEqual([]);
    expect(sets.has(set, 0)).toBe(false);
  });
});
