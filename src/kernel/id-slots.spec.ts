import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { IdSlots } from './id-slots.js';

describe('IdSlots', () => {
  it('finds what a map finds, however the hashes collide', () => {
    const step = fc.record({ label: fc.nat(40), remove: fc.boolean() });
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { minLength: 41, maxLength: 41 }),
        fc.constantFrom(0, 1, 3, 15, 0xffff_ffff),
        fc.array(step, { maxLength: 120 }),
        (hashes, mask, steps) => {
          const hashOf = (label: number): number => (hashes[label] & mask) >>> 0;
          const slots = new IdSlots();
          const here = new Set<number>();
          for (const { label, remove } of steps) {
            if (remove && here.delete(label)) slots.remove(hashOf(label), label);
            else if (!remove && !here.has(label)) {
              here.add(label);
              slots.add(hashOf(label), label);
            }
            expect(slots.size).toBe(here.size);
            for (let other = 0; other <= 40; other++) {
              const found = slots.find(hashOf(other), (candidate) => candidate === other);
              expect(found).toBe(here.has(other) ? other : -1);
            }
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('is empty after a reset, whatever was in it, and holds what comes then', () => {
    const slots = new IdSlots();
    for (const items of [5, 1_000, 3, 40]) {
      slots.reset(items === 40 ? 1 : items);
      expect(slots.size).toBe(0);
      expect(slots.find(1, () => true)).toBe(-1);
      for (let item = 0; item < items; item++) slots.add(item & 3, item);
      expect(slots.find((items - 1) & 3, (found) => found === items - 1)).toBe(items - 1);
    }
  });

  it('takes a few bytes an item', () => {
    const slots = new IdSlots();
    const hashOf = (label: number): number => Math.imul(label, 0x9e37_79b1) >>> 0;
    for (let label = 0; label < 100_000; label++) slots.add(hashOf(label), label);
    expect(slots.bytes / 100_000).toBeLessThan(24);
    for (let label = 0; label < 100_000; label += 777)
      expect(slots.find(hashOf(label), (found) => found === label)).toBe(label);
  });
});
