import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { exactVectorIndexes } from '../../../test/contract/exact-vector-index.js';
import { ShardLog, specOf } from '../../../test/contract/shard-log.js';
import { Clusters } from '../../../test/contract/vector-index.suite.js';
import { toHex } from '../../kernel/bytes.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { LogDamagedError } from '../log/log-store.js';
import { CHECKPOINT_POLICY } from './core/checkpoint-plan.js';
import { CheckpointDamagedError } from './core/index-host.js';
import { encodeSearch } from './core/search-wire.js';
import { idsOf } from './testing/written-answer.js';
import { ShardUnavailableError, type CheckpointSource, type ShardPorts } from './shard-ports.js';
import { ShardService } from './shard.service.js';

const spec = specOf(1, 4);
const clusters = new Clusters(41, 4, 6);
const keyword = (term: string, shards = [0]): [number[], Uint8Array] => [
  shards,
  encodeSearch({ collectionId: 1, exact: false, keyword: { terms: [term], k: 100 } }),
];

describe('ShardService', () => {
  let directory: string;
  let log: MemoryLogStore;
  let nowMs: number;
  let reports: { level: string; message: string; details: object }[];
  const services: ShardService[] = [];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'shard-service-'));
    log = await MemoryLogStore.open({ hasher: nodeHasher });
    nowMs = 1_000;
    reports = [];
  });

  afterEach(async () => {
    for (const service of services.splice(0)) await service.close(false);
    await log.close();
    await rm(directory, { recursive: true });
  });

  const serviceOf = (changes: Partial<ShardPorts> = {}): ShardService => {
    const service = new ShardService({
      log,
      hasher: nodeHasher,
      clock: { wallMs: () => nowMs, monotonicMs: () => nowMs },
      directory,
      threads: 0,
      indexes: exactVectorIndexes,
      spaceFor: () => true,
      report: (level, message, details) => reports.push({ level, message, details }),
      ...changes,
    });
    services.push(service);
    return service;
  };

  const fill = (shardLog: ShardLog, from: number, to: number): Uint8Array[] =>
    Array.from({ length: to - from }, (_, i) =>
      shardLog.upsert(`id-${from + i}`, {
        content: (from + i) % 2 === 0 ? 'red word' : 'blue word',
        vector: clusters.next(),
        metadata: { n: from + i },
      }),
    );

  /** A shard of 20 documents with checkpoints at offsets 10 and 20. */
  const twoCheckpoints = async (): Promise<ShardLog> => {
    const shardLog = new ShardLog();
    const service = serviceOf();
    await service.open(0, [spec]);
    for (const to of [10, 20]) {
      const entries = fill(shardLog, to - 10, to);
      await shardLog.store(log);
      await service.apply(0, entries);
      expect(await service.checkpoint(0)).toMatchObject({ shard: 0, offset: to });
    }
    await service.close(false);
    return shardLog;
  };

  const checkpoints = async (shard = 0): Promise<string[]> =>
    (await readdir(join(directory, String(shard)))).map((name) => String(Number(name))).sort();

  it('answers for what is applied, and says which shards cannot answer', async () => {
    const shardLog = new ShardLog();
    const service = serviceOf();
    expect(await service.open(0, [spec])).toEqual({ replayed: 0, fromCheckpoint: false, offset: 0 });
    const first = service.apply(0, fill(shardLog, 0, 3));
    const second = service.apply(0, fill(shardLog, 3, 4));
    expect(service.pendingBytes(0)).toBeGreaterThan(0);
    await Promise.all([first, second]);
    expect([service.pendingBytes(0), service.applied(0), service.failure(0), service.failure(5)?.reason]).toEqual([
      0,
      4,
      undefined,
      'NOT_READY',
    ]);
    const answers = await service.search(...keyword('red', [5, 0]));
    expect([answers[0].shard, answers[0].documents, answers[0].failed]).toEqual([5, 0, 'NOT_READY']);
    expect([...(idsOf(answers[1].keyword()) ?? [])].sort()).toEqual(['id-0', 'id-2']);
    expect(await service.count([0, 5], 1, undefined)).toEqual([
      { shard: 0, count: 4 },
      { shard: 5, count: 0, failed: 'NOT_READY' },
    ]);
    const statistics = await service.keywordStatistics([0, 5], 1, ['red']);
    expect(statistics.map(({ statistics: { documents }, failed }) => [documents, failed])).toEqual([
      [4, undefined],
      [0, 'NOT_READY'],
    ]);
    expect((await service.scroll(0, 1, undefined, 'id-1', 2)).ids).toEqual(['id-2', 'id-3']);
    expect(await service.attributeKeys(0, 1)).toEqual(['n']);
    await expect(service.scroll(5, 1, undefined, undefined, 2)).rejects.toThrow(ShardUnavailableError);
    await expect(service.apply(5, [new Uint8Array(3)])).rejects.toThrow('not ready');
    expect((await service.statistics())[0]).toMatchObject({ shard: 0, applied: 4 });
  });

  it('builds a shard from its log alone', async () => {
    const shardLog = new ShardLog();
    fill(shardLog, 0, 30);
    shardLog.delete('id-7');
    await shardLog.store(log);
    const service = serviceOf();
    expect(await service.open(0, [spec])).toEqual({ replayed: 31, fromCheckpoint: false, offset: 31 });
    expect((await service.count([0], 1, undefined))[0].count).toBe(29);
  });

  it('opens up to an offset when told to', async () => {
    const shardLog = new ShardLog();
    fill(shardLog, 0, 30);
    await shardLog.store(log);
    const service = serviceOf();
    expect(await service.open(0, [spec], 12)).toMatchObject({ replayed: 12, offset: 12 });
    await service.apply(0, shardLog.bytes.slice(12));
    expect(service.applied(0)).toBe(30);
  });

  it('opens the newest checkpoint and replays the rest; keeps the last two', async () => {
    const shardLog = await twoCheckpoints();
    const entries = fill(shardLog, 20, 25);
    await shardLog.store(log);
    const service = serviceOf();
    expect(await service.open(0, [spec])).toEqual({ replayed: 5, fromCheckpoint: true, offset: 25 });
    expect(service.oldestLoadableCheckpoint(0)).toBe(10);
    expect((await service.count([0], 1, undefined))[0].count).toBe(25);
    expect(await service.checkpoint(0)).toMatchObject({ offset: 25 });
    expect(await service.checkpoint(0)).toBeUndefined();
    expect(await checkpoints()).toEqual(['20', '25']);
    expect(service.oldestLoadableCheckpoint(0)).toBe(20);
    await service.apply(0, entries);
    expect(service.applied(0)).toBe(25);
  });

  it('falls back to the checkpoint before, then to the log', async () => {
    await twoCheckpoints();
    const damage = async (offset: number): Promise<void> => {
      const file = join(directory, '0', String(offset).padStart(16, '0'), '1.vectors');
      const bytes = await readFile(file);
      bytes[20] ^= 1;
      await writeFile(file, bytes);
    };
    await damage(20);
    const second = serviceOf();
    expect(await second.open(0, [spec])).toEqual({ replayed: 10, fromCheckpoint: true, offset: 20 });
    expect(reports).toEqual([
      {
        level: 'warn',
        message: expect.stringContaining('cannot be used'),
        details: expect.objectContaining({ offset: 20 }),
      },
    ]);
    expect(await checkpoints()).toEqual(['10']);
    await second.close(false);
    await damage(10);
    const third = serviceOf();
    expect(await third.open(0, [spec])).toEqual({ replayed: 20, fromCheckpoint: false, offset: 20 });
    expect(await third.verify(0)).toMatchObject({ documents: 20, differences: [] });
  });

  it('uses no checkpoint of another history, and none that is ahead of the log', async () => {
    await twoCheckpoints();
    log = await MemoryLogStore.open({ hasher: nodeHasher });
    const other = new ShardLog();
    for (let i = 0; i < 15; i++) other.upsert(`other-${i}`, { content: 'green' });
    await other.store(log);
    const service = serviceOf();
    expect(await service.open(0, [spec])).toEqual({ replayed: 15, fromCheckpoint: false, offset: 15 });
    expect(await checkpoints()).toEqual([]);
    expect(idsOf((await service.search(...keyword('red')))[0].keyword())).toEqual([]);
  });

  it('clears away what an interrupted checkpoint left', async () => {
    await twoCheckpoints();
    await writeFile(join(directory, '0', 'unfinished'), 'half');
    const manifest = join(directory, '0', '0000000000000020', 'manifest.json');
    await writeFile(manifest, '{"format":2,');
    const service = serviceOf();
    expect(await service.open(0, [spec])).toMatchObject({ replayed: 10, fromCheckpoint: true });
    expect(await checkpoints()).toEqual(['10']);
  });

  it('takes checkpoints after enough log, after enough time, and when it closes', async () => {
    const shardLog = new ShardLog();
    const policy = { checkpoints: { ...CHECKPOINT_POLICY, logBytes: 2_000, ageMs: 60_000 } };
    const service = serviceOf(policy);
    await service.open(0, [spec]);
    fill(shardLog, 0, 3);
    await shardLog.store(log);
    await service.apply(0, shardLog.bytes);
    service.checkpointRound();
    expect(service.oldestLoadableCheckpoint(0)).toBe(0);
    nowMs += 60_000;
    service.checkpointRound();
    await service.idle();
    expect(service.oldestLoadableCheckpoint(0)).toBe(3);
    fill(shardLog, 3, 30);
    await shardLog.store(log);
    await service.apply(0, shardLog.bytes);
    service.checkpointRound();
    await service.idle();
    expect(await checkpoints()).toEqual(['3', '30']);
    fill(shardLog, 30, 31);
    await shardLog.store(log);
    await service.apply(0, shardLog.bytes);
    await service.close();
    expect(await checkpoints()).toEqual(['30', '31']);
    expect(await serviceOf().open(0, [spec])).toEqual({ replayed: 0, fromCheckpoint: true, offset: 31 });
  });

  it('bounds what all shards together would have to replay, by those with the most', async () => {
    const logs = [new ShardLog(0), new ShardLog(1)];
    const service = serviceOf({ checkpoints: { ...CHECKPOINT_POLICY, entries: 10 } });
    const write = async (shard: number, from: number, to: number): Promise<void> => {
      const entries = fill(logs[shard], from, to);
      await logs[shard].store(log);
      await service.apply(shard, entries);
    };
    const round = async (): Promise<number[]> => {
      service.checkpointRound();
      service.checkpointRound(); // what is still to be taken is not asked for again
      await service.idle();
      return [0, 1].map((shard) => service.unsaved(shard));
    };
    for (const shard of [0, 1]) await service.open(shard, [spec]);
    await write(0, 0, 6);
    await write(1, 0, 4);
    expect(await round()).toEqual([6, 4]);
    await write(0, 6, 7);
    expect(await round()).toEqual([0, 4]);
    await write(0, 7, 9);
    await write(1, 4, 12);
    expect(await round()).toEqual([2, 0]);
    expect(reports.map(({ message }) => message)).toEqual(['index checkpoint taken', 'index checkpoint taken']);

    // The process is killed: the next one replays what is left, and answers as if nothing had happened.
    const answersOf = async (of: ShardService) => {
      const all = await Promise.all(['red', 'blue'].map((term) => of.search(...keyword(term, [0, 1]))));
      return all.flat().map(({ bytes }) => toHex(bytes));
    };
    const before = await answersOf(service);
    await service.close(false);
    const next = serviceOf();
    expect(await next.open(0, [spec])).toEqual({ replayed: 2, fromCheckpoint: true, offset: 9 });
    expect(await next.open(1, [spec])).toEqual({ replayed: 0, fromCheckpoint: true, offset: 12 });
    expect(await answersOf(next)).toEqual(before);
  });

  it('takes none without room, and leaves nothing of one that failed', async () => {
    const shardLog = new ShardLog();
    let room = false;
    const asked: number[] = [];
    const service = serviceOf({
      spaceFor: (bytes) => {
        asked.push(bytes);
        return room;
      },
    });
    await service.open(0, [spec]);
    fill(shardLog, 0, 5);
    await shardLog.store(log);
    await service.apply(0, shardLog.bytes);
    expect(await service.checkpoint(0)).toBeUndefined();
    expect(reports[0]).toMatchObject({ level: 'warn', message: expect.stringContaining('no room') });
    expect(asked[0]).toBeGreaterThan(0);
    room = true;
    await writeFile(join(directory, '0'), 'in the way');
    await expect(service.checkpoint(0)).rejects.toThrow();
    await rm(join(directory, '0'));
    expect(await service.checkpoint(0)).toMatchObject({ offset: 5 });
  });

  it('takes no checkpoint of an index whose log another one took the place of', async () => {
    const shardLog = new ShardLog();
    const service = serviceOf();
    await service.open(0, [spec]);
    fill(shardLog, 0, 5);
    await shardLog.store(log);
    await service.apply(0, shardLog.bytes);
    const state = log.state(0);
    const replaced = jest.spyOn(log, 'state').mockReturnValue({ ...state, generation: state.generation + 1 });
    await expect(service.checkpoint(0)).rejects.toThrow('another one now');
    replaced.mockRestore();
    expect(await checkpoints()).toEqual([]);
    expect(await service.checkpoint(0)).toMatchObject({ offset: 5 });
  });

  it('reads a shard again when a collection it passed over becomes known', async () => {
    const shardLog = new ShardLog();
    shardLog.upsert('a', { content: 'red' }, undefined, 7);
    shardLog.upsert('b', { content: 'red' });
    await shardLog.store(log);
    const service = serviceOf();
    await service.open(0, [spec]);
    await service.checkpoint(0);
    expect((await service.count([0], 7, undefined))[0].count).toBe(0);
    await service.defineCollections([specOf(7)]);
    while (service.failure(0) !== undefined) await setImmediate();
    expect((await service.count([0], 7, undefined))[0].count).toBe(1);
    expect((await service.count([0], 1, undefined))[0].count).toBe(1);
  });

  it('drops a collection at once', async () => {
    const shardLog = new ShardLog();
    const service = serviceOf();
    await service.open(0, [spec]);
    await service.apply(0, fill(shardLog, 0, 3));
    await service.dropCollection(1);
    expect((await service.count([0], 1, undefined))[0].count).toBe(0);
  });

  it('builds an index from its log when its checkpoint turns out not to add up, while it serves', async () => {
    await twoCheckpoints();
    const file = join(directory, '0', '20'.padStart(16, '0'), 'manifest.json');
    const manifest = JSON.parse(await readFile(file, 'utf8')) as { collections: { digest: string }[] };
    manifest.collections[0].digest = '1'.repeat(32);
    await writeFile(file, JSON.stringify(manifest));
    const service = serviceOf();
    expect(await service.open(0, [spec])).toMatchObject({ replayed: 0, fromCheckpoint: true, offset: 20 });
    for (let turn = 0; turn < 1_000 && reports.length === 0; turn++) await setImmediate();
    expect(reports).toMatchObject([{ level: 'error', details: { shard: 0 } }]);
    await service.idle();
    expect(await service.open(0, [spec])).toEqual({ replayed: 20, fromCheckpoint: false, offset: 20 });
    expect(await service.digest(0)).toEqual(await service.digest(0, true));
    expect(await checkpoints()).toEqual([]);
    expect(await service.count([0], 1, undefined)).toEqual([{ shard: 0, count: 20 }]);
  });

  it('faults a shard whose log is damaged; the others go on; opening it again brings it back', async () => {
    const logs = [new ShardLog(0), new ShardLog(1)];
    for (const shardLog of logs) {
      fill(shardLog, 0, 5);
      await shardLog.store(log);
    }
    log.flipByte(0, 3, 60);
    const service = serviceOf();
    await expect(service.open(0, [spec])).rejects.toThrow(LogDamagedError);
    await service.open(1, [spec]);
    expect((await service.search(...keyword('red', [0, 1]))).map(({ failed }) => failed)).toEqual([
      'FAULTED',
      undefined,
    ]);
    expect(service.failure(0)).toEqual({ reason: 'FAULTED', detail: expect.stringContaining('offset 3') });
    await expect(service.apply(0, logs[0].bytes)).rejects.toThrow('faulted');
    log.flipByte(0, 3, 60);
    expect(await service.open(0, [spec])).toMatchObject({ replayed: 5 });
    service.markFaulted(1, 'found by the scrub');
    expect((await service.search(...keyword('red', [0, 1]))).map(({ failed }) => failed)).toEqual([
      undefined,
      'FAULTED',
    ]);
    expect(service.failure(1)?.detail).toBe('found by the scrub');
  });

  it('rejects what is applied together with a bad entry, and faults the shard', async () => {
    const shardLog = new ShardLog();
    const service = serviceOf();
    await service.open(0, [spec]);
    const good = shardLog.upsert('a', { content: 'red' });
    const bad = shardLog.upsert('b', { vector: new Float32Array(9) });
    await expect(Promise.all([service.apply(0, [good]), service.apply(0, [bad])])).rejects.toThrow(/9 dimensions/);
    expect(service.failure(0)?.reason).toBe('FAULTED');
  });

  it('does not run a search that was given up', async () => {
    const service = serviceOf();
    await service.open(0, [spec]);
    await service.apply(0, fill(new ShardLog(), 0, 3));
    const reason = new Error('too late');
    await expect(service.search(...keyword('red'), AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const search = service.search(...keyword('red'), controller.signal);
    controller.abort(reason);
    await expect(search).rejects.toBe(reason);
    expect((await service.search(...keyword('red'), new AbortController().signal))[0].documents).toBe(3);
  });

  it('turns searches away when too many wait', async () => {
    const service = serviceOf();
    await service.open(0, [spec]);
    const searches = Array.from({ length: 10_005 }, () => service.search(...keyword('red')));
    const settled = await Promise.allSettled(searches);
    const refused = settled.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThanOrEqual(5);
    expect(refused[0]).toMatchObject({ reason: { code: 'OVERLOADED' } });
  });

  it('tells its digest, and of what offset it is', async () => {
    const shardLog = new ShardLog();
    const service = serviceOf();
    await service.open(0, [spec]);
    await service.apply(0, fill(shardLog, 0, 7));
    const kept = await service.digest(0);
    expect([kept.offset, toHex(kept.digest)]).not.toEqual([7, '0'.repeat(32)]);
    expect(await service.digest(0, true)).toEqual(kept);
  });

  it('verifies against the log, and finds what differs', async () => {
    const shardLog = new ShardLog();
    fill(shardLog, 0, 80);
    shardLog.delete('id-3');
    await shardLog.store(log);
    const service = serviceOf();
    await service.open(0, [spec]);
    const report = await service.verify(0);
    expect(report).toMatchObject({ shard: 0, offset: 81, documents: 79, differences: [] });
    expect(report.searches).toBeGreaterThan(40);
    // An index that heard of another document than the log holds.
    const liar = new ShardLog();
    fill(liar, 0, 79);
    const other = serviceOf({ directory: join(directory, 'other') });
    await other.open(0, [spec], 79);
    liar.upsert('id-9', { content: 'green' });
    liar.upsert('id-3', { content: 'green' });
    await other.apply(0, liar.bytes.slice(79));
    expect((await other.verify(0)).differences).not.toEqual([]);
  });

  it('lets go of a shard', async () => {
    const service = serviceOf();
    await service.open(0, [spec]);
    await service.dropShard(0);
    expect(service.failure(0)?.reason).toBe('NOT_READY');
    expect((await service.search(...keyword('red')))[0].failed).toBe('NOT_READY');
    expect(await service.open(0, [spec])).toMatchObject({ offset: 0 });
  });

  describe('another node that has the same log', () => {
    let there: string;

    beforeEach(async () => {
      there = await mkdtemp(join(tmpdir(), 'shard-service-there-'));
    });

    afterEach(async () => {
      await rm(there, { recursive: true });
    });

    /** A service there with the first 5 entries in its index, and one here with checkpoints at 10 and 20. */
    const both = async () => {
      const shardLog = await twoCheckpoints();
      const here = serviceOf();
      await here.open(0, [spec]);
      const other = serviceOf({ directory: there });
      await other.open(0, [spec], 5);
      const asked: string[] = [];
      const source: CheckpointSource = {
        part: async (offset, file, from) => {
          asked.push(file);
          const part = await here.checkpointPart(0, offset, file, from);
          if (part === undefined) throw new Error('there is no such checkpoint');
          return part;
        },
      };
      return { shardLog, here, other, source, asked };
    };

    it('takes its checkpoint, and what the log has beyond: the same answers', async () => {
      const { shardLog, here, other, source } = await both();
      const entries = fill(shardLog, 20, 23);
      await shardLog.store(log);
      await here.apply(0, entries);
      const received = await other.receiveCheckpoint(0, source, 15);
      expect(received?.offset).toBe(20);
      expect(received?.bytes).toBeGreaterThan(0);
      expect(other.applied(0)).toBe(5);
      expect(await received?.use(() => other.open(0, [spec]))).toEqual({
        replayed: 3,
        fromCheckpoint: true,
        offset: 23,
      });
      expect(await other.digest(0, true)).toEqual(await here.digest(0));
      for (const word of ['red', 'blue']) {
        const [[mine], [its]] = [await other.search(...keyword(word)), await here.search(...keyword(word))];
        expect(toHex(mine.bytes)).toBe(toHex(its.bytes));
      }
      expect(await other.verify(0)).toMatchObject({ documents: 23, differences: [] });
    });

    it('leaves nothing behind where it cannot be used: the shard was dropped, or the disk is full', async () => {
      const { other, source } = await both();
      const dropped = await other.receiveCheckpoint(0, source, 15);
      await other.dropShard(0);
      await expect(dropped?.use(() => other.open(0, [spec]))).rejects.toThrow(ShardUnavailableError);
      expect([other.failure(0)?.reason, await readdir(there)]).toEqual(['NOT_READY', []]);
      await other.open(0, [spec], 5);
      const full = await other.receiveCheckpoint(0, source, 15);
      await writeFile(join(there, '0', 'received', 'manifest.json'), 'in the way');
      await expect(full?.use(() => other.open(0, [spec]))).rejects.toThrow('EEXIST');
      expect(await readdir(join(there, '0'))).toEqual([]);
      expect(other.applied(0)).toBe(5);
    });

    it('does not want one below the start of its log, which cannot tell whether it is of it', async () => {
      const { other, source, asked } = await both();
      const received = await other.receiveCheckpoint(0, source, 15);
      expect(received?.isWanted()).toBe(true);
      const state = log.state(0);
      jest.spyOn(log, 'state').mockReturnValue({ ...state, start: { ...state.start, offset: 21 } });
      expect(received?.isWanted()).toBe(false);
      const before = asked.length;
      expect(await other.receiveCheckpoint(0, source, 15)).toBeUndefined();
      // Its manifest was looked at, and no more.
      expect(asked.slice(before)).toEqual(['']);
      jest.restoreAllMocks();
    });

    it('is not waited for while what it brought is read: a node can end', async () => {
      const { other, source } = await both();
      const received = await other.receiveCheckpoint(0, source, 15);
      const opened = jest.fn(() => new Promise<never>(() => undefined));
      void received?.use(opened);
      await other.idle();
      while (opened.mock.calls.length === 0) await setImmediate();
      await other.close();
    });

    it('is fetched again when the shard is opened meanwhile, which removes what is not whole', async () => {
      const { other, source } = await both();
      const interrupted: CheckpointSource = {
        part: async (offset, file, from) => {
          if (file !== '') await other.open(0, [spec], 5);
          return source.part(offset, file, from);
        },
      };
      await expect(other.receiveCheckpoint(0, interrupted, 15)).rejects.toThrow(CheckpointDamagedError);
    });

    it('puts nothing into an index whose place another one takes, until it is released or opened', async () => {
      const { shardLog, here, other, source } = await both();
      other.hold(0);
      let applied = 0;
      const give = (from: number, to: number) =>
        void other.apply(0, shardLog.bytes.slice(from, to)).then(() => (applied += to - from));
      give(5, 8);
      await here.idle();
      expect([other.applied(0), applied]).toEqual([5, 0]);
      expect(other.pendingBytes(0)).toBeGreaterThan(0);
      other.release(0);
      while (applied < 3) await setImmediate();
      expect(other.applied(0)).toBe(8);
      other.hold(0);
      give(8, 20);
      const received = await other.receiveCheckpoint(0, source, 12);
      await received?.use(() => other.open(0, [spec]));
      while (applied < 15) await setImmediate();
      expect([other.applied(0), other.pendingBytes(0)]).toEqual([20, 0]);
    });

    it('leaves it where its own index is about as far, or the disk has no room', async () => {
      const { other, source, asked } = await both();
      expect(await other.receiveCheckpoint(0, source, 16)).toBeUndefined();
      const full = serviceOf({ directory: there, spaceFor: () => false });
      await full.open(0, [spec], 5);
      expect(await full.receiveCheckpoint(0, source, 1)).toBeUndefined();
      expect(asked).toEqual(['', '']);
    });

    it('keeps nothing of one that comes damaged, cut, of another shard, or that is gone meanwhile', async () => {
      const { here, other, source } = await both();
      const changed = (change: (bytes: Uint8Array, file: string) => Uint8Array): CheckpointSource => ({
        part: async (offset, file, from) => {
          const part = await source.part(offset, file, from);
          return { ...part, bytes: change(part.bytes.slice(), file) };
        },
      });
      const flipped = changed((bytes, file) => {
        if (file !== '') bytes[bytes.length >> 1] ^= 1;
        return bytes;
      });
      const cut = changed((bytes, file) => (file === '' ? bytes : bytes.subarray(1)));
      const long = changed((bytes, file) => (file === '' ? bytes : Uint8Array.from([...bytes, 0])));
      const noJson = changed(() => Uint8Array.of(123));
      const ofAnother = changed((bytes, file) =>
        file === '' ? Buffer.from(Buffer.from(bytes).toString().replace('"shard": 0', '"shard": 1')) : bytes,
      );
      const outside = changed((bytes, file) =>
        file === ''
          ? Buffer.from(
              Buffer.from(bytes)
                .toString()
                .replace(/"name": "[^"]*"/, '"name": "../x"'),
            )
          : bytes,
      );
      for (const bad of [flipped, cut, long, noJson, ofAnother, outside])
        await expect(other.receiveCheckpoint(0, bad, 1)).rejects.toThrow(CheckpointDamagedError);
      const gone: CheckpointSource = {
        part: async (offset, file, from) => {
          if (file !== '') throw new Error('there is no such checkpoint');
          return source.part(offset, file, from);
        },
      };
      await expect(other.receiveCheckpoint(0, gone, 1)).rejects.toThrow('no such checkpoint');
      expect(await readdir(join(there, '0'))).toEqual([]);
      expect(await here.checkpointPart(0, 0, '../../secret', 0)).toBeUndefined();
      expect(await here.checkpointPart(0, 15, '', 0)).toBeUndefined();
      expect(await here.checkpointPart(4, 0, '', 0)).toBeUndefined();
      expect((await other.receiveCheckpoint(0, source, 1))?.offset).toBe(20);
    });

    it('does not use one of another branch: the index is made from its own log', async () => {
      const { other, source } = await both();
      const received = await other.receiveCheckpoint(0, source, 1);
      // Its log was cut meanwhile, and went on otherwise.
      const branch = await MemoryLogStore.open({ hasher: nodeHasher });
      const otherLog = new ShardLog().branch(0);
      fill(otherLog, 100, 125);
      await otherLog.store(branch);
      const astray = serviceOf({ directory: there, log: branch });
      expect(await received?.use(() => astray.open(0, [spec]))).toMatchObject({ fromCheckpoint: false, offset: 25 });
      expect((await astray.count([0], 1, undefined))[0].count).toBe(25);
      await astray.close(false);
      await branch.close();
    });
  });
});
