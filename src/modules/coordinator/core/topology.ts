import type { NodeUuid } from '../../../kernel/peer.js';
import type { StatusView } from './requests.js';
import type { CopyRoute, ShardRoute } from './route.js';

/**
 * The published topology (api.md, Status answer): each member with its shards in number order, `2` where it is the
 * primary and `2-replica` where it holds a copy. Learners hold nothing that counts yet.
 */
export function topologyOf(
  members: readonly { readonly nodeId: string; readonly nodeUuid: NodeUuid; readonly status: string }[],
  routes: readonly ShardRoute[],
): StatusView['topology'] {
  const topology: Record<string, { readonly status: string; readonly shards: readonly (number | string)[] }> = {};
  for (const { nodeId, nodeUuid, status } of [...members].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))) {
    const shards: (number | string)[] = [];
    for (const { shard, primary, copies } of routes) {
      const copy = copies.find(({ node }) => node === nodeUuid);
      if (copy === undefined || copy.role === 'learner' || copy.faulted) continue;
      shards.push(primary === nodeUuid ? shard : `${shard}-replica`);
    }
    topology[nodeId] = { status, shards };
  }
  return topology;
}

/** A copy that counts: in sync as it said last, on a node that answers. What one that does not would say is not known. */
export function serves({ inSync, status, faulted }: CopyRoute): boolean {
  return inSync && status === 'ACTIVE' && !faulted;
}

/** Every copy that is left of a shard is damaged, by its route or as its node said since. */
export function isDamaged({ copies }: ShardRoute, since: ReadonlySet<NodeUuid> = new Set()): boolean {
  const left = copies.filter(({ role, faulted }) => role !== 'learner' || faulted);
  return left.length > 0 && left.every(({ node, faulted }) => faulted || since.has(node));
}

/** A shard has no primary, or fewer in-sync copies than the map gives it. */
export function isDegraded(route: ShardRoute): boolean {
  return degradation(route) !== undefined;
}

/** Why a shard is degraded, in words. */
export function degradation({ shard, primary, copies, wanted }: ShardRoute): string | undefined {
  const serving = copies.filter(serves);
  if (!serving.some(({ node }) => node === primary)) return `shard ${shard} has no primary`;
  return serving.length < wanted ? `shard ${shard} has ${serving.length} of ${wanted} copies in sync` : undefined;
}

/**
 * Why the map cannot be changed, in words, or undefined (replication 9.1).
 * @param astray what was agreed in the copy here is cut off: it takes no change any more (5.8)
 */
export function mapDegradation({ copies, wanted }: ShardRoute, astray: boolean): string | undefined {
  if (astray)
    return 'the map of this node has what a majority of its voters, restored from older disks, does not know, and follows it no more: stop the node, move its data directory away and start it';
  const voters = copies.filter(({ role, status, faulted }) => role !== 'learner' && status === 'ACTIVE' && !faulted);
  if (2 * voters.length > wanted) return undefined;
  return `the map has ${voters.length} of ${wanted} voters, no majority: joins, moves and new collections wait`;
}
