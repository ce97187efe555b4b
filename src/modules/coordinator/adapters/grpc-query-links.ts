import { PeerError, type NodeUuid } from '../../../kernel/peer.js';
import { readAnswer } from '../../../platform/grpc/peer-answers.js';
import type { PeerChannels, PeerTarget } from '../../../platform/grpc/peer-channels.js';
import type { Link, LinkEvents } from '../../replication/replica-peers.js';
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
    const target = this.#options.resolve(node);
    if (target === undefined) return unknownNode(node, events);
    const link = this.#options.channels.duplex(target, 'query', SHARD_SERVICE.method.query, {
      message: (response) => {
        let message: AnswerMessage;
        try {
          message = readAnswer(() => readAnswers(response), target.address);
        } catch (error) {
          link.cancel();
          events.ended(error as PeerError);
          return;
        }
        events.message(message);
      },
      ended: (error) => events.ended(error),
    });
    return {
      send: (message) => link.send(writeQuery(message)),
      drained: () => link.drained(),
      close: () => link.close(),
    };
  }
}

function unknownNode(uuid: NodeUuid, events: LinkEvents<AnswerMessage>): Link<QueryMessage> {
  let open = true;
  queueMicrotask(() => {
    if (open) events.ended(new PeerError('UNRESOLVED', `the view knows no node ${uuid}`));
    open = false;
  });
  return {
    send: () => true,
    drained: () => Promise.resolve(),
    close: () => {
      open = false;
    },
  };
}
