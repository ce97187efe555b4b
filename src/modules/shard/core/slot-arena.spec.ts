import { describe, expect, it } from '@jest/globals';
import { PAGE_BITS, PAGE_MASK, PAGE_SLOTS, SlotArena } from './slot-arena.js';

describe('SlotArena', () => {
  it('gives blocks that never overlap, span pages or have address 0, and keep their content', () => {
    const arena = new SlotArena();
    const blocks: { address: number; slots: number }[] = [];
    const fill = (address: number, slots: number, value: number): void => {
      const at = address & PAGE_MASK;
      expect(at + slots).toBeLessThanOrEqual(PAGE_SLOTS);
      arena.pages[address >>> PAGE_BITS].fill(value, at, at + slots);
    };
    for (let i = 1; i <= 3_000; i++) {
      const slots = i % 17 === 0 ? 1_000 : (i % 7) + 1;
      const address = arena.allocate(slots);
      expect(address).toBeGreaterThan(0);
      fill(address, slots, i);
      blocks.push({ address, slots });
    }
    blocks.forEach(({ address, slots }, i) => {
      const block = arena.pages[address >>> PAGE_BITS].subarray(address & PAGE_MASK, (address & PAGE_MASK) + slots);
      expect(block.every((value) => value === i + 1)).toBe(true);
    });
    expect(arena.pages.length).toBeGreaterThan(1);
  });

  it('uses freed blocks of the same size again', () => {
    const arena = new SlotArena();
    const address = arena.allocate(8);
    const bytes = arena.bytes;
    arena.release(address, 8);
    expect(arena.allocate(4)).not.toBe(address);
    expect(arena.allocate(8)).toBe(address);
    expect(arena.bytes).toBe(bytes);
  });

  it('starts small and refuses blocks that no page holds', () => {
    const arena = new SlotArena();
    expect(arena.bytes).toBeLessThanOrEqual(1_024);
    expect(() => arena.allocate(PAGE_SLOTS)).toThrow('a block has');
    expect(() => arena.allocate(0)).toThrow('a block has');
    expect(arena.pages[arena.allocate(PAGE_SLOTS - 1) >>> PAGE_BITS]).toHaveLength(PAGE_SLOTS);
  });
});
