import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { LiveDigest, liveTerm } from './digest.js';
import {
  CounterTally,
  decodeCounters,
  decodeRow,
  encodeCounters,
  encodeRow,
  liveDocuments,
  looseRows,
  nextRow,
  shardDigest,
  ZERO_COUNTERS,
  type DocumentRow,
} from './rows.js';
import { NO_EPOCH } from '../../../kernel/epoch.js';
import type { Entry } from '../../log/core/entry.js';

const version = fc.record({
  hlc: fc.record({ ms: fc.nat(2 ** 31), counter: fc.nat(65_535) }),
  opId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
});
const row: fc.Arbitrary<DocumentRow> = fc.record({
  version,
  offset: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  tombstone: fc.boolean(),
  bytes: fc.nat(2 ** 31),
  loose: fc.boolean(),
});

const entry = (ms: number, offset: number, op: 'UPSERT' | 'DELETE' = 'UPSERT'): Entry => ({
  op,
  shard: 0,
  epoch: NO_EPOCH,
  offset,
  version: { hlc: { ms, counter: 0 }, opId: new Uint8Array(16) },
  collectionId: 1,
  id: 'a',
  payload: new Uint8Array(0),
  chain: new Uint8Array(16),
});

describe('document rows', () => {
  it('survive a round trip', () => {
    fc.assert(fc.property(row, (value) => expect(decodeRow(encodeRow(value))).toEqual(value)));
  });

  it('of an older version, which knew one flag, are read', () => {
    const old = encodeRow({ version: entry(5, 1).version, offset: 7, tombstone: true, bytes: 9, loose: false });
    expect(old[0]).toBe(1);
    expect(decodeRow(old)).toMatchObject({ tombstone: true, loose: false });
  });

  it('stay loose for lower versions, and end being so with the same or a greater one', () => {
    const loose: DocumentRow = { version: entry(5, 1).version, offset: 80, tombstone: false, bytes: 0, loose: true };
    expect(nextRow(entry(4, 9), 10, loose)).toBeUndefined();
    expect(nextRow(entry(5, 9), 10, loose)).toMatchObject({ offset: 9, bytes: 10, loose: false });
    expect(nextRow(entry(6, 9), 10, loose)).toMatchObject({ offset: 9, bytes: 10, loose: false });
  });

  it('greater version replaces, equal re-points, lower is ignored', () => {
    const first = nextRow(entry(5, 1), 10, undefined);
    expect(first).toMatchObject({ offset: 1, tombstone: false });
    expect(nextRow(entry(4, 2), 10, first)).toBeUndefined();
    expect(nextRow(entry(5, 3), 10, first)).toMatchObject({ offset: 3 });
    expect(nextRow(entry(6, 4, 'DELETE'), 10, first)).toMatchObject({ offset: 4, tombstone: true });
  });

  it('come to the same row for any order and any repetition of the entries', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([1, 2, 3, 4, 5, 1, 2, 3, 4, 5], { minLength: 10 }), (order) => {
        let live: DocumentRow | undefined;
        for (const ms of order) live = nextRow(entry(ms, ms), 1, live) ?? live;
        expect(live?.offset).toBe(5);
      }),
    );
  });
});

describe('counters', () => {
  it('add up to the live rows, whatever happened before', () => {
    const step = fc.record({
      id: fc.constantFrom('a', 'b', 'c'),
      collection: fc.integer({ min: 1, max: 2 }),
      tombstone: fc.boolean(),
      version,
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const tally = new CounterTally(nodeHasher, ZERO_COUNTERS);
        const table = new Map<string, { row: DocumentRow; id: string; collection: number }>();
        let written = 0;
        for (const [at, { id, collection, tombstone, version: of }] of steps.entries()) {
          const key = `${collection} ${id}`;
          const loose = at % 3 === 0;
          const after: DocumentRow = { version: of, offset: at + 1, tombstone, bytes: loose ? 0 : 10 + at, loose };
          tally.change(collection, id, table.get(key)?.row, after);
          table.set(key, { row: after, id, collection });
          written += after.bytes;
        }
        const digest = new LiveDigest();
        let live = 0;
        let pointed = 0;
        let loose = 0;
        for (const { row: kept, id, collection } of table.values()) {
          pointed += kept.bytes;
          if (kept.loose) loose++;
          if (kept.tombstone) continue;
          live++;
          digest.add(liveTerm(nodeHasher, collection, id, kept.version));
        }
        const counters = decodeCounters(encodeCounters(tally.value()));
        expect(liveDocuments(counters)).toBe(live);
        expect(shardDigest(counters)).toEqual(digest.bytes());
        expect(counters.supersededBytes).toBe(written - pointed);
        expect(looseRows(counters)).toBe(loose);
        for (const { row: kept, id, collection } of table.values()) tally.remove(collection, id, kept);
        expect(liveDocuments(tally.value()) + looseRows(tally.value())).toBe(0);
        expect(shardDigest(tally.value())).toEqual(new Uint8Array(16));
      }),
    );
  });

  it('of an older version, which had no loose rows, are read', () => {
    const digest = new Uint8Array(16).fill(3);
    const collections = new Map([[4, { live: 2, digest, bytes: 70, loose: 0 }]]);
    const encoded = encodeCounters({ collections, supersededBytes: 5 });
    expect(decodeCounters(encoded.subarray(0, encoded.length - 4))).toEqual({ collections, supersededBytes: 5 });
  });

  it('subtracting a term undoes adding it', () => {
    const term = fc.uint8Array({ minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(fc.array(term), term, (terms, one) => {
        const digest = new LiveDigest();
        for (const each of terms) digest.add(each);
        const before = digest.bytes();
        digest.add(one);
        digest.subtract(one);
        expect(digest.bytes()).toEqual(before);
        const sum = terms.reduce(
          (total, each) => (total + BigInt(`0x${Buffer.from(each).toString('hex')}`)) % 2n ** 128n,
          0n,
        );
        expect(BigInt(`0x${Buffer.from(before).toString('hex')}`)).toBe(sum);
      }),
    );
  });
});
