import type { NodeUuid } from '../../../kernel/peer.js';
import { mappedLink } from '../../../platform/grpc/mapped-link.js';
import type { PeerChannels, PeerTarget } from '../../../platform/grpc/peer-channels.js';
import type { Link, LinkEvents } from '../../../kernel/link.js';
import { readAnswers, SHARD_SERVICE, writeQuery } from '../query.mapper.js';
import type { AnswerMessage, QueryLinks, QueryMessage } from '../query-stream.js';

export interface GrpcQueryLinksOptions {
  readonly channels: PeerChannels;
  /** Where a node is, as the view says; undefined when it knows no such node. */
  readonly resolve: (uuid: NodeUuid) => Required<PeerTarget> | undefined;
}

/** Query streams over the connections between nodes. */
export class GrpcQueryLinks implements QueryLinks {
  readonly #options: GrpcQueryLinksOptions;

  constructor(options: GrpcQueryLinksOptions) {
    this.#options = options;
  }

  open(node: NodeUuid, events: LinkEvents<AnswerMessage>): Link<QueryMessage> {
    const { channels, resolve } = this.#options;
    const target = resolve(node);
    const { query: method } = SHARD_SERVICE.method;
    const stream = {
      channels,
      target,
      node,
      connection: 'query',
      method,
      write: writeQuery,
      read: readAnswers,
    } as const;
    return mappedLink(stream, events);
  }
}
