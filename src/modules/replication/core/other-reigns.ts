import { compareEpochs, sameEpoch, type Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { compareEnds } from './fork.js';
import type { PeerView } from './peer-view.js';
import type { LogEnd, ShardLeader, ShardPosition } from './protocol.js';

/**
 * How a reign stands to others of its shard that it hears of (5.4, 6.2). Of two, that of the base goes on: the branch with
 * the newer SET, then the greater end. The lower one acts: it fences when it is the base, else it gives way, and the
 * followers of the other one notice nothing (docs/adr, a zombie gives way).
 */
export interface OwnReign {
  readonly self: NodeUuid;
  readonly shard: number;
  readonly epoch: Epoch;
  readonly end: LogEnd;
  readonly setEpoch: number;
  /** What was said before that may be over since this reign began. */
  readonly sinceMs: number;
}

export type Meeting =
  | { readonly kind: 'none' }
  /** A higher reign, whose branch is not the base: this one fences above it. */
  | { readonly kind: 'base below' }
  /** A higher reign that lives and is the base: this one gives way. */
  | { readonly kind: 'base above'; readonly leader: ShardLeader }
  /** A higher epoch whose primary answers and says that it reigns: what it is to be told comes with its next words. */
  | { readonly kind: 'in sight' }
  /** A higher epoch whose primary nobody sees. */
  | { readonly kind: 'unseen'; readonly leader: ShardLeader };

/** What follows from what the other nodes last said. */
export function meetOthers(own: OwnReign, peers: PeerView): Meeting {
  let highest: ShardLeader | undefined;
  for (const node of peers.nodes()) {
    const facts = peers.get(node);
    const position = facts?.position;
    if (position === undefined || facts === undefined) continue;
    if (position.role === 'primary' && facts.live && !sameEpoch(position.epoch, own.epoch)) {
      // One below meets this reign itself.
      if (facts.heardMs <= own.sinceMs || compareEpochs(position.epoch, own.epoch) < 0) continue;
      if (isBase(own, position)) return { kind: 'base below' };
      return { kind: 'base above', leader: { shard: own.shard, epoch: position.epoch, node } };
    }
    if (compareEpochs(position.epoch, highest?.epoch ?? own.epoch) > 0 && position.leader !== own.self)
      highest = { shard: own.shard, epoch: position.epoch, node: position.leader };
  }
  if (highest === undefined) return { kind: 'none' };
  const leading = peers.get(highest.node);
  if (leading?.live === true && leading.position?.role === 'primary') return { kind: 'in sight' };
  return isFollowed(own, highest, peers)
    ? { kind: 'base above', leader: highest }
    : { kind: 'unseen', leader: highest };
}

/**
 * Whether a reign that a member named just now is higher than this one, and its set not known to be older. That member knows
 * better whether it lives than the view of a node that stood still or was cut off; a dead one is suspected as always (5.1).
 */
export function isBaseAbove(own: OwnReign, leader: ShardLeader, peers: PeerView): boolean {
  if (leader.node === own.self || compareEpochs(leader.epoch, own.epoch) <= 0) return false;
  const position = peers.get(leader.node)?.position;
  if (position === undefined || !sameEpoch(position.epoch, leader.epoch)) return true;
  return position.setEpoch >= own.setEpoch;
}

function isBase({ setEpoch, end }: OwnReign, other: ShardPosition): boolean {
  return (setEpoch - other.setEpoch || compareEnds(end, other)) > 0;
}

/** Whether a live copy of no older set than this one's is in sync with that primary, which this node may not reach itself. */
function isFollowed(own: OwnReign, leader: ShardLeader, peers: PeerView): boolean {
  return peers.nodes().some((node) => {
    const facts = peers.get(node);
    const position = facts?.position;
    if (facts?.live !== true || facts.heardMs <= own.sinceMs || position === undefined) return false;
    return (
      position.inSync &&
      position.leader === leader.node &&
      sameEpoch(position.epoch, leader.epoch) &&
      position.setEpoch >= own.setEpoch
    );
  });
}
