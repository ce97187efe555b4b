import { describe, expect, it } from '@jest/globals';
import { IDLE_ROUNDS, IdleMemory, threadMemory } from './idle-memory.js';

describe('IdleMemory', () => {
  const rounds = (shares: readonly number[]): number[] => {
    const acted: number[] = [];
    let round = -1;
    let collected = false;
    const memory = new IdleMemory({
      busy: () => (collected ? 1 : shares[round]),
      collect: () => {
        collected = true;
      },
      trim: () => {
        expect(collected).toBe(true);
        acted.push(round);
      },
    });
    for (round = 0; round < shares.length; round++) {
      collected = false;
      memory.round();
    }
    return acted;
  };

  it('gives memory back in two steps, some idle rounds after work', () => {
    expect(IDLE_ROUNDS).toEqual([3, 6]);
    expect(rounds([0.9, 0, 0.01, 0.04, ...Array<number>(30).fill(0)])).toEqual([3, 9]);
    expect(rounds([0.9, 0, 0, 0, 0.5, 0, 0, 0.01, ...Array<number>(30).fill(0)])).toEqual([3, 7, 13]);
  });

  it('waits while there is something to do, and takes a little of it for no work', () => {
    expect(rounds([0.9, 0, 0, 0.5, 0, 0, 0.08, 0, 0, 0.3])).toEqual([]);
    expect(rounds([0.9, 0, 0, 0, 0.07, 0.1, ...Array<number>(30).fill(0)])).toEqual([3, 11]);
  });

  it('collects in the thread it is made in', () => {
    let trimmed = 0;
    const memory = threadMemory(() => trimmed++);
    expect(memory.busy()).toBeGreaterThanOrEqual(0);
    let held: Uint8Array | undefined = new Uint8Array(1 << 24);
    const before = process.memoryUsage().arrayBuffers;
    held = undefined;
    memory.collect();
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(before);
    memory.trim();
    expect([held, trimmed]).toEqual([undefined, 1]);
  });
});
