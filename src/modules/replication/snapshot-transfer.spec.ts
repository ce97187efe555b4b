import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { InvariantError } from '../../kernel/assert.js';
import { toHex, utf8 } from '../../kernel/bytes.js';
import { versionText, type Version } from '../../kernel/version.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { CHAIN_ZERO, type EntryOp } from '../log/core/entry.js';
import { encodeEntry, entryChain, entryCollectionId, entryId, entryVersion } from '../log/core/entry-codec.js';
import {
  documentKey,
  documentKeyParts,
  documentPrefix,
  idempotencyKey,
  idempotencyKeyOpId,
  idempotencyPrefix,
  shardKey,
} from '../log/core/keys.js';
import { appendEntryOf } from '../log/core/received-entries.js';
import type { LogStore, RowChange } from '../log/log-store.js';
import {
  CounterTally,
  decodeCounters,
  decodeRow,
  encodeCounters,
  encodeRow,
  looseRows,
  nextRow,
  shardDigest,
  ZERO_COUNTERS,
  type ShardCounters,
} from '../shard/core/rows.js';
import { COUNTERS_ROW } from './core/replica-log.js';
import { endOfLoose } from './core/loose-rows.js';
import { encodeOperation } from './core/operation-row.js';
import { RECEIVING_ROW, SNAPSHOT_START } from './core/snapshot.js';
import { looseEntry, LooseStore } from './loose-store.js';
import { SnapshotReceiver } from './snapshot-receiver.js';
import { SnapshotSource } from './snapshot-source.js';

const SHARD = 3;
const NEVER = new AbortController().signal;

interface Write {
  readonly id: string;
  readonly tombstone: boolean;
}

/** One node's copy: writes as a primary does, rows and counters in the batch of the entries. */
class Copy {
  constructor(
    public log: MemoryLogStore,
    readonly epoch: number,
  ) {}

  static async open(epoch: number): Promise<Copy> {
    return new Copy(await MemoryLogStore.open({ hasher: nodeHasher }), epoch);
  }

  counters(): ShardCounters {
    const stored = this.log.row(shardKey(SHARD, COUNTERS_ROW));
    return stored === undefined ? ZERO_COUNTERS : decodeCounters(stored);
  }

  async write({ id, tombstone }: Write, ms: number, payloadBytes = 20): Promise<Uint8Array> {
    const version: Version = { hlc: { ms, counter: this.epoch }, opId: new Uint8Array(16).fill(ms) };
    const { tail, chain } = this.log.state(SHARD);
    const op: EntryOp = tombstone ? 'DELETE' : 'UPSERT';
    const { bytes } = encodeEntry(
      {
        op,
        shard: SHARD,
        epoch: { num: this.epoch, uuid: new Uint8Array(16).fill(this.epoch) },
        offset: tail + 1,
        version,
        collectionId: 1,
        id,
        payload: tombstone ? new Uint8Array(0) : utf8('x'.repeat(payloadBytes)),
      },
      tail === 0 ? CHAIN_ZERO : chain,
      nodeHasher,
    );
    await this.take(bytes);
    return bytes;
  }

  async take(bytes: Uint8Array): Promise<void> {
    const entry = appendEntryOf(bytes);
    const { generation } = this.log.state(SHARD);
    const [collectionId, id, version] = [entryCollectionId(bytes), entryId(bytes), entryVersion(bytes)];
    const key = documentKey(generation, SHARD, collectionId, id);
    const stored = this.log.row(key);
    const before = stored === undefined ? undefined : decodeRow(stored);
    const tally = new CounterTally(nodeHasher, this.counters());
    const op = bytes[3] === 2 ? 'UPSERT' : 'DELETE';
    const after = nextRow({ op, version, offset: entry.offset }, bytes.length, before);
    const rows: RowChange[] = [];
    if (after === undefined) tally.supersede(bytes.length);
    else {
      tally.change(collectionId, id, before, after);
      rows.push({ key, value: encodeRow(after) }, ...endOfLoose(SHARD, collectionId, id, before));
    }
    const result = {
      offset: entry.offset,
      epoch: this.epoch,
      version,
      created: true,
      fingerprint: new Uint8Array(16),
      writtenMs: 1,
    };
    rows.push(
      { key: idempotencyKey(SHARD, version.opId, generation), value: encodeOperation(result) },
      { key: shardKey(SHARD, COUNTERS_ROW), value: encodeCounters(tally.value()) },
    );
    await this.log.append({ shard: SHARD, entries: [entry], rows });
  }

