import { describe, expect, it } from '@jest/globals';
import { utf8 } from '../../../kernel/bytes.js';
import { HLC_ZERO, type Version } from '../../../kernel/version.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import { CounterTally, encodeRow, ZERO_COUNTERS, type DocumentRow, type ShardCounters } from '../../shard/core/rows.js';
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
    return { ...log.follow([entry.bytes], [encodeRow(row)]), loose: log.loose };
  }

  it('says which of them a higher version beat', () => {
    expect(follow(5, 6)).toMatchObject({ beaten: [{ collectionId: 1, id: 'a', winner: version(6) }], loose: 0 });
  });

  it('does not call it a loss when its own version comes back, nor when it is the higher one', () => {
    expect(follow(5, 5)).toMatchObject({ beaten: [], loose: 0 });
    expect(follow(5, 4)).toMatchObject({ beaten: [], loose: 1 });
  });
});
