import { compareEpochs, sameEpoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { DiskRoom } from '../../../platform/resources/disk-guard.js';
import type { NodeRecord, NodeStatus } from '../../membership/core/node-record.js';
import {
  reachable,
  type ClusterFacts,
  type CopyFacts,
  type NodeFacts,
  type ShardFacts,
  type Transfer,
} from '../../ring/core/facts.js';
import type { ClusterMap } from '../../ring/core/map.js';
import type { ShardPosition } from '../core/protocol.js';

/** What heartbeats told, as it is now. */
export interface Observation {
  /** Monotonic. */
  readonly nowMs: number;
  readonly wallMs: number;
  readonly map: ClusterMap;
  /** The view, this node included. */
  readonly records: readonly NodeRecord[];
  /** The last positions of every node, this node's own included. A learner judges itself in sync like any other (7.1). */
  readonly positions: ReadonlyMap<NodeUuid, readonly ShardPosition[]>;
  readonly transfers: readonly Transfer[];
  /** How much room the disk of a node has. */
  readonly room: (node: NodeUuid) => DiskRoom;
}

/**
 * Makes facts of observations: adds since when, by this node's own monotonic clock. A node that begins to observe counts
 * every grace period from then on, so that a new primary of the map never moves copies early.
 */
export class ObservedFacts {
  #nodes = new Map<NodeUuid, { readonly up: boolean; readonly sinceMs: number }>();
  /** By shard, then node: since when a copy has been in sync without a break. */
  #inSync = new Map<number, Map<NodeUuid, number>>();

  observe(seen: Observation): ClusterFacts {
    const nodes = this.#observeNodes(seen);
    const shards = new Map<number, ShardFacts>();
    const inSync = new Map<number, Map<NodeUuid, number>>();
    for (const [shard, positions] of byShard(seen, nodes)) {
      const [primary] = positions
        .filter(({ position }) => position.role === 'primary')
        .sort((a, b) => compareEpochs(b.position.epoch, a.position.epoch));
      const copies = new Map<NodeUuid, CopyFacts>();
      const since = new Map<NodeUuid, number>();
      for (const { node, position } of positions) {
        const current = primary !== undefined && sameEpoch(position.epoch, primary.position.epoch);
        const whole = current && !position.faulted && (node === primary.node || position.inSync);
        const inSyncSinceMs = this.#inSync.get(shard)?.get(node) ?? seen.nowMs;
        if (whole) since.set(node, inSyncSinceMs);
        copies.set(node, { inSync: whole, inSyncSinceMs, faulted: position.faulted });
      }
      inSync.set(shard, since);
      shards.set(shard, { primary: primary?.node, settled: primary?.position.settled ?? 0, copies });
    }
    this.#inSync = inSync;
    return { nowMs: seen.nowMs, wallMs: seen.wallMs, nodes, shards, transfers: seen.transfers };
  }

  /** Registered nodes and those of the view; one that nobody has heard of is away since it was first missed. */
  #observeNodes({ map, records, nowMs, room }: Observation): ReadonlyMap<NodeUuid, NodeFacts> {
    const statuses = new Map<NodeUuid, NodeStatus>(map.nodes.map(({ nodeUuid }) => [nodeUuid, 'UNAVAILABLE']));
    for (const { nodeUuid, status } of records) statuses.set(nodeUuid, status);
    const facts = new Map<NodeUuid, NodeFacts>();
    const remembered = new Map<NodeUuid, { readonly up: boolean; readonly sinceMs: number }>();
    for (const [uuid, status] of statuses) {
      const up = reachable(status);
      const before = this.#nodes.get(uuid);
      const known = before?.up === up ? before : { up, sinceMs: nowMs };
      remembered.set(uuid, known);
      const disk = room(uuid);
      facts.set(uuid, { status, sinceMs: known.sinceMs, ...(disk === 'ample' ? {} : { disk }) });
    }
    this.#nodes = remembered;
    return facts;
  }
}

interface PositionOf {
  readonly node: NodeUuid;
  readonly position: ShardPosition;
}

/** Positions of nodes that answer, by shard; what a silent one said last is no fact any more. */
function byShard(
  { positions }: Observation,
  nodes: ReadonlyMap<NodeUuid, NodeFacts>,
): ReadonlyMap<number, readonly PositionOf[]> {
  const shards = new Map<number, PositionOf[]>();
  for (const [node, own] of [...positions].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const facts = nodes.get(node);
    if (facts === undefined || !reachable(facts.status)) continue;
    for (const position of own) {
      const list = shards.get(position.shard);
      if (list === undefined) shards.set(position.shard, [{ node, position }]);
      else list.push({ node, position });
    }
  }
  return shards;
}
