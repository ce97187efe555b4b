import { afterEach, describe, expect, it } from '@jest/globals';
import { InvariantError } from '../../src/kernel/assert.js';
import { fromUtf8, utf8 } from '../../src/kernel/bytes.js';
import { META_SHARD } from '../../src/kernel/ids.js';
import type { Pace } from '../../src/modules/log/adapters/pace.js';
import { CHAIN_ZERO } from '../../src/modules/log/core/entry.js';
import {
  documentKey,
  documentPrefix,
  entryKey,
  idempotencyKey,
  nodeKey,
  shardKey,
} from '../../src/modules/log/core/keys.js';
import { LogDamagedError, OffsetCompactedError, StorageFailedError } from '../../src/modules/log/log-store.js';
import type { Damage, LogStore } from '../../src/modules/log/log-store.js';
import { EntryWriter, epochOf } from './log-entries.js';
import { entryChain } from '../../src/modules/log/core/entry-codec.js';

export interface OpenOptions {
  /** Default: always. */
  readonly fsync?: 'always' | 'os';
  readonly pace?: Pace;
  /** Default: refuse. */
  readonly regressed?: 'refuse' | 'report';
  readonly onFailure?: (error: StorageFailedError) => void;
}

/** Makes stores of one implementation, and does to them what happens to disks and processes. */
export interface LogHarness {
  open(options?: OpenOptions): Promise<LogStore>;
  /** Closes it and opens what it left. */
  reopen(store: LogStore): Promise<LogStore>;
  /** Kills its process and opens what it left; unsynced writes may or may not be there. */
  crash(store: LogStore): Promise<LogStore>;
  /** Flips a bit of byte `at` of a stored value, or (undefined) loses the row, and opens what is left. */
  damage(store: LogStore, key: Uint8Array, at: number | undefined): Promise<LogStore>;
  /** Every write after this one fails, sooner or later. */
  breakDisk(store: LogStore): Promise<void>;
  /** Closes and removes everything. */
  dispose(): Promise<void>;
}

const NEVER = new AbortController().signal;
const all = (): boolean => true;
const none = (): boolean => false;

