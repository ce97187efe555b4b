import { afterEach, describe, expect, it } from '@jest/globals';
import { InvariantError } from '../../src/kernel/assert.js';
import { utf8 } from '../../src/kernel/bytes.js';
import { NO_EPOCH } from '../../src/kernel/epoch.js';
import { CHAIN_ZERO } from '../../src/modules/log/core/entry.js';
import { EMPTY_LOG } from '../../src/modules/log/core/log-state.js';
import {
  documentKey,
  documentPrefix,
  entryKey,
  idempotencyKey,
  nodeKey,
  shardKey,
} from '../../src/modules/log/core/keys.js';
import { appendEntryOf, verifyEntries } from '../../src/modules/log/core/received-entries.js';
import { LogDamagedError, OffsetCompactedError } from '../../src/modules/log/log-store.js';
import type { AppendEntry, LogStore } from '../../src/modules/log/log-store.js';
import { nodeHasher } from '../../src/platform/crypto/node-hasher.js';
import { EntryWriter, epochOf } from './log-entries.js';
import type { LogHarness, OpenOptions } from './log-store.suite.js';
import { entryChain } from '../../src/modules/log/core/entry-codec.js';

/** A harness that can also bring an older copy of the database back. */
export interface BranchHarness extends LogHarness {
  /** So many entries are very many. */
  readonly many: number;
  /** Keeps a copy of the database as it is now. */
  image(store: LogStore): Promise<unknown>;
  /** Kills the process; the next one finds the copy beside what else was remembered. */
  goBack(store: LogStore, image: unknown): Promise<LogStore>;
}

const NEVER = new AbortController().signal;
const none = (): boolean => false;

