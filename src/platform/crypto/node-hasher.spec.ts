import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { nodeHasher } from './node-hasher.js';

const reference = (algorithm: string, parts: readonly Uint8Array[]): string =>
  createHash(algorithm).update(Buffer.concat(parts)).digest('hex').slice(0, 32);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('nodeHasher', () => {
  it('hashes the concatenation of its parts, at any size', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 4 }), (parts) => {
        expect(hex(nodeHasher.sha256Head(...parts))).toBe(reference('sha256', parts));
      }),
    );
    for (const size of [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 200_000]) {
      const large = new Uint8Array(size).fill(5);
      expect(hex(nodeHasher.sha256Head(large))).toBe(reference('sha256', [large]));
      expect(hex(nodeHasher.md5(large))).toBe(reference('md5', [large]));
    }
  });

  it('gives results of their own memory', () => {
    const first = nodeHasher.sha256Head(Uint8Array.of(1));
    const before = hex(first);
    nodeHasher.sha256Head(Uint8Array.of(2));
    expect(hex(first)).toBe(before);
  });

  it('continues a crc', () => {
    const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);
    expect(nodeHasher.crc32(bytes.subarray(40), nodeHasher.crc32(bytes.subarray(0, 40)))).toBe(nodeHasher.crc32(bytes));
    const empty = new Uint8Array(0);
    expect(empty.buffer.byteLength).toBe(0);
    expect(nodeHasher.crc32(empty, 7)).toBe(7);
  });
});
