import { describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import type { Proposal, WriteOutcome, WriteRequest } from './core/write.js';
import { ManualTime } from './testing/manual-time.js';
import { WaitingWrites } from './waiting-writes.js';

describe('a write that waits to be proposed anew', () => {
  it('is given up when it is sent again: it must not go over what is written after that', async () => {
    const time = new ManualTime();
    const log = await MemoryLogStore.open({ hasher: nodeHasher });
    const proposed: Proposal[] = [];
    const random = { bytes: (count: number) => new Uint8Array(count).fill(7) };
    const writes: WaitingWrites = new WaitingWrites(
      { log, random, clock: time, timers: time },
      {
        shard: 0,
        generation: () => 0,
        propose: (proposals) => {
          proposed.push(...proposals);
          // The first sending waits for a slow copy.
          writes.postpone(proposals.filter(({ ticket }) => ticket <= 2).map(({ ticket }) => ticket));
        },
        fail: (error) => {
          throw error;
        },
      },
    );
    const request = (of: number): WriteRequest => ({
      op: 'UPSERT',
      collectionId: 1,
      id: 'a',
      payload: new Uint8Array(1),
      level: 'one',
      opId: new Uint8Array(16).fill(of),
    });
    const first: Promise<WriteOutcome> = writes.write(request(1));
    void writes.write(request(2));
    await time.pass(1);
    void writes.write({ ...request(1), repeatedFrom: 5 });
    await time.pass(1);
    expect(await first).toMatchObject({ kind: 'refused', code: 'WRITE_OUTCOME_UNKNOWN' });
    writes.resume();
    await time.pass(1);
    // Another write that waits is proposed anew; the first sending of this one is not.
    expect(proposed.map(({ opId }) => opId[0])).toEqual([1, 2, 1, 2]);
    expect(proposed.map(({ keyed }) => keyed)).toEqual([false, false, true, false]);
  });
});
