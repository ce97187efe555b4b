import { describe, expect, it } from '@jest/globals';
import { setImmediate } from 'node:timers/promises';
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

  it('collects in the thread it is made in', async () => {
    let trimmed = 0;
    const memory = threadMemory(() => trimmed++);
    expect(memory.busy()).toBeGreaterThanOrEqual(0);
    const garbage = (() => new WeakRef({ nobody: 'refers to this' }))();
    // A reference that was made in this turn holds until its end.
    await setImmediate();
    memory.collect();
    expect(garbage.deref()).toBeUndefined();
    memory.trim();
    expect(trimmed).toBe(1);
  });
});
