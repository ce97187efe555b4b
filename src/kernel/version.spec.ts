import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compareVersions, HLC_COUNTER_MAX, HLC_MS_MAX, nextHlc, versionText, type Version } from './version.js';

const version: fc.Arbitrary<Version> = fc.record({
  hlc: fc.record({ ms: fc.integer({ min: 0, max: HLC_MS_MAX }), counter: fc.nat(HLC_COUNTER_MAX) }),
  opId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
});

describe('versions', () => {
  it('order as text exactly as they order as values', () => {
    fc.assert(
      fc.property(version, version, (a, b) => {
        const [left, right] = [versionText(a), versionText(b)];
        expect(Math.sign(compareVersions(a, b))).toBe(left < right ? -1 : left > right ? 1 : 0);
      }),
    );
  });

  it('the clock carries into the next millisecond and stops at its 48 bits', () => {
    expect(nextHlc({ ms: 1, counter: HLC_COUNTER_MAX })).toEqual({ ms: 2, counter: 0 });
    expect(() => nextHlc({ ms: HLC_MS_MAX, counter: HLC_COUNTER_MAX })).toThrow('48 bits');
  });
});
