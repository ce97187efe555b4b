import { unreachable } from '../../../kernel/assert.js';
import { META_SHARD } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { forcedPlacement, type ForceTask } from './forced-set.js';
import { nodeByUuid, type ClusterMap, type NodeDuty, type RegisteredNode, type ShardPlacement } from './map.js';
import { changed, refused, type MapResult } from './map-result.js';
import { copiesOf } from './node-operations.js';
import {
  OPERATIONS_RUNNING_MAX,
  remembered,
  type OperationEnd,
  type OperationRecord,
  type OperationTask,
} from './operation-record.js';
import { preferring, withPlacement } from './set-operations.js';

/** Changes of the records of long operations. Times are wall clock readings of the proposer. */
export type OperationChange =
  /** `id` is the caller's choice and unique; `copies` is what a rebalance is to move. */
  | {
      readonly kind: 'startOperation';
      readonly id: string;
      readonly task: OperationTask;
      readonly startedMs: number;
      readonly copies?: number;
    }
  | { readonly kind: 'updateOperation'; readonly id: string; readonly done: number; readonly detail?: string }
  | {
      readonly kind: 'finishOperation';
      readonly id: string;
      readonly end: 'done' | 'failed';
      readonly endedMs: number;
      readonly detail?: string;
    }
  /** Somebody took it back: what has moved stays where it is. */
  | { readonly kind: 'abortOperation'; readonly id: string; readonly endedMs: number };

export function applyOperationChange(map: ClusterMap, change: OperationChange): MapResult {
  if (change.kind === 'startOperation') return start(map, change);
  const record = map.operations.find(({ id }) => id === change.id);
  if (record === undefined) return refused('OPERATION_NOT_FOUND', `there is no operation "${change.id}"`);
  if (record.state !== 'running')
    return refused('OPERATION_CONFLICT', `the operation "${change.id}" has ended: ${record.state}`);
  switch (change.kind) {
    case 'updateOperation': {
      const { total } = record.progress;
      const done = Math.max(record.progress.done, Math.min(change.done, total));
      return changed(map, {
        operations: updated(map, described({ ...record, progress: { done, total } }, change.detail)),
      });
    }
    case 'finishOperation':
      return change.end === 'done' ? finish(map, record, change) : end(map, record, change.end, change);
    case 'abortOperation':
      if (record.task.kind === 'rebalance') {
        return refused(
          'OPERATION_CONFLICT',
          'the cluster balances its copies by itself; what it would move to can be drained instead',
        );
      }
      return end(map, record, 'aborted', change);
    default:
      return unreachable(change);
  }
}

/** The operation that is under way for a node, or undefined. */
export function runningOn(map: ClusterMap, node: NodeUuid): OperationRecord | undefined {
  return map.operations.find(
    ({ state, task }) => state === 'running' && (task.kind === 'drain' || task.kind === 'remove') && task.node === node,
  );
}

/** An operator's move of a shard's primary is under way. */
export function primaryMoves(map: ClusterMap, shard: number): boolean {
  return map.operations.some(
    ({ state, task }) => state === 'running' && task.kind === 'movePrimary' && task.shard === shard,
  );
}

function start(map: ClusterMap, change: Extract<OperationChange, { kind: 'startOperation' }>): MapResult {
  const { id, task, startedMs } = change;
  if (map.operations.some((record) => record.id === id))
    return refused('OPERATION_CONFLICT', `the operation "${id}" exists already`);
  if (map.operations.filter(({ state }) => state === 'running').length >= OPERATIONS_RUNNING_MAX)
    return refused('LIMIT_EXCEEDED', `at most ${OPERATIONS_RUNNING_MAX} operations run at once; wait for one to end`);
  const node = task.kind === 'rebalance' ? undefined : nodeByUuid(map, task.node);
  const record = (total: number): OperationRecord => ({
    id,
    task,
    ...(node === undefined ? {} : { nodeId: node.nodeId }),
    state: 'running',
    progress: { done: 0, total },
    startedMs,
  });
  switch (task.kind) {
    case 'drain':
    case 'remove':
      return startLeaving(map, task, record(copiesOf(map, task.node).length));
    case 'movePrimary':
      return startMovePrimary(map, task.shard, task.node, record(1));
    case 'force':
      return force(map, task, record(1));
    case 'rebalance':
      if (map.operations.some((other) => other.state === 'running' && other.task.kind === 'rebalance'))
        return refused('OPERATION_CONFLICT', 'the cluster balances its copies already');
      return changed(map, { operations: remembered([...map.operations, record(change.copies ?? 0)]) });
    default:
      return unreachable(task);
  }
}

