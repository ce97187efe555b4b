import { describe, expect, it } from '@jest/globals';
import { TermMemory } from './term-memory.js';

const sums = { documents: 100, totalLength: 900, documentFrequencies: [3, 4] };

describe('TermMemory', () => {
  it('recalls the sums of terms it met, each from when it was met last', () => {
    const memory = new TermMemory();
    expect(memory.recall(1, ['a'])).toBeUndefined();
    memory.learn(1, ['a', 'b'], sums);
    memory.learn(1, ['b'], { documents: 101, totalLength: 910, documentFrequencies: [5] });
    expect(memory.recall(1, ['a', 'b'])).toEqual({ documents: 101, totalLength: 910, documentFrequencies: [3, 5] });
  });

  it('recalls nothing when one term is unknown, or known of another collection only', () => {
    const memory = new TermMemory();
    memory.learn(1, ['a', 'b'], sums);
    expect(memory.recall(1, ['a', 'c'])).toBeUndefined();
    expect(memory.recall(2, ['a'])).toBeUndefined();
  });

  it('forgets what is not used, keeps what is, and does not remember endless terms', () => {
    const memory = new TermMemory();
    memory.learn(1, ['kept', 'x'.repeat(1_000)], sums);
    for (let i = 0; i < 200_000; i++) {
      memory.learn(1 + (i % 3), [`t${i}`], { documents: 1, totalLength: 1, documentFrequencies: [1] });
      if (i % 1_000 === 0) {
        const known = memory.recall(1, ['kept']);
        expect(known?.documentFrequencies).toEqual([3]);
        if (known !== undefined) memory.learn(1, ['kept'], known);
      }
    }
    expect(memory.recall(1, ['x'.repeat(1_000)])).toBeUndefined();
    let kept = 0;
    for (let i = 0; i < 200_000; i++) if (memory.recall(1 + (i % 3), [`t${i}`]) !== undefined) kept++;
    expect(kept).toBeGreaterThan(10_000);
    expect(kept).toBeLessThanOrEqual(32_768);
  });
});
