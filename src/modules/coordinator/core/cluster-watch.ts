import type { NodeUuid } from '../../../kernel/peer.js';
import type { NodeEvent } from '../coordinator.js';

/** A member as the view has it. */
export interface SeenMember {
  readonly nodeUuid: NodeUuid;
  readonly nodeId: string;
  readonly status: string;
}

/** A shard as this node knows it. */
export interface SeenShard {
  readonly shard: number;
  /** Number of the newest epoch; 0 when none is known. */
  readonly epoch: number;
  readonly primary: NodeUuid | undefined;
  /** Nodes with a copy in sync that are there; the primary is among them. */
  readonly inSync: readonly NodeUuid[];
  /** Nodes the map gives a copy, in its order. */
  readonly members: readonly NodeUuid[];
}

/** The cluster at one moment. */
export interface ClusterSight {
  readonly members: readonly SeenMember[];
  readonly shards: readonly SeenShard[];
}

interface ShardMemory {
  readonly epoch: number;
  readonly primary: NodeUuid | undefined;
  readonly inSync: readonly NodeUuid[];
  readonly members: readonly NodeUuid[];
}

/**
 * Makes events of what changed between two sights of the cluster (api.md, events). The first sight is where it begins:
 * it makes none. Every node tells the same changes, each when it learns of them.
 */
export class ClusterWatch {
  readonly #present = new Map<NodeUuid, string>();
  readonly #shards = new Map<number, ShardMemory>();
  #began = false;

  see(sight: ClusterSight, nameOf: (node: NodeUuid) => string): readonly NodeEvent[] {
    const events = [...this.#members(sight.members)];
    for (const shard of sight.shards) events.push(...this.#shard(shard, nameOf));
    const began = this.#began;
    this.#began = true;
    return began ? events : [];
  }

  *#members(members: readonly SeenMember[]): Iterable<NodeEvent> {
    const now = new Map(members.filter(isPresent).map((member) => [member.nodeUuid, member]));
    for (const [nodeUuid, node] of [...this.#present].sort(byKey)) {
      if (now.has(nodeUuid)) continue;
      this.#present.delete(nodeUuid);
      const status = members.find((member) => member.nodeUuid === nodeUuid)?.status ?? 'LEFT';
      yield { type: 'cluster.node_left', data: { node, nodeUuid, status } };
    }
    for (const [nodeUuid, { nodeId: node, status }] of [...now].sort(byKey)) {
      if (this.#present.has(nodeUuid)) continue;
      this.#present.set(nodeUuid, node);
      yield { type: 'cluster.node_joined', data: { node, nodeUuid, status } };
    }
  }

  *#shard(seen: SeenShard, nameOf: (node: NodeUuid) => string): Iterable<NodeEvent> {
    const { shard, inSync, members } = seen;
    const before = this.#shards.get(shard);
    // A shard whose primary is gone keeps its last reign: the next one is a change from that.
    const anew = seen.primary !== undefined && seen.epoch > (before?.epoch ?? 0);
    const { epoch, primary } = anew ? seen : (before ?? { epoch: 0, primary: undefined });
    this.#shards.set(shard, { epoch, primary, inSync, members });
    if (before === undefined) return;
    const names = (nodes: readonly NodeUuid[]): readonly string[] => nodes.map(nameOf);
    if (anew) {
      const previous = before.primary === undefined ? {} : { previous: nameOf(before.primary) };
      yield {
        type: 'cluster.primary_changed',
        data: { shard, epoch, node: nameOf(seen.primary ?? ''), ...previous },
      };
    }
    for (const node of inSync) {
      if (node === seen.primary || before.inSync.includes(node)) continue;
      yield { type: 'cluster.replica_synced', data: { shard, node: nameOf(node) } };
    }
    const added = members.filter((node) => !before.members.includes(node));
    const removed = before.members.filter((node) => !members.includes(node));
    if (added.length + removed.length > 0)
      yield {
        type: 'cluster.shard_rebalanced',
        data: { shard, nodes: names(members), added: names(added), removed: names(removed) },
      };
  }
}

/** A node that joins does not belong to it yet; one that is doubted still does. */
function isPresent({ status }: SeenMember): boolean {
  return status === 'ACTIVE' || status === 'SUSPECT' || status === 'LEAVING';
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
