import type { Epoch } from '../../../kernel/epoch.js';
import { HLC_ZERO } from '../../../kernel/version.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import { ZERO_COUNTERS } from '../../shard/core/rows.js';
import { NO_BRANCHES } from '../core/branch-epochs.js';
import { ReplicaLog } from '../core/replica-log.js';

/** The log of shard 0 up to offset `tail`, all of one epoch. */
export function followedLog(epoch: Epoch, tail: number): ReplicaLog {
  return new ReplicaLog({
    shard: 0,
    hasher: nodeHasher,
    generation: 1,
    tail,
    chain: CHAIN_ZERO,
    start: 0,
    history: [{ epoch, start: 1 }],
    lastHlc: HLC_ZERO,
    counters: ZERO_COUNTERS,
    sets: [],
    branches: NO_BRANCHES,
  });
}