  /** Everything superseded up to the tail goes. */
  async compact(): Promise<void> {
    const { tail, generation } = this.log.state(SHARD);
    const isLive = (offset: number, entry: Uint8Array): boolean => {
      const row = this.log.row(documentKey(generation, SHARD, entryCollectionId(entry), entryId(entry)));
      return row !== undefined && decodeRow(row).offset === offset;
    };
    if (tail > 0) await this.log.compact(SHARD, tail, isLive, NEVER, 0);
  }

  async map(): Promise<Record<string, string>> {
    const map: Record<string, string> = {};
    for (const { key, value } of await this.log.rows(
      documentPrefix(this.log.state(SHARD).generation, SHARD),
      undefined,
      1_000,
    )) {
      const { id, collectionId } = documentKeyParts(key);
      const row = decodeRow(value);
      map[id] = `${versionText(row.version)}${row.tombstone ? ' deleted' : ''}`;
      const entry = row.loose ? looseEntry(this.log, SHARD, collectionId, id) : this.log.readSync(SHARD, row.offset);
      // Every row leads to the entry that wrote it.
      expect(entry === undefined ? undefined : versionText(entryVersion(entry))).toBe(versionText(row.version));
    }
    return map;
  }

  /** Keys whose results are here. */
  async operations(): Promise<readonly string[]> {
    const rows = await this.log.rows(idempotencyPrefix(SHARD, this.log.state(SHARD).generation), undefined, 1_000);
    return rows.map(({ key }) => toHex(idempotencyKeyOpId(key)));
  }

  /** Counters are those of the rows. */
  async check(): Promise<void> {
    const { generation } = this.log.state(SHARD);
    const fresh = new CounterTally(nodeHasher, ZERO_COUNTERS);
    for (const { key, value } of await this.log.rows(documentPrefix(generation, SHARD), undefined, 1_000)) {
      const { collectionId, id } = documentKeyParts(key);
      fresh.change(collectionId, id, undefined, decodeRow(value));
    }
    const counters = this.counters();
    expect(shardDigest(counters)).toEqual(shardDigest(fresh.value()));
    expect(looseRows(counters)).toBe(looseRows(fresh.value()));
    expect(this.log.openDamages()).toEqual([]);
    expect((await this.log.scrub(SHARD, NEVER, 0)).damages).toEqual([]);
  }
}

async function sourceOf(log: LogStore): Promise<SnapshotSource> {
  const source = await SnapshotSource.open(log, nodeHasher, SHARD);
  if (source === undefined) throw new Error('there is nothing to send');
  return source;
}

async function receiverOf(log: LogStore, source: SnapshotSource): Promise<SnapshotReceiver> {
  const receiver = await SnapshotReceiver.begin(log, nodeHasher, SHARD, source.at);
  if ('problem' in receiver) throw new Error(receiver.problem);
  return receiver;
}

/** As a follower does when it comes back: with what it has, if the primary can go on from there. */
async function goOn(log: LogStore, source: SnapshotSource): Promise<SnapshotReceiver> {
  const unfinished = await SnapshotReceiver.reopen(log, nodeHasher, SHARD);
  const partial = unfinished?.partial;
  if (unfinished === undefined || partial === undefined || !(await source.resume(partial)))
    return receiverOf(log, source);
  expect(await unfinished.resume(source.at)).toBeUndefined();
  return unfinished;
}

/** Transfers everything; `between` is called after each chunk. */
async function transfer(
  source: SnapshotSource,
  receiver: SnapshotReceiver,
  between: (chunk: Awaited<ReturnType<SnapshotSource['next']>>) => Promise<void> = () => Promise.resolve(),
): Promise<number> {
  let chunks = 0;
  while (!receiver.complete) {
    const chunk = await source.next(receiver.cursor);
    chunks++;
    expect(await receiver.take(chunk)).toBeUndefined();
    await between(chunk);
  }
  return chunks;
}

