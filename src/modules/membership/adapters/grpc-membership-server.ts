import { NodeError } from '../../../kernel/errors.js';
import { requestReader } from '../../../platform/grpc/peer-answers.js';
import type { PeerIdentity } from '../../../platform/grpc/peer-identity.js';
import { peerOf } from '../../../platform/grpc/peer-identity.js';
import type { MembershipServer } from '../membership-peers.js';
import type { MembershipHandlers } from '../membership.mapper.js';
import {
  readBeat,
  readExchange,
  readIntroduction,
  readJoin,
  writeBeatAnswer,
  writeExchangeAnswer,
  writeIntroductionAnswer,
  writeJoinAnswer,
} from '../membership.mapper.js';

/**
 * Answers other members: for NodeGrpcServer.addPeerService. A node speaks for itself only: what it says it is must be what
 * the peers' guard admitted.
 * @param refused counts messages that were malformed
 */
export function membershipHandlers(server: MembershipServer, refused: () => void): MembershipHandlers {
  const read = requestReader(refused);
  return {
    introduce: (asked, call) =>
      read((request) => {
        const other = readIntroduction(request);
        speaksForItself(peerOf(call), other);
        return writeIntroductionAnswer(server.onIntroduce(other));
      }, asked),
    join: async (asked, call) => {
      const join = read((request) => {
        const said = readJoin(request);
        speaksForItself(peerOf(call), said.record);
        return said;
      }, asked);
      return writeJoinAnswer(await server.onJoin(join));
    },
    heartbeat: (asked, call) =>
      read((request) => {
        const beat = readBeat(request);
        speaksForItself(peerOf(call), beat.self);
        return writeBeatAnswer(server.onHeartbeat(beat));
      }, asked),
    exchange: (asked, call) =>
      read((request) => {
        const view = readExchange(request);
        if (view.from !== peerOf(call).nodeUuid) throw impostor();
        return writeExchangeAnswer(server.onExchange(view));
      }, asked),
  };
}

function speaksForItself(peer: PeerIdentity, said: { readonly nodeId: string; readonly nodeUuid: string }): void {
  if (said.nodeId !== peer.nodeId || said.nodeUuid !== peer.nodeUuid) throw impostor();
}

function impostor(): NodeError {
  return new NodeError('FORBIDDEN', 'The message is of another node than the one that sent it');
}
