import type { NodeUuid } from '../../../kernel/peer.js';
import { compareEnds } from './fork.js';
import type { PeerView } from './peer-view.js';
import type { LogEnd, ShardSet } from './protocol.js';

/** A copy of the map, as it is looked at when an operator names it to go on from (replication 5.8). */
export interface ForcedCopy {
  readonly self: NodeUuid;
  /** The voters this copy counts by. */
  readonly set: ShardSet;
  readonly end: Pick<LogEnd, 'lastEpoch' | 'lastOffset'>;
  readonly peers: PeerView;
}

/** Why the map does not go on from that copy alone, with the node it is about; undefined: it may. */
export function forceMapProblem({ self, set, end, peers }: ForcedCopy): ForceMapProblem | undefined {
  // One that answers and tells nothing of its copy may be opening it.
  const answering = set.members.filter((node) => node === self || (answers(peers, node) && !isFaulted(peers, node)));
  if (2 * answering.length > set.members.length) return { kind: 'majority' };
  const further = peers.nodes().find((node) => {
    const position = peers.get(node)?.position;
    return position !== undefined && answers(peers, node) && !position.faulted && compareEnds(position, end) > 0;
  });
  return further === undefined ? undefined : { kind: 'further', node: further };
}

export type ForceMapProblem =
  /** A majority of the voters answers: the map goes on by itself. */
  | { readonly kind: 'majority' }
  /** Another node that answers has more of the map. */
  | { readonly kind: 'further'; readonly node: NodeUuid };

/** A node that is silent for a moment only may answer. */
function answers(peers: PeerView, node: NodeUuid): boolean {
  const facts = peers.get(node);
  return facts !== undefined && !facts.gone && !facts.refused && facts.heardMs > -Infinity;
}

function isFaulted(peers: PeerView, node: NodeUuid): boolean {
  return peers.get(node)?.position?.faulted === true;
}
