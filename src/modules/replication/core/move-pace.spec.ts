import { describe, expect, it } from '@jest/globals';
import { MovePace } from './move-pace.js';

const KIB = 1024;

/** Sends as much as it may for so long, in such pieces, `streams` at once; bytes sent. */
function sent(pace: MovePace, fromMs: number, lengthMs: number, pieceBytes: number, streams = 1): number {
  let bytes = 0;
  const dueMs = new Array<number>(streams).fill(fromMs);
  for (let nowMs = fromMs; nowMs < fromMs + lengthMs; nowMs++)
    for (const [i, due] of dueMs.entries()) {
      if (nowMs < due) continue;
      bytes += pieceBytes;
      dueMs[i] = nowMs + pace.spend(pieceBytes, nowMs);
    }
  return bytes;
}

describe('the pace of copies that move', () => {
  it.each([
    ['small pieces', 16 * KIB, 1],
    ['pieces of a batch', 256 * KIB, 1],
    ['entries larger than what may be sent at once', 2_048 * KIB, 1],
    ['two streams', 256 * KIB, 2],
  ])('is the rate, whatever is sent: %s', (_what, pieceBytes, streams) => {
    const rate = 4_096 * KIB;
    const bytes = sent(new MovePace(rate), 5_000, 10_000, pieceBytes, streams);
    expect(bytes).toBeGreaterThanOrEqual(9.5 * rate);
    expect(bytes).toBeLessThanOrEqual(10.25 * rate + (1 + streams) * pieceBytes);
  });

  it('saves nothing up but a quarter of a second', () => {
    const pace = new MovePace(1_000 * KIB);
    sent(pace, 0, 1_000, 10 * KIB);
    expect(sent(pace, 100_000, 1_000, 10 * KIB)).toBeLessThanOrEqual(1_270 * KIB);
    expect(pace.spend(1, 200_000)).toBe(0);
  });
});
