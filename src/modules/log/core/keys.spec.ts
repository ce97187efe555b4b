import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compareBytes, toHex } from '../../../kernel/bytes.js';
import { META_SHARD } from '../../../kernel/ids.js';
import * as keys from './keys.js';

const opId = new Uint8Array(16).fill(0xab);
const shard = fc.oneof(fc.nat(3), fc.constant(META_SHARD), fc.nat(0xffff_ffff));
const offset = fc.oneof(fc.nat(300), fc.maxSafeNat());

describe('keys', () => {
  it('keep their bytes', () => {
    expect(toHex(keys.entryKey(0x01020304, 0x10_0203_0405_0607))).toBe('6521010203040010020304050607');
    expect(toHex(keys.documentKey(1, 2, 3, 'ä'))).toBe('6421000000010000000200000003c3a4');
    expect(toHex(keys.documentPrefix(1, 2))).toBe('64210000000100000002');
    expect(toHex(keys.documentPrefix(1, 2, 3))).toBe('6421000000010000000200000003');
    expect(toHex(keys.idempotencyKey(META_SHARD, opId))).toBe(`6921ffffffff${'ab'.repeat(16)}`);
    expect(toHex(keys.idempotencyPrefix(2))).toBe('692100000002');
    expect(toHex(keys.shardKey(5, 'tail'))).toBe('6d21000000057461696c');
    expect(toHex(keys.nodeKey('id'))).toBe('6e216964');
  });

  it('of entries are ordered by shard, then offset, and give the offset back', () => {
    fc.assert(
      fc.property(shard, offset, shard, offset, (shardA, a, shardB, b) => {
        expect(keys.entryKeyOffset(keys.entryKey(shardA, a))).toBe(a);
        const order = Math.sign(compareBytes(keys.entryKey(shardA, a), keys.entryKey(shardB, b)));
        expect(order).toBe(Math.sign(shardA - shardB || a - b));
      }),
    );
  });

  it('of documents give collection and id back', () => {
    fc.assert(
      fc.property(shard, fc.string({ unit: 'binary' }), (collectionId, id) => {
        expect(keys.documentKeyParts(keys.documentKey(1, 2, collectionId, id))).toEqual({ collectionId, id });
      }),
    );
  });
});
