import { describe, expect, it } from '@jest/globals';
import { systemClock } from './system-clock.js';
import { systemRandom } from './system-random.js';

describe('the system', () => {
  it('tells wall time in milliseconds since 1970', () => {
    expect(Math.abs(systemClock.wallMs() - new Date().getTime())).toBeLessThan(1_000);
  });

  it('tells a monotonic time that never steps back', () => {
    let before = systemClock.monotonicMs();
    for (let i = 0; i < 1_000; i++) {
      const now = systemClock.monotonicMs();
      expect(now).toBeGreaterThanOrEqual(before);
      before = now;
    }
  });

  it('gives as many random bytes as asked for, other ones each time', () => {
    expect(systemRandom.bytes(16)).toHaveLength(16);
    expect(systemRandom.bytes(0)).toHaveLength(0);
    expect(systemRandom.bytes(16)).not.toEqual(systemRandom.bytes(16));
    expect(systemRandom.bytes(100_000)).toHaveLength(100_000);
    const drawn = Array.from({ length: 5_000 }, () => systemRandom.bytes(16));
    expect(new Set(drawn.map((bytes) => bytes.join())).size).toBe(drawn.length);
    for (const bytes of drawn) expect(bytes.buffer.byteLength).toBe(16);
  });
});
