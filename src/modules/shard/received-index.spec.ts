import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { ShardLog } from '../../../test/contract/shard-log.js';
import { toHex } from '../../kernel/bytes.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { CheckpointDamagedError } from './core/index-host.js';
import { ShardUnavailableError, type CheckpointSource } from './shard-ports.js';
import { keyword, ShardServices, spec } from './testing/shard-services.js';

describe('the index of another node that has the same log', () => {
  let services: ShardServices;
  let there: string;

  beforeEach(async () => {
    services = await ShardServices.open();
    there = await mkdtemp(join(tmpdir(), 'shard-service-there-'));
  });

  afterEach(async () => {
    await services.dispose();
    await rm(there, { recursive: true });
  });

  /** A service there with the first 5 entries in its index, and one here with checkpoints at 10 and 20. */
  const both = async () => {
    const shardLog = await services.twoCheckpoints();
    const here = services.of();
    await here.open(0, [spec]);
    const other = services.of({ directory: there });
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
    const entries = services.fill(shardLog, 20, 23);
    await shardLog.store(services.log);
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
    const state = services.log.state(0);
    jest.spyOn(services.log, 'state').mockReturnValue({ ...state, start: { ...state.start, offset: 21 } });
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
    const full = services.of({ directory: there, spaceFor: () => false });
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
    services.fill(otherLog, 100, 125);
    await otherLog.store(branch);
    const astray = services.of({ directory: there, log: branch });
    expect(await received?.use(() => astray.open(0, [spec]))).toMatchObject({ fromCheckpoint: false, offset: 25 });
    expect((await astray.count([0], 1, undefined))[0].count).toBe(25);
    await astray.close(false);
    await branch.close();
  });
});
