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
          const slots = new IdSlots(hashOf);
          const here = new Set<number>();
          for (const { label, remove } of steps) {
            if (remove && here.delete(label)) slots.remove(label);
            else if (!remove && !here.has(label)) {
              here.add(label);
              slots.add(label);
            }
            expect(slots.size).toBe(here.size);
            for (let other = 0; other <= 40; other++) {
              const found = slots.find(hashOf(other), (candidate) => candidate === other);
              expect(found).toBe(here.has(other) ? other : -1);
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('takes a few bytes a label', () => {
    const slots = new IdSlots((label) => Math.imul(label, 0x9e37_79b1) >>> 0);
    for (let label = 0; label < 100_000; label++) slots.add(label);
    expect(slots.bytes / 100_000).toBeLessThan(14);
    for (let label = 0; label < 100_000; label += 777)
      expect(slots.find(Math.imul(label, 0x9e37_79b1) >>> 0, (found) => found === label)).toBe(label);
  });
});
