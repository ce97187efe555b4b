import { describe, expect, it } from '@jest/globals';
import { toHex, utf8 } from '../../../kernel/bytes.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { encodeEntry } from '../../log/core/entry-codec.js';
import { CHAIN_ZERO, type EntryOrigin } from '../../log/core/entry.js';
import { conflictMs, conflictPrefix, conflictRow, couldSee } from './conflict-row.js';

const place = (num: number, node: number, offset: number): EntryOrigin => ({
  epoch: { num, uuid: new Uint8Array(16).fill(node) },
  offset,
});

function entry({ epoch, offset }: EntryOrigin, origin?: EntryOrigin): Uint8Array {
  const version = { hlc: { ms: offset, counter: 0 }, opId: new Uint8Array(16) };
  const draft = { op: 'UPSERT', shard: 0, collectionId: 1, id: 'a', payload: utf8('{}'), version } as const;
  const withOrigin = origin === undefined ? draft : { ...draft, origin };
  return encodeEntry({ ...withOrigin, epoch, offset }, CHAIN_ZERO, nodeHasher).bytes;
}

describe('whether the writer of the winner could see the loser (replication 6.4)', () => {
  it('is so when one primary wrote both, in this order', () => {
    expect(couldSee(entry(place(2, 1, 9)), entry(place(2, 1, 8)))).toBe(true);
    expect(couldSee(entry(place(2, 1, 8)), entry(place(2, 1, 9)))).toBe(false);
    expect(couldSee(entry(place(2, 1, 9)), entry(place(2, 5, 8)))).toBe(false);
    expect(couldSee(entry(place(3, 1, 9)), entry(place(2, 1, 8)))).toBe(false);
  });

  it('is judged by where they were first written, when one or both were merged since', () => {
    const [early, late] = [place(1, 1, 94), place(1, 1, 95)];
    expect(couldSee(entry(late), entry(place(2, 2, 120), early))).toBe(true);
    expect(couldSee(entry(place(2, 2, 120), late), entry(early))).toBe(true);
    expect(couldSee(entry(place(3, 3, 120), late), entry(place(2, 2, 130), early))).toBe(true);
    expect(couldSee(entry(early), entry(place(2, 2, 120), late))).toBe(false);
  });
});

describe('the key of a conflict', () => {
  it('says when the branches were merged', () => {
    const { key } = conflictRow(7, 1_700_000_000_123, entry(place(2, 1, 8)), 'v');
    expect(conflictMs(key)).toBe(1_700_000_000_123);
    const stored = Buffer.from([0, ...key]).subarray(1);
    expect(conflictMs(stored)).toBe(1_700_000_000_123);
    expect(key.subarray(0, 6)).toEqual(conflictPrefix(7));
  });

  it('is that of one write alone, also of those that lost in one millisecond', () => {
    const places = [place(2, 1, 8), place(2, 1, 9), place(2, 3, 8), place(3, 1, 8), place(2, 1, 2 ** 40 + 8)];
    const keys = places.map((at) => toHex(conflictRow(7, 1_000, entry(at), 'v').key));
    expect(new Set(keys).size).toBe(places.length);
    expect(toHex(conflictRow(7, 1_000, entry(place(2, 1, 8)), 'w').key)).toBe(keys[0]);
  });
});
