import type { EpochPromise } from './epoch-promise.js';
import type { PeerView } from './peer-view.js';

/**
 * The other nodes without what they say of epochs that are not believed (1.2): a position with such a leap is none, so that
 * no primary steps over a reign that cannot be, and no candidate waits for a log that cannot be.
 */
export function believedPeers(peers: PeerView, promise: Pick<EpochPromise, 'believes'>): PeerView {
  return {
    nodes: () => peers.nodes(),
    get: (node) => {
      const facts = peers.get(node);
      if (facts?.position === undefined) return facts;
      const { epoch, lastEpoch, agreedEpoch } = facts.position;
      const believed = [epoch, lastEpoch, agreedEpoch].every(({ num }) => promise.believes(num));
      return believed ? facts : { ...facts, position: undefined };
    },
  };
}
