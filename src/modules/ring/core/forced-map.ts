import type { NodeUuid } from '../../../kernel/peer.js';
import { nodeByUuid, type ClusterMap } from './map.js';
import { changed, refused, type MapResult } from './map-result.js';
import { remembered, type OperationRecord } from './operation-record.js';

/**
 * When a majority of the map's voters is gone for good, only an operator names the copy of the map to go on from
 * (replication 5.8). Holds the whole map of that copy: a voter that comes back nevertheless may have agreed to what that copy
 * never had, and takes this map instead (docs/adr, a forced map is a whole one).
 */
export interface ForceMapChange {
  readonly kind: 'forceMap';
  /** Of the operation that is remembered for it. */
  readonly id: string;
  /** The only voter from now on. */
  readonly node: NodeUuid;
  /** The map the copy of that node ends with. */
  readonly base: ClusterMap;
  /** Wall clock of the proposer. */
  readonly startedMs: number;
}

/** The epoch of a forced map is above that of every map a lost voter may have agreed to. */
const FORCED_MAP_LEAP = 2 ** 20;

/** The forced map, done as soon as it is agreed; refused when the map changed since `base` was taken. */
export function forceMap(map: ClusterMap, { id, node, base, startedMs }: ForceMapChange): MapResult {
  if (base.epoch !== map.epoch) return refused('OPERATION_CONFLICT', 'the map changed meanwhile; look, and try again');
  const known = nodeByUuid(map, node);
  if (known === undefined) return refused('NODE_NOT_FOUND', `there is no node ${node}`);
  const record: OperationRecord = {
    id,
    task: { kind: 'forceMap', node },
    nodeId: known.nodeId,
    state: 'done',
    progress: { done: 1, total: 1 },
    startedMs,
    endedMs: startedMs,
    detail: 'the map goes on from the copy of that node',
  };
  const leapt = { ...map, epoch: map.epoch + FORCED_MAP_LEAP };
  return changed(leapt, {
    meta: { members: [node], learners: [], epoch: leapt.epoch + 1 },
    operations: remembered([...map.operations, record]),
  });
}