function startLeaving(
  map: ClusterMap,
  task: Extract<OperationTask, { kind: 'drain' | 'remove' }>,
  record: OperationRecord,
): MapResult {
  const node = nodeByUuid(map, task.node);
  if (node === undefined) return refused('NODE_NOT_FOUND', `there is no node ${task.node}`);
  const { nodeId, duty } = node;
  if (runningOn(map, task.node) !== undefined)
    return refused('OPERATION_CONFLICT', `"${nodeId}" is ${duty} already; abort that operation first`);
  if (task.kind === 'drain' && duty === 'drained')
    return refused('OPERATION_CONFLICT', `"${nodeId}" is drained already`);
  if (!map.nodes.some((other) => other !== node && other.duty === 'serving')) {
    const problem = map.nodes.length === 1 ? 'is the only node' : 'is the only node that takes copies';
    return refused('OPERATION_CONFLICT', `"${nodeId}" ${problem}: there is none to take its shards`);
  }
  return changed(map, {
    nodes: withDuty(map, node, task.kind === 'drain' ? 'draining' : 'removing'),
    operations: remembered([...map.operations, record]),
  });
}

/** Done as soon as the map has it: the node begins to reign by itself. */
function force(map: ClusterMap, task: ForceTask, record: OperationRecord): MapResult {
  const placement = forcedPlacement(map, task);
  if (typeof placement === 'string') return refused('OPERATION_CONFLICT', placement);
  const done: OperationRecord = {
    ...record,
    state: 'done',
    progress: { done: 1, total: 1 },
    endedMs: record.startedMs,
    detail: task.empty ? 'the shard begins anew, empty' : 'the shard goes on from the copy of that node',
  };
  return changed(map, {
    placement: withPlacement(map, task.shard, placement),
    operations: remembered([...map.operations, done]),
  });
}

function startMovePrimary(map: ClusterMap, shard: number, node: NodeUuid, record: OperationRecord): MapResult {
  const placement: ShardPlacement | undefined = shard === META_SHARD ? undefined : map.placement[shard];
  if (placement === undefined) return refused('SHARD_NOT_FOUND', `there is no shard ${shard}`);
  const known = nodeByUuid(map, node);
  if (known === undefined) return refused('NODE_NOT_FOUND', `there is no node ${node}`);
  if (known.duty !== 'serving') return refused('OPERATION_CONFLICT', `"${known.nodeId}" is ${known.duty}`);
  if (!placement.members.includes(node))
    return refused('OPERATION_CONFLICT', `"${known.nodeId}" has no copy of shard ${shard} that could be its primary`);
  if (primaryMoves(map, shard))
    return refused('OPERATION_CONFLICT', `the primary of shard ${shard} is being moved already`);
  return changed(map, { operations: remembered([...map.operations, record]) });
}

function finish(
  map: ClusterMap,
  record: OperationRecord,
  change: { readonly endedMs: number; readonly detail?: string },
): MapResult {
  const { task } = record;
  const { total } = record.progress;
  const whole = { ...record, progress: { done: total, total } };
  if (task.kind === 'remove' && nodeByUuid(map, task.node) !== undefined)
    return refused('OPERATION_CONFLICT', `node ${task.node} is still registered`);
  if (task.kind === 'movePrimary') return end({ ...map, placement: preferred(map, task) }, whole, 'done', change);
  if (task.kind !== 'drain') return end(map, whole, 'done', change);
  const node = nodeByUuid(map, task.node);
  if (node === undefined) return refused('NODE_NOT_FOUND', `there is no node ${task.node}`);
  if (copiesOf(map, task.node).length > 0 || map.meta.members.includes(task.node))
    return refused('OPERATION_CONFLICT', `"${node.nodeId}" still has copies`);
  return end({ ...map, nodes: withDuty(map, node, 'drained') }, whole, 'done', change);
}

/** The node that has become primary stays it, unless it gave its copy away meanwhile. Not before: a move may be taken back. */
function preferred(
  map: ClusterMap,
  { shard, node }: Extract<OperationTask, { kind: 'movePrimary' }>,
): readonly ShardPlacement[] {
  const { members, learners, epoch } = map.placement[shard];
  if (!members.includes(node)) return map.placement;
  return withPlacement(map, shard, { members: preferring(members, node), learners, epoch, pinned: true });
}

/** Ends a record; a node that was to leave and does not serves again. */
function end(
  map: ClusterMap,
  record: OperationRecord,
  state: OperationEnd,
  { endedMs, detail }: { readonly endedMs: number; readonly detail?: string },
): MapResult {
  const { task } = record;
  const node = task.kind === 'drain' || task.kind === 'remove' ? nodeByUuid(map, task.node) : undefined;
  return changed(map, {
    ...(node === undefined || state === 'done' ? {} : { nodes: withDuty(map, node, 'serving') }),
    operations: updated(map, described({ ...record, state, endedMs }, detail)),
  });
}

/** The record with this detail, or with none. */
function described(record: OperationRecord, detail: string | undefined): OperationRecord {
  const { detail: _old, ...rest } = record;
  return detail === undefined ? rest : { ...rest, detail };
}

function updated(map: ClusterMap, record: OperationRecord): readonly OperationRecord[] {
  return map.operations.map((other) => (other.id === record.id ? record : other));
}

function withDuty(map: ClusterMap, node: RegisteredNode, duty: NodeDuty): readonly RegisteredNode[] {
  return map.nodes.map((other) => (other.nodeUuid === node.nodeUuid ? { ...other, duty } : other));
}
