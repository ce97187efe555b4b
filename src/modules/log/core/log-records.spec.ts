import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from '../../../kernel/bytes.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import {
  decodeHistory,
  decodeStart,
  decodeTail,
  encodeHistory,
  encodeStart,
  encodeTail,
  openRow,
  sealRow,
} from './log-records.js';
import { EMPTY_LOG } from './log-state.js';

const sixteen = fc.uint8Array({ minLength: 16, maxLength: 16 });
const number = fc.oneof(fc.nat(1_000), fc.maxSafeNat());
const epoch = fc.record({ num: number, uuid: sixteen });

describe('log records', () => {
  it('decode what they encoded', () => {
    const history = fc.array(fc.record({ epoch, start: number }), { maxLength: 5 });
    fc.assert(
      fc.property(number, number, epoch, sixteen, history, (tail, bytes, last, chain, epochs) => {
        expect(decodeTail(encodeTail({ ...EMPTY_LOG, tail, bytes, epoch: last, chain }))).toEqual({
          tail,
          bytes,
          epoch: last,
          chain,
        });
        expect(decodeStart(encodeStart({ offset: tail, chain }))).toEqual({ offset: tail, chain });
        expect(decodeHistory(encodeHistory(epochs))).toEqual(epochs);
      }),
    );
  });

  it('refuse other lengths and unsafe numbers', () => {
    expect(decodeTail(new Uint8Array(55))).toBeUndefined();
    expect(decodeStart(new Uint8Array(25))).toBeUndefined();
    expect(decodeHistory(new Uint8Array(39))).toBeUndefined();
    for (const decode of [decodeTail, decodeStart, decodeHistory]) {
      const length = decode === decodeTail ? 56 : decode === decodeStart ? 24 : 32;
      expect(decode(new Uint8Array(length))).toBeDefined();
      expect(decode(new Uint8Array(length + 16).fill(0xff).subarray(16))).toBeUndefined();
    }
    const tail = encodeTail(EMPTY_LOG);
    tail[0] = 0x20;
    expect(decodeTail(tail)).toBeUndefined();
  });
});

describe('the seal of a row', () => {
  it('opens with its own key and value only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), fc.uint8Array(), fc.nat(), (key, value, place) => {
        const sealed = sealRow(key, value, nodeHasher);
        expect(openRow(key, sealed, nodeHasher)).toEqual(value);
        const at = place % sealed.length;
        sealed[at] ^= 0x10;
        expect(openRow(key, sealed, nodeHasher)).toBeUndefined();
      }),
    );
    const sealed = sealRow(utf8('a'), utf8('value'), nodeHasher);
    expect(openRow(utf8('b'), sealed, nodeHasher)).toBeUndefined();
    expect(openRow(utf8('a'), sealed.subarray(0, 3), nodeHasher)).toBeUndefined();
  });
});
