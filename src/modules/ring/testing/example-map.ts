import { META_SHARD } from '../../../kernel/ids.js';
import type { ClusterMap, NodeRegistration } from '../core/map.js';
import { applyMapOperation, type MapOperation } from '../core/map-operations.js';
import { placementOf } from '../core/shard-set.js';

const HNSW = { m: 16, efConstruction: 200, efSearch: 100 };

/** Node `n` of the examples: "node-07" with the uuid "07". */
export function exampleNode(n: number): NodeRegistration {
  const nodeUuid = uuidOf(n);
  return { nodeId: `node-${nodeUuid}`, nodeUuid, address: `localhost:${9090 + n}`, protocolMin: 1, protocolMax: 1 };
}

export function uuidOf(n: number): string {
  return String(n).padStart(2, '0');
}

/** A map with the nodes 1 … `nodes`, everything still on node 1. */
export function exampleMap(shardCount: number, nodes: number, replicaCount = 1): ClusterMap {
  const bootstrap: MapOperation = {
    kind: 'bootstrap',
    clusterId: 'c',
    shardCount,
    settings: { replicaCount, writeConsistency: 'auto', partitionMode: 'available', rebalanceGraceMs: 600_000 },
    node: exampleNode(1),
    defaults: { similarity: 'cosine', hnsw: HNSW },
  };
  const joins = Array.from({ length: nodes - 1 }, (_, i) => register(i + 2));
  return after(after(undefined, bootstrap), ...joins);
}

export function register(n: number): MapOperation {
  return { kind: 'register', node: exampleNode(n) };
}

/** The map after operations none of which may be refused. */
export function after(map: ClusterMap | undefined, ...operations: readonly MapOperation[]): ClusterMap {
  let next = map;
  for (const operation of operations) {
    const result = applyMapOperation(next, operation);
    if (result.kind === 'refused')
      throw new Error(`${JSON.stringify(operation)} is refused: ${result.code}: ${result.detail}`);
    next = result.map;
  }
  if (next === undefined) throw new Error('no map');
  return next;
}

/** The code an operation is refused with, or "changed". */
export function refusal(map: ClusterMap, operation: MapOperation): string {
  const result = applyMapOperation(map, operation);
  return result.kind === 'refused' ? result.code : 'changed';
}

/** The map with one more member of a shard. */
export function grown(map: ClusterMap, shard: number, n: number): ClusterMap {
  const node = uuidOf(n);
  const settled = placementOf(map, shard)?.epoch ?? 0;
  return shard === META_SHARD
    ? after(map, { kind: 'addVoter', node, after: settled })
    : after(map, { kind: 'addLearner', shard, node }, { kind: 'promoteLearner', shard, node, after: settled });
}
