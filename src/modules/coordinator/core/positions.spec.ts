import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { clusterTag, decodePositions, encodePositions, foldPositions, type Position } from './positions.js';

const position = fc.record({
  epoch: fc.nat(),
  reign: fc.nat(0xffff_ffff),
  offset: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
});
const positions = fc
  .dictionary(fc.nat(255).map(String), position, { maxKeys: 256 })
  .map((all) => new Map<number, Position>(Object.entries(all).map(([shard, at]) => [Number(shard), at])));

describe('positions', () => {
  it('survive a round trip', () => {
    fc.assert(
      fc.property(positions, fc.nat(0xffff_ffff), (all, tag) => {
        const text = encodePositions(all, tag);
        expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
        const decoded = decodePositions(text, tag);
        expect(decoded?.foreign).toBe(false);
        expect(new Map([...(decoded?.positions ?? [])])).toEqual(all);
        expect(decodePositions(text, (tag + 1) % 2 ** 32)?.foreign).toBe(true);
      }),
    );
  });

  it('refuse rubbish', () => {
    for (const text of ['', '!', 'AAAA', '====', 'x'.repeat(20_000)]) expect(decodePositions(text, 1)).toBeUndefined();
    fc.assert(fc.property(fc.string(), (text) => void decodePositions(text, 1)));
  });

  it('fold to the later position of each shard: commutative, associative, idempotent', () => {
    fc.assert(
      fc.property(positions, positions, positions, (a, b, c) => {
        const sorted = (all: ReadonlyMap<number, Position>): unknown => [...all].sort(([x], [y]) => x - y);
        expect(sorted(foldPositions(a, b))).toEqual(sorted(foldPositions(b, a)));
        expect(sorted(foldPositions(foldPositions(a, b), c))).toEqual(sorted(foldPositions(a, foldPositions(b, c))));
        expect(sorted(foldPositions(a, a))).toEqual(sorted(a));
      }),
    );
  });

  it('tell clusters apart by the first 32 bits of the UUID', () => {
    expect(clusterTag('ffffffff-0000-4000-8000-000000000000')).toBe(0xffff_ffff);
  });
});
