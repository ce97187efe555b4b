import { describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import type { LogEnd } from './core/protocol.js';
import { SnapshotIntake } from './snapshot-intake.js';

const SHARD = 3;
const EPOCH = { num: 2, uuid: new Uint8Array(16).fill(2) };
const AT: LogEnd = {
  lastOffset: 7,
  lastEpoch: EPOCH,
  chain: new Uint8Array(16).fill(1),
  history: [{ epoch: EPOCH, start: 1 }],
  start: 0,
  agreed: 0,
};

describe('SnapshotIntake', () => {
  it('takes nothing of a transfer that goes on with what was discarded since the hello', async () => {
    const log = await MemoryLogStore.open({ hasher: nodeHasher });
    const resumed: number[] = [];
    const intake = new SnapshotIntake(SHARD, { log, hasher: nodeHasher }, undefined, (rows) => void resumed.push(rows));
    const granted: number[] = [];
    // A stream that ends when more is granted, so that whatever was begun ends as well.
    const stream = { isOpen: () => granted.length === 0, grant: (bytes: number) => void granted.push(bytes) };
    await intake.discard();
    expect(await intake.take(AT, true, 1_000, stream)).toBeUndefined();
    expect(granted).toEqual([]);
    expect(resumed).toEqual([]);
    expect(log.staged(SHARD)).toBeUndefined();
    // What comes then is whole.
    expect(intake.partial).toBeUndefined();
    expect(await intake.take(AT, false, 1_000, stream)).toBeUndefined();
    expect(granted).toEqual([1_000]);
    expect(log.staged(SHARD)).toBeDefined();
    await log.close();
  });
});
