import type { NodeUuid } from '../../../kernel/peer.js';
import { compareTold } from './fork.js';
import type { PeerView } from './peer-view.js';
import type { LogEnd, ShardSet } from './protocol.js';

/** How long a live replica waits for each one that is nominated before it (5.2). */
export const RANK_STEP_MS = 750;

/**
 * The place of this replica in the order of nomination (5.2): among the live members, who has the newest SET, then what
 * is agreed and the greatest (lastEpoch, lastOffset), then comes first in the map. 0 is nominated at once. The primary that is suspected
 * is not counted.
 */
export function rankOf(
  self: NodeUuid,
  own: LogEnd & { readonly setEpoch: number; readonly reluctant: boolean },
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
    const order = position.setEpoch - own.setEpoch || compareTold(position, own) || place - i;
    if (order > 0) rank++;
  }
  return rank;
}