const write: fc.Arbitrary<Write> = fc.record({
  id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
  tombstone: fc.boolean(),
});
const writes = fc.array(write, { minLength: 1, maxLength: 12 });

/** None of the rows can be read any more, nor what they add up to. */
async function damageRows(log: MemoryLogStore): Promise<void> {
  const rows = await log.rows(documentPrefix(log.state(SHARD).generation, SHARD), undefined, 1_000);
  for (const { key } of rows) expect(log.tamper(key, 3)).toBe(true);
  expect(log.tamper(shardKey(SHARD, COUNTERS_ROW), 1)).toBe(true);
}

describe('a snapshot', () => {
  it('is the state of one offset, whatever is written and compacted meanwhile; the log goes on from there', async () => {
    await fc.assert(
      fc.asyncProperty(writes, writes, async (before, meanwhile) => {
        const primary = await Copy.open(2);
        let ms = 10;
        for (const each of before) await primary.write(each, ms++);
        await primary.compact();
        const expected = await primary.map();
        const source = await sourceOf(primary.log);
        const digest = shardDigest(primary.counters());
        const replica = await Copy.open(1);
        const receiver = await receiverOf(replica.log, source);
        const later: Uint8Array[] = [];
        for (const each of meanwhile) later.push(await primary.write(each, ms++));
        await primary.compact();
        await transfer(source, receiver);
        const { counters, unreadable } = await receiver.finish(0);
        await source.close();
        expect(unreadable).toBe(0);
        expect(shardDigest(counters)).toEqual(digest);
        expect(await replica.map()).toEqual(expected);
        await replica.check();
        replica.log = await replica.log.crash();
        await replica.check();
        for (const entry of later) await replica.take(entry);
        expect(await replica.map()).toEqual(await primary.map());
        expect(shardDigest(replica.counters())).toEqual(shardDigest(primary.counters()));
        expect(replica.log.state(SHARD).chain).toEqual(primary.log.state(SHARD).chain);
        const generation = replica.log.state(SHARD).generation;
        const opId = entryVersion(later[0]).opId;
        expect(replica.log.row(idempotencyKey(SHARD, opId, generation))).toBeDefined();
      }),
      { numRuns: 30 },
    );
  }, 60_000);

  it('keeps what a replica has on another branch as loose rows, where it is not older, also when its rows are damaged', async () => {
    await fc.assert(
      fc.asyncProperty(writes, writes, writes, writes, fc.boolean(), async (common, first, mine, theirs, damaged) => {
        const primary = await Copy.open(3);
        const replica = await Copy.open(3);
        let ms = 10;
        for (const each of common) await replica.take(await primary.write(each, ms++));
        const other = new Copy(replica.log, 4);
        // A branch that was cut, then another one that the snapshot finds.
        for (const each of first) await other.write(each, ms++);
        await new LooseStore(replica.log, nodeHasher).cutBranch(SHARD, common.length);
        await other.check();
        for (const each of mine) await other.write(each, ms + (ms++ % 7));
        for (const each of theirs) await primary.write(each, ms + (ms++ % 5));
        await primary.compact();
        const [own, brought] = [await other.map(), await primary.map()];
        const source = await sourceOf(primary.log);
        const receiver = await receiverOf(replica.log, source);
        await transfer(source, receiver);
        if (damaged) await damageRows(replica.log);
        await receiver.finish(common.length, () => [], damaged);
        await source.close();
        await other.check();
        const merged: Record<string, string> = { ...brought };
        let loose = 0;
        for (const [id, version] of Object.entries(own)) {
          if (id in brought && brought[id].slice(0, 48) >= version.slice(0, 48)) continue;
          merged[id] = version;
          loose++;
        }
        expect(await other.map()).toEqual(merged);
        expect(looseRows(other.counters())).toBe(loose);
        const store = new LooseStore(replica.log, nodeHasher);
        const lost: string[] = [];
        await store.sweep(SHARD, (entry) => {
          lost.push(entryId(entry));
          return Promise.resolve();
        });
        const page = await store.page(SHARD, undefined);
        expect(page.leftovers).toEqual([]);
        expect(page.entries).toHaveLength(loose);
        for (const id of lost) expect(merged[id]).toBe(brought[id]);
      }),
      { numRuns: 30 },
    );
  }, 60_000);

  it('goes on from where the stream broke, and takes no harm from chunks that come twice', async () => {
    const primary = await Copy.open(2);
    for (let i = 0; i < 12; i++) await primary.write({ id: `doc-${i}`, tombstone: i % 5 === 0 }, 100 + i, 100_000);
    const source = await sourceOf(primary.log);
    const replica = await Copy.open(1);
    const receiver = await receiverOf(replica.log, source);
    const chunks = await transfer(source, receiver, async (chunk) => {
      expect(chunk.entries.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(256 * 1024);
      expect(await receiver.take(chunk)).toBeUndefined();
    });
    expect(chunks).toBeGreaterThan(4);
    await receiver.finish(0);
    await replica.check();
    expect(Object.keys(await replica.map())).toHaveLength(12);
    expect(replica.counters().supersededBytes).toBe(0);
    await source.close();
  });

  it('goes on by key after a crash, whatever was written meanwhile: the same state, and little of it twice', async () => {
    const interruption = fc.record({
      before: fc.array(fc.record({ id: fc.integer({ min: 0, max: 30 }), tombstone: fc.boolean() }), { minLength: 5 }),
      rounds: fc.array(
        fc.record({
          chunks: fc.integer({ min: 0, max: 3 }),
          meanwhile: fc.array(fc.record({ id: fc.integer({ min: 0, max: 40 }), tombstone: fc.boolean() })),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    });
    await fc.assert(
      fc.asyncProperty(interruption, async ({ before, rounds }) => {
        const primary = await Copy.open(2);
        const replica = await Copy.open(1);
        await replica.write({ id: 'own', tombstone: false }, 1);
        let ms = 10;
        const put = async (all: readonly { readonly id: number; readonly tombstone: boolean }[]): Promise<void> => {
          for (const { id, tombstone } of all) await primary.write({ id: `doc-${id}`, tombstone }, ms++, 100_000);
        };
        await put(before);
        await primary.compact();
        let receiver: SnapshotReceiver | undefined;
        for (const { chunks, meanwhile } of rounds) {
          const source = await sourceOf(primary.log);
          receiver = await goOn(replica.log, source);
          for (let i = 0; i < chunks && !receiver.complete; i++)
            await receiver.take(await source.next(receiver.cursor));
          await source.close();
          await put(meanwhile);
          replica.log = await replica.log.crash(100);
          expect(replica.log.state(SHARD).tail).toBe(1);
        }
        const source = await sourceOf(primary.log);
        const last = await goOn(replica.log, source);
        const { rows } = last;
        const changed = rounds.reduce((sum, { meanwhile }) => sum + meanwhile.length, 0);
        let sent = 0;
        await transfer(source, last, async ({ entries }) => {
          sent += entries.length;
          await Promise.resolve();
        });
        await last.finish(0);
        await source.close();
        const { own, ...map } = await replica.map();
        expect(own).toBeDefined();
        expect(map).toEqual(await primary.map());
        await replica.check();
        expect(sent).toBeLessThanOrEqual(Object.keys(map).length - rows + changed);
        replica.log = await replica.log.crash();
        await replica.check();
        expect(await SnapshotReceiver.reopen(replica.log, nodeHasher, SHARD)).toBeUndefined();
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  it('begins anew when the log has gone past it, is of another branch, or rows went', async () => {
    const primary = await Copy.open(2);
    for (let i = 0; i < 9; i++) await primary.write({ id: `doc-${i}`, tombstone: false }, 100 + i, 100_000);
    const other = await Copy.open(3);
    for (let i = 0; i < 12; i++) await other.write({ id: `doc-${i}`, tombstone: false }, 200 + i, 100_000);
    const replica = await Copy.open(1);
    const source = await sourceOf(primary.log);
    const receiver = await receiverOf(replica.log, source);
    await receiver.take(await source.next(receiver.cursor));
    replica.log = await replica.log.crash(100);
    const partial = (await SnapshotReceiver.reopen(replica.log, nodeHasher, SHARD))?.partial;
    if (partial === undefined) throw new Error('something was received');
    const branch = await sourceOf(other.log);
    expect(await branch.resume(partial)).toBe(false);
    await primary.write({ id: 'doc-0', tombstone: false }, 300);
    const later = await sourceOf(primary.log);
    expect(await later.resume(partial, () => true)).toBe(false);
    expect(await later.resume(partial)).toBe(true);
    await primary.compact();
    const compacted = await sourceOf(primary.log);
    expect(await compacted.resume(partial)).toBe(false);
    expect(await compacted.resume({ ...partial, offset: 11 })).toBe(false);
    await Promise.all([source, branch, later, compacted].map((each) => each.close()));
    // A note of before it told what the last transfer was of.
    const key = shardKey(SHARD, RECEIVING_ROW);
    const value = replica.log.row(key)?.subarray(0, 28);
    await replica.log.append({ shard: SHARD, entries: [], rows: [{ key, value }] });
    expect(await SnapshotReceiver.reopen(replica.log, nodeHasher, SHARD)).toBeUndefined();
  });

  it.each([
    ['of a stream that broke', false],
    ['of a process that crashed', true],
  ])('does not go on with rows of a branch that is lost, which a later transfer brought: %s', async (_, crashed) => {
    const [lost, primary] = [await Copy.open(2), await Copy.open(3)];
    for (let i = 0; i < 12; i++) {
      await primary.take(await lost.write({ id: `doc-${i}`, tombstone: false }, 100 + i, 100_000));
    }
    const replica = await Copy.open(1);
    let receiver: SnapshotReceiver | undefined;
    const goesOn = async (source: SnapshotSource): Promise<unknown> => {
      if (crashed) {
        replica.log = await replica.log.crash(100);
        receiver = await SnapshotReceiver.reopen(replica.log, nodeHasher, SHARD);
      }
      const partial = receiver?.partial;
      if (partial === undefined) throw new Error('something was received');
      expect(await source.resume(partial)).toBe(true);
      return receiver?.resume(source.at);
    };
    const first = await sourceOf(lost.log);
    receiver = await receiverOf(replica.log, first);
    await receiver.take(await first.next(receiver.cursor));
    // The first one that changes is here already; the primary to come has none of it.
    for (const [i, id] of ['doc-0', 'doc-7', 'doc-8'].entries()) await lost.write({ id, tombstone: false }, 200 + i);
    const second = await sourceOf(lost.log);
    expect(await goesOn(second)).toBeUndefined();
    await receiver.take(await second.next(receiver.cursor));
    const same = await sourceOf(lost.log);
    expect(await goesOn(same)).toBeUndefined();

    const shorter = await sourceOf(primary.log);
    expect(await goesOn(shorter)).toHaveProperty('problem');
    for (const [i, id] of ['a', 'b', 'c', 'd'].entries()) await primary.write({ id, tombstone: false }, 150 + i);
    const other = await sourceOf(primary.log);
    expect(await goesOn(other)).toHaveProperty('problem');
    await receiver.discard();
    const anew = await receiverOf(replica.log, other);
    await transfer(other, anew);
    await anew.finish(0);
    expect(await replica.map()).toEqual(await primary.map());
    await replica.check();
    await Promise.all([first, second, same, shorter, other].map((each) => each.close()));
  });

  it('takes the place of a log that lacks an entry of its compacted part, and says so', async () => {
    const replica = await Copy.open(1);
    for (const [i, id] of ['a', 'b', 'c'].entries()) await replica.write({ id, tombstone: false }, 20 + i);
    await replica.compact();
    const lost = replica.log.dropEntry(SHARD, 2);
    const primary = await Copy.open(2);
    await primary.write({ id: 'z', tombstone: false }, 10);
    const source = await sourceOf(primary.log);
    const receiver = await receiverOf(replica.log, source);
    await transfer(source, receiver);
    const { unreadable } = await receiver.finish(0);
    await source.close();
    expect({ lost, unreadable }).toEqual({ lost: true, unreadable: 1 });
    expect(Object.keys(await replica.map()).sort()).toEqual(['a', 'c', 'z']);
  });

  it('goes on whoever becomes primary, and has nothing but what is in the log of the last one', async () => {
    const puts = fc.array(fc.record({ id: fc.integer({ min: 0, max: 12 }), tombstone: fc.boolean() }), {
      maxLength: 8,
    });
    const rounds = fc.array(
      fc.record({
        puts,
        chunks: fc.integer({ min: 1, max: 3 }),
        /** So many of the last entries are lost with the primary. */
        lost: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
        crashed: fc.boolean(),
      }),
      { minLength: 3, maxLength: 6 },
    );
    let [resumed, refused] = [0, 0];
    await fc.assert(
      fc.asyncProperty(rounds, async (all) => {
        let primary = await Copy.open(2);
        let entries: Uint8Array[] = [];
        let ms = 10;
        const put = async (id: string, tombstone: boolean): Promise<void> => {
          entries.push(await primary.write({ id, tombstone }, ms++, 100_000));
        };
        for (let i = 0; i < 9; i++) await put(`doc-${i}`, false);
        const replica = await Copy.open(1);
        let receiver: SnapshotReceiver | undefined;
        const follow = async (): Promise<SnapshotSource> => {
          const source = await sourceOf(primary.log);
          const partial = receiver?.partial;
          if (receiver !== undefined && partial !== undefined && (await source.resume(partial))) {
            if ((await receiver.resume(source.at)) === undefined) {
              resumed++;
              return source;
            }
            // It is asked again, and told of nothing that is here.
            refused++;
            await Promise.all([receiver.discard(), source.close()]);
            receiver = undefined;
            return follow();
          }
          receiver = await receiverOf(replica.log, source);
          return source;
        };
        for (const { puts, chunks, lost, crashed } of all) {
          for (const { id, tombstone } of puts) await put(`doc-${id}`, tombstone);
          const source = await follow();
          for (let i = 0; i < chunks && receiver?.complete === false; i++)
            await receiver.take(await source.next(receiver.cursor));
          await source.close();
          if (lost !== undefined) {
            entries = entries.slice(0, Math.max(1, entries.length - lost));
            primary = await Copy.open(primary.epoch + 1);
            for (const entry of entries) await primary.take(entry);
            await put('reign', false);
          }
          if (crashed) {
            replica.log = await replica.log.crash(100);
            receiver = await SnapshotReceiver.reopen(replica.log, nodeHasher, SHARD);
          }
        }
        const source = await follow();
        if (receiver === undefined) throw new Error('it is followed');
        await transfer(source, receiver);
        await receiver.finish(0);
        await source.close();
        expect(await replica.map()).toEqual(await primary.map());
        expect(await replica.operations()).toEqual(await primary.operations());
        await replica.check();
      }),
      { numRuns: 40 },
    );
    expect(resumed).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
  }, 60_000);

  it('that is damaged or cannot be is refused, and leaves the log alone', async () => {
    const primary = await Copy.open(2);
    await primary.write({ id: 'a', tombstone: false }, 100);
    const replica = await Copy.open(1);
    await replica.write({ id: 'own', tombstone: false }, 1);
    const own = replica.log.state(SHARD);
    const source = await sourceOf(primary.log);
    for (const at of [
      { ...source.at, lastOffset: 0 },
      { ...source.at, chain: new Uint8Array(3) },
      { ...source.at, history: [] },
      { ...source.at, history: [source.at.history[0], source.at.history[0]] },
    ])
      expect(await SnapshotReceiver.begin(replica.log, nodeHasher, SHARD, at)).toHaveProperty('problem');
    const receiver = await receiverOf(replica.log, source);
    const chunk = await source.next(SNAPSHOT_START);
    const flipped = chunk.entries.map((entry) => Uint8Array.from(entry, (byte, i) => (i === 100 ? byte ^ 1 : byte)));
    expect(await receiver.take({ ...chunk, entries: flipped })).toEqual({ problem: 'an entry is damaged (crc)' });
    expect(await receiver.take({ ...chunk, entries: [new Uint8Array(5)] })).toHaveProperty('problem');
    const last = await source.next({ part: 'operations', after: undefined });
    const operations = last.operations.map(({ opId, value }) => ({ opId, value: value.map((byte) => byte ^ 1) }));
    expect(await receiver.take({ ...last, operations })).toEqual({
      problem: 'a result of an idempotency key is damaged',
    });
    const stray = await primary.write({ id: 'b', tombstone: false }, 101);
    expect(await receiver.take({ ...chunk, entries: [stray] })).toEqual({
      problem: 'an entry of offset 2 is beyond the end 1',
    });
    expect(receiver.cursor).toEqual(SNAPSHOT_START);
    await receiver.discard();
    expect(replica.log.state(SHARD)).toEqual(own);
    await replica.check();
    await source.close();
  });

  it('is not made while rows are loose, nor of nothing', async () => {
    const copy = await Copy.open(2);
    expect(await SnapshotSource.open(copy.log, nodeHasher, SHARD)).toBeUndefined();
    await copy.write({ id: 'a', tombstone: false }, 1);
    await copy.write({ id: 'b', tombstone: false }, 2);
    await new LooseStore(copy.log, nodeHasher).cutBranch(SHARD, 1);
    expect(await SnapshotSource.open(copy.log, nodeHasher, SHARD)).toBeUndefined();
  });

  it('of rows that are behind the log ends where they are', async () => {
    const copy = await Copy.open(2);
    for (let i = 1; i <= 4; i++) await copy.write({ id: `doc-${i}`, tombstone: false }, i);
    const source = await SnapshotSource.open(copy.log, nodeHasher, SHARD, () => Promise.resolve(3));
    expect(source?.at).toMatchObject({
      lastOffset: 3,
      chain: entryChain(copy.log.readSync(SHARD, 3)),
      history: [{ start: 1 }],
    });
    const { operations } = (await source?.next({ part: 'operations', after: undefined })) ?? { operations: [] };
    expect(operations).toHaveLength(3);
    await source?.close();
  });
});

describe('LooseStore', () => {
  it('does not go on to cut what is cut already', async () => {
    const copy = await Copy.open(2);
    for (let i = 1; i <= 6; i++) await copy.write({ id: `doc-${i}`, tombstone: false }, i, 600_000);
    const scan = copy.log.scan.bind(copy.log);
    let parts = 0;
    copy.log.scan = async (...args) => {
      const entries = await scan(...args);
      if (parts++ === 0) await copy.log.truncate(SHARD, 1, []);
      return entries;
    };
    await expect(new LooseStore(copy.log, nodeHasher).cutBranch(SHARD, 1)).rejects.toThrow(InvariantError);
    expect(parts).toBe(2);
  });

  it('after a crash has all of a branch or none of it loose', async () => {
    const copy = await Copy.open(2);
    for (let i = 0; i < 40; i++) await copy.write({ id: `doc-${i % 9}`, tombstone: i % 4 === 0 }, i + 1);
    const before = await copy.map();
    const cutting = new LooseStore(copy.log, nodeHasher).cutBranch(SHARD, 10);
    for (let i = 0; i < 6; i++) await Promise.resolve();
    copy.log = await copy.log.crash();
    await copy.check();
    expect(await copy.map()).toEqual(before);
    expect([10, 40]).toContain(copy.log.state(SHARD).tail);
    // What was asked of a process that is gone is never answered.
    void cutting;
    const store = new LooseStore(copy.log, nodeHasher);
    const lost: Uint8Array[] = [];
    await store.sweep(SHARD, (entry) => Promise.resolve(void lost.push(entry)));
    expect(lost).toEqual([]);
    const counters = await store.cutBranch(SHARD, 10);
    expect(copy.counters()).toEqual(counters);
    await copy.check();
    expect(await copy.map()).toEqual(before);
    let entries = 0;
    for await (const page of store.entries(SHARD)) entries += page.length;
    expect(entries).toBe(looseRows(counters));
    expect(entries).toBeGreaterThan(5);
  });
});
