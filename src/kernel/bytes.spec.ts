import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { readU16, readU32, readU64, writeU16, writeU32, writeU64 } from './big-endian.js';
import { pooledBytes } from './bytes.js';

describe('numbers in bytes', () => {
  it('are big-endian, as those of a DataView, wherever the bytes lie', () => {
    const bytes = new Uint8Array(40).subarray(3, 35);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    fc.assert(
      fc.property(fc.nat(0xffff), fc.nat(0xffff_ffff), fc.maxSafeNat(), fc.nat(20), (short, word, long, at) => {
        writeU16(bytes, at, short);
        expect([view.getUint16(at), readU16(bytes, at)]).toEqual([short, short]);
        writeU32(bytes, at, word);
        expect([view.getUint32(at), readU32(bytes, at)]).toEqual([word, word]);
        writeU64(bytes, at, long);
        expect([Number(view.getBigUint64(at)), readU64(bytes, at)]).toEqual([long, long]);
      }),
    );
  });
});

describe('pooledBytes', () => {
  it('gives zeros of its own, of any length', () => {
    const given: { bytes: Uint8Array; fill: number }[] = [];
    for (let i = 0; i < 400; i++) {
      const bytes = pooledBytes((i * 37) % 700);
      expect(bytes.length).toBe((i * 37) % 700);
      expect(bytes.every((byte) => byte === 0)).toBe(true);
      const fill = 1 + (i % 255);
      bytes.fill(fill);
      given.push({ bytes, fill });
    }
    for (const { bytes, fill } of given) expect(bytes.every((byte) => byte === fill)).toBe(true);
  });
});
