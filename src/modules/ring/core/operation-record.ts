import type { NodeUuid } from '../../../kernel/peer.js';

/** Operations a map remembers: the last ones, for whoever asks how they ended. */
export const OPERATIONS_KEPT_MAX = 32;
/** Of those the last nodes that were removed: they are told so when they are started again. */
export const REMOVALS_KEPT = 8;
/** Operations that may run at once; the kept ones leave room for all of them. */
export const OPERATIONS_RUNNING_MAX = 16;

/** What an operation is to reach. */
export type OperationTask =
  /** Everything leaves the node; it stays registered. */
  | { readonly kind: 'drain'; readonly node: NodeUuid }
  /** Everything leaves the node, then the node leaves the map. */
  | { readonly kind: 'remove'; readonly node: NodeUuid }
  /** The node becomes primary of the shard, and stays the preferred one. */
  | { readonly kind: 'movePrimary'; readonly shard: number; readonly node: NodeUuid }
  /**
   * The set of the shard, whose disks are all gone, becomes this node alone: with the copy it has, or an empty one. Done
   * at once, and kept for whoever asks. The next reign has a higher epoch number than `epochFloor`.
   */
  | {
      readonly kind: 'force';
      readonly shard: number;
      readonly node: NodeUuid;
      readonly empty: boolean;
      readonly epochFloor: number;
      /** Map epoch of the set it replaces: refused over another one. Absent in logs of before. */
      readonly after?: number;
    }
  /** Copies move because nodes came or died; the planner starts it by itself. */
  | { readonly kind: 'rebalance' };

/** The map goes on from the copy of this node, whose other voters are gone. Done at once, and kept for whoever asks. */
export interface ForceMapTask {
  readonly kind: 'forceMap';
  readonly node: NodeUuid;
}

export type OperationEnd = 'done' | 'failed' | 'aborted';

/** A long change of the cluster, kept in the map so that every primary of META_SHARD can go on with it. */
export interface OperationRecord {
  readonly id: string;
  readonly task: OperationTask | ForceMapTask;
  /** Name of the task's node when it began: the node may be gone from the map. */
  readonly nodeId?: string;
  readonly state: 'running' | OperationEnd;
  /** Copies to move; both only grow. */
  readonly progress: { readonly done: number; readonly total: number };
  /** Wall clock. */
  readonly startedMs: number;
  readonly endedMs?: number;
  /** What it waits for, or why it failed. */
  readonly detail?: string;
}

/** Of the records those a map keeps: the running ones, the last removals, whose nodes may not come back, and the last others. */
export function remembered(records: readonly OperationRecord[]): readonly OperationRecord[] {
  const surplus = records.length - OPERATIONS_KEPT_MAX;
  if (surplus <= 0) return records;
  const ended = records.filter(({ state }) => state !== 'running');
  const removals = ended.filter(({ task, state }) => task.kind === 'remove' && state === 'done').slice(-REMOVALS_KEPT);
  const others = ended.filter((record) => !removals.includes(record));
  const dropped = new Set([...others, ...removals].slice(0, surplus));
  return records.filter((record) => !dropped.has(record));
}
