import type { ClusterNode, Status } from './cluster.js';
import { waitFor } from './wait-for.js';

/** Shards whose primary a node is. */
export function ledBy({ shards }: Status, nodeId: string): readonly number[] {
  return shards.filter(({ primary }) => primary === nodeId).map(({ shard }) => shard);
}

/** Waits until each of these shards has another primary than `nodeId`; the milliseconds that the last one took. */
export async function replaced(observer: ClusterNode, shards: readonly number[], nodeId: string): Promise<number> {
  const startedMs = performance.now();
  return waitFor(
    `another primary than ${nodeId} for ${shards.join(', ')}`,
    async () => {
      const status = await observer.status();
      const open = shards.filter((shard) => [null, nodeId].includes(status.shards[shard].primary));
      if (open.length > 0) throw new Error(`without a primary: ${open.join(', ')}`);
      return performance.now() - startedMs;
    },
    30_000,
  );
}
