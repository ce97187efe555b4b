import type { NodeUuid } from '../../kernel/peer.js';
import type { PeerChannels, PeerTarget } from '../../platform/grpc/peer-channels.js';
import type { MembershipService } from '../membership/membership.service.js';
import { NO_FELLOWS, type Fellows } from './fellows.js';
import type { ClusterOperator } from './operations/cluster-operator.js';

/** What there is once a node knows its address and looks for its cluster. */
export interface Taken {
  readonly membership: MembershipService;
  readonly fellows: Fellows;
  readonly operator: ClusterOperator;
  readonly channels: PeerChannels;
  /** Where a node is, as the view says. */
  readonly resolve: (uuid: NodeUuid) => Required<PeerTarget> | undefined;
}

/**
 * This node's place among others. Empty until the node listens, since it cannot say where it is before; who asks earlier
 * sees a cluster of one.
 */
export class ClusterPlace {
  #taken: Taken | undefined;

  take(taken: Taken): void {
    this.#taken = taken;
  }

  get taken(): Taken | undefined {
    return this.#taken;
  }

  get fellows(): Fellows {
    return this.#taken?.fellows ?? NO_FELLOWS;
  }
}
