import type { DescMessage, DescMethodBiDiStreaming, MessageShape } from '@bufbuild/protobuf';
import type { Link, LinkEvents } from '../../kernel/link.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import { readAnswer } from './peer-answers.js';
import type { PeerChannels, PeerConnection, PeerTarget } from './peer-channels.js';

/** Which stream to a node, and how the messages on it are those of the wire. */
export interface MappedStream<I extends DescMessage, O extends DescMessage, Sent, Received> {
  readonly channels: PeerChannels;
  /** Where the node is; undefined when the view knows no such node: the stream ends at once then, UNRESOLVED. */
  readonly target: Required<PeerTarget> | undefined;
  readonly node: NodeUuid;
  readonly connection: PeerConnection;
  readonly method: DescMethodBiDiStreaming<I, O>;
  readonly write: (message: Sent) => MessageShape<I>;
  readonly read: (message: MessageShape<O>) => Received;
}

/** A stream to a node in the words of a module; a message that cannot be read ends it. */
export function mappedLink<I extends DescMessage, O extends DescMessage, Sent, Received>(
  { channels, target, node, connection, method, write, read }: MappedStream<I, O, Sent, Received>,
  events: LinkEvents<Received>,
): Link<Sent> {
  if (target === undefined) return unknownNode(node, events);
  const link = channels.duplex(target, connection, method, {
    message: (response) => {
      let message: Received;
      try {
        message = readAnswer(() => read(response), target.address);
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
    send: (message) => link.send(write(message)),
    drained: () => link.drained(),
    close: () => link.close(),
  };
}

function unknownNode<Sent, Received>(node: NodeUuid, events: LinkEvents<Received>): Link<Sent> {
  let open = true;
  queueMicrotask(() => {
    if (open) events.ended(new PeerError('UNRESOLVED', `the view knows no node ${node}`));
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
