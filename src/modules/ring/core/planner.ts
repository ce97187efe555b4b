import type { ClusterFacts } from './facts.js';
import type { ClusterMap } from './map.js';
import type { Placer } from './placement.js';
import { planMeta } from './plan-meta.js';
import { planNewRebalance, planOperation } from './plan-operation.js';
import { planShard, type PlannedAction } from './plan-shard.js';
import { Situation } from './situation.js';

/**
 * What to do next so that every copy, every preferred primary and the map's voters come to where they shall be
 * (replication 9). Pure: nothing is remembered between two plans, so any primary of the map goes on with what another
 * began. At most one change per shard; the caller performs them in order and asks again.
 */
export function planNext(map: ClusterMap, facts: ClusterFacts, placer: Placer): readonly PlannedAction[] {
  const situation = new Situation(map, facts, placer);
  const actions: (PlannedAction | undefined)[] = [];
  // An operator's wish goes before what the shards would do by themselves.
  const moving = map.operations.filter(({ state, task }) => state === 'running' && task.kind === 'movePrimary');
  for (const record of moving) actions.push(planOperation(situation, record, []));
  const plans = map.placement.map((_, shard) => planShard(situation, shard));
  actions.push(...plans.map(({ action }) => action), planMeta(situation));
  for (const record of map.operations) {
    if (record.state !== 'running' || record.task.kind === 'movePrimary') continue;
    actions.push(planOperation(situation, record, plans));
  }
  actions.push(planNewRebalance(situation));
  return actions.filter((action) => action !== undefined);
}
