import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { AT_CHAIN, AT_CRC, EntrySums } from './entry-sums.js';

const CHAIN_END = AT_CHAIN + 16;

describe('EntrySums', () => {
  it('sums entries of any size, in any order, with or without both sums', () => {
    const sums = new EntrySums();
    const prev = Uint8Array.from({ length: 16 }, (_, i) => 200 + i);
    const sizes = [96, 97, 900, 900, 64 * 1024, 64 * 1024 + 1, 64 * 1024 + 1, 96, 1_000_000, 64 * 1024 - 1, 900];
    for (const [i, size] of sizes.entries()) {
      const entry = Uint8Array.from({ length: size }, (_, at) => at * 7 + i);
      const head = entry.subarray(0, AT_CRC);
      const crc = crc32(Buffer.concat([head, entry.subarray(AT_CHAIN)]));
      const sha = createHash('sha256').update(prev).update(head).update(entry.subarray(CHAIN_END)).digest();
      const chain = new Uint8Array(sha.subarray(0, 16));
      const before = entry.slice();
      sums.load(entry);
      expect(sums.crc(nodeHasher)).toBe(crc);
      expect(sums.chain(prev, nodeHasher)).toEqual(chain);
      sums.load(entry);
      expect(sums.chain(prev, nodeHasher)).toEqual(chain);
      sums.load(entry);
      expect(sums.crc(nodeHasher)).toBe(crc);
      expect(entry).toEqual(before);
    }
  });
});
