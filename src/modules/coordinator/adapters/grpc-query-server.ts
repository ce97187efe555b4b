import { requestReader } from '../../../platform/grpc/peer-answers.js';
import { peerOf } from '../../../platform/grpc/peer-identity.js';
import { servePeerStream } from '../../../platform/grpc/peer-stream.js';
import { readQuery, writeAnswers, type QueryRequest, type QueryResponse, type ShardHandlers } from '../query.mapper.js';
import type { ShardCallServer } from '../shard-call-server.js';

/**
 * Answers other nodes' questions about the shards of this one: for NodeGrpcServer.addPeerService. Who asks is who the
 * peers' guard admitted.
 * @param refused counts messages that were malformed
 */
export function shardHandlers(server: ShardCallServer, refused: () => void): ShardHandlers {
  const read = requestReader(refused);
  return {
    query: (call) =>
      servePeerStream<QueryRequest, QueryResponse>(call, (link) => {
        const events = server.onQuery(peerOf(call).nodeUuid, {
          send: (message) => link.send(writeAnswers(message)),
          drained: () => link.drained(),
          close: () => link.close(),
        });
        return {
          message: (request) => read((query) => events.message(readQuery(query)), request),
          ended: (error) => events.ended(error),
        };
      }),
  };
}
