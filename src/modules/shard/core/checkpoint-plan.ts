/** When checkpoints are taken while the node runs. All bounds are of what a restart after a crash has to replay. */
export interface CheckpointPolicy {
  /** Bytes of a shard's log since its last checkpoint that make another one due. */
  readonly logBytes: number;
  /** Age of the oldest change that no checkpoint holds that makes one due. */
  readonly ageMs: number;
  /**
   * Entries that no checkpoint holds, in all shards of the node: above, those with the most are saved. An entry takes a
   * quarter of a millisecond of an index thread to replay, of which a node that comes back has little to spare.
   */
  readonly entries: number;
  /** Bytes that may be written for that, per byte of log: a checkpoint is the whole index of a shard, however little changed. */
  readonly rewrite: number;
}

/** Architecture, index of a shard. */
export const CHECKPOINT_POLICY: CheckpointPolicy = {
  logBytes: 64 * 1024 * 1024,
  ageMs: 5 * 60_000,
  entries: 2_000,
  rewrite: 8,
};

/** The index of a shard beside its newest checkpoint. */
export interface UnsavedIndex {
  readonly shard: number;
  /** Entries that a restart would replay. */
  readonly entries: number;
  /** Bytes of log among them, as far as they were applied by this process. */
  readonly logBytes: number;
  /** Of the oldest change. */
  readonly ageMs: number;
  /** Size of the newest checkpoint; 0 when there is none. */
  readonly savedBytes: number;
}

/**
 * The shards a checkpoint is due of: those with too much or too old changes of their own; then, as long as the rest of the
 * node has more entries to replay than it should, those with the most whose index is small enough to be written for them.
 */
export function checkpointsDue(unsaved: readonly UnsavedIndex[], policy: CheckpointPolicy): readonly number[] {
  const due: number[] = [];
  const rest: UnsavedIndex[] = [];
  for (const index of unsaved) {
    if (index.logBytes >= policy.logBytes || index.ageMs >= policy.ageMs) due.push(index.shard);
    else rest.push(index);
  }
  let entries = rest.reduce((sum, index) => sum + index.entries, 0);
  for (const index of rest.sort((a, b) => b.entries - a.entries || a.shard - b.shard)) {
    if (entries <= policy.entries) break;
    if (index.savedBytes > policy.rewrite * index.logBytes) continue;
    due.push(index.shard);
    entries -= index.entries;
  }
  return due;
}
