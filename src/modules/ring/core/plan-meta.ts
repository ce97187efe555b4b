import { META_SHARD } from '../../../kernel/ids.js';
import { metaVoters } from './meta-voters.js';
import { transfer, type PlannedAction } from './plan-shard.js';
import type { Situation } from './situation.js';

/** The next change of the map's voters (replication 9.1), one at a time; a primary that is to go hands over first. */
export function planMeta(situation: Situation): PlannedAction | undefined {
  const { map } = situation;
  const { members, epoch } = map.meta;
  const { primary, settled } = situation.shard(META_SHARD);
  if (primary === undefined || settled !== epoch) return undefined;
  const live = new Set(
    map.nodes.map(({ nodeUuid }) => nodeUuid).filter((uuid) => uuid === primary || situation.inSync(META_SHARD, uuid)),
  );
  const next = metaVoters(map, { live, lost: situation.lost, primary });
  const node = next.find((uuid) => !members.includes(uuid));
  if (node !== undefined) return { kind: 'change', operation: { kind: 'addVoter', node, after: epoch } };
  const leaving = members.find((uuid) => !next.includes(uuid));
  if (leaving !== undefined) return { kind: 'change', operation: { kind: 'removeVoter', node: leaving, after: epoch } };
  if (situation.serving(primary)) return undefined;
  const to = members.find((uuid) => uuid !== primary && situation.serving(uuid) && situation.inSync(META_SHARD, uuid));
  return to === undefined ? undefined : transfer(situation, { shard: META_SHARD, from: primary, to }, false).action;
}
