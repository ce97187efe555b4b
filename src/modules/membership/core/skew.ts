import { compareIds } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';

/** A clock this far off the median of its peers raises an alarm (replication 1.3). */
export const SKEW_ALARM_MS = 500;

/**
 * How far each node's wall clock is from the median of all others. `offsets` holds how far a peer's clock is ahead of
 * ours; ours is measured too, under `self`. Nothing is known of a node without peers.
 */
export function skews(self: NodeUuid, offsets: ReadonlyMap<NodeUuid, number>): ReadonlyMap<NodeUuid, number> {
  const nodes = [...offsets, [self, 0] as const].sort(([a], [b]) => compareIds(a, b));
  const found = new Map<NodeUuid, number>();
  for (const [nodeUuid, offset] of nodes) {
    const others = nodes.filter(([other]) => other !== nodeUuid).map(([, other]) => other);
    if (others.length > 0) found.set(nodeUuid, offset - median(others));
  }
  return found;
}

function median(values: number[]): number {
  values.sort((a, b) => a - b);
  const middle = values.length >> 1;
  return values.length % 2 === 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}
