import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exactVectorIndexes } from '../../../test/contract/exact-vector-index.js';
import { ShardLog, specOf, versionOf } from '../../../test/contract/shard-log.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { entryVersion } from '../log/core/entry-codec.js';
import { CheckpointStore } from './adapters/checkpoint-store.js';
import { ShardUnavailableError } from './shard-ports.js';
import { ShardService } from './shard.service.js';

const spec = specOf(1);

describe('ShardService after its log was cut', () => {
  let directory: string;
  let log: MemoryLogStore;
  let reports: string[];
  const services: ShardService[] = [];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'shard-rewind-'));
    log = await MemoryLogStore.open({ hasher: nodeHasher });
    reports = [];
  });

  afterEach(async () => {
    for (const service of services.splice(0)) await service.close(false);
    await log.close();
    await rm(directory, { recursive: true });
  });

  const serviceOf = (): ShardService => {
    const service = new ShardService({
      log,
      hasher: nodeHasher,
      clock: { wallMs: () => 0, monotonicMs: () => 0 },
      directory,
      threads: 0,
      indexes: exactVectorIndexes,
      spaceFor: () => true,
      report: (_, message) => reports.push(message),
    });
    services.push(service);
    return service;
  };
  const checkpoints = async (): Promise<number[]> => (await readdir(join(directory, '0'))).map(Number).sort();
  /** Ids with their offsets. */
  const found = async (service: ShardService): Promise<Record<string, number>> => {
    const { ids, offsets } = await service.scroll(0, 1, undefined, undefined, 1_000);
    return Object.fromEntries(ids.map((id, i) => [id, offsets[i]]));
  };
  const write = (shardLog: ShardLog, id: string, ms: number): Uint8Array =>
    shardLog.upsert(id, { content: `${id} at ${ms}` }, versionOf(ms));

  /** Offsets 1 to 4: a, b, c, d; 5 to 7 on a branch of their own: b again, e, f. Checkpoints at 2, 4 and 7. */
  const branched = async (): Promise<{ service: ShardService; old: ShardLog }> => {
    const old = new ShardLog();
    const service = serviceOf();
    await service.open(0, [spec]);
    const ids = ['a', 'b', 'c', 'd', 'b', 'e', 'f'];
    for (const [at, id] of ids.entries()) {
      const entry = write(old, id, 10 + at);
      await old.store(log);
      await service.apply(0, [entry]);
      if ([1, 3, 6].includes(at)) await service.checkpoint(0);
    }
    return { service, old };
  };

  it('keeps what the branch brought until the new one supersedes it', async () => {
    const { service, old } = await branched();
    expect(await checkpoints()).toEqual([4, 7]);
    await log.truncate(0, 4, []);
    await service.rewind(0, 4);
    expect(service.applied(0)).toBe(4);
    expect(await checkpoints()).toEqual([4]);
    expect(await found(service)).toEqual({ a: 1, b: 5, c: 3, d: 4, e: 6, f: 7 });

    const branch = old.branch(4);
    const entries = [write(branch, 'b', 13), write(branch, 'e', 15), write(branch, 'g', 20), write(branch, 'f', 30)];
    await branch.store(log);
    await service.apply(0, entries);
    // Lower is ignored, equal is re-pointed, greater replaces.
    expect(await found(service)).toEqual({ a: 1, b: 5, c: 3, d: 4, e: 6, f: 8, g: 7 });
    expect(service.applied(0)).toBe(8);
  });

  it('applies what was given before the rewind first, and what is given after it as the new branch', async () => {
    const old = new ShardLog();
    const service = serviceOf();
    await service.open(0, [spec]);
    const before = ['a', 'b', 'c'].map((id, at) => write(old, id, 10 + at));
    await old.store(log);
    const branch = old.branch(1);
    const after = [write(branch, 'x', 50), write(branch, 'y', 51)];
    const applied = service.apply(0, before);
    await log.truncate(0, 1, []);
    await branch.store(log);
    const rewound = service.rewind(0, 1);
    const followed = [service.apply(0, [after[0]]), service.apply(0, [after[1]])];
    await Promise.all([applied, rewound, ...followed]);
    expect(await found(service)).toEqual({ a: 1, b: 2, c: 3, x: 2, y: 3 });
    expect(service.applied(0)).toBe(3);
  });

  it('waits for a checkpoint of its own that is being written, and for none of another shard', async () => {
    const service = serviceOf();
    const logs = [new ShardLog(0), new ShardLog(1), new ShardLog(2)];
    for (const [shard, shardLog] of logs.entries()) {
      await service.open(shard, [spec]);
      const entries = ['a', 'b'].map((id, at) => write(shardLog, id, 10 + at));
      await shardLog.store(log);
      await service.apply(shard, entries);
    }
    let write1: () => void = () => undefined;
    const written = new Promise<void>((resolve) => (write1 = resolve));
    const { commit } = CheckpointStore.prototype;
    const committing = jest.spyOn(CheckpointStore.prototype, 'commit');
    committing.mockImplementation(async function (this: CheckpointStore, ...args) {
      await written;
      return commit.apply(this, args);
    });
    const done: string[] = [];
    const taken = [1, 2].map((shard) => service.checkpoint(shard).then(() => done.push(`checkpoint of ${shard}`)));
    while (committing.mock.calls.length === 0) await new Promise(setImmediate);
    const cut = (shard: number) => service.rewind(shard, 1).then(() => done.push(`cut of ${shard}`));
    await log.truncate(0, 1, []);
    await cut(0);
    // That of the third shard waits for its turn.
    await log.truncate(2, 1, []);
    await cut(2);
    await log.truncate(1, 1, []);
    const own = cut(1);
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    expect(done).toEqual(['cut of 0', 'cut of 2']);
    write1();
    await Promise.all([...taken, own]);
    expect(done.indexOf('cut of 1')).toBeGreaterThan(done.indexOf('checkpoint of 1'));
    committing.mockRestore();
  });

  it('never loads a checkpoint of the branch that is gone, also when a crash came before the rewind', async () => {
    const { service, old } = await branched();
    await service.close(false);
    await log.truncate(0, 4, []);
    const branch = old.branch(4);
    for (const [at, id] of ['v', 'w', 'x', 'y'].entries()) write(branch, id, 100 + at);
    await branch.store(log);
    const next = serviceOf();
    // The log has an entry at offset 7 again, with another chain.
    expect(await next.open(0, [spec])).toEqual({ replayed: 4, fromCheckpoint: true, offset: 8 });
    expect(reports).toContain('an index checkpoint cannot be used and is removed');
    expect(await checkpoints()).toEqual([4]);
    expect(await found(next)).toEqual({ a: 1, b: 2, c: 3, d: 4, v: 5, w: 6, x: 7, y: 8 });
  });

  it('takes a checkpoint of what it has, not of files that seem the same', async () => {
    const { service, old } = await branched();
    await log.truncate(0, 4, []);
    await service.rewind(0, 4);
    const branch = old.branch(4);
    const barrier = branch.barrier();
    await branch.store(log);
    await service.apply(0, [barrier]);
    expect(await service.checkpoint(0)).toMatchObject({ offset: 5 });
    const expected = await found(service);
    await service.close(false);
    const next = serviceOf();
    expect(await next.open(0, [spec])).toEqual({ replayed: 0, fromCheckpoint: true, offset: 5 });
    expect(await found(next)).toEqual(expected);
    // The same offsets again, on the new branch: written, not linked.
    for (const id of ['b', 'e']) {
      const entry = write(branch, id, 200);
      await branch.store(log);
      await next.apply(0, [entry]);
      await next.checkpoint(0);
    }
    const later = await found(next);
    await next.close(false);
    const last = serviceOf();
    await last.open(0, [spec]);
    expect(await found(last)).toEqual(later);
  });

  it('has loose rows again after a restart, where nothing newer is known', async () => {
    const { service, old } = await branched();
    await service.close(false);
    await log.truncate(0, 4, []);
    const branch = old.branch(4);
    write(branch, 'e', 40);
    write(branch, 'f', 16);
    await branch.store(log);
    const next = serviceOf();
    const loose = async function* (): AsyncGenerator<readonly Uint8Array[]> {
      yield await Promise.resolve([old.bytes[4]]);
      yield [old.bytes[5], old.bytes[6]];
    };
    expect(await next.open(0, [spec], undefined, loose)).toMatchObject({ replayed: 2, offset: 6 });
    // e lost; f was written again with the same version, and stays where the log has it.
    expect(await found(next)).toEqual({ a: 1, b: 5, c: 3, d: 4, e: 5, f: 6 });
    expect(next.applied(0)).toBe(6);
    const entry = write(branch, 'b', 60);
    await branch.store(log);
    await next.apply(0, [entry]);
    expect((await found(next))['b']).toBe(7);
  });

  it('forgets documents of exactly one version, also after a restart', async () => {
    const { service, old } = await branched();
    await log.truncate(0, 4, []);
    await service.rewind(0, 4);
    const [b, e] = [old.bytes[4], old.bytes[5]].map(entryVersion);
    await service.forget(0, [
      { collectionId: 1, id: 'e', version: e },
      { collectionId: 1, id: 'a', version: b },
      { collectionId: 7, id: 'a', version: b },
      { collectionId: 1, id: 'nobody', version: b },
    ]);
    expect(Object.keys(await found(service))).toEqual(['a', 'b', 'c', 'd', 'f']);
    expect(await checkpoints()).toEqual([]);
  });

  it('says so when it cannot answer', async () => {
    const service = serviceOf();
    await expect(service.rewind(0, 4)).rejects.toThrow(ShardUnavailableError);
    await service.open(0, [spec]);
    service.markFaulted(0, 'tested');
    await expect(service.rewind(0, 4)).rejects.toThrow('shard 0 is faulted: tested');
  });
});
