import { PeerError, type NodeUuid } from '../../../kernel/peer.js';
import type { ClusterPlace } from '../../replication/cluster-place.js';
import type { Link, LinkEvents } from '../../../kernel/link.js';
import type { AnswerMessage, QueryLinks, QueryMessage } from '../query-stream.js';
import { GrpcQueryLinks } from './grpc-query-links.js';

/** Query streams to other nodes, as soon as this one has its place among them. */
export class PlaceQueryLinks implements QueryLinks {
  #links: GrpcQueryLinks | undefined;

  constructor(private readonly place: ClusterPlace) {}

  open(node: NodeUuid, events: LinkEvents<AnswerMessage>): Link<QueryMessage> {
    const { taken } = this.place;
    if (taken !== undefined) {
      this.#links ??= new GrpcQueryLinks(taken);
      return this.#links.open(node, events);
    }
    queueMicrotask(() => events.ended(new PeerError('UNRESOLVED', 'this node has not joined its cluster yet')));
    return { send: () => true, drained: () => Promise.resolve(), close: () => undefined };
  }
}
