import { unreachable } from '../../../kernel/assert.js';
import { META_SHARD } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { nodeByUuid, type ClusterMap, type ShardPlacement } from './map.js';
import { changed, refused, type MapResult } from './map-result.js';
import { placementOf } from './shard-set.js';

/**
 * Changes of one shard's copies (replication 9.6): one replica at a time. `after` is the set epoch the shard's primary
 * reported as settled (SET and a BARRIER of its epoch below the high-water mark); a change on top of another set is
 * refused, so that no primary ever steps over a set it has not counted by.
 */
export type SetOperation =
  | { readonly kind: 'addLearner'; readonly shard: number; readonly node: NodeUuid }
  | { readonly kind: 'removeLearner'; readonly shard: number; readonly node: NodeUuid }
  | { readonly kind: 'promoteLearner'; readonly shard: number; readonly node: NodeUuid; readonly after: number }
  | { readonly kind: 'removeMember'; readonly shard: number; readonly node: NodeUuid; readonly after: number }
  /** The member becomes the preferred primary. */
  | { readonly kind: 'preferPrimary'; readonly shard: number; readonly node: NodeUuid }
  /** A node that reads the map becomes one of META_SHARD's voters, or a voter goes back to reading. */
  | { readonly kind: 'addVoter'; readonly node: NodeUuid; readonly after: number }
  | { readonly kind: 'removeVoter'; readonly node: NodeUuid; readonly after: number };

const OUTDATED = 'the shard has another set by now: look at the map again';

export function applySetOperation(map: ClusterMap, operation: SetOperation): MapResult {
  if (operation.kind === 'addVoter' || operation.kind === 'removeVoter') return changeVoters(map, operation);
  const { shard, node } = operation;
  const placement = shard === META_SHARD ? undefined : placementOf(map, shard);
  if (placement === undefined) return refused('SHARD_NOT_FOUND', `there is no shard ${shard}`);
  const { members, learners } = placement;
  switch (operation.kind) {
    case 'addLearner':
      if (nodeByUuid(map, node)?.duty !== 'serving') return refused('NODE_NOT_FOUND', `no node ${node} takes copies`);
      if (members.includes(node) || learners.includes(node))
        return refused('OPERATION_CONFLICT', `node ${node} has a copy of shard ${shard} already`);
      if (learners.length > 0)
        return refused('OPERATION_CONFLICT', `shard ${shard} is moving to node ${learners[0]} already`);
      return replaced(map, shard, { ...placement, learners: [node] });
    case 'removeLearner':
      if (!learners.includes(node)) return refused('NODE_NOT_FOUND', `node ${node} learns no shard ${shard}`);
      return replaced(map, shard, { ...placement, learners: without(learners, node) });
    case 'promoteLearner':
      if (!learners.includes(node)) return refused('NODE_NOT_FOUND', `node ${node} learns no shard ${shard}`);
      if (operation.after !== placement.epoch) return refused('OPERATION_CONFLICT', OUTDATED);
      return replaced(map, shard, {
        ...placement,
        members: [...members, node],
        learners: without(learners, node),
        epoch: map.epoch + 1,
      });
    case 'removeMember':
      if (!members.includes(node)) return refused('NODE_NOT_FOUND', `node ${node} is no member of shard ${shard}`);
      if (members.length === 1) return refused('OPERATION_CONFLICT', `shard ${shard} has no other member`);
      if (operation.after !== placement.epoch) return refused('OPERATION_CONFLICT', OUTDATED);
      return replaced(map, shard, {
        ...(members[0] === node ? unpinned(placement) : placement),
        members: without(members, node),
        epoch: map.epoch + 1,
      });
    case 'preferPrimary':
      if (!members.includes(node)) return refused('NODE_NOT_FOUND', `node ${node} is no member of shard ${shard}`);
      return replaced(map, shard, { ...unpinned(placement), members: preferring(members, node) });
    default:
      return unreachable(operation);
  }
}

/** The members with `node` first, the others in their order. */
export function preferring(members: readonly NodeUuid[], node: NodeUuid): readonly NodeUuid[] {
  return [node, ...without(members, node)];
}

/** The map's placement with one shard's replaced. */
export function withPlacement(map: ClusterMap, shard: number, placement: ShardPlacement): readonly ShardPlacement[] {
  return map.placement.map((old, at) => (at === shard ? placement : old));
}

function changeVoters(
  map: ClusterMap,
  { kind, node, after }: Extract<SetOperation, { kind: 'addVoter' | 'removeVoter' }>,
): MapResult {
  const { meta } = map;
  const votes = meta.members.includes(node);
  if (kind === 'addVoter') {
    if (nodeByUuid(map, node)?.duty !== 'serving') return refused('NODE_NOT_FOUND', `no node ${node} takes copies`);
    if (votes) return refused('OPERATION_CONFLICT', `node ${node} votes on the map already`);
  } else {
    if (!votes) return refused('NODE_NOT_FOUND', `node ${node} has no vote on the map`);
    if (meta.members.length === 1) return refused('OPERATION_CONFLICT', 'the map has no other voter');
  }
  if (after !== meta.epoch) return refused('OPERATION_CONFLICT', OUTDATED);
  const members = kind === 'addVoter' ? [...meta.members, node] : without(meta.members, node);
  return changed(map, { meta: { ...meta, members, epoch: map.epoch + 1 } });
}

function replaced(map: ClusterMap, shard: number, placement: ShardPlacement): MapResult {
  return changed(map, { placement: withPlacement(map, shard, placement) });
}

function unpinned({ members, learners, epoch }: ShardPlacement): ShardPlacement {
  return { members, learners, epoch };
}

function without(nodes: readonly NodeUuid[], node: NodeUuid): readonly NodeUuid[] {
  return nodes.filter((other) => other !== node);
}
