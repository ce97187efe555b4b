import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { Ring, VIRTUAL_NODES } from './ring.js';

/** The largest share of the ring a shard owns, relative to the mean: exact, from the lengths of its arcs. */
function largestShare(shardCount: number): number {
  const { tokens, owners } = Ring.of(shardCount, nodeHasher);
  const shares = new Array<number>(shardCount).fill(0);
  for (let i = 0; i < tokens.length; i++) {
    const previous = tokens[(i + tokens.length - 1) % tokens.length];
    shares[owners[i]] += Number(BigInt.asUintN(64, tokens[i] - previous));
  }
  return Math.max(...shares) / (2 ** 64 / shardCount);
}

describe('Ring', () => {
  it('places the golden documents as published', () => {
    const ring = Ring.of(4, nodeHasher);
    const shards = Array.from({ length: 10 }, (_, i) => ring.shardOf(`doc-${i}`));
    expect(shards).toEqual([2, 1, 1, 0, 1, 2, 1, 0, 1, 2]);
  });

  it('spreads documents evenly: max/mean at most 1.18 from 4 to 16 shards, 1.15 at the powers of two', () => {
    for (let shardCount = 4; shardCount <= 16; shardCount++) {
      const bound = Number.isInteger(Math.log2(shardCount)) ? 1.15 : 1.18;
      expect(largestShare(shardCount)).toBeLessThanOrEqual(bound);
    }
  });

  it('moves documents only to new shards when it grows', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 24 }),
        fc.integer({ min: 1, max: 8 }),
        fc.array(fc.string(), { maxLength: 50 }),
        (from, more, ids) => {
          const before = Ring.of(from, nodeHasher);
          const after = Ring.of(from + more, nodeHasher);
          for (const id of ids) {
            const shard = after.shardOf(id);
            if (shard < from) expect(shard).toBe(before.shardOf(id));
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  it('holds tokens of every shard, ascending', () => {
    const ring = Ring.of(256, nodeHasher);
    expect(ring.tokens.length).toBe(256 * VIRTUAL_NODES);
    for (let i = 1; i < ring.tokens.length; i++) expect(ring.tokens[i] > ring.tokens[i - 1]).toBe(true);
    expect(new Set(ring.owners).size).toBe(256);
  });

  it('refuses a shard count outside 1–256', () => {
    for (const count of [0, 257, 1.5, Number.NaN]) expect(() => Ring.of(count, nodeHasher)).toThrow('shard count');
  });
});
