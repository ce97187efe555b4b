import { describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import type { Epoch } from '../../kernel/epoch.js';
import { encodeEntry } from '../log/core/entry-codec.js';
import { CHAIN_ZERO } from '../log/core/entry.js';
import { encodeDocument } from '../shard/core/document-codec.js';
import { OffsetCompactedError } from '../log/log-store.js';
import type { StoredSegments, WantedEntry } from './core/shard-calls.js';
import { WinnerReader, type WinnerLog } from './winner-reader.js';

const opId = new Uint8Array(16).fill(9);
const SOME = { title: true, content: false, metadata: true, vector: false };
const ALL = { title: true, content: true, metadata: true, vector: true };

function epochOf(num: number): Epoch {
  return { num, uuid: new Uint8Array(16) };
}

/** Every offset of every shard holds a document that says where it is and in which epoch it was read. */
class CountedLog implements WinnerLog {
  reads = 0;
  epoch = epochOf(1);
  generation = 0;
  tail = 10_000;
  compacted = 0;

  readSync(shard: number, offset: number): Uint8Array {
    this.reads++;
    if (offset <= this.compacted) throw new OffsetCompactedError(shard, offset, this.compacted);
    const payload = encodeDocument({
      title: `${shard}/${offset} in ${this.epoch.num}.${this.generation}`,
      content: 'words',
      metadata: { offset },
      vector: Float32Array.of(1, 2),
    });
    const version = { hlc: { ms: offset, counter: 0 }, opId };
    const entry = { op: 'UPSERT' as const, shard, epoch: this.epoch, offset, version, collectionId: 1, payload };
    return encodeEntry({ ...entry, id: `d${offset}` }, CHAIN_ZERO, nodeHasher).bytes;
  }

  state(): ReturnType<WinnerLog['state']> {
    const { tail, generation } = this;
    const start = { offset: 0, chain: CHAIN_ZERO };
    return { tail, chain: CHAIN_ZERO, epoch: { ...this.epoch }, start, history: [], bytes: 0, generation };
  }
}

const at = (offset: number): WantedEntry => ({ id: `d${offset}`, offset, versionMs: offset, versionCounter: 0 });

/** Reads of shard 0. */
function readerOf(log: CountedLog): (offset: number, fields?: typeof SOME) => StoredSegments | undefined {
  const winners = new WinnerReader(log);
  return (offset, fields = SOME) => winners.read(0, at(offset), fields);
}

describe('WinnerReader', () => {
  it('reads a document once, as JSON text', () => {
    const log = new CountedLog();
    const read = readerOf(log);
    const winner = read(7);
    expect(winner).toEqual({
      id: 'd7',
      version: `0000000000070000${'09'.repeat(16)}`,
      title: '"0/7 in 1.0"',
      content: undefined,
      metadata: '{"offset":7}',
      vector: undefined,
    });
    expect(read(7)).toBe(winner);
    expect(log.reads).toBe(1);
  });

  it('reads again for a content it did not take, and always for a vector', () => {
    const log = new CountedLog();
    const read = readerOf(log);
    read(7);
    expect(read(7, { ...SOME, content: true })?.content).toBe('"words"');
    expect(read(7)?.title).toBe('"0/7 in 1.0"');
    expect(log.reads).toBe(2);
    expect(read(7, ALL)?.vector).toEqual(Float32Array.of(1, 2));
    read(7, ALL);
    expect(log.reads).toBe(4);
  });

  it('never takes one entry for another: shard, version and id must be the same', () => {
    const log = new CountedLog();
    const winners = new WinnerReader(log);
    winners.read(0, at(7), SOME);
    expect(winners.read(1, at(7), SOME)?.title).toBe('"1/7 in 1.0"');
    expect(winners.read(0, { ...at(7), versionMs: 8 }, SOME)).toBeUndefined();
    expect(winners.read(0, { ...at(7), versionCounter: 1 }, SOME)).toBeUndefined();
    expect(winners.read(0, { ...at(7), id: 'other' }, SOME)).toBeUndefined();
    expect(winners.read(0, at(7), SOME)?.title).toBe('"0/7 in 1.0"');
    expect(log.reads).toBe(5);
  });

  it('forgets a shard whose log goes on in another epoch or came in a snapshot, or that is to be forgotten', () => {
    const log = new CountedLog();
    const winners = new WinnerReader(log);
    winners.read(0, at(7), SOME);
    log.epoch = epochOf(2);
    expect(winners.read(0, at(7), SOME)?.title).toBe('"0/7 in 2.0"');
    log.generation = 1;
    expect(winners.read(0, at(7), SOME)?.title).toBe('"0/7 in 2.1"');
    expect(log.reads).toBe(3);
    winners.forget(0);
    expect(winners.bytes).toBe(0);
    winners.read(0, at(7), SOME);
    expect(log.reads).toBe(4);
  });

  it('hands out nothing of a branch that was cut off, though the log ends in the epoch it was kept under', () => {
    const log = new CountedLog();
    const read = readerOf(log);
    read(7);
    read(8);
    log.tail = 7;
    expect(read(7)).toBeDefined();
    expect(read(8)).toBeUndefined();
    expect(read(8, ALL)).toBeUndefined();
    expect(log.reads).toBe(2);
  });

  it('knows nothing of an entry that compaction took before it was read', () => {
    const log = new CountedLog();
    const read = readerOf(log);
    const winner = read(7);
    log.compacted = 8;
    expect(read(7)).toBe(winner);
    expect(read(8)).toBeUndefined();
  });

  it('keeps no more than its bytes: first those used lately', () => {
    const log = new CountedLog();
    const winners = new WinnerReader(log, 100_000);
    for (let offset = 1; offset <= 2_000; offset++) {
      winners.read(0, at(offset), SOME);
      winners.read(0, at(1), SOME);
      expect(winners.bytes).toBeLessThanOrEqual(100_000);
    }
    expect(log.reads).toBe(2_000);
    expect(winners.bytes).toBeGreaterThan(40_000);
    winners.read(0, at(2), SOME);
    expect(log.reads).toBe(2_001);
  });
});
