import type { NodeUuid } from '../../../kernel/peer.js';
import { compareTold } from './fork.js';
import type { PeerView } from './peer-view.js';
import type { LogEnd, ShardSet } from './protocol.js';

/** How long a live replica waits for each one that is nominated before it (5.2). */
export const RANK_STEP_MS = 750;

/** An index that lacks more entries of its log than these is nominated after those that do not: it could not answer for a while. */
export const BEHIND_ENTRIES = 1_000;

/**
 * The place of this replica in the order of nomination (5.2): among the live members, who has the newest SET, then what
 * is agreed and the greatest (lastEpoch, lastOffset), then has it in its index, then comes first in the map. 0 is nominated at once. The primary that is suspected
 * is not counted.
 */
export function rankOf(
  self: NodeUuid,
  own: LogEnd & { readonly setEpoch: number; readonly applied: number; readonly reluctant: boolean },
  set: ShardSet,
  suspected: NodeUuid | undefined,
  peers: PeerView,
): number {
  let rank = 0;
  const place = set.members.indexOf(self);
  for (const [i, node] of set.members.entries()) {
    if (node === self || node === suspected) continue;
    const facts = peers.get(node);
    const position = facts?.position;
    if (facts?.live !== true || facts.refused || position === undefined) continue;
    if (position.faulted || position.role === 'learner') continue;
    if (facts.reluctant !== own.reluctant) {
      if (own.reluctant) rank++;
      continue;
    }
    const order =
      position.setEpoch - own.setEpoch ||
      compareTold(position, own) ||
      Number(isBehind(own)) - Number(isBehind(position)) ||
      place - i;
    if (order > 0) rank++;
  }
  return rank;
}

function isBehind({ lastOffset, applied }: { readonly lastOffset: number; readonly applied: number }): boolean {
  return lastOffset - applied > BEHIND_ENTRIES;
}
