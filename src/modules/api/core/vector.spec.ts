import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { bytesOfVector, vectorOfBytes, vectorOfJson } from './vector.js';

const finite = fc.float32Array({ noNaN: true, noDefaultInfinity: true, minLength: 1, maxLength: 64 });

describe('vectors', () => {
  it('survive JSON and bytes, at any alignment', () => {
    fc.assert(
      fc.property(finite, fc.nat(7), (vector, shift) => {
        expect(vectorOfJson(JSON.parse(JSON.stringify(Array.from(vector, (x) => x + 0))), 'vector')).toEqual(
          vector.map((x) => x + 0),
        );
        const frame = new Uint8Array(shift + 4 * vector.length + 3).fill(0xff);
        frame.set(bytesOfVector(vector), shift);
        const read = vectorOfBytes(frame.subarray(shift, shift + 4 * vector.length), 'vector');
        frame.fill(0);
        expect(read).toEqual(vector);
      }),
    );
  });

  it.each([
    [[], /empty/],
    ['1', /array/],
    [{ length: 3 }, /array/],
    [[1, '1'], /vector\[1\]/],
    [[null], /null/],
    [[Number.NaN], /finite/],
    [[1e39], /32-bit/],
    [[-1e999], /32-bit/],
    [new Array(3), /vector\[0\]/],
    [new Array(4_097).fill(0), /4096/],
  ])('refuses %j', (value, message) => {
    expect(() => vectorOfJson(value, 'vector')).toThrow(message);
  });

  it('refuses bytes that are no vector', () => {
    expect(() => vectorOfBytes(new Uint8Array(5), 'vector')).toThrow(/multiple of 4/);
    expect(() => vectorOfBytes(new Uint8Array(0), 'vector')).toThrow(/empty/);
    expect(() => vectorOfBytes(bytesOfVector(Float32Array.of(1, Number.NaN)), 'vector')).toThrow(/vector\[1\]/);
    expect(() => vectorOfBytes(new Uint8Array(4 * 4_097), 'vector')).toThrow(/4096/);
  });
});
