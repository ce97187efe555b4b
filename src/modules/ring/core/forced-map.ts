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

/** The epoch of a forced map is so far above all that a lost voter may have agreed to. */
const FORCED_MAP_LEAP = 2 ** 16;
/** The same of the ids it gives to collections; rows of each are looked for at a start. */
const COLLECTION_IDS_LEAP = 256;

/** The forced map, whatever map there was. Every shard's set is one of it: what a lost voter decided of them is over. */
export function forceMap({ id, node, base, startedMs }: ForceMapChange): MapResult {
  const known = nodeByUuid(base, node);
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
  const before = { ...base, epoch: base.epoch + FORCED_MAP_LEAP };
  const epoch = before.epoch + 1;
  return changed(before, {
    meta: { members: [node], learners: [], epoch },
    placement: base.placement.map((placement) => ({ ...placement, epoch })),
    operations: remembered([...base.operations, record]),
    nextCollectionId: base.nextCollectionId + COLLECTION_IDS_LEAP,
  });
}
