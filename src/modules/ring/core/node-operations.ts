import { unreachable } from '../../../kernel/assert.js';
import { compareIds } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { NODES_MAX, nodeById, nodeByUuid, type ClusterMap, type NodeRegistration, type RegisteredNode } from './map.js';
import { changed, refused, type MapResult } from './map-result.js';

export type NodeOperation =
  /**
   * A node joins, or tells its address, name or protocol anew. A uuid that is new under a name that is taken (a wiped
   * disk, 5.8) names in `replaces` the uuid it found there, after making sure that nobody answers as that one. A node
   * that was drained and registers again serves again.
   */
  | { readonly kind: 'register'; readonly node: NodeRegistration; readonly replaces?: NodeUuid }
  /** A node without copies leaves the map. */
  | { readonly kind: 'unregister'; readonly node: NodeUuid };

export function applyNodeOperation(map: ClusterMap, operation: NodeOperation): MapResult {
  switch (operation.kind) {
    case 'register':
      return register(map, operation.node, operation.replaces);
    case 'unregister':
      return unregister(map, operation.node);
    default:
      return unreachable(operation);
  }
}

/** Whether a starting node has something to tell the map: it is new there, changed, or was drained before. */
export function mustRegister(map: ClusterMap, node: NodeRegistration): boolean {
  const known = nodeByUuid(map, node.nodeUuid);
  return (
    known === undefined ||
    known.duty === 'drained' ||
    known.nodeId !== node.nodeId ||
    known.address !== node.address ||
    known.protocolMin !== node.protocolMin ||
    known.protocolMax !== node.protocolMax
  );
}

/** Shards the node has a copy of or is to get one of, ascending. */
export function copiesOf(map: ClusterMap, node: NodeUuid): readonly number[] {
  return map.placement.flatMap(({ members, learners }, shard) =>
    members.includes(node) || learners.includes(node) ? [shard] : [],
  );
}

/** An operator removed it (replication 9.5): its process may still run, and must not come back by itself. */
export function wasRemoved(map: ClusterMap, node: NodeUuid): boolean {
  return map.operations.some(
    ({ task, state }) => task.kind === 'remove' && task.node === node && (state === 'running' || state === 'done'),
  );
}

function register(map: ClusterMap, node: NodeRegistration, replaces: NodeUuid | undefined): MapResult {
  const { nodeId, nodeUuid, address, protocolMin, protocolMax } = node;
  const namesake = nodeById(map, nodeId);
  if (namesake !== undefined && namesake.nodeUuid !== nodeUuid && namesake.nodeUuid !== replaces) {
    return refused(
      'OPERATION_CONFLICT',
      `another node is registered as "${nodeId}", at ${namesake.address}; give this one another --node-id, or remove that one`,
    );
  }
  const others = map.nodes.filter((other) => other.nodeUuid !== nodeUuid && other.nodeId !== nodeId);
  const foreign = others.find((other) => other.protocolMax < protocolMin || protocolMax < other.protocolMin);
  if (foreign !== undefined) {
    return refused(
      'OPERATION_CONFLICT',
      `"${nodeId}" speaks protocol ${protocolMin} to ${protocolMax}, "${foreign.nodeId}" ${foreign.protocolMin} to ${foreign.protocolMax}: upgrade in smaller steps`,
    );
  }
  if (others.length >= NODES_MAX) return refused('LIMIT_EXCEEDED', `a cluster has at most ${NODES_MAX} nodes`);
  const known = nodeByUuid(map, nodeUuid);
  const duty = known === undefined || known.duty === 'drained' ? 'serving' : known.duty;
  const since = known?.since ?? map.epoch + 1;
  const registered: RegisteredNode = { nodeId, nodeUuid, address, protocolMin, protocolMax, duty, since };
  return changed(map, { nodes: [...others, registered].sort((a, b) => compareIds(a.nodeId, b.nodeId)) });
}

function unregister(map: ClusterMap, node: NodeUuid): MapResult {
  const known = nodeByUuid(map, node);
  if (known === undefined) return refused('NODE_NOT_FOUND', `there is no node ${node}`);
  const shards = copiesOf(map, node);
  if (shards.length > 0)
    return refused(
      'OPERATION_CONFLICT',
      `"${known.nodeId}" has copies of ${shards.length} shards, of shard ${shards[0]} first`,
    );
  if (map.meta.members.includes(node)) return refused('OPERATION_CONFLICT', `"${known.nodeId}" votes on the map`);
  return changed(map, { nodes: map.nodes.filter((other) => other !== known) });
}
