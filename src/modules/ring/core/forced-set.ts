import { META_SHARD } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { reachable, type ClusterFacts } from './facts.js';
import { nodeByUuid, type ClusterMap, type ShardPlacement } from './map.js';
import type { OperationTask } from './operation-record.js';

/**
 * When every disk of a shard's set is gone, only an operator names the copy to go on from, or an empty one (replication
 * 5.8): what no other copy has is lost with it. A disk that comes back nevertheless is of an older set: what it has
 * becomes loose and is merged (6.2, 6.4).
 */
export type ForceTask = Extract<OperationTask, { kind: 'force' }>;

/** The first reign of a forced set is so far above the last one that anybody may have heard of. */
export const FORCED_EPOCH_LEAP = 4_096;

/** Why the shard cannot be forced to that node as far as is known of who lives and holds what, or undefined. */
export function forceProblem(
  map: ClusterMap,
  facts: ClusterFacts,
  { shard, node, empty }: Pick<ForceTask, 'shard' | 'node' | 'empty'>,
): string | undefined {
  const copies = facts.shards.get(shard)?.copies;
  const answers = (uuid: NodeUuid): boolean => reachable(facts.nodes.get(uuid)?.status ?? 'LEFT');
  // One that answers and tells nothing of its copy may be opening it.
  const living = map.placement[shard].members.find((uuid) => answers(uuid) && copies?.get(uuid)?.faulted !== true);
  if (living !== undefined) {
    const name = nodeByUuid(map, living)?.nodeId ?? living;
    return `"${name}" has a copy of shard ${shard} and answers: the shard goes on from that by itself`;
  }
  const name = nodeByUuid(map, node)?.nodeId ?? node;
  if (!answers(node)) return `"${name}" does not answer`;
  const copy = copies?.get(node);
  if (copy?.faulted === true) return `the copy of shard ${shard} on "${name}" is damaged`;
  if (empty && copy !== undefined)
    return `"${name}" has a copy of shard ${shard}: go on from that, or name a node without one`;
  if (!empty && copy === undefined)
    return `"${name}" has no copy of shard ${shard} to go on from; to begin an empty one there, say so`;
  return undefined;
}

/** The forced placement of a shard, or why the map refuses it. */
export function forcedPlacement(
  map: ClusterMap,
  { shard, node, epochFloor, after }: ForceTask,
): ShardPlacement | string {
  const placement: ShardPlacement | undefined = shard === META_SHARD ? undefined : map.placement[shard];
  if (placement === undefined) return `there is no shard ${shard}`;
  const known = nodeByUuid(map, node);
  if (known?.duty !== 'serving') return `"${known?.nodeId ?? node}" takes no copies`;
  if (placement.members.includes(node))
    return `"${known.nodeId}" is in the set of shard ${shard} already: its copy goes on by itself`;
  if (after !== undefined && after !== placement.epoch) {
    const now = placement.members.map((member) => `"${nodeByUuid(map, member)?.nodeId ?? member}"`).join(', ');
    return `the set of shard ${shard} has changed meanwhile, and is ${now} now: nothing was forced; look before you force it again`;
  }
  return { members: [node], learners: [], epoch: map.epoch + 1, epochFloor };
}
