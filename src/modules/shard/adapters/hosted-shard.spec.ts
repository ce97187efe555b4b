import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exactVectorIndexes } from '../../../../test/contract/exact-vector-index.js';
import { ShardLog, specOf } from '../../../../test/contract/shard-log.js';
import type { Version } from '../../../kernel/version.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../../log/adapters/memory-log-store.js';
import { entryOffset } from '../../log/core/entry-codec.js';
import { documentKey } from '../../log/core/keys.js';
import { LogDamagedError, type RowChange } from '../../log/log-store.js';
import { FrameReader } from '../core/frames.js';
import { encodeRow } from '../core/rows.js';
import { CheckpointStore } from './checkpoint-store.js';
import { HostedShard } from './hosted-shard.js';
import { IndexThread } from './index-thread.js';
import { inlineTransport, type IndexTransportEvents } from './index-transport.js';

const spec = specOf(1, 2);
const clock = { wallMs: () => 0, monotonicMs: () => performance.now() };

describe('HostedShard, when its thread dies', () => {
  let directory: string;
  let log: MemoryLogStore;
  let shardLog: ShardLog;
  let thread: IndexThread;
  let shard: HostedShard;
  let events: IndexTransportEvents;
  let died: Error[];
  /** What each message to apply said is behind it. */
  let applies: (number | undefined)[];
  /** Offsets of the entries that were sent to the thread. */
  let fed: number[];
  let onApply: () => void;

  /** The thread ends, whatever it was doing. */
  const kill = (): void => events.died(new Error('killed'));

  const restart = (): void => {
    thread.restart();
    thread.call('define', { collections: [spec] }).catch(() => undefined);
    shard.reopen();
  };

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hosted-shard-'));
    log = await MemoryLogStore.open({ hasher: nodeHasher });
    shardLog = new ShardLog();
    died = [];
    applies = [];
    fed = [];
    onApply = () => undefined;
    const open = inlineTransport({ hasher: nodeHasher, clock, indexes: exactVectorIndexes });
    thread = new IndexThread(
      (given) => {
        const transport = open(given);
        let dead = false;
        events = {
          replies: given.replies,
          died: (error) => {
            dead = true;
            void transport.close();
            given.died(error);
          },
        };
        return {
          post: (message, transfer) => {
            for (const request of message.requests) {
              if (request.kind !== 'apply') continue;
              applies.push(request.behind);
              onApply();
              const reader = new FrameReader(request.frames);
              for (let entry = reader.next(); entry !== undefined; entry = reader.next()) fed.push(entryOffset(entry));
            }
            if (!dead) transport.post(message, transfer);
          },
          close: () => transport.close(),
        };
      },
      (error) => {
        died.push(error);
        shard.lost();
      },
    );
    shard = new HostedShard(0, thread, {
      log,
      clock,
      store: new CheckpointStore(directory),
      spaceFor: () => true,
      report: () => undefined,
      unsound: () => undefined,
    });
    await thread.call('define', { collections: [spec] });
  });

  afterEach(async () => {
    await thread.close();
    await log.close();
    await rm(directory, { recursive: true });
  });

  const write = async (id: string): Promise<Uint8Array> => {
    const entry = shardLog.upsert(id, { content: 'red' });
    await shardLog.store(log);
    return entry;
  };

  const ready = async (): Promise<void> => {
    while (shard.failure !== undefined) await new Promise(setImmediate);
  };

  it('starts over when it is opened again while it is read: the log may be another one', async () => {
    for (const id of ['a', 'b', 'c']) await write(id);
    let again: Promise<{ readonly offset: number }> | undefined;
    onApply = () => {
      again ??= shard.open(3);
    };
    const first = await shard.open(1);
    expect(first.offset).toBe(3);
    expect((await again)?.offset).toBe(3);
    expect(fed).toEqual([1, 1, 2, 3]);
    expect(shard.failure).toBeUndefined();
  });

  it('is read again from the log, and answers NOT_READY until then', async () => {
    await shard.open(undefined);
    await shard.apply([await write('a')]);
    kill();
    expect([died.length, shard.failure]).toEqual([1, 'NOT_READY']);
    await expect(thread.call('count', { shard: 0, collectionId: 1, filter: undefined })).rejects.toMatchObject({
      reason: 'DIED',
    });
    restart();
    await ready();
    expect(await thread.call('count', { shard: 0, collectionId: 1, filter: undefined })).toBe(1);
  });

  it('sends again what was on its way, and what came meanwhile, in order', async () => {
    await shard.open(undefined);
    const first = shard.apply([await write('a'), await write('b')]);
    const second = shard.apply([await write('a')]);
    // Sent, not answered.
    await new Promise(setImmediate);
    expect(thread.waiting).toBe(1);
    kill();
    const third = shard.apply([await write('c')]);
    restart();
    await Promise.all([first, second, third]);
    expect([shard.applied, shard.pendingBytes, shard.failure]).toEqual([4, 0, undefined]);
    const page = await thread.call('scroll', {
      shard: 0,
      collectionId: 1,
      filter: undefined,
      after: undefined,
      limit: 9,
    });
    expect([page.ids, page.offsets]).toEqual([
      ['a', 'b', 'c'],
      [3, 2, 4],
    ]);
  });

  it('tells the thread with each part how much is still to come, from the log and beyond it', async () => {
    const large = async (id: string): Promise<Uint8Array> => {
      const entry = shardLog.upsert(id, { metadata: { text: 'x'.repeat(1_500_000) } });
      await shardLog.store(log);
      return entry;
    };
    for (let i = 0; i < 3; i++) await large(`stored-${i}`);
    await shard.open(undefined);
    expect(applies.map((behind) => Math.round((behind ?? NaN) / 1_500_000))).toEqual([2, 1, 0]);
    applies.length = 0;
    const entries = [];
    for (let i = 0; i < 5; i++) entries.push(await large(`fresh-${i}`));
    await Promise.all(entries.map((entry) => shard.apply([entry])));
    expect(applies.map((behind) => Math.round((behind ?? NaN) / 1_500_000))).toEqual([4, 3, 2, 1, 0]);
  });

  it('leaves out of a replay what it supersedes further on, and nothing else', async () => {
    const version = (ms: number): Version => ({ hlc: { ms, counter: 0 }, opId: new Uint8Array(16) });
    // Twice, loose in a branch that was cut off, superseded by what is ignored, deleted, without a row.
    for (const id of ['a', 'b', 'a', 'c', 'd', 'e', 'd']) shardLog.upsert(id, { content: 'red' });
    shardLog.delete('e');
    await shardLog.store(log);
    const row = (id: string, offset: number, loose = false, tombstone = false): RowChange => {
      const value = encodeRow({ version: version(offset), offset, tombstone, bytes: 1, loose });
      return { key: documentKey(1, 0, 1, id), value };
    };
    const rows = [row('a', 3), row('b', 7, true), row('d', 5), row('e', 8, false, true)];
    await log.append({ shard: 0, entries: [], rows });
    expect(await shard.open(undefined)).toEqual({ replayed: 8, fromCheckpoint: false, offset: 8 });
    expect(fed).toEqual([2, 3, 4, 5, 7, 8]);
    fed.length = 0;
    // Up to where what supersedes it is not part of the replay.
    await shard.open(2);
    expect(fed).toEqual([1, 2]);
  });

  describe('far behind its log', () => {
    /** Given to the shard, and gone from memory after: whoever needs it again has to read the log. */
    const applied: Promise<number>[] = [];
    const given = async (count: number, id = (at: number) => `id-${at}`): Promise<void> => {
      for (let at = 0; at < count; at++) {
        const entry = Uint8Array.from(shardLog.upsert(id(at), { metadata: { text: 'x'.repeat(500_000) } }));
        await shardLog.store(log);
        applied.push(shard.apply([entry]));
        memory.push(entry);
      }
    };
    const memory: Uint8Array[] = [];
    /** Entries of 8 MiB stay in memory, and one more. */
    const KEPT = 17;

    beforeEach(async () => {
      applied.length = 0;
      memory.length = 0;
      await shard.open(undefined);
      shard.hold();
    });

    const found = (): Promise<number> => thread.call('count', { shard: 0, collectionId: 1, filter: undefined });

    it('leaves in the log what does not fit, and reads it when its turn comes', async () => {
      await given(24);
      expect(shard.pendingBytes).toBeGreaterThan(12_000_000);
      for (const entry of memory.slice(KEPT)) entry.fill(0);
      shard.release();
      await applied[2];
      expect(fed).toEqual(Array.from({ length: fed.length }, (_, at) => at + 1));
      expect(fed.length).toBeLessThan(24);
      // What comes meanwhile follows.
      await given(2);
      memory[25].fill(0);
      await Promise.all(applied);
      expect(fed).toEqual(Array.from({ length: 26 }, (_, at) => at + 1));
      expect([shard.applied, shard.pendingBytes, await found()]).toEqual([26, 0, 24]);
      // And from memory again.
      const scans = jest.spyOn(log, 'scan');
      await given(3);
      await Promise.all(applied);
      expect([shard.applied, scans.mock.calls.length]).toEqual([29, 0]);
    });

    it('is read from the log when its thread dies', async () => {
      await given(24);
      for (const entry of memory) entry.fill(0);
      kill();
      restart();
      await Promise.all(applied);
      expect([shard.applied, shard.pendingBytes, await found()]).toEqual([24, 0, 24]);
    });

    it.each([5, 20])('is read again when the log is cut at %i, and waits for nobody', async (cut) => {
      await given(24);
      const branch = shardLog.branch(cut);
      await log.truncate(0, cut, []);
      await shard.rewind(cut, Promise.resolve());
      // It is read again while the log goes on; nobody is told that what was cut off is applied.
      expect(shard.failure).toBe('NOT_READY');
      expect(await Promise.all(applied)).toEqual(applied.map(() => cut));
      expect([shard.applied, shard.pendingBytes, await found()]).toEqual([cut, 0, cut]);
      shardLog = branch;
      await given(1, () => 'new');
      await Promise.all(applied);
      expect([shard.applied, await found()]).toEqual([cut + 1, cut + 1]);
    });

    it('takes what comes while it is read again, behind it', async () => {
      await given(20);
      const branch = shardLog.branch(5);
      await log.truncate(0, 5, []);
      await shard.rewind(5, Promise.resolve());
      shardLog = branch;
      await given(3, (at) => `new-${at}`);
      // Cut once more before it is read: that is not waited for either.
      const again = shardLog.branch(6);
      await log.truncate(0, 6, []);
      await shard.rewind(6, Promise.resolve());
      expect(shard.failure).toBe('NOT_READY');
      shardLog = again;
      await given(3, (at) => `newer-${at}`);
      expect((await Promise.all(applied)).slice(23)).toEqual([9, 9, 9]);
      expect([shard.applied, await found()]).toEqual([9, 9]);
    });

    it('has nothing of a log that another one took the place of', async () => {
      await given(3, (at) => `old-${at}`);
      await log.truncate(0, 1, []);
      await shard.open(undefined);
      await Promise.all(applied);
      expect([shard.applied, await found()]).toEqual([1, 1]);
    });

    it('does not apply what is on its way when it is held back, and all of it once it is not', async () => {
      shard.release();
      await given(6);
      while (fed.length === 0) await new Promise(setImmediate);
      shard.hold();
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      const early = await found();
      expect(early).toBeLessThan(6);
      shard.release();
      await Promise.all(applied);
      expect([shard.applied, shard.pendingBytes, await found()]).toEqual([6, 0, 6]);
    });

    it('goes on when what was read for one that was given up comes late', async () => {
      let late: (entries: readonly Uint8Array[]) => void = () => undefined;
      await given(24);
      jest.spyOn(log, 'scan').mockImplementationOnce(() => new Promise((resolve) => (late = resolve)));
      shard.release();
      await applied[16];
      await shard.open(undefined);
      shard.hold();
      await given(24, (at) => `more-${at}`);
      shard.release();
      await applied[24 + 16];
      for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
      late(shardLog.bytes.slice(17, 20));
      await Promise.all(applied);
      expect([shard.applied, shard.pendingBytes, await found()]).toEqual([48, 0, 48]);
    });

    it('is faulted when the log is damaged there, and whoever waits hears of the damage', async () => {
      await given(24);
      const damage = new LogDamagedError({ shard: 0, offset: KEPT + 1, problem: 'crc' });
      jest.spyOn(log, 'scan').mockRejectedValue(damage);
      shard.release();
      const outcomes = await Promise.allSettled(applied);
      expect(fed).toEqual(Array.from({ length: KEPT }, (_, at) => at + 1));
      expect(outcomes.slice(KEPT)).toEqual(outcomes.slice(KEPT).map(() => ({ status: 'rejected', reason: damage })));
      expect([shard.failure, shard.pendingBytes]).toEqual(['FAULTED', 0]);
    });
  });

  it('starts over when it dies while it is opened', async () => {
    for (let i = 0; i < 20; i++) await write(`id-${i}`);
    const opening = shard.open(undefined);
    await new Promise(setImmediate);
    kill();
    await new Promise(setImmediate);
    restart();
    expect(await opening).toEqual({ replayed: 20, fromCheckpoint: false, offset: 20 });
    expect(shard.failure).toBeUndefined();
  });

  it('comes back from a checkpoint it took before', async () => {
    await shard.open(undefined);
    await shard.apply([await write('a')]);
    await shard.checkpoints.take(shard.applied);
    await shard.apply([await write('b')]);
    kill();
    restart();
    await ready();
    expect([shard.applied, shard.checkpoints.newest]).toEqual([2, 1]);
  });

  it('stays faulted over a death, and waits for nobody after its end', async () => {
    await shard.open(undefined);
    shard.fail('damaged');
    kill();
    restart();
    await new Promise(setImmediate);
    expect(shard.failure).toBe('FAULTED');
    const opening = shard.open(undefined);
    kill();
    await thread.close();
    await expect(opening).rejects.toMatchObject({ reason: 'DIED' });
  });
});
