import { beforeEach, describe, expect, it } from '@jest/globals';
import { CHAIN_ZERO } from '../../../src/modules/log/core/entry.js';
import { encodeEntry } from '../../../src/modules/log/core/entry-codec.js';
import type { AppendBatch, LogStore } from '../../../src/modules/log/log-store.js';
import { nodeHasher } from '../../../src/platform/crypto/node-hasher.js';
import { SimDisk } from './disk.js';
import { SimProcess } from './process.js';
import { Scheduler } from './scheduler.js';
import { SeededRandom } from './seeded-random.js';

const epoch = { num: 1, uuid: new Uint8Array(16) };

function batch(offset: number, chain: Uint8Array): AppendBatch {
  const version = { hlc: { ms: offset, counter: 0 }, opId: new Uint8Array(16) };
  const entry = { op: 'UPSERT', shard: 1, epoch, offset, version, collectionId: 1, id: 'a' } as const;
  const encoded = encodeEntry({ ...entry, payload: new Uint8Array(3) }, chain, nodeHasher);
  return { shard: 1, entries: [{ offset, epoch, ...encoded }], rows: [] };
}

describe('a disk', () => {
  let scheduler: Scheduler;
  let disk: SimDisk;
  let process: SimProcess;
  let failures: number;
  const written: number[] = [];

  const open = async (): Promise<LogStore> => {
    process = new SimProcess(1, 'a', scheduler, { wallOffsetMs: 0, rate: 1, monotonicOffsetMs: 0 });
    return disk.open(process, {
      onFailure: () => failures++,
      onWritten: (shards) => written.push(shards.get(1)?.length ?? 0),
    });
  };
  /** What came of an append after so long. */
  const append = async (log: LogStore, ms: number, what = batch(1, CHAIN_ZERO)) => {
    let outcome = 'waiting';
    log.append(what).then(
      () => (outcome = 'stored'),
      () => (outcome = 'failed'),
    );
    await scheduler.run(scheduler.nowMs + ms);
    return outcome;
  };

  beforeEach(() => {
    scheduler = new Scheduler(new SeededRandom(1), (_process, error) => {
      throw error;
    });
    disk = new SimDisk(scheduler, new SeededRandom(2), nodeHasher);
    disk.faults.minMs = 10;
    disk.faults.maxMs = 10;
    failures = 0;
    written.length = 0;
  });

  it('takes its time, and keeps what it said is stored through a crash', async () => {
    const log = await open();
    expect(await append(log, 5)).toBe('waiting');
    await scheduler.run(20);
    expect(written).toEqual([1]);
    process.kill();
    disk.crash();
    expect((await open()).state(1).tail).toBe(1);
    expect(disk.logState(1)?.tail).toBe(1);
  });

  it('loses what was on the way when its process died, or keeps it without anybody having heard', async () => {
    const before = append(await open(), 5);
    await before;
    process.kill();
    disk.crash();
    expect((await open()).state(1).tail).toBe(0);
    expect(await append(await open(), 8)).toBe('waiting');
    process.kill();
    disk.crash();
    expect((await open()).state(1).tail).toBe(1);
  });

  it('fails a write once or while it is full, and with it the log', async () => {
    disk.faults.failNext = true;
    const log = await open();
    expect(await append(log, 20)).toBe('failed');
    expect(await append(log, 20)).toBe('failed');
    expect(failures).toBe(1);
    disk.faults.full = true;
    expect(await append(await open(), 20)).toBe('failed');
    disk.faults.full = false;
    expect(await append(await open(), 20)).toBe('stored');
  });

  it('lies about a sync when told to: a crash shows it', async () => {
    disk.faults.lying = true;
    expect(await append(await open(), 20)).toBe('stored');
    disk.crash();
    expect(disk.logState(1)?.tail).toBe(0);
  });

  it('is empty when it was wiped, and damaged by a flipped bit', async () => {
    expect(await append(await open(), 20)).toBe('stored');
    expect(disk.flipEntry(1, 1, 90)).toBe(true);
    disk.crash();
    expect((await open()).openDamages()).toHaveLength(1);
    disk.wipe();
    expect((await open()).shards()).toEqual([]);
  });
});
