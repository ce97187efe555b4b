import { Ring } from '../../../src/modules/ring/core/ring.js';
import { nodeHasher } from '../../../src/platform/crypto/node-hasher.js';

/** Ids that the published ring puts into one shard. */
export function idsOf(shard: number, shardCount: number, count: number, prefix: string): readonly string[] {
  const ring = Ring.of(shardCount, nodeHasher);
  const ids: string[] = [];
  for (let i = 0; ids.length < count; i++) if (ring.shardOf(`${prefix}-${i}`) === shard) ids.push(`${prefix}-${i}`);
  return ids;
}
