import { describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import type { Epoch } from '../../kernel/epoch.js';
import { HLC_ZERO } from '../../kernel/version.js';
import { encodeEntry } from '../log/core/entry-codec.js';
import { CHAIN_ZERO } from '../log/core/entry.js';
import { encodeDocument } from '../shard/core/document-codec.js';
import { WinnerReader, type WinnerLog, type WinnerRef } from './winner-reader.js';

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

  readSync(shard: number, offset: number): Uint8Array {
    this.reads++;
    const payload = encodeDocument({
      title: `${shard}/${offset} in ${this.epoch.num}`,
      content: 'words',
      metadata: { offset },
      vector: Float32Array.of(1, 2),
    });
    const version = { hlc: { ms: offset, counter: 0 }, opId };
    const entry = { op: 'UPSERT' as const, shard, epoch: this.epoch, offset, version, collectionId: 1, payload };
    return encodeEntry({ ...entry, id: `d${offset}` }, CHAIN_ZERO, nodeHasher).bytes;
  }

  state(): ReturnType<WinnerLog['state']> {
    const start = { offset: 0, chain: CHAIN_ZERO };
    return { tail: 1, chain: CHAIN_ZERO, epoch: { ...this.epoch }, start, history: [], bytes: 0 };
  }
}

const ref = (offset: number, shard = 0): WinnerRef => ({
  shard,
  offset,
  id: `d${offset}`,
  versionMs: offset,
  versionCounter: HLC_ZERO.counter,
});

describe('WinnerReader', () => {
  it('reads a document once, as JSON text', () => {
    const log = new CountedLog();
    const winners = new WinnerReader(log);
    const winner = winners.read(ref(7), SOME);
    expect(winner).toEqual({
      version: `0000000000070000${'09'.repeat(16)}`,
      titleJson: '"0/7 in 1"',
      contentJson: undefined,
      metadataJson: '{"offset":7}',
      vector: undefined,
    });
    expect(winners.read(ref(7), SOME)).toBe(winner);
    expect(log.reads).toBe(1);
  });

  it('reads again for a content it did not take, and always for a vector', () => {
    const log = new CountedLog();
    const winners = new WinnerReader(log);
    winners.read(ref(7), SOME);
    expect(winners.read(ref(7), { ...SOME, content: true }).contentJson).toBe('"words"');
    expect(winners.read(ref(7), SOME).titleJson).toBe('"0/7 in 1"');
    expect(log.reads).toBe(2);
    expect(winners.read(ref(7), ALL).vector).toEqual(Float32Array.of(1, 2));
    winners.read(ref(7), ALL);
    expect(log.reads).toBe(4);
  });

  it('never takes one entry for another: shard, version and id must be the same', () => {
    const log = new CountedLog();
    const winners = new WinnerReader(log);
    winners.read(ref(7), SOME);
    expect(winners.read(ref(7, 1), SOME).titleJson).toBe('"1/7 in 1"');
    winners.read({ ...ref(7), versionMs: 8 }, SOME);
    winners.read({ ...ref(7), versionCounter: 1 }, SOME);
    winners.read({ ...ref(7), id: 'other' }, SOME);
    expect(log.reads).toBe(5);
  });

  it('forgets a shard whose log goes on in another epoch, or that is to be forgotten', () => {
    const log = new CountedLog();
    const winners = new WinnerReader(log);
    winners.read(ref(7), SOME);
    log.epoch = epochOf(2);
    expect(winners.read(ref(7), SOME).titleJson).toBe('"0/7 in 2"');
    expect(log.reads).toBe(2);
    winners.forget(0);
    expect(winners.bytes).toBe(0);
    winners.read(ref(7), SOME);
    expect(log.reads).toBe(3);
  });

  it('keeps no more than its bytes: first those used lately', () => {
    const log = new CountedLog();
    const winners = new WinnerReader(log, 100_000);
    for (let offset = 1; offset <= 2_000; offset++) {
      winners.read(ref(offset), SOME);
      winners.read(ref(1), SOME);
      expect(winners.bytes).toBeLessThanOrEqual(100_000);
    }
    expect(log.reads).toBe(2_000);
    expect(winners.bytes).toBeGreaterThan(40_000);
    winners.read(ref(2), SOME);
    expect(log.reads).toBe(2_001);
  });
});
