import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { ShardLog, specOf } from '../../../test/contract/shard-log.js';
import { toHex } from '../../kernel/bytes.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { LogDamagedError } from '../log/log-store.js';
import { CHECKPOINT_POLICY } from './core/checkpoint-plan.js';
import { idsOf } from './testing/written-answer.js';
import { ShardUnavailableError } from './shard-ports.js';
import { keyword, ShardServices, spec } from './testing/shard-services.js';

import type { ShardService } from './shard.service.js';

describe('ShardService', () => {
  let services: ShardServices;

  beforeEach(async () => {
    services = await ShardServices.open();
  });

  afterEach(() => services.dispose());

  it('answers for what is applied, and says which shards cannot answer', async () => {
    const shardLog = new ShardLog();
    const service = services.of();
    expect(await service.open(0, [spec])).toEqual({ replayed: 0, fromCheckpoint: false, offset: 0 });
    const first = service.apply(0, services.fill(shardLog, 0, 3));
    const second = service.apply(0, services.fill(shardLog, 3, 4));
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
    services.fill(shardLog, 0, 30);
    shardLog.delete('id-7');
    await shardLog.store(services.log);
    const service = services.of();
    expect(await service.open(0, [spec])).toEqual({ replayed: 31, fromCheckpoint: false, offset: 31 });
    expect((await service.count([0], 1, undefined))[0].count).toBe(29);
  });

  it('opens up to an offset when told to', async () => {
    const shardLog = new ShardLog();
    services.fill(shardLog, 0, 30);
    await shardLog.store(services.log);
    const service = services.of();
    expect(await service.open(0, [spec], 12)).toMatchObject({ replayed: 12, offset: 12 });
    await service.apply(0, shardLog.bytes.slice(12));
    expect(service.applied(0)).toBe(30);
  });

  it('opens the newest checkpoint and replays the rest; keeps the last two', async () => {
    const shardLog = await services.twoCheckpoints();
    const entries = services.fill(shardLog, 20, 25);
    await shardLog.store(services.log);
    const service = services.of();
    expect(await service.open(0, [spec])).toEqual({ replayed: 5, fromCheckpoint: true, offset: 25 });
    expect(service.oldestLoadableCheckpoint(0)).toBe(10);
    expect((await service.count([0], 1, undefined))[0].count).toBe(25);
    expect(await service.checkpoint(0)).toMatchObject({ offset: 25 });
    expect(await service.checkpoint(0)).toBeUndefined();
    expect(await services.checkpoints()).toEqual(['20', '25']);
    expect(service.oldestLoadableCheckpoint(0)).toBe(20);
    await service.apply(0, entries);
    expect(service.applied(0)).toBe(25);
  });

  it('falls back to the checkpoint before, then to the log', async () => {
    await services.twoCheckpoints();
    const damage = async (offset: number): Promise<void> => {
      const file = join(services.directory, '0', String(offset).padStart(16, '0'), '1.vectors');
      const bytes = await readFile(file);
      bytes[20] ^= 1;
      await writeFile(file, bytes);
    };
    await damage(20);
    const second = services.of();
    expect(await second.open(0, [spec])).toEqual({ replayed: 10, fromCheckpoint: true, offset: 20 });
    expect(services.reports).toEqual([
      {
        level: 'warn',
        message: expect.stringContaining('cannot be used'),
        details: expect.objectContaining({ offset: 20 }),
      },
    ]);
    expect(await services.checkpoints()).toEqual(['10']);
    await second.close(false);
    await damage(10);
    const third = services.of();
    expect(await third.open(0, [spec])).toEqual({ replayed: 20, fromCheckpoint: false, offset: 20 });
    expect(await third.verify(0)).toMatchObject({ documents: 20, differences: [] });
  });

  it('uses no checkpoint of another history, and none that is ahead of the log', async () => {
    await services.twoCheckpoints();
    services.log = await MemoryLogStore.open({ hasher: nodeHasher });
    const other = new ShardLog();
    for (let i = 0; i < 15; i++) other.upsert(`other-${i}`, { content: 'green' });
    await other.store(services.log);
    const service = services.of();
    expect(await service.open(0, [spec])).toEqual({ replayed: 15, fromCheckpoint: false, offset: 15 });
    expect(await services.checkpoints()).toEqual([]);
    expect(idsOf((await service.search(...keyword('red')))[0].keyword())).toEqual([]);
  });

  it('clears away what an interrupted checkpoint left', async () => {
    await services.twoCheckpoints();
    await writeFile(join(services.directory, '0', 'unfinished'), 'half');
    const manifest = join(services.directory, '0', '0000000000000020', 'manifest.json');
    await writeFile(manifest, '{"format":2,');
    const service = services.of();
    expect(await service.open(0, [spec])).toMatchObject({ replayed: 10, fromCheckpoint: true });
    expect(await services.checkpoints()).toEqual(['10']);
  });

  it('takes checkpoints after enough log, after enough time, and when it closes', async () => {
    const shardLog = new ShardLog();
    const policy = { checkpoints: { ...CHECKPOINT_POLICY, logBytes: 2_000, ageMs: 60_000 } };
    const service = services.of(policy);
    await service.open(0, [spec]);
    services.fill(shardLog, 0, 3);
    await shardLog.store(services.log);
    await service.apply(0, shardLog.bytes);
    service.checkpointRound();
    expect(service.oldestLoadableCheckpoint(0)).toBe(0);
    services.nowMs += 60_000;
    service.checkpointRound();
    await service.idle();
    expect(service.oldestLoadableCheckpoint(0)).toBe(3);
    services.fill(shardLog, 3, 30);
    await shardLog.store(services.log);
    await service.apply(0, shardLog.bytes);
    service.checkpointRound();
    await service.idle();
    expect(await services.checkpoints()).toEqual(['3', '30']);
    services.fill(shardLog, 30, 31);
    await shardLog.store(services.log);
    await service.apply(0, shardLog.bytes);
    await service.close();
    expect(await services.checkpoints()).toEqual(['30', '31']);
    expect(await services.of().open(0, [spec])).toEqual({ replayed: 0, fromCheckpoint: true, offset: 31 });
  });

  it('bounds what all shards together would have to replay, by those with the most', async () => {
    const logs = [new ShardLog(0), new ShardLog(1)];
    const service = services.of({ checkpoints: { ...CHECKPOINT_POLICY, entries: 10 } });
    const write = async (shard: number, from: number, to: number): Promise<void> => {
      const entries = services.fill(logs[shard], from, to);
      await logs[shard].store(services.log);
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
    expect(services.reports.map(({ message }) => message)).toEqual([
      'index checkpoint taken',
      'index checkpoint taken',
    ]);

    // The process is killed: the next one replays what is left, and answers as if nothing had happened.
    const answersOf = async (of: ShardService) => {
      const all = await Promise.all(['red', 'blue'].map((term) => of.search(...keyword(term, [0, 1]))));
      return all.flat().map(({ bytes }) => toHex(bytes));
    };
    const before = await answersOf(service);
    await service.close(false);
    const next = services.of();
    expect(await next.open(0, [spec])).toEqual({ replayed: 2, fromCheckpoint: true, offset: 9 });
    expect(await next.open(1, [spec])).toEqual({ replayed: 0, fromCheckpoint: true, offset: 12 });
    expect(await answersOf(next)).toEqual(before);
  });

  it('takes none without room, and leaves nothing of one that failed', async () => {
    const shardLog = new ShardLog();
    let room = false;
    const asked: number[] = [];
    const service = services.of({
      spaceFor: (bytes) => {
        asked.push(bytes);
        return room;
      },
    });
    await service.open(0, [spec]);
    services.fill(shardLog, 0, 5);
    await shardLog.store(services.log);
    await service.apply(0, shardLog.bytes);
    expect(await service.checkpoint(0)).toBeUndefined();
    expect(services.reports[0]).toMatchObject({ level: 'warn', message: expect.stringContaining('no room') });
    expect(asked[0]).toBeGreaterThan(0);
    room = true;
    await writeFile(join(services.directory, '0'), 'in the way');
    await expect(service.checkpoint(0)).rejects.toThrow();
    await rm(join(services.directory, '0'));
    expect(await service.checkpoint(0)).toMatchObject({ offset: 5 });
  });

  it('takes no checkpoint of an index whose log another one took the place of', async () => {
    const shardLog = new ShardLog();
    const service = services.of();
    await service.open(0, [spec]);
    services.fill(shardLog, 0, 5);
    await shardLog.store(services.log);
    await service.apply(0, shardLog.bytes);
    const state = services.log.state(0);
    const replaced = jest.spyOn(services.log, 'state').mockReturnValue({ ...state, generation: state.generation + 1 });
    await expect(service.checkpoint(0)).rejects.toThrow('another one now');
    replaced.mockRestore();
    expect(await services.checkpoints()).toEqual([]);
    expect(await service.checkpoint(0)).toMatchObject({ offset: 5 });
  });

  it('reads a shard again when a collection it passed over becomes known', async () => {
    const shardLog = new ShardLog();
    shardLog.upsert('a', { content: 'red' }, undefined, 7);
    shardLog.upsert('b', { content: 'red' });
    await shardLog.store(services.log);
    const service = services.of();
    await service.open(0, [spec]);
    await service.checkpoint(0);
    expect((await service.count([0], 7, undefined))[0].count).toBe(0);
    await service.defineCollections([specOf(7)]);
    while (service.failure(0) !== undefined) await setImmediate();
    expect((await service.count([0], 7, undefined))[0].count).toBe(1);
    expect((await service.count([0], 1, undefined))[0].count).toBe(1);
  });

  it('reads a shard again when a collection of its checkpoint becomes known', async () => {
    const shardLog = new ShardLog();
    shardLog.upsert('a', { content: 'red' }, undefined, 7);
    await shardLog.store(services.log);
    const first = services.of();
    await first.open(0, [spec, specOf(7)]);
    expect(await first.checkpoint(0)).toMatchObject({ offset: 1 });
    await first.close(false);
    const service = services.of();
    await service.open(0, [spec]);
    await service.defineCollections([spec, specOf(7)]);
    await service.open(0, [spec, specOf(7)]);
    expect(await service.count([0], 7, undefined)).toEqual([{ shard: 0, count: 1 }]);
  });

  it('reads a shard again when a collection it passed over becomes known while it is read', async () => {
    const shardLog = new ShardLog();
    shardLog.upsert('a', { content: 'red' }, undefined, 7);
    await shardLog.store(services.log);
    const service = services.of();
    let reads = 0;
    // Read after the log: it was passed over by then.
    async function* loose(): AsyncGenerator<readonly Uint8Array[]> {
      if (reads++ === 0) await service.defineCollections([spec, specOf(7)]);
      yield [];
    }
    await service.open(0, [spec], undefined, loose);
    expect(reads).toBe(2);
    expect(await service.count([0], 7, undefined)).toEqual([{ shard: 0, count: 1 }]);
  });

  it('drops a collection at once', async () => {
    const shardLog = new ShardLog();
    const service = services.of();
    await service.open(0, [spec]);
    await service.apply(0, services.fill(shardLog, 0, 3));
    await service.dropCollection(1);
    expect((await service.count([0], 1, undefined))[0].count).toBe(0);
  });

  it('builds an index from its log when its checkpoint turns out not to add up, while it serves', async () => {
    await services.twoCheckpoints();
    const file = join(services.directory, '0', '20'.padStart(16, '0'), 'manifest.json');
    const manifest = JSON.parse(await readFile(file, 'utf8')) as { collections: { digest: string }[] };
    manifest.collections[0].digest = '1'.repeat(32);
    await writeFile(file, JSON.stringify(manifest));
    const service = services.of();
    expect(await service.open(0, [spec])).toMatchObject({ replayed: 0, fromCheckpoint: true, offset: 20 });
    for (let turn = 0; turn < 1_000 && services.reports.length === 0; turn++) await setImmediate();
    expect(services.reports).toMatchObject([{ level: 'error', details: { shard: 0 } }]);
    await service.idle();
    expect(await service.open(0, [spec])).toEqual({ replayed: 20, fromCheckpoint: false, offset: 20 });
    expect(await service.digest(0)).toEqual(await service.digest(0, true));
    expect(await services.checkpoints()).toEqual([]);
    expect(await service.count([0], 1, undefined)).toEqual([{ shard: 0, count: 20 }]);
  });

  it.each([true, false])('so it does when its log is cut just then, entries waiting: %s', async (waiting) => {
    const shardLog = await services.twoCheckpoints();
    const file = join(services.directory, '0', '20'.padStart(16, '0'), 'manifest.json');
    const manifest = JSON.parse(await readFile(file, 'utf8')) as { collections: { digest: string }[] };
    manifest.collections[0].digest = '1'.repeat(32);
    await writeFile(file, JSON.stringify(manifest));
    let cut: Promise<void> | undefined;
    const service = services.of({
      report: (level) => {
        if (level !== 'error' || cut !== undefined) return;
        if (waiting) service.apply(0, services.fill(shardLog, 20, 22)).catch(() => undefined);
        cut = service.rewind(0, 20);
      },
    });
    await service.open(0, [spec]);
    for (let turn = 0; turn < 1_000 && cut === undefined; turn++) await setImmediate();
    await cut;
    await service.idle();
    expect(await service.open(0, [spec])).toEqual({ replayed: 20, fromCheckpoint: false, offset: 20 });
  });

  it('faults a shard whose log is damaged; the others go on; opening it again brings it back', async () => {
    const logs = [new ShardLog(0), new ShardLog(1)];
    for (const shardLog of logs) {
      services.fill(shardLog, 0, 5);
      await shardLog.store(services.log);
    }
    services.log.flipByte(0, 3, 60);
    const service = services.of();
    await expect(service.open(0, [spec])).rejects.toThrow(LogDamagedError);
    await service.open(1, [spec]);
    expect((await service.search(...keyword('red', [0, 1]))).map(({ failed }) => failed)).toEqual([
      'FAULTED',
      undefined,
    ]);
    expect(service.failure(0)).toEqual({ reason: 'FAULTED', detail: expect.stringContaining('offset 3') });
    await expect(service.apply(0, logs[0].bytes)).rejects.toThrow('faulted');
    services.log.flipByte(0, 3, 60);
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
    const service = services.of();
    await service.open(0, [spec]);
    const good = shardLog.upsert('a', { content: 'red' });
    const bad = shardLog.upsert('b', { vector: new Float32Array(9) });
    await expect(Promise.all([service.apply(0, [good]), service.apply(0, [bad])])).rejects.toThrow(/9 dimensions/);
    expect(service.failure(0)?.reason).toBe('FAULTED');
  });

  it('does not run a search that was given up', async () => {
    const service = services.of();
    await service.open(0, [spec]);
    await service.apply(0, services.fill(new ShardLog(), 0, 3));
    const reason = new Error('too late');
    await expect(service.search(...keyword('red'), AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const search = service.search(...keyword('red'), controller.signal);
    controller.abort(reason);
    await expect(search).rejects.toBe(reason);
    expect((await service.search(...keyword('red'), new AbortController().signal))[0].documents).toBe(3);
  });

  it('turns searches away when too many wait', async () => {
    const service = services.of();
    await service.open(0, [spec]);
    const searches = Array.from({ length: 10_005 }, () => service.search(...keyword('red')));
    const settled = await Promise.allSettled(searches);
    const refused = settled.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThanOrEqual(5);
    expect(refused[0]).toMatchObject({ reason: { code: 'OVERLOADED' } });
  });

  it('tells its digest, and of what offset it is', async () => {
    const shardLog = new ShardLog();
    const service = services.of();
    await service.open(0, [spec]);
    await service.apply(0, services.fill(shardLog, 0, 7));
    const kept = await service.digest(0);
    expect([kept.offset, toHex(kept.digest)]).not.toEqual([7, '0'.repeat(32)]);
    expect(await service.digest(0, true)).toEqual(kept);
  });

  it('verifies against the log, and finds what differs', async () => {
    const shardLog = new ShardLog();
    services.fill(shardLog, 0, 80);
    shardLog.delete('id-3');
    await shardLog.store(services.log);
    const service = services.of();
    await service.open(0, [spec]);
    const report = await service.verify(0);
    expect(report).toMatchObject({ shard: 0, offset: 81, documents: 79, differences: [] });
    expect(report.searches).toBeGreaterThan(40);
    // An index that heard of another document than the log holds.
    const liar = new ShardLog();
    services.fill(liar, 0, 79);
    const other = services.of({ directory: join(services.directory, 'other') });
    await other.open(0, [spec], 79);
    liar.upsert('id-9', { content: 'green' });
    liar.upsert('id-3', { content: 'green' });
    await other.apply(0, liar.bytes.slice(79));
    expect((await other.verify(0)).differences).not.toEqual([]);
  });

  it('lets go of a shard that is being read', async () => {
    const shardLog = new ShardLog();
    const entry = shardLog.upsert('a', { content: 'red' });
    await shardLog.store(services.log);
    const service = services.of();
    let begun: () => void = () => undefined;
    let goOn: () => void = () => undefined;
    const [reading, held] = [
      new Promise<void>((resolve) => (begun = resolve)),
      new Promise<void>((resolve) => (goOn = resolve)),
    ];
    async function* loose(): AsyncGenerator<readonly Uint8Array[]> {
      begun();
      await held;
      yield [entry];
    }
    const opened = expect(service.open(0, [spec], undefined, loose)).rejects.toThrow(ShardUnavailableError);
    await reading;
    await service.dropShard(0);
    goOn();
    await opened;
    expect(await service.statistics()).toEqual([]);
  });

  it('lets go of a shard', async () => {
    const service = services.of();
    await service.open(0, [spec]);
    await service.dropShard(0);
    expect(service.failure(0)?.reason).toBe('NOT_READY');
    expect((await service.search(...keyword('red')))[0].failed).toBe('NOT_READY');
    expect(await service.open(0, [spec])).toMatchObject({ offset: 0 });
  });
});
