import type { ShardSet } from '../../../src/modules/replication/core/protocol.js';
import type { ObservedCopy } from './observation.js';
import type { Violation } from './violation.js';

/** S8: a primary counts by a set that the map decided, and by no other (replication 2.8, 9.6). */
export function checkSets(
  copies: readonly ObservedCopy[],
  decided: (shard: number, set: ShardSet) => boolean,
): readonly Violation[] {
  const violations: Violation[] = [];
  for (const { inspection, shard, host } of copies) {
    // Before there is a map the node that founds the cluster counts by itself.
    if (inspection?.role !== 'primary' || inspection.set.mapEpoch === 0 || decided(shard, inspection.set)) continue;
    const { mapEpoch, members } = inspection.set;
    violations.push({
      rule: 'S8',
      detail: `shard ${shard} on ${host}: counts by a set of ${members.length} at map epoch ${mapEpoch}, which the map never had`,
    });
  }
  return violations;
}
