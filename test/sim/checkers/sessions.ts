import type { NodeUuid } from '../../../src/kernel/peer.js';
import { offsetOfPosition } from '../../../src/modules/replication/core/branch-epochs.js';
import type { Acknowledgement, ObservedCopy } from './observation.js';
import type { Violation } from './violation.js';

/**
 * At the end the token of an acknowledged write is met by every copy of the set: the log it was written to won, or its
 * branch is merged (replication 7.2). As with the write itself: unless the disks that had it were destroyed.
 */
export function checkSessions(
  acks: readonly Acknowledgement[],
  copies: readonly ObservedCopy[],
  destroyed: ReadonlySet<NodeUuid>,
): readonly Violation[] {
  const violations: Violation[] = [];
  for (const { strict, holders, epoch, tag: reign, offset, operation } of acks) {
    if (strict || holders.some((holder) => destroyed.has(holder))) continue;
    for (const { shard, host, history, tail: lastOffset, branches } of copies) {
      if (shard !== operation.shard) continue;
      if (offsetOfPosition({ history, lastOffset }, branches.merged, { epoch, reign, offset }) !== undefined) continue;
      violations.push({
        rule: 'SESSION',
        detail: `write ${operation.index} of ${operation.document} in shard ${shard}, acknowledged in epoch ${epoch} at offset ${offset}, is in no branch ${host} knows of`,
      });
    }
  }
  return violations;
}
