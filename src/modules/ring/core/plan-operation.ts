import { unreachable } from '../../../kernel/assert.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { nodeByUuid } from './map.js';
import { copiesOf } from './node-operations.js';
import type { OperationRecord } from './operation-record.js';
import { copiesPending, inSyncWithout, transfer, type PlannedAction, type ShardPlan } from './plan-shard.js';
import type { Situation } from './situation.js';

/** A removal that would lose documents is given up after this time; a node that only restarts is back by then. */
export const REMOVAL_PATIENCE_MS = 60_000;

/** The next step of a running operation; `plans` is what the shards do by themselves. */
export function planOperation(
  situation: Situation,
  record: OperationRecord,
  plans: readonly ShardPlan[],
): PlannedAction | undefined {
  const { task } = record;
  switch (task.kind) {
    case 'drain':
    case 'remove':
      return planLeaving(situation, record, task.kind, task.node, plans);
    case 'movePrimary':
      return planMovePrimary(situation, record, task.shard, task.node);
    case 'force':
    case 'forceMap':
      // Done when it began.
      return undefined;
    case 'rebalance':
      return planRebalance(situation, record);
    default:
      return unreachable(task);
  }
}

/** A record for copies that are to move because nodes came or died, when no operation stands for them yet. */
export function planNewRebalance(situation: Situation): PlannedAction | undefined {
  const { map, facts } = situation;
  if (map.operations.some(({ state, task }) => state === 'running' && task.kind !== 'movePrimary')) return undefined;
  const copies = copiesPending(situation);
  if (copies === 0) return undefined;
  const id = `rebalance-${map.epoch}`;
  return {
    kind: 'change',
    operation: { kind: 'startOperation', id, task: { kind: 'rebalance' }, startedMs: facts.wallMs, copies },
  };
}

/** Why removing a node would lose documents, or undefined: asked before an operation begins, and while it runs. */
export function removalProblem(situation: Situation, node: NodeUuid): string | undefined {
  if (situation.active(node)) return undefined;
  for (const [shard, { members }] of situation.map.placement.entries()) {
    if (!members.includes(node) || inSyncWithout(situation, shard, node) > 0) continue;
    return members.length === 1
      ? `it has the only copy of shard ${shard}, and does not answer`
      : `no other copy of shard ${shard} is in sync, and it does not answer`;
  }
  return undefined;
}

function planLeaving(
  situation: Situation,
  record: OperationRecord,
  kind: 'drain' | 'remove',
  node: NodeUuid,
  plans: readonly ShardPlan[],
): PlannedAction | undefined {
  const { map } = situation;
  if (nodeByUuid(map, node) === undefined) {
    return kind === 'remove'
      ? finish(situation, record, 'done')
      : finish(situation, record, 'failed', 'the node left the cluster');
  }
  const shards = copiesOf(map, node);
  if (shards.length === 0 && !map.meta.members.includes(node)) {
    return kind === 'drain'
      ? finish(situation, record, 'done')
      : { kind: 'change', operation: { kind: 'unregister', node } };
  }
  const problem = kind === 'remove' ? removalProblem(situation, node) : undefined;
  if (problem !== undefined && situation.awayForMs(node) >= REMOVAL_PATIENCE_MS)
    return finish(situation, record, 'failed', problem);
  const moves = shards.some((shard) => plans[shard].action !== undefined || map.placement[shard].learners.length > 0);
  const waits = moves ? undefined : shards.map((shard) => plans[shard].waits).find((text) => text !== undefined);
  return progress(record, record.progress.total - shards.length, waits);
}

function planMovePrimary(
  situation: Situation,
  record: OperationRecord,
  shard: number,
  to: NodeUuid,
): PlannedAction | undefined {
  const { primary } = situation.shard(shard);
  if (primary === to) return finish(situation, record, 'done');
  if (!situation.map.placement[shard].members.includes(to) || !situation.serving(to))
    return finish(situation, record, 'failed', 'the node gave its copy away meanwhile');
  if (primary === undefined || !situation.inSync(shard, to)) return progress(record, 0, 'the copy is not in sync');
  return transfer(situation, { shard, from: primary, to }, false).action ?? progress(record, 0, undefined);
}

function planRebalance(situation: Situation, record: OperationRecord): PlannedAction | undefined {
  const pending = copiesPending(situation);
  const surplus = situation.map.placement.some(
    ({ members }, shard) =>
      members.length > situation.wanted && members.some((node) => !situation.target[shard].includes(node)),
  );
  if (pending === 0 && !surplus) return finish(situation, record, 'done');
  return progress(record, record.progress.total - pending, undefined);
}

/** Only what is new is worth a change of the map. */
function progress(record: OperationRecord, done: number, detail: string | undefined): PlannedAction | undefined {
  if (done <= record.progress.done && detail === record.detail) return undefined;
  const { id } = record;
  return {
    kind: 'change',
    operation: { kind: 'updateOperation', id, done, ...(detail === undefined ? {} : { detail }) },
  };
}

function finish({ facts }: Situation, { id }: OperationRecord, end: 'done' | 'failed', detail?: string): PlannedAction {
  return {
    kind: 'change',
    operation: {
      kind: 'finishOperation',
      id,
      end,
      endedMs: facts.wallMs,
      ...(detail === undefined ? {} : { detail }),
    },
  };
}
