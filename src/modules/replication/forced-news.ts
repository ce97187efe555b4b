import { META_SHARD } from '../../kernel/ids.js';
import type { ClusterMap } from '../ring/core/map.js';
import type { CopyEvent, ReplicationLogger } from './replication-ports.js';

/** Tells once, on every node, what an operator forced: documents may be lost with it (replication 5.8). */
export class ForcedNews {
  /** Operations that were told; undefined before the map was looked at: what it held then is no news. */
  #told: ReadonlySet<string> | undefined;

  constructor(
    private readonly logger: ReplicationLogger,
    private readonly tell: (event: CopyEvent) => void,
  ) {}

  look({ operations }: ClusterMap): void {
    const told = this.#told;
    const forced = new Set<string>();
    for (const { id, task, nodeId } of operations) {
      if (task.kind !== 'force' && task.kind !== 'forceMap') continue;
      forced.add(id);
      if (told === undefined || told.has(id)) continue;
      if (task.kind === 'forceMap') {
        this.logger.warn({ node: nodeId, operation: id }, 'an operator forced the map to go on from one copy');
        this.tell({ kind: 'forced', shard: META_SHARD, node: task.node });
        continue;
      }
      const { shard, node, empty } = task;
      this.logger.warn({ shard, node: nodeId, empty, operation: id }, 'an operator forced the set of a shard');
      this.tell({ kind: 'forced', shard, node });
    }
    this.#told = forced;
  }
}
