import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { toHex } from '../../../kernel/bytes.js';
import { META_SHARD } from '../../../kernel/ids.js';
import { decodePositions, encodePositions } from './position-codec.js';
import type { ShardPosition } from './protocol.js';

const uuid = fc.uint8Array({ minLength: 16, maxLength: 16 });
const number = fc.maxSafeNat();
const epoch = fc.record({ num: number, uuid });
const position: fc.Arbitrary<ShardPosition> = fc.record({
  shard: fc.oneof(fc.nat(255), fc.constant(META_SHARD)),
  role: fc.constantFrom('primary', 'replica', 'learner'),
  epoch,
  leader: fc.oneof(fc.constant(''), uuid.map(toHex)),
  setEpoch: number,
  settled: number,
  lastEpoch: epoch,
  lastStart: number,
  lastOffset: number,
  agreedEpoch: epoch,
  agreed: number,
  durable: number,
  applied: number,
  inSync: fc.boolean(),
  faulted: fc.boolean(),
  held: fc.boolean(),
  loose: number,
  documents: number,
  lagMs: number,
});

describe('positions in a heartbeat', () => {
  it('survive the way there', () => {
    fc.assert(
      fc.property(fc.uniqueArray(position, { selector: ({ shard }) => shard, maxLength: 9 }), (positions) => {
        expect([...(decodePositions(encodePositions(positions)) ?? new Map<number, ShardPosition>()).values()]).toEqual(
          positions,
        );
      }),
    );
  });

  it('of any other length or with unsafe numbers are none', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const decoded = decodePositions(bytes);
        if (bytes.length % 206 !== 0) expect(decoded).toBeUndefined();
      }),
    );
    expect(decodePositions(new Uint8Array(206).fill(0xff))).toBeUndefined();
  });
});
