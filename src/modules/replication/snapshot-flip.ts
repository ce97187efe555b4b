import { shardKey } from '../log/core/keys.js';
import { LogDamagedError, type LogStore } from '../log/log-store.js';
import { afterReplaced, decodeBranches, encodeBranches, NO_BRANCHES, type BranchRecord } from './core/branch-epochs.js';
import type { SnapshotEnd } from './core/protocol.js';
import { BRANCHES_ROW, SCRUB_ROW, SETS_ROW } from './core/replica-log.js';
import type { LooseStore } from './loose-store.js';
import type { SnapshotReceiver } from './snapshot-receiver.js';

/** A snapshot that is whole, and what it is of. */
export interface WholeSnapshot {
  readonly receiver: SnapshotReceiver;
  readonly at: SnapshotEnd;
  /** The last offset the old log had in common with it. */
  readonly fork: number;
}

const NO_LOG = { lastOffset: 0, history: [] };

/**
 * Makes a snapshot the log of its shard, with all that is kept beside it; rows beyond the fork become loose (4.7, 6.4).
 * @param damaged the rows and records that are here cannot be relied on (2.12)
 */
export async function flipTo(
  { receiver, at, fork }: WholeSnapshot,
  log: LogStore,
  looseStore: LooseStore,
  damaged = false,
): Promise<void> {
  const { shard } = receiver;
  const { tail: lastOffset, history } = log.state(shard);
  const branches = branchesOf(log, shard, damaged);
  const whole = afterReplaced(branches, { lastOffset, history }, fork, at);
  const torn = afterReplaced({ merged: [], cut: branches.cut }, NO_LOG, fork, at);
  await receiver.finish(
    fork,
    (unreadable) => [
      // The sets of the old log mean nothing in the new one; until a SET is logged the map's counts.
      { key: shardKey(shard, SETS_ROW), value: undefined },
      // A branch some rows of which are lost here cannot be merged from here as a whole.
      { key: shardKey(shard, BRANCHES_ROW), value: encodeBranches(unreadable === 0 ? whole : torn) },
      // What was checked is another log.
      { key: shardKey(shard, SCRUB_ROW), value: undefined },
    ],
    damaged,
  );
  await looseStore.sweep(shard, () => Promise.resolve());
}

function branchesOf(log: LogStore, shard: number, damaged: boolean): BranchRecord {
  try {
    return decodeBranches(log.row(shardKey(shard, BRANCHES_ROW)));
  } catch (error) {
    if (damaged && error instanceof LogDamagedError) return NO_BRANCHES;
    throw error;
  }
}
