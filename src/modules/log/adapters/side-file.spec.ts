import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { META_SHARD } from '../../../kernel/ids.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { SideFile } from './side-file.js';

const SLOT_BYTES = 64 * 1024;

describe('SideFile', () => {
  let directory: string;
  let path: string;
  let warnings: string[];
  const open = (): Promise<SideFile> => SideFile.open(path, nodeHasher, (message) => warnings.push(message));

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'spector-side-'));
    path = join(directory, 'tail.side');
    warnings = [];
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('remembers the highest tail of each shard', async () => {
    const side = await open();
    expect(side.records()).toEqual([]);
    side.note(2, 10);
    side.note(0, 7);
    side.note(2, 9);
    side.note(1, 0);
    await side.close();
    const next = await open();
    expect(next.records()).toEqual([
      { shard: 0, tail: 7 },
      { shard: 2, tail: 10 },
    ]);
    await next.close();
    expect(warnings).toEqual([]);
  });

  it('remembers the highest promise beside it, in the room it has for every shard', async () => {
    const side = await open();
    const uuid = new Uint8Array(16).fill(0xab);
    for (let shard = 0; shard < 257; shard++) {
      side.note(shard, Number.MAX_SAFE_INTEGER);
      side.notePromise(shard, { num: Number.MAX_SAFE_INTEGER - 1, uuid });
    }
    side.notePromise(3, { num: 7, uuid });
    side.notePromise(META_SHARD, { num: 2, uuid });
    await side.close();
    const next = await open();
    expect(next.records()).toHaveLength(258);
    expect(next.records()[3]).toEqual({
      shard: 3,
      tail: Number.MAX_SAFE_INTEGER,
      promise: { num: Number.MAX_SAFE_INTEGER - 1, uuid },
    });
    expect(next.records()[257]).toEqual({ shard: META_SHARD, tail: 0, promise: { num: 2, uuid } });
    await next.close();
  });

  it('forgets a tail that is to go, in both slots, before the log does', async () => {
    const side = await open();
    side.note(0, 10);
    side.note(1, 4);
    await side.flush();
    await side.lower(0, 6);
    await side.lower(1, 9);
    await side.abandon();
    const whole = await readFile(path);
    for (const slot of [0, 1]) {
      const torn = Buffer.from(whole);
      torn[slot * SLOT_BYTES + 30] ^= 1;
      await writeFile(path, torn);
      const next = await open();
      expect(next.records()).toEqual([
        { shard: 0, tail: 6 },
        { shard: 1, tail: 4 },
      ]);
      await next.abandon();
    }
  });

  it('does not pretend to have forgotten when it cannot be written', async () => {
    const side = await open();
    side.note(0, 10);
    await side.abandon();
    await expect(side.lower(0, 6)).rejects.toThrow();
  });

  it('writes by itself soon after something was noted', async () => {
    const side = await open();
    side.note(0, 5);
    const written = async (): Promise<boolean> => (await readFile(path, 'latin1')).includes('"tail":5');
    while (!(await written())) await new Promise((resolve) => setImmediate(resolve));
    await side.abandon();
  });

  it('survives a torn write of either slot with what the other one holds', async () => {
    const side = await open();
    for (let tail = 1; tail <= 4; tail++) {
      side.note(0, tail);
      await side.flush();
    }
    await side.abandon();
    const whole = await readFile(path);
    const tails: number[] = [];
    for (const slot of [0, 1]) {
      const torn = Buffer.from(whole);
      torn[slot * SLOT_BYTES + 30] ^= 1;
      await writeFile(path, torn);
      const next = await open();
      tails.push(next.records()[0].tail);
      // The torn slot is the next to be written.
      next.note(0, 100);
      await next.close();
      const again = await open();
      expect(again.records()).toEqual([{ shard: 0, tail: 100 }]);
      await again.close();
    }
    expect(tails.sort()).toEqual([3, 4]);
    expect(warnings).toEqual([]);
  });

  it('has room for every shard, taken at once', async () => {
    const side = await open();
    expect((await stat(path)).size).toBe(2 * SLOT_BYTES);
    for (let shard = 0; shard < 256; shard++) side.note(shard, Number.MAX_SAFE_INTEGER);
    side.note(META_SHARD, Number.MAX_SAFE_INTEGER);
    await side.close();
    expect((await stat(path)).size).toBe(2 * SLOT_BYTES);
    const next = await open();
    expect(next.records()).toHaveLength(257);
    await next.close();
  });

  it('says that it knows nothing when it is damaged', async () => {
    await writeFile(path, Buffer.alloc(2 * SLOT_BYTES, 7));
    const side = await open();
    expect(side.records()).toEqual([]);
    expect(warnings).toEqual([expect.stringContaining('is damaged')]);
    await side.close();
  });

  it('says so when it cannot be written, and goes on', async () => {
    const side = await open();
    await side.abandon();
    side.note(0, 1);
    await side.flush();
    expect(warnings).toEqual([expect.stringContaining('cannot be written')]);
  });
});
