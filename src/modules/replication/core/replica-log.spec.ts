import { describe, expect, it } from '@jest/globals';
import { utf8 } from '../../../kernel/bytes.js';
import { HLC_ZERO, type Version } from '../../../kernel/version.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import { CounterTally, encodeRow, ZERO_COUNTERS, type DocumentRow, type ShardCounters } from '../../shard/core/rows.js';
import { decodeBranches, NO_BRANCHES } from './branch-epochs.js';
import { ReplicaLog } from './replica-log.js';

const EPOCH = { num: 2, uuid: new Uint8Array(16).fill(9) };

function version(ms: number): Version {
  return { hlc: { ms, counter: 0 }, opId: new Uint8Array(16).fill(1) };
}

function logWith(counters: ShardCounters): ReplicaLog {
  return new ReplicaLog({
    shard: 3,
    hasher: nodeHasher,
    generation: 1,
    tail: 0,
    chain: CHAIN_ZERO,
    start: 0,
    history: [],
    lastHlc: HLC_ZERO,
    counters,
    sets: [],
    branches: NO_BRANCHES,
  });
}

describe('a log with loose rows that follows a primary (replication 6.4)', () => {
  const loose = (ms: number): DocumentRow => ({
    version: version(ms),
    offset: 4,
    bytes: 0,
    tombstone: false,
    loose: true,
  });

  function follow(branchMs: number, primaryMs: number) {
    const row = loose(branchMs);
    const tally = new CounterTally(nodeHasher, ZERO_COUNTERS);
    tally.change(1, 'a', undefined, row);
    const log = logWith(tally.value());
    const entry = logWith(ZERO_COUNTERS).append(EPOCH, {
      op: 'UPSERT',
      collectionId: 1,
      id: 'a',
      payload: utf8('{}'),
      version: version(primaryMs),
    });
    return { ...log.follow([entry.bytes], [encodeRow(row)]), entry: entry.bytes, loose: log.loose };
  }

  it('says which of them a higher version beat', () => {
    const { beaten, entry, loose: left } = follow(5, 6);
    expect([beaten, left]).toEqual([[{ collectionId: 1, id: 'a', winner: entry }], 0]);
  });

  it('does not call it a loss when its own version comes back, nor when it is the higher one', () => {
    expect(follow(5, 5)).toMatchObject({ beaten: [], loose: 0 });
    expect(follow(5, 4)).toMatchObject({ beaten: [], loose: 1 });
  });
});

describe('what a copy knows to be agreed', () => {
  function logOf(...epochs: readonly number[]): ReplicaLog {
    const log = logWith(ZERO_COUNTERS);
    for (const num of epochs)
      log.append({ ...EPOCH, num }, { op: 'BARRIER', collectionId: 0, id: '', payload: utf8(''), version: version(5) });
    log.persisted(log.tail);
    return log;
  }

  it.each<readonly [string, readonly number[], number]>([
    ['goes back with a log that is cut', [1, 1], 2],
    ['ends at the fork with a log that took its place', [1, 2, 2, 2], 1],
    ['stays when all of it is in that one', [1, 1, 1, 2, 2], 3],
  ])('%s', (_, epochs, agreed) => {
    const log = logOf(1, 1, 1, 1);
    log.agree(3);
    log.agree(2);
    expect(log.end().agreed).toBe(3);
    const { tail, history, chain, generation } = logOf(...epochs);
    const rest = { start: 0, counters: ZERO_COUNTERS, sets: [], branches: NO_BRANCHES };
    log.replaced({ tail, history, chain, generation, ...rest });
    expect(log.end().agreed).toBe(agreed);
  });
});

describe('a log in which a MERGED comes (replication 6.4, 7.2)', () => {
  it('keeps what it says in the batch of the entry, as the primary does', () => {
    const branch = [{ epoch: { num: 1, uuid: new Uint8Array(16).fill(4) }, end: 9, fork: 0 }];
    const primary = logWith(ZERO_COUNTERS);
    const { entry, row } = primary.appendMerged(EPOCH, version(5), branch);
    const follower = logWith(ZERO_COUNTERS);
    const { batch } = follower.follow([entry.bytes], [undefined]);
    expect(follower.branches).toEqual({ merged: [{ ...branch[0], offset: 1 }], cut: [] });
    expect(follower.branches).toEqual(primary.branches);
    expect(batch.rows).toContainEqual(row);
    expect(decodeBranches(row.value)).toEqual(primary.branches);
  });
});