/** What every LogStore does for replicas: branches that are cut, promises, snapshots (replication 2.6, 4.7, 6.3). */
export function logBranchContract(name: string, make: () => BranchHarness): void {
  describe(`${name} as a replica's LogStore`, () => {
    let harness: BranchHarness | undefined;
    const start = (options?: OpenOptions): Promise<LogStore> => (harness = make()).open(options);
    const hands = (): BranchHarness => {
      if (harness === undefined) throw new Error('start() comes first');
      return harness;
    };
    afterEach(async () => {
      await harness?.dispose();
      harness = undefined;
    });
    const allOf = (store: LogStore, shard = 1): Promise<readonly Uint8Array[]> =>
      store.scan(shard, 1, 1_000_000, 1_000_000_000);
    const bytesOf = (entries: readonly AppendEntry[]): Uint8Array[] => entries.map(({ bytes }) => bytes);
    /** Large entries take long to compare byte by byte. */
    const sums = (entries: readonly Uint8Array[]): number[] => entries.map((bytes) => nodeHasher.crc32(bytes));

    describe('cut', () => {
      /** Ten entries of epoch 1, ten of epoch 3. */
      const filled = async (options?: OpenOptions) => {
        const store = await start(options);
        const writer = new EntryWriter(1);
        const old = writer.take(10);
        const gone = writer.reign(epochOf(3)).take(10);
        await store.append({ shard: 1, entries: old, rows: [] });
        await store.append({ shard: 1, entries: gone, rows: [{ key: nodeKey('n'), value: utf8('before') }] });
        return { store, old, gone };
      };
      const row = { key: nodeKey('n'), value: utf8('after') };

      it('ends at the offset with what it had there, its rows in the same step', async () => {
        const { store, old } = await filled();
        await store.truncate(1, 7, [row, { key: shardKey(1, 'counters'), value: utf8('7') }]);
        const at = old[6];
        expect(store.state(1)).toEqual({
          tail: 7,
          chain: entryChain(at.bytes),
          epoch: epochOf(1),
          start: { offset: 0, chain: CHAIN_ZERO },
          history: [{ epoch: epochOf(1), start: 1 }],
          bytes: old.slice(0, 7).reduce((sum, { bytes }) => sum + bytes.length, 0),
          generation: 1,
        });
        expect(store.row(row.key)).toEqual(utf8('after'));
        expect(await allOf(store)).toEqual(bytesOf(old.slice(0, 7)));
        await expect(store.read(1, 8)).rejects.toMatchObject({ damage: { offset: 8, problem: 'missing' } });
        expect(() => store.readSync(1, 20)).toThrow(LogDamagedError);
        expect(await store.scan(1, 8, 10, 1_000)).toEqual([]);
        expect((await store.scrub(1, NEVER, 0)).damages).toEqual([]);
      });

      it('stays so over a restart and a crash, and goes on as another branch', async () => {
        const { store, old } = await filled();
        await store.truncate(1, 7, [row]);
        const other = new EntryWriter(1).continueFrom(store.state(1)).reign(epochOf(4));
        const branch = other.take(30, { id: 'other' });
        await store.append({ shard: 1, entries: branch.slice(0, 20), rows: [] });
        let next = store;
        for (const again of ['crash', 'reopen'] as const) {
          next = await hands()[again](next);
          expect(next.openDamages()).toEqual([]);
          expect(await allOf(next)).toEqual(bytesOf([...old.slice(0, 7), ...branch.slice(0, 20)]));
          expect(next.state(1).history).toEqual([
            { epoch: epochOf(1), start: 1 },
            { epoch: epochOf(4), start: 8 },
          ]);
          expect((await next.scrub(1, NEVER, 0)).damages).toEqual([]);
          expect(next.row(row.key)).toEqual(utf8('after'));
        }
        await next.append({ shard: 1, entries: branch.slice(20), rows: [] });
      });

      it('down to nothing and to its own end', async () => {
        const { store } = await filled();
        const { history, chain } = store.state(1);
        await store.truncate(1, 20, [row]);
        expect(store.state(1)).toMatchObject({ tail: 20, history, chain });
        expect(store.row(row.key)).toEqual(utf8('after'));
        await store.truncate(1, 0, []);
        expect(store.state(1)).toMatchObject({ tail: 0, chain: CHAIN_ZERO, epoch: NO_EPOCH, history: [], bytes: 0 });
        expect(store.shards()).toEqual([]);
        const next = await hands().reopen(store);
        expect(next.openDamages()).toEqual([]);
        await next.append({ shard: 1, entries: new EntryWriter(1).take(2), rows: [] });
      });

      it('takes its turn: what was asked for before is cut, what is asked for after follows the cut', async () => {
        const { store, old } = await filled();
        const writer = new EntryWriter(1).continueFrom(store.state(1));
        const before = [1, 2, 3].map(() => store.append({ shard: 1, entries: writer.take(5), rows: [] }));
        const cut = store.truncate(1, 7, [row]);
        const branch = new EntryWriter(1).continueFrom({ tail: 7, chain: entryChain(old[6].bytes), epoch: epochOf(5) });
        const entries = branch.take(9, { id: 'b' });
        const order: string[] = [];
        const after = [0, 3, 6].map((at) =>
          store
            .append({ shard: 1, entries: entries.slice(at, at + 3), rows: [] })
            .then(() => order.push(`append ${at}`)),
        );
        const elsewhere = store.append({ shard: 2, entries: new EntryWriter(2).take(1), rows: [] });
        await Promise.all([...before, cut.then(() => order.push('cut')), ...after, elsewhere]);
        expect(order).toEqual(['cut', 'append 0', 'append 3', 'append 6']);
        expect(await allOf(store)).toEqual(bytesOf([...old.slice(0, 7), ...entries]));
        const next = await hands().crash(store);
        expect(await allOf(next)).toHaveLength(16);
        expect(next.openDamages()).toEqual([]);
      });

      it('twice at once: one after the other', async () => {
        const { store } = await filled();
        await Promise.all([store.truncate(1, 15, []), store.truncate(1, 4, []), store.truncate(2, 0, [])]);
        expect(store.state(1).tail).toBe(4);
        await expect(Promise.all([store.truncate(1, 2, []), store.truncate(1, 3, [])])).rejects.toThrow(InvariantError);
      });

      it('not below its start, nor beyond its end', async () => {
        const { store } = await filled();
        await store.compact(1, 6, none, NEVER, 0);
        expect(() => store.truncate(1, 5, [])).toThrow(InvariantError);
        expect(() => store.truncate(1, 21, [])).toThrow(InvariantError);
        expect(() => store.truncate(1, 10, [{ key: shardKey(1, 'tail'), value: utf8('x') }])).toThrow(InvariantError);
        await store.truncate(1, 6, []);
        expect(store.state(1)).toMatchObject({ tail: 6, start: { offset: 6 }, bytes: 0 });
        const next = await hands().reopen(store);
        expect(next.openDamages()).toEqual([]);
        await next.append({ shard: 1, entries: new EntryWriter(1).continueFrom(next.state(1)).take(1), rows: [] });
      });

      it('not where its entry is damaged: nothing changes', async () => {
        const { store } = await filled();
        const next = await hands().damage(store, entryKey(1, 7), 120);
        await expect(next.truncate(1, 7, [row])).rejects.toMatchObject({ damage: { offset: 7, problem: 'crc' } });
        expect(next.state(1).tail).toBe(20);
        expect(next.row(row.key)).toEqual(utf8('before'));
        // What is damaged above the fork goes with the rest.
        await next.truncate(1, 6, [row]);
        expect((await next.scrub(1, NEVER, 0)).damages).toEqual([]);
      });

      it('and the compaction under way ends first', async () => {
        const store = await start();
        const writer = new EntryWriter(1);
        await store.append({ shard: 1, entries: writer.take(4_000), rows: [] });
        const compaction = store.compact(1, 3_000, none, NEVER, 0);
        await store
          .truncate(1, 3_500, [])
          .catch((error: unknown) => expect(error).toBeInstanceOf(OffsetCompactedError));
        expect((await compaction).deleted).toBeLessThanOrEqual(3_000);
        expect(store.state(1).tail).toBe(3_500);
        expect((await store.scrub(1, NEVER, 0)).damages).toEqual([]);
        const cut = store.truncate(1, 3_100, []);
        const late = store.compact(1, 3_400, none, NEVER, 0);
        await cut;
        expect(await late).toEqual({ deleted: 0, bytes: 0 });
      });

      it('tells no reader that it is damaged', async () => {
        const store = await start();
        const writer = new EntryWriter(1);
        await store.append({ shard: 1, entries: writer.take(3_000), rows: [] });
        const next = await hands().reopen(store);
        const scans = [1, 500, 2_000, 2_999].map((from) => next.scan(1, from, 10_000, 100_000_000));
        const scrub = next.scrub(1, NEVER, 0);
        const branch = new EntryWriter(1).continueFrom({
          tail: 1_000,
          chain: entryChain(await next.read(1, 1_000)),
          epoch: epochOf(2),
        });
        await next.truncate(1, 1_000, []);
        await next.append({ shard: 1, entries: branch.take(3_000, { id: 'b' }), rows: [] });
        await Promise.all(scans);
        expect((await scrub).damages).toEqual([]);
      });

      it('of very many entries, without keeping others from their turns', async () => {
        const store = await start({ fsync: 'os' });
        const writer = new EntryWriter(1);
        const payload = new Uint8Array(40);
        const { many } = hands();
        for (let i = 0; i < many; i += 2_000)
          await store.append({ shard: 1, entries: writer.take(2_000, { payload }), rows: [] });
        const rows = Array.from({ length: many / 2 }, (_, i) => ({
          key: documentKey(1, 1, 1, String(i)),
          value: new Uint8Array(37),
        }));
        let turns = 0;
        let cutting = true;
        const count = (): void => {
          turns++;
          if (cutting) setImmediate(count);
        };
        setImmediate(count);
        await store.truncate(1, 3, rows);
        cutting = false;
        // Memory has no turns of its own.
        if (many > 50_000) expect(turns).toBeGreaterThan(10);
        expect(await allOf(store)).toHaveLength(3);
        const next = await hands().reopen(store);
        expect(next.openDamages()).toEqual([]);
        expect(next.state(1).tail).toBe(3);
        expect(await next.rows(documentPrefix(1, 1), undefined, 100_000)).toHaveLength(many / 2);
      }, 60_000);
    });

    describe('entries of a primary', () => {
      it('are taken as they are once they were verified', async () => {
        const primary = new EntryWriter(1);
        const sent = bytesOf([...primary.take(5), ...primary.reign(epochOf(3)).take(5)]);
        const store = await start();
        for (const part of [sent.slice(0, 4), sent.slice(4)]) {
          const { tail, chain, epoch } = store.state(1);
          expect(verifyEntries(nodeHasher, 1, { offset: tail, chain, epoch }, part)).toBeUndefined();
          await store.append({ shard: 1, entries: part.map(appendEntryOf), rows: [], promise: epochOf(3) });
        }
        expect(await allOf(store)).toEqual(sent);
        expect(store.state(1)).toMatchObject({ tail: 10, epoch: epochOf(3) });
        const next = await hands().reopen(store);
        expect(await allOf(next)).toEqual(sent);
      });

      it('come from memory while they are young, and from disk later, all the same', async () => {
        const store = await start();
        const writer = new EntryWriter(1);
        const payload = new Uint8Array(200_000);
        const entries: AppendEntry[] = [];
        for (let i = 0; i < 10; i++) {
          const more = writer.take(5, { payload });
          entries.push(...more);
          await store.append({ shard: 1, entries: more, rows: [] });
        }
        for (const from of [1, 5, 11, 30, 45, 50])
          expect(sums(await store.scan(1, from, 100, 100_000_000))).toEqual(sums(bytesOf(entries.slice(from - 1))));
        expect(sums(await store.scan(1, 40, 3, 100_000_000))).toEqual(sums(bytesOf(entries.slice(39, 42))));
        expect(sums(await store.scan(1, 40, 30, 1))).toEqual(sums(bytesOf(entries.slice(39, 40))));
        await store.truncate(1, 45, []);
        expect(sums(await store.scan(1, 44, 30, 100_000_000))).toEqual(sums(bytesOf(entries.slice(43, 45))));
      });
    });

    describe('a promise', () => {
      it('is durable when it resolves, whatever the policy, and never decreases', async () => {
        const store = await start({ fsync: 'os' });
        expect(store.promised(1)).toEqual(NO_EPOCH);
        await store.append({ shard: 1, entries: [], rows: [], promise: epochOf(7) });
        await store.append({ shard: 1, entries: [], rows: [], promise: epochOf(5) });
        expect(store.promised(1)).toEqual(epochOf(7));
        expect(store.promised(2)).toEqual(NO_EPOCH);
        expect(store.shards()).toEqual([]);
        const next = await hands().crash(store);
        expect(next.openDamages()).toEqual([]);
        expect(next.promised(1)).toEqual(epochOf(7));
      });

      it('is what the log has when it never made another, also after that was cut off', async () => {
        const store = await start();
        const writer = new EntryWriter(1);
        await store.append({ shard: 1, entries: writer.take(2), rows: [] });
        await store.append({ shard: 1, entries: writer.reign(epochOf(4)).take(2), rows: [] });
        expect(store.promised(1)).toEqual(epochOf(4));
        await store.truncate(1, 2, []);
        expect(store.state(1).epoch).toEqual(epochOf(1));
        expect(store.promised(1)).toEqual(epochOf(4));
        const next = await hands().reopen(store);
        expect(next.promised(1)).toEqual(epochOf(4));
      });

      it('goes down with the entries of its batch', async () => {
        const store = await start();
        const entries = new EntryWriter(1, epochOf(9)).take(1, { op: 'BARRIER', id: '' });
        await store.append({ shard: 1, entries, rows: [], promise: epochOf(9) });
        const next = await hands().crash(store);
        expect(next.promised(1)).toEqual(epochOf(9));
        expect(next.state(1).tail).toBe(1);
      });
    });

    describe('a database that went back', () => {
      const regressed = async (options: OpenOptions) => {
        const store = await start(options);
        const writer = new EntryWriter(3);
        await store.append({ shard: 3, entries: writer.take(5), rows: [] });
        await store.append({ shard: 4, entries: new EntryWriter(4).take(2), rows: [] });
        const image = await hands().image(store);
        await store.append({ shard: 3, entries: writer.take(7), rows: [], promise: epochOf(8) });
        // Closing writes down what is remembered.
        await store.close();
        return { store, image };
      };

      it('stops the start of a node alone', async () => {
        const { store, image } = await regressed({});
        await expect(hands().goBack(store, image)).rejects.toThrow(
          'shard 3 went back from offset 12 to 5: entries that were on this disk are gone.',
        );
      });

      it('is reported to a node of a cluster at every start until it is accepted; the promise stays', async () => {
        const { store, image } = await regressed({ regressed: 'report' });
        const expected = [{ shard: 3, tail: 5, remembered: 12 }];
        let next = await hands().goBack(store, image);
        expect(next.regressions()).toEqual(expected);
        expect(next.promised(3)).toEqual(epochOf(8));
        expect(next.state(3).tail).toBe(5);
        next = await hands().reopen(next);
        expect(next.regressions()).toEqual(expected);
        await next.acceptRegressions();
        expect(next.regressions()).toEqual([]);
        next = await hands().reopen(next);
        expect(next.regressions()).toEqual([]);
        expect(next.promised(3)).toEqual(epochOf(8));
      });

      it('is not what a truncation or a snapshot does', async () => {
        const store = await start();
        const writer = new EntryWriter(1);
        await store.append({ shard: 1, entries: writer.take(50), rows: [] });
        await store.truncate(1, 20, []);
        let next = await hands().reopen(store);
        expect(next.state(1).tail).toBe(20);
        const { chain, history } = next.state(1);
        await next.beginStage(1);
        await next.flip(1, { offset: 12, chain, history, bytes: 0 }, []);
        next = await hands().reopen(next);
        expect(next.state(1).tail).toBe(12);
        expect(next.regressions()).toEqual([]);
      });
    });

    describe('restored', () => {
      /** Twenty entries, of which some are damaged, in a store that was opened since. */
      const harmed = async (offsets: readonly number[], at: number | undefined) => {
        let store = await start();
        const entries = new EntryWriter(1).take(20);
        await store.append({ shard: 1, entries, rows: [] });
        for (const offset of offsets) store = await hands().damage(store, entryKey(1, offset), at);
        return { store, entries, bytes: bytesOf(entries) };
      };

      it.each<[string, readonly number[], number | undefined]>([
        ['one that is damaged', [7], 100],
        ['one that is missing', [7], undefined],
        ['several in a row', [7, 8, 9], undefined],
        ['the first', [1], 60],
        ['the last', [20], 60],
        ['the last, which is missing', [20], undefined],
      ])('%s is what it was', async (_, offsets, at) => {
        const { store, bytes } = await harmed(offsets, at);
        await expect(store.read(1, offsets[0])).rejects.toThrow(LogDamagedError);
        const state = store.state(1);
        await store.restore(1, bytes.slice(offsets[0] - 1, offsets[0] - 1 + offsets.length));
        for (let next = store; ; next = await hands().crash(next)) {
          expect(next.state(1)).toEqual(state);
          expect(await allOf(next)).toEqual(bytes);
          expect((await next.scrub(1, NEVER, 0)).damages).toEqual([]);
          expect(next.openDamages()).toEqual([]);
          if (next !== store) break;
        }
      });

      it('only with what fits between its neighbours', async () => {
        const { store, bytes } = await harmed([7, 8], undefined);
        const branch = new EntryWriter(1, epochOf(4)).take(20);
        const refused: readonly Uint8Array[][] = [
          // Another branch; one of the two only, whose neighbour is missing; another place; another shard; nothing known.
          [branch[6].bytes, branch[7].bytes],
          [bytes[6]],
          [bytes[7]],
          [bytes[7], bytes[6]],
          new EntryWriter(2)
            .take(8)
            .slice(6)
            .map((entry) => entry.bytes),
          [new Uint8Array(5)],
          [new EntryWriter(1).take(21)[20].bytes],
        ];
        for (const entries of refused) await expect(store.restore(1, entries)).rejects.toThrow(LogDamagedError);
        expect((await store.scrub(1, NEVER, 0)).damages.map(({ offset }) => offset)).toEqual([7, 8]);
        await store.restore(1, bytes.slice(6, 8));
        expect(await allOf(store)).toEqual(bytes);
      });

      it('in the part that was compacted, beside what is still there', async () => {
        let store = await start();
        const entries = new EntryWriter(1).take(20);
        await store.append({ shard: 1, entries, rows: [] });
        await store.compact(1, 15, (offset) => [5, 6, 15].includes(offset), NEVER, 0);
        store = await hands().damage(store, entryKey(1, 5), 100);
        const branch = new EntryWriter(1, epochOf(4)).take(20);
        await expect(store.restore(1, [branch[4].bytes])).rejects.toThrow(LogDamagedError);
        await store.restore(1, [entries[4].bytes]);
        expect(await allOf(store)).toEqual(bytesOf([...entries.slice(4, 6), ...entries.slice(14)]));
        store = await hands().damage(store, entryKey(1, 15), 100);
        await expect(store.restore(1, [branch[14].bytes])).rejects.toThrow(LogDamagedError);
        await store.restore(1, [entries[14].bytes]);
        expect((await store.scrub(1, NEVER, 0)).damages).toEqual([]);
      });
    });

    describe('dropped', () => {
      it('a log is as if it had never been, but for the promise; others stay', async () => {
        let store = await start();
        const writer = new EntryWriter(1);
        const rows = [
          { key: documentKey(1, 1, 1, 'a'), value: utf8('one') },
          { key: idempotencyKey(1, new Uint8Array(16)), value: utf8('result') },
          { key: shardKey(1, 'counters'), value: utf8('many') },
        ];
        await store.append({ shard: 1, entries: writer.take(50), rows, promise: epochOf(9) });
        await store.append({ shard: 2, entries: new EntryWriter(2).take(5), rows: [] });
        await store.drop(1, [{ key: shardKey(1, 'counters'), value: undefined }]);
        for (let look = 0; look < 2; look++) {
          expect(store.shards()).toEqual([2]);
          expect(store.state(1)).toEqual({ ...EMPTY_LOG, generation: 2 });
          expect(store.promised(1)).toEqual(epochOf(9));
          expect(await allOf(store)).toEqual([]);
          expect(await allOf(store, 2)).toHaveLength(5);
          expect(store.regressions()).toEqual([]);
          expect(store.row(shardKey(1, 'counters'))).toBeUndefined();
          expect(await store.rows(documentPrefix(2, 1), undefined, 10)).toEqual([]);
          store = await hands().reopen(store);
        }
        // What it held is deleted in the background, also after a restart.
        for (let i = 0; i < 1_000 && store.row(rows[1].key) !== undefined; i++)
          await store.rows(rows[1].key, undefined, 1);
        for (const { key } of rows) expect(store.row(key)).toBeUndefined();
        expect(store.row(entryKey(1, 1))).toBeUndefined();
        // The next copy begins at the beginning.
        const again = new EntryWriter(1).take(3);
        await store.append({ shard: 1, entries: again, rows: [] });
        expect(await allOf(store)).toEqual(bytesOf(again));
        expect(await allOf(await hands().crash(store))).toEqual(bytesOf(again));
      });

      it('takes its turn behind what was asked for before, and ends a snapshot under way', async () => {
        const store = await start();
        const append = store.append({ shard: 1, entries: new EntryWriter(1).take(10), rows: [] });
        const begun = store.beginStage(1);
        const dropped = store.drop(1, []);
        const again = new EntryWriter(1).take(2);
        const after = store.append({ shard: 1, entries: again, rows: [] });
        await Promise.all([append, begun, dropped, after]);
        expect(await allOf(store)).toEqual(bytesOf(again));
        await expect(store.stage(1, { entries: [], rows: [] })).rejects.toThrow(InvariantError);
      });
    });

    describe('a view', () => {
      it('shows one moment, whatever is written, compacted or cut meanwhile', async () => {
        const store = await start();
        const writer = new EntryWriter(1);
        const entries = writer.take(10);
        const keys = ['a', 'b', 'c'].map((id) => documentKey(1, 1, 1, id));
        const rows = keys.map((key) => ({ key, value: utf8('one') }));
        await store.append({ shard: 1, entries, rows });
        const view = await store.view(1);
        const state = store.state(1);
        await store.append({
          shard: 1,
          entries: writer.take(5),
          rows: [
            { key: keys[0], value: utf8('two') },
            { key: keys[1], value: undefined },
          ],
        });
        await store.compact(1, 9, none, NEVER, 0);
        await store.truncate(1, 12, []);
        expect(view.state).toEqual(state);
        expect(await view.rows(documentPrefix(1, 1), undefined, 10)).toEqual(rows);
        expect(await view.rows(documentPrefix(1, 1), keys[0], 1)).toEqual([rows[1]]);
        expect(await view.row(keys[1])).toEqual(utf8('one'));
        expect(await view.row(nodeKey('nothing'))).toBeUndefined();
        for (const { offset, bytes } of entries) expect(await view.read(offset)).toEqual(bytes);
        await expect(view.read(11)).rejects.toMatchObject({ damage: { offset: 11, problem: 'missing' } });
        await view.close();
      });

      it('says what was compacted before it was taken', async () => {
        const store = await start();
        await store.append({ shard: 1, entries: new EntryWriter(1).take(10), rows: [] });
        await store.compact(1, 6, (offset) => offset === 3, NEVER, 0);
        const view = await store.view(1);
        await expect(view.read(2)).rejects.toThrow(OffsetCompactedError);
        expect(await view.read(3)).toEqual(store.readSync(1, 3));
        await view.close();
      });
    });

    describe('a received snapshot', () => {
      /** What a primary has: offsets 1 to 40, of which the even ones are live. */
      const primary = new EntryWriter(1, epochOf(2));
      const theirs = primary.take(40, { id: 'theirs' });
      const live = theirs.filter(({ offset }) => offset % 2 === 0);
      const end = {
        offset: 40,
        chain: entryChain(theirs[39].bytes),
        history: [{ epoch: epochOf(2), start: 1 }],
        bytes: live.reduce((sum, { bytes }) => sum + bytes.length, 0),
      };
      const opId = new Uint8Array(16).fill(4);
      const receiving = async () => {
        const store = await start();
        const own = new EntryWriter(1).take(30);
        await store.append({
          shard: 1,
          entries: own,
          rows: [
            { key: documentKey(1, 1, 1, 'own'), value: utf8('own') },
            { key: idempotencyKey(1, opId), value: utf8('own') },
            { key: shardKey(1, 'counters'), value: utf8('own') },
          ],
        });
        const generation = await store.beginStage(1);
        const rows = live.map(({ offset }) => ({
          key: documentKey(generation, 1, 1, String(offset)),
          value: utf8('x'),
        }));
        await store.stage(1, { entries: live.slice(10), rows: rows.slice(10) });
        await store.stage(1, {
          entries: live.slice(0, 10),
          rows: [...rows.slice(0, 10), { key: idempotencyKey(1, opId, generation), value: utf8('theirs') }],
        });
        return { store, own, generation };
      };
      const expectOld = async (store: LogStore, own: readonly AppendEntry[]): Promise<void> => {
        expect(store.openDamages()).toEqual([]);
        expect(store.state(1)).toMatchObject({
          tail: 30,
          chain: entryChain(own[29].bytes),
          generation: 1,
          start: { offset: 0 },
        });
        expect(await allOf(store)).toEqual(bytesOf(own));
        expect(store.row(documentKey(1, 1, 1, 'own'))).toEqual(utf8('own'));
        expect(store.row(idempotencyKey(1, opId))).toEqual(utf8('own'));
        expect((await store.scrub(1, NEVER, 0)).damages).toEqual([]);
      };
      const expectNew = async (store: LogStore, generation: number): Promise<void> => {
        expect(store.openDamages()).toEqual([]);
        expect(store.state(1)).toEqual({
          tail: 40,
          chain: end.chain,
          epoch: epochOf(2),
          start: { offset: 40, chain: end.chain },
          history: end.history,
          bytes: end.bytes,
          generation,
        });
        expect(await allOf(store)).toEqual(bytesOf(live));
        expect(store.readSync(1, 8)).toEqual(live[3].bytes);
        expect(() => store.readSync(1, 7)).toThrow(OffsetCompactedError);
        expect(await store.rows(documentPrefix(generation, 1), undefined, 100)).toHaveLength(20);
        expect(store.row(idempotencyKey(1, opId, generation))).toEqual(utf8('theirs'));
        expect((await store.scrub(1, NEVER, 0)).damages).toEqual([]);
      };
      const counters = { key: shardKey(1, 'counters'), value: utf8('theirs') };
      /** What nobody reads any more is deleted in the background. */
      const expectGone = async (store: LogStore, generation: number): Promise<void> => {
        for (let i = 0; i < 1_000 && (await leftovers(store, generation)) > 0; i++);
        expect(await leftovers(store, generation)).toBe(0);
      };
      const leftovers = async (store: LogStore, generation: number): Promise<number> =>
        (await store.rows(documentPrefix(generation, 1), undefined, 100)).length +
        (await store.rows(idempotencyKey(1, new Uint8Array(0), generation), undefined, 100)).length;

      it('changes nothing before the flip, and everything with it', async () => {
        const { store, own, generation } = await receiving();
        await expectOld(store, own);
        await store.flip(1, end, [counters]);
        await expectNew(store, generation);
        expect(store.row(counters.key)).toEqual(utf8('theirs'));
        const next = await hands().reopen(store);
        await expectNew(next, generation);
        await expectGone(next, 1);
        const more = new EntryWriter(1).continueFrom(next.state(1)).take(5);
        await next.append({ shard: 1, entries: more, rows: [] });
        expect(await next.scan(1, 39, 100, 1_000_000)).toEqual(bytesOf([live[19], ...more]));
        await next.truncate(1, 42, []);
        await next.compact(1, 41, (offset) => offset === 4, NEVER, 0);
        expect(await allOf(next)).toEqual(bytesOf([live[1], more[1]]));
        expect((await next.view(1)).state).toEqual(next.state(1));
      });

      it('is kept over a crash before the flip, to go on with it, until it is begun anew', async () => {
        const { store, own, generation } = await receiving();
        expect(store.staged(1)).toBe(generation);
        let next = await hands().crash(store);
        await expectOld(next, own);
        expect(next.staged(1)).toBe(generation);
        const key = documentKey(generation, 1, 1, 'more');
        await next.stage(1, { entries: [], rows: [{ key, value: utf8('more') }] });
        next = await hands().reopen(next);
        expect(next.staged(1)).toBe(generation);
        expect(next.row(key)).toEqual(utf8('more'));
        expect(await leftovers(next, generation)).toBe(live.length + 2);
        const again = await next.beginStage(1);
        expect(again).toBeGreaterThan(generation);
        await next.close();
        next = await hands().reopen(next);
        await expectOld(next, own);
        await expectGone(next, generation);
        expect(next.staged(1)).toBe(again);
        await next.discardStage(1);
        next = await hands().reopen(next);
        expect(next.staged(1)).toBeUndefined();
      });

      it('that was kept over a crash becomes the log', async () => {
        const { store, generation } = await receiving();
        const next = await hands().crash(store);
        await next.flip(1, end, [counters]);
        await expectNew(next, generation);
        const last = await hands().reopen(next);
        await expectNew(last, generation);
        expect(last.staged(1)).toBeUndefined();
      });

      it('is there after a crash after the flip', async () => {
        const { store, generation } = await receiving();
        await store.flip(1, end, [counters]);
        const next = await hands().crash(store);
        await expectNew(next, generation);
        const last = await hands().reopen(next);
        await expectNew(last, generation);
        await expectGone(last, 1);
      });

      it('can be given up, and received anew', async () => {
        const { store, own } = await receiving();
        await store.discardStage(1);
        await expect(store.stage(1, { entries: [], rows: [] })).rejects.toThrow(InvariantError);
        expect(() => store.flip(1, end, [])).toThrow(InvariantError);
        const generation = await store.beginStage(1);
        const other = await store.beginStage(1);
        expect(other).toBeGreaterThan(generation);
        await store.stage(1, { entries: live, rows: [] });
        await expectOld(store, own);
        await store.flip(1, { ...end, offset: 40 }, []);
        expect(await allOf(store)).toEqual(bytesOf(live));
        const next = await hands().reopen(store);
        expect(await allOf(next)).toEqual(bytesOf(live));
        await expectGone(next, generation);
      });

      it('goes on from there: another one follows it', async () => {
        const { store } = await receiving();
        await store.flip(1, end, []);
        const third = await store.beginStage(1);
        await store.stage(1, {
          entries: live.slice(0, 5),
          rows: [{ key: documentKey(third, 1, 1, 'x'), value: utf8('x') }],
        });
        await store.flip(1, { ...end, offset: 10, chain: entryChain(theirs[9].bytes) }, []);
        let next = await hands().reopen(store);
        expect(next.state(1)).toMatchObject({ tail: 10, generation: third });
        expect(await allOf(next)).toEqual(bytesOf(live.slice(0, 5)));
        next = await hands().crash(next);
        expect(await allOf(next)).toEqual(bytesOf(live.slice(0, 5)));
        for (let generation = 1; generation < third; generation++) await expectGone(next, generation);
        expect(await leftovers(next, third)).toBe(1);
      });

      it('heals a shard whose records are damaged, unless it is not known beside what', async () => {
        const store = await start();
        await store.append({ shard: 1, entries: new EntryWriter(1).take(30), rows: [], promise: epochOf(9) });
        const { chain, history } = store.state(1);
        let next = await hands().damage(store, shardKey(1, 'tail'), 3);
        // What it ended with is told by its entries: what only it has is kept by whoever heals it.
        expect(next.state(1)).toMatchObject({ tail: 30, chain, history, start: { offset: 0 } });
        next = await hands().damage(next, entryKey(1, 12), 40);
        expect(next.state(1)).toMatchObject({ tail: 30, chain, start: { offset: 12 } });
        await expect(next.truncate(1, 0, [])).rejects.toThrow(LogDamagedError);
        await next.beginStage(1);
        await next.stage(1, { entries: live, rows: [] });
        await next.flip(1, end, []);
        expect(next.openDamages()).toEqual([]);
        expect(await allOf(next)).toEqual(bytesOf(live));
        next = await hands().reopen(next);
        expect(next.openDamages()).toEqual([]);
        expect(next.promised(1)).toEqual(epochOf(9));
        expect(await allOf(next)).toEqual(bytesOf(live));
        await next.append({ shard: 1, entries: new EntryWriter(1).continueFrom(next.state(1)).take(1), rows: [] });
        next = await hands().damage(next, shardKey(1, 'generation'), 3);
        await expect(next.beginStage(1)).rejects.toThrow(LogDamagedError);
      });
    });
  });
}
