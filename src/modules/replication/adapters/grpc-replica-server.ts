import { NodeError } from '../../../kernel/errors.js';
import { PeerError, type NodeUuid } from '../../../kernel/peer.js';
import { requestReader } from '../../../platform/grpc/peer-answers.js';
import { peerOf } from '../../../platform/grpc/peer-identity.js';
import type { PeerLinkEvents } from '../../../platform/grpc/peer-link.js';
import type { PeerServerLink } from '../../../platform/grpc/peer-stream.js';
import { servePeerStream } from '../../../platform/grpc/peer-stream.js';
import type { FollowRequest, FollowResponse } from '../follow.mapper.js';
import { readFollowerMessage, writePrimaryMessage } from '../follow.mapper.js';
import type { FollowerMessage } from '../core/protocol.js';
import type { LinkEvents } from '../../../kernel/link.js';
import type { IndexServer } from '../index-peers.js';
import type { ReplicaServer } from '../replica-peers.js';
import type { ReplicaHandlers } from '../replica.mapper.js';
import {
  announced,
  readAnnounce,
  readCheckpoint,
  readCovers,
  readFence,
  readFetch,
  readProbe,
  readPull,
  writeCheckpointAnswer,
  writeCoversAnswer,
  writeFenceAnswer,
  writeFetchAnswer,
  writeProbeAnswer,
  writePullAnswer,
} from '../replica.mapper.js';

/**
 * Answers other replicas: for NodeGrpcServer.addPeerService. Who asks is who the peers' guard admitted; what it says is
 * checked by the mappers before the replicas hear of it.
 * @param refused counts messages that were malformed
 */
export function replicaHandlers(server: ReplicaServer, indexes: IndexServer, refused: () => void): ReplicaHandlers {
  const read = requestReader(refused);
  return {
    follow: (call) => servePeerStream(call, (link) => followed(peerOf(call).nodeUuid, server, link, read)),
    fence: async (request, call) =>
      writeFenceAnswer(await server.onFence(peerOf(call).nodeUuid, read(readFence, request))),
    probe: async (request, call) =>
      writeProbeAnswer(await server.onProbe(peerOf(call).nodeUuid, read(readProbe, request))),
    pull: async (request, call) =>
      writePullAnswer(await foreseen(server.onPull(peerOf(call).nodeUuid, read(readPull, request)))),
    fetch: async (request, call) =>
      writeFetchAnswer(await foreseen(server.onFetch(peerOf(call).nodeUuid, read(readFetch, request)))),
    checkpoint: async (request, call) =>
      writeCheckpointAnswer(await foreseen(indexes.onCheckpoint(peerOf(call).nodeUuid, read(readCheckpoint, request)))),
    covers: async (request, call) =>
      writeCoversAnswer(await server.onCovers(peerOf(call).nodeUuid, read(readCovers, request))),
    announce: (request, call) => {
      server.onAnnounce(peerOf(call).nodeUuid, read(readAnnounce, request));
      return announced();
    },
  };
}

/** That a copy has not what it is asked for is an answer, and no failure of this node. */
async function foreseen<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof PeerError)) throw error;
    throw new NodeError('SHARD_UNAVAILABLE', error.message, { cause: error });
  }
}

/** One stream: the hello says of which shard it is, and a node says it for itself only. */
function followed(
  from: NodeUuid,
  server: ReplicaServer,
  link: PeerServerLink<FollowResponse>,
  read: (judge: (message: FollowRequest) => void, message: FollowRequest) => void,
): PeerLinkEvents<FollowRequest> {
  let events: LinkEvents<FollowerMessage> | undefined;
  const said = (request: FollowRequest): void => {
    const message = readFollowerMessage(request);
    if (message.kind === 'hello' && message.hello.nodeUuid !== from)
      throw new NodeError('FORBIDDEN', 'The hello is of another node than the one that sent it');
    if (events === undefined) {
      if (message.kind !== 'hello') throw new NodeError('INVALID_REQUEST', 'A stream starts with a hello');
      events = server.onFollow(from, message.hello.shard, {
        send: (answer) => link.send(writePrimaryMessage(answer)),
        drained: () => link.drained(),
        close: () => link.close(),
      });
    }
    events.message(message);
  };
  return {
    message: (request) => read(said, request),
    ended: (error) => events?.ended(error),
  };
}
