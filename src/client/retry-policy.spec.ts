import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { retryDelayMs } from './retry-policy.js';
import { SpectorError } from './spector-error.js';

function failure(code: string, retryAfterMs?: number): SpectorError {
  return new SpectorError({
    code,
    status: 503,
    detail: '',
    retryable: true,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

describe('retryDelayMs', () => {
  it('goes to an untried node at once, and backs off when all were tried', () => {
    expect(retryDelayMs(failure('UNREACHABLE'), 1, 3, 0.5)).toBe(0);
    expect(retryDelayMs(failure('DRAINING'), 2, 3, 0.5)).toBe(0);
    expect(retryDelayMs(failure('UNREACHABLE'), 3, 3, 0)).toBeGreaterThan(0);
    expect(retryDelayMs(failure('OVERLOADED'), 1, 3, 0)).toBeGreaterThan(0);
  });

  it('grows, is bounded, and is never below what the node asked for', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        fc.nat(100_000),
        (attempt, random, asked) => {
          const own = retryDelayMs(failure('OVERLOADED'), attempt, 1, random);
          expect(own).toBeLessThanOrEqual(2_000);
          expect(own).toBeGreaterThanOrEqual(Math.min(2_000, 50 * 2 ** (attempt - 1)) / 2);
          expect(retryDelayMs(failure('OVERLOADED', asked), attempt, 1, random)).toBe(Math.max(own, asked));
        },
      ),
    );
  });
});