/** What every LogStore does. */
export function logStoreContract(name: string, make: () => LogHarness): void {
  describe(`${name} as a LogStore`, () => {
    let harness: LogHarness | undefined;
    const start = (options?: OpenOptions): Promise<LogStore> => (harness = make()).open(options);
    const hands = (): LogHarness => {
      if (harness === undefined) throw new Error('start() comes first');
      return harness;
    };
    afterEach(async () => {
      await harness?.dispose();
      harness = undefined;
    });

    it('begins empty', async () => {
      const store = await start();
      expect(store.shards()).toEqual([]);
      expect(store.openDamages()).toEqual([]);
      expect(store.state(3)).toEqual({
        tail: 0,
        chain: CHAIN_ZERO,
        epoch: { num: 0, uuid: new Uint8Array(16) },
        start: { offset: 0, chain: CHAIN_ZERO },
        history: [],
        bytes: 0,
        generation: 1,
      });
      expect(await store.scan(3, 1, 10, 1_000)).toEqual([]);
      expect(store.row(nodeKey('identity'))).toBeUndefined();
      expect(await store.scrub(3, NEVER, 0)).toEqual({ entries: 0, bytes: 0, damages: [] });
    });

    it('reads back what was appended, of each shard its own', async () => {
      const store = await start();
      const writers = [new EntryWriter(0), new EntryWriter(7), new EntryWriter(META_SHARD)];
      const batches = writers.map((writer) => ({ shard: writer.shard, entries: writer.take(5), rows: [] }));
      await Promise.all(batches.map((batch) => store.append(batch)));
      expect(store.shards()).toEqual([0, 7, META_SHARD]);
      for (const { shard, entries } of batches) {
        for (const entry of entries) {
          expect(await store.read(shard, entry.offset)).toEqual(entry.bytes);
          expect(store.readSync(shard, entry.offset)).toEqual(entry.bytes);
        }
        expect(await store.scan(shard, 1, 100, 1_000_000)).toEqual(entries.map(({ bytes }) => bytes));
        const last = entries[4];
        expect(store.state(shard)).toEqual({
          tail: 5,
          chain: entryChain(last.bytes),
          epoch: last.epoch,
          start: { offset: 0, chain: CHAIN_ZERO },
          history: [{ epoch: last.epoch, start: 1 }],
          bytes: entries.reduce((sum, { bytes }) => sum + bytes.length, 0),
          generation: 1,
        });
      }
    });

    it('takes appends that follow each other without waiting', async () => {
      const store = await start();
      const writer = new EntryWriter(1);
      const appends = Array.from({ length: 50 }, () => store.append({ shard: 1, entries: writer.take(3), rows: [] }));
      const order: number[] = [];
      await Promise.all(appends.map((append, i) => append.then(() => order.push(i))));
      expect(order).toEqual(appends.map((_, i) => i));
      expect(store.state(1).tail).toBe(150);
      expect(await store.scan(1, 1, 1_000, 10_000_000)).toHaveLength(150);
    });

    it('shows a state only once it is written', async () => {
      const store = await start();
      const append = store.append({ shard: 1, entries: new EntryWriter(1).take(2), rows: [] });
      expect(store.state(1).tail).toBe(0);
      await append;
      expect(store.state(1).tail).toBe(2);
    });

    it('asserts that entries continue the log, and writes nothing of a batch that does not', async () => {
      const store = await start();
      const writer = new EntryWriter(1);
      const [first, second, third] = writer.take(3);
      const row = { key: nodeKey('x'), value: utf8('x') };
      const append = (shard: number, ...entries: (typeof first)[]) => store.append({ shard, entries, rows: [row] });
      await expect(append(1, second)).rejects.toThrow(InvariantError);
      await expect(append(1, first, third)).rejects.toThrow(InvariantError);
      await expect(append(2, first)).rejects.toThrow(InvariantError);
      await expect(append(1, { ...first, bytes: second.bytes })).rejects.toThrow(InvariantError);
      expect(store.row(row.key)).toBeUndefined();
      await append(1, first, second);
      await expect(append(1, second)).rejects.toThrow(InvariantError);
      await expect(append(1, { ...third, epoch: epochOf(0) })).rejects.toThrow(InvariantError);
      await append(1, third);
      expect(store.state(1).tail).toBe(3);
    });

    it('keeps entries and the records of the log out of reach as rows', async () => {
      const store = await start();
      const records = ['tail', 'start', 'history', 'promise', 'cut', 'generation'].map((name) => shardKey(1, name));
      for (const key of [entryKey(1, 1), entryKey(1, 1, 2), ...records]) {
        await expect(store.append({ shard: 1, entries: [], rows: [{ key, value: utf8('x') }] })).rejects.toThrow(
          InvariantError,
        );
      }
      await store.append({ shard: 1, entries: [], rows: [{ key: shardKey(1, 'tailor'), value: utf8('x') }] });
      expect(store.row(shardKey(1, 'tailor'))).toEqual(utf8('x'));
      expect(store.shards()).toEqual([]);
    });

    it('writes, replaces and deletes rows with the entries they belong to', async () => {
      const store = await start();
      const writer = new EntryWriter(1);
      const key = idempotencyKey(1, new Uint8Array(16).fill(9));
      await store.append({ shard: 1, entries: writer.take(1), rows: [{ key, value: utf8('first') }] });
      expect(store.row(key)).toEqual(utf8('first'));
      await store.append({ shard: 1, entries: [], rows: [{ key, value: new Uint8Array(0) }] });
      expect(store.row(key)).toEqual(new Uint8Array(0));
      await store.append({ shard: 1, entries: writer.take(1), rows: [{ key, value: undefined }] });
      expect(store.row(key)).toBeUndefined();
      expect(store.state(1).tail).toBe(2);
    });

    it('lists rows by prefix in key order, page by page', async () => {
      const store = await start();
      const ids = ['b', 'a', 'ä', 'c', 'aa', '\u{1f600}'];
      const rows = ids.map((id) => ({ key: documentKey(1, 4, 2, id), value: utf8(id) }));
      const others = [
        documentKey(1, 4, 3, 'a'),
        documentKey(1, 5, 2, 'a'),
        documentKey(2, 4, 2, 'a'),
        documentKey(1, 3, 2, 'z'),
      ];
      await store.append({
        shard: 4,
        entries: [],
        rows: [...rows, ...others.map((key) => ({ key, value: utf8('other') }))],
      });
      const prefix = documentPrefix(1, 4, 2);
      const seen: string[] = [];
      for (let after: Uint8Array | undefined; ;) {
        const page = await store.rows(prefix, after, 2);
        seen.push(...page.map(({ value }) => fromUtf8(value)));
        if (page.length < 2) break;
        after = page[page.length - 1].key;
      }
      expect(seen).toEqual(['a', 'aa', 'b', 'c', 'ä', '\u{1f600}']);
      expect(await store.rows(documentPrefix(1, 4), undefined, 100)).toHaveLength(7);
      expect(await store.rows(documentPrefix(9, 4), undefined, 100)).toEqual([]);
    });

    it('hands out copies', async () => {
      const store = await start();
      const entries = new EntryWriter(1).take(1);
      const key = nodeKey('identity');
      await store.append({ shard: 1, entries, rows: [{ key, value: utf8('one') }] });
      store.readSync(1, 1).fill(0);
      store.row(key)?.fill(0);
      expect(store.readSync(1, 1)).toEqual(entries[0].bytes);
      expect(store.row(key)).toEqual(utf8('one'));
      expect(store.readSync(1, 1).constructor).toBe(Uint8Array);
    });

    it('bounds a scan by entries and by bytes, but gives at least one', async () => {
      const store = await start();
      const entries = new EntryWriter(1).take(20);
      await store.append({ shard: 1, entries, rows: [] });
      const size = entries[0].bytes.length + 20;
      const offsets = async (from: number, limit: number, bytesMax: number) =>
        (await store.scan(1, from, limit, bytesMax)).map(
          (bytes) =>
            entries.findIndex(
              (entry) => entry.bytes.length === bytes.length && entry.bytes.every((byte, i) => byte === bytes[i]),
            ) + 1,
        );
      expect(await offsets(1, 3, 1_000_000)).toEqual([1, 2, 3]);
      expect(await offsets(18, 30, 1_000_000)).toEqual([18, 19, 20]);
      expect(await offsets(5, 30, 1)).toEqual([5]);
      const some = await offsets(5, 30, 3 * size);
      expect(some.length).toBeGreaterThanOrEqual(2);
      expect(some.length).toBeLessThanOrEqual(3);
      expect(await offsets(21, 30, 1_000)).toEqual([]);
      expect(await offsets(1_000, 30, 1_000)).toEqual([]);
    });

    it('says of an offset past the end that it is missing', async () => {
      const store = await start();
      await store.append({ shard: 1, entries: new EntryWriter(1).take(1), rows: [] });
      await expect(store.read(1, 2)).rejects.toMatchObject({ damage: { shard: 1, offset: 2, problem: 'missing' } });
      expect(() => store.readSync(8, 1)).toThrow(LogDamagedError);
    });

    it('keeps everything over a restart: entries, rows, epochs, sizes', async () => {
      const store = await start();
      const writer = new EntryWriter(2);
      await store.append({
        shard: 2,
        entries: writer.take(3),
        rows: [{ key: nodeKey('identity'), value: utf8('me') }],
      });
      await store.append({ shard: 2, entries: writer.reign(epochOf(4)).take(2, { op: 'BARRIER', id: '' }), rows: [] });
      const state = store.state(2);
      const entries = await store.scan(2, 1, 10, 1_000_000);
      const next = await hands().reopen(store);
      expect(next.openDamages()).toEqual([]);
      expect(next.state(2)).toEqual(state);
      expect(next.state(2).history).toEqual([
        { epoch: epochOf(1), start: 1 },
        { epoch: epochOf(4), start: 4 },
      ]);
      expect(next.shards()).toEqual([2]);
      expect(await next.scan(2, 1, 10, 1_000_000)).toEqual(entries);
      expect(next.row(nodeKey('identity'))).toEqual(utf8('me'));
      await next.append({ shard: 2, entries: writer.take(1), rows: [] });
      expect(next.state(2).tail).toBe(6);
    });

    it('keeps every append that resolved over a crash', async () => {
      const store = await start();
      const writer = new EntryWriter(2);
      for (let i = 0; i < 5; i++)
        await store.append({
          shard: 2,
          entries: writer.take(4),
          rows: [{ key: nodeKey('n'), value: utf8(String(i)) }],
        });
      const next = await hands().crash(store);
      expect(next.openDamages()).toEqual([]);
      expect(next.state(2).tail).toBe(20);
      expect(next.row(nodeKey('n'))).toEqual(utf8('4'));
      expect((await next.scrub(2, NEVER, 0)).damages).toEqual([]);
      await next.append({ shard: 2, entries: writer.take(1), rows: [] });
      expect(next.state(2).tail).toBe(21);
    });

    it('keeps over a crash what was synced, and a whole prefix of the rest', async () => {
      const store = await start({ fsync: 'os' });
      const writer = new EntryWriter(2);
      const row = (value: number) => ({ key: nodeKey('tail'), value: utf8(String(value)) });
      await store.append({ shard: 2, entries: writer.take(4), rows: [row(4)] });
      await store.sync();
      await store.append({ shard: 2, entries: writer.take(4), rows: [row(8)] });
      const next = await hands().crash(store);
      const { tail } = next.state(2);
      expect([4, 8]).toContain(tail);
      expect(next.row(nodeKey('tail'))).toEqual(utf8(String(tail)));
      expect(await next.scan(2, 1, 100, 1_000_000)).toHaveLength(tail);
      expect(next.openDamages()).toEqual([]);
      await next.append({ shard: 2, entries: new EntryWriter(2).continueFrom(next.state(2)).take(1), rows: [] });
    });

    it('makes everything durable when it closes', async () => {
      const store = await start({ fsync: 'os' });
      await store.append({ shard: 2, entries: new EntryWriter(2).take(4), rows: [] });
      const next = await hands().reopen(store);
      expect(next.state(2).tail).toBe(4);
    });

    it('writes what was asked for before close, and refuses what comes after', async () => {
      const store = await start();
      const writer = new EntryWriter(2);
      const before = store.append({ shard: 2, entries: writer.take(1), rows: [] });
      const closed = store.close();
      const after = expect(store.append({ shard: 2, entries: writer.take(1), rows: [] })).rejects.toThrow(
        StorageFailedError,
      );
      await Promise.all([before, closed, after, store.close()]);
      expect(() => store.readSync(2, 1)).toThrow(StorageFailedError);
    });

    describe('damaged', () => {
      const damaged = async (offset: number, at: number | undefined, count = 10): Promise<LogStore> => {
        const store = await start();
        await store.append({ shard: 1, entries: new EntryWriter(1).take(count), rows: [] });
        await store.append({ shard: 2, entries: new EntryWriter(2).take(count), rows: [] });
        return hands().damage(store, entryKey(1, offset), at);
      };

      it.each([
        ['payload', 120, 'crc'],
        ['header', 45, 'crc'],
        ['crc', 77, 'crc'],
        ['chain', 85, 'crc'],
        ['magic', 0, 'format'],
        ['format', 2, 'format'],
      ] as const)(
        'a flipped bit in the %s is found on read, scan, scrub and open, and never served',
        async (_, at, problem) => {
          const store = await damaged(6, at);
          const damage: Damage = { shard: 1, offset: 6, problem };
          await expect(store.read(1, 6)).rejects.toMatchObject({ name: 'LogDamagedError', damage });
          expect(() => store.readSync(1, 6)).toThrow(`the log entry at offset 6 of shard 1 is damaged (${problem})`);
          await expect(store.scan(1, 1, 100, 1_000_000)).rejects.toMatchObject({ damage });
          expect(await store.scan(1, 1, 5, 1_000_000)).toHaveLength(5);
          expect(await store.scan(1, 7, 100, 1_000_000)).toHaveLength(4);
          expect((await store.scrub(1, NEVER, 0)).damages).toEqual([damage]);
          expect(store.openDamages()).toEqual([damage]);
          expect((await store.scrub(2, NEVER, 0)).damages).toEqual([]);
          expect(await store.read(1, 5)).toHaveLength(store.readSync(1, 5).length);
        },
      );

      it('a lost entry is found on read, scan, scrub and open', async () => {
        const store = await damaged(6, undefined);
        const damage: Damage = { shard: 1, offset: 6, problem: 'missing' };
        await expect(store.read(1, 6)).rejects.toMatchObject({ damage });
        await expect(store.scan(1, 1, 100, 1_000_000)).rejects.toMatchObject({ damage });
        await expect(store.scan(1, 6, 1, 1_000_000)).rejects.toMatchObject({ damage });
        expect((await store.scrub(1, NEVER, 0)).damages).toEqual([damage]);
        expect(store.openDamages()).toEqual([damage]);
      });

      it('a lost last entry is found', async () => {
        const store = await damaged(10, undefined);
        const damage: Damage = { shard: 1, offset: 10, problem: 'missing' };
        expect(store.openDamages()).toEqual([damage]);
        await expect(store.scan(1, 8, 100, 1_000_000)).rejects.toMatchObject({ damage });
        expect((await store.scrub(1, NEVER, 0)).damages).toEqual([damage]);
      });

      it('an entry far from the end is left to the scrub', async () => {
        const store = await damaged(3, 120, 400);
        expect(store.openDamages()).toEqual([]);
        expect(await store.scrub(1, NEVER, 0)).toMatchObject({
          entries: 400,
          damages: [{ shard: 1, offset: 3, problem: 'crc' }],
        });
      });

      it('compaction refuses to cover it, and changes nothing', async () => {
        const store = await damaged(6, undefined);
        await expect(store.compact(1, 8, none, NEVER, 0)).rejects.toMatchObject({
          damage: { offset: 6, problem: 'missing' },
        });
        expect(store.state(1).start.offset).toBe(0);
        expect(await store.scan(1, 1, 5, 1_000_000)).toHaveLength(5);
        expect(await store.compact(1, 5, none, NEVER, 0)).toMatchObject({ deleted: 5 });
      });

      it('a row is never served', async () => {
        const store = await start();
        const key = documentKey(1, 5, 2, 'x');
        await store.append({ shard: 5, entries: [], rows: [{ key, value: utf8('offset 12') }] });
        const next = await hands().damage(store, key, 3);
        expect(() => next.row(key)).toThrow(LogDamagedError);
        await expect(next.rows(documentPrefix(1, 5), undefined, 10)).rejects.toMatchObject({
          damage: { shard: 5, problem: 'crc' },
        });
      });

      it('records of a shard fail that shard: nothing is appended where the end is not known', async () => {
        const store = await start();
        await store.append({ shard: 1, entries: new EntryWriter(1).take(4), rows: [] });
        await store.append({ shard: 2, entries: new EntryWriter(2).take(4), rows: [] });
        const next = await hands().damage(store, shardKey(1, 'tail'), 3);
        expect(next.openDamages()).toEqual([{ shard: 1, offset: 0, problem: 'crc' }]);
        await expect(next.append({ shard: 1, entries: new EntryWriter(1).take(1), rows: [] })).rejects.toThrow(
          LogDamagedError,
        );
        expect(next.state(2).tail).toBe(4);
        await next.append({ shard: 2, entries: new EntryWriter(2).continueFrom(next.state(2)).take(1), rows: [] });
      });

      it('lost records beside entries are noticed', async () => {
        const store = await start();
        await store.append({ shard: 1, entries: new EntryWriter(1).take(4), rows: [] });
        const next = await hands().damage(store, shardKey(1, 'history'), undefined);
        expect(next.openDamages()).toEqual([{ shard: 1, offset: 0, problem: 'missing' }]);
      });
    });

    describe('compacted', () => {
      const filled = async (count = 10): Promise<{ store: LogStore; writer: EntryWriter }> => {
        const store = await start();
        const writer = new EntryWriter(1);
        await store.append({ shard: 1, entries: writer.take(count), rows: [] });
        return { store, writer };
      };

      it('keeps live entries where they are and deletes the others', async () => {
        const { store } = await filled();
        const asked: number[] = [];
        const { bytes } = store.state(1);
        const chain = store.readSync(1, 6).slice(80, 96);
        const freed = [1, 3, 5, 6].reduce((sum, offset) => sum + store.readSync(1, offset).length, 0);
        const isLive = (offset: number, entry: Uint8Array): boolean => {
          asked.push(offset);
          return entry.length > 0 && (offset === 2 || offset === 4);
        };
        expect(await store.compact(1, 6, isLive, NEVER, 0)).toEqual({ deleted: 4, bytes: freed });
        expect(asked).toEqual([1, 2, 3, 4, 5, 6]);
        expect(store.state(1)).toMatchObject({ tail: 10, start: { offset: 6, chain }, bytes: bytes - freed });
        expect((await store.scan(1, 1, 100, 1_000_000)).length).toBe(6);
        expect(store.readSync(1, 4)).toEqual(await store.read(1, 4));
        await expect(store.read(1, 5)).rejects.toThrow(OffsetCompactedError);
        expect(() => store.readSync(1, 6)).toThrow('offset 6 of shard 1 was compacted; the log is whole above 6');
        await expect(store.read(1, 11)).rejects.toThrow(LogDamagedError);
        expect(await store.scrub(1, NEVER, 0)).toMatchObject({ entries: 6, damages: [] });
      });

      it('stays so over a crash, goes on from there, and checks the chain over its edge', async () => {
        const { store, writer } = await filled();
        await store.compact(1, 6, none, NEVER, 0);
        let next = await hands().crash(store);
        expect(next.openDamages()).toEqual([]);
        expect(next.state(1).start.offset).toBe(6);
        await next.append({ shard: 1, entries: writer.take(5), rows: [] });
        await next.compact(1, 12, (offset) => offset === 9, NEVER, 0);
        expect((await next.scan(1, 1, 100, 1_000_000)).length).toBe(4);
        next = await hands().reopen(next);
        expect(next.state(1)).toMatchObject({ tail: 15, start: { offset: 12 } });
        expect((await next.scrub(1, NEVER, 0)).damages).toEqual([]);
      });

      it('up to the tail leaves a log that can be continued and reopened', async () => {
        const { store, writer } = await filled();
        expect(await store.compact(1, 10, none, NEVER, 0)).toMatchObject({ deleted: 10 });
        expect(store.state(1)).toMatchObject({ tail: 10, bytes: 0 });
        expect(await store.scan(1, 1, 100, 1_000)).toEqual([]);
        const next = await hands().crash(store);
        expect(next.openDamages()).toEqual([]);
        await next.append({ shard: 1, entries: writer.take(1), rows: [] });
        expect(await next.scan(1, 1, 100, 1_000)).toHaveLength(1);
        await expect(next.compact(1, 12, none, NEVER, 0)).rejects.toThrow(InvariantError);
      });

      it('asks whether it may begin when the part is known to be whole, and changes nothing when it may not', async () => {
        const { store } = await filled();
        const { bytes, start } = store.state(1);
        let asked = 0;
        expect(await store.compact(1, 6, none, NEVER, 0, () => ++asked < 1)).toEqual({ deleted: 0, bytes: 0 });
        expect([asked, store.state(1).start, store.state(1).bytes]).toEqual([1, start, bytes]);
        expect(await store.compact(1, 6, none, NEVER, 0, () => store.state(1).start.offset === 0)).toMatchObject({
          deleted: 6,
        });
        // What is left below the start goes without a question.
        expect(await store.compact(1, 6, none, NEVER, 0, () => false)).toMatchObject({ deleted: 0 });
      });

      it('takes later what was live before, also below the start', async () => {
        const { store } = await filled();
        await store.compact(1, 6, all, NEVER, 0);
        expect((await store.scan(1, 1, 100, 1_000_000)).length).toBe(10);
        expect(await store.compact(1, 4, none, NEVER, 0)).toMatchObject({ deleted: 4 });
        expect(store.state(1).start.offset).toBe(6);
        expect((await store.scan(1, 1, 100, 1_000_000)).length).toBe(6);
      });

      it('lets appends pass while it runs, and misses nothing of them', async () => {
        const { store, writer } = await filled(2_000);
        const compaction = store.compact(1, 1_900, (offset) => offset % 2 === 0, NEVER, 0);
        for (let i = 0; i < 20; i++) await store.append({ shard: 1, entries: writer.take(2), rows: [] });
        expect(await compaction).toMatchObject({ deleted: 950 });
        const { bytes, tail } = store.state(1);
        expect(tail).toBe(2_040);
        const kept = await store.scan(1, 1, 10_000, 100_000_000);
        expect(kept).toHaveLength(1_090);
        expect(kept.reduce((sum, entry) => sum + entry.length, 0)).toBe(bytes);
      });

      it('ends early when told to, leaving the rest for the next time', async () => {
        const { store } = await filled(2_000);
        const stop = new AbortController();
        const isLive = (offset: number): boolean => {
          if (offset === 100) stop.abort();
          return false;
        };
        const { deleted } = await store.compact(1, 1_900, isLive, stop.signal, 0);
        expect(deleted).toBeGreaterThan(0);
        expect(deleted).toBeLessThan(1_900);
        expect(await store.compact(1, 1_900, none, NEVER, 0)).toMatchObject({ deleted: 1_900 - deleted });
        expect((await store.scrub(1, NEVER, 0)).damages).toEqual([]);
      });

      it('and scrubbed at the rate asked for', async () => {
        let nowMs = 0;
        const pace: Pace = { monotonicMs: () => nowMs, sleep: async (ms) => void (nowMs += ms) };
        const store = await start({ pace });
        await store.append({ shard: 1, entries: new EntryWriter(1).take(3_000), rows: [] });
        const { bytes } = store.state(1);
        await store.scrub(1, NEVER, 100_000);
        expect(nowMs).toBeCloseTo(bytes / 100, 3);
        nowMs = 0;
        await store.compact(1, 3_000, none, NEVER, 100_000);
        // Once to see that the part is whole, once to delete.
        expect(nowMs).toBeCloseTo((2 * bytes) / 100, 3);
      });
    });

    it('ends a scrub when told to', async () => {
      const store = await start();
      await store.append({ shard: 1, entries: new EntryWriter(1).take(3_000), rows: [] });
      expect(await store.scrub(1, AbortSignal.abort(), 0)).toEqual({ entries: 0, bytes: 0, damages: [] });
    });

    it('stops for good after a failed write, and says so once', async () => {
      const failures: StorageFailedError[] = [];
      const store = await start({ onFailure: (error) => failures.push(error) });
      const writer = new EntryWriter(1);
      await store.append({ shard: 1, entries: writer.take(1), rows: [] });
      await hands().breakDisk(store);
      const payload = new Uint8Array(100_000);
      let refused = 0;
      for (let i = 0; i < 20 && failures.length === 0; i++) {
        const appends = [1, 2, 3].map(() => store.append({ shard: 1, entries: [writer.next({ payload })], rows: [] }));
        for (const result of await Promise.allSettled(appends)) {
          if (result.status === 'fulfilled') continue;
          refused++;
          expect(result.reason).toBeInstanceOf(StorageFailedError);
        }
      }
      expect(failures).toHaveLength(1);
      expect(refused).toBeGreaterThan(0);
      await expect(store.append({ shard: 2, entries: new EntryWriter(2).take(1), rows: [] })).rejects.toBe(failures[0]);
      await expect(store.sync()).rejects.toBe(failures[0]);
      await store.close();
      expect(failures).toHaveLength(1);
    });
  });
}
