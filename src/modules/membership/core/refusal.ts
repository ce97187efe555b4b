import type { ErrorCode } from '../../../kernel/errors.js';
import type { Heartbeat } from '../membership-peers.js';
import { protocolsOverlap, recordProblem, type ProtocolRange } from './node-record.js';
import { LEFT_MAX, MEMBERS_MAX } from './view.js';

/** Why another node is not listened to. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly detail: string;
}

/** Far above what the positions of all shards of a node take. */
const POSITIONS_BYTES_MAX = 1024 * 1024;

/** Only nodes of one cluster talk of members (replication 1.1). */
export function clusterRefusal(own: string, theirs: string): Refusal | undefined {
  if (own === '') return { code: 'STARTING', detail: 'this node belongs to no cluster yet' };
  if (theirs === own) return undefined;
  return { code: 'FORBIDDEN', detail: `this node belongs to cluster ${own}, the other to ${theirs || 'none'}` };
}

interface Speaker extends ProtocolRange {
  readonly nodeId: string;
  readonly version: string;
}

/** What is wrong with a heartbeat of our cluster. */
export function beatRefusal(
  self: Speaker & { readonly nodeUuid: string; readonly grpcAddress: string },
  beat: Heartbeat,
): Refusal | undefined {
  const problem = recordProblem(beat.self);
  if (problem !== undefined) return { code: 'INVALID_REQUEST', detail: problem };
  if (beat.positions.length > POSITIONS_BYTES_MAX || beat.heard.length > MEMBERS_MAX + LEFT_MAX)
    return { code: 'LIMIT_EXCEEDED', detail: 'the heartbeat is too large' };
  if (!Number.isSafeInteger(beat.mapEpoch) || beat.mapEpoch < 0)
    return { code: 'INVALID_REQUEST', detail: 'the map epoch is out of range' };
  if (!Number.isFinite(beat.load.wallMs)) return { code: 'INVALID_REQUEST', detail: 'the wall clock is not a number' };
  if (beat.self.nodeUuid === self.nodeUuid)
    return { code: 'OPERATION_CONFLICT', detail: `node uuid ${self.nodeUuid} is in use at ${self.grpcAddress}` };
  if (!protocolsOverlap(beat.self, self)) return { code: 'FORBIDDEN', detail: protocolRefusal(self, beat.self) };
  return undefined;
}

/** Names both versions, so that an operator sees which one to change (replication 8.5). */
export function protocolRefusal(a: Speaker, b: Speaker): string {
  const words = (node: Speaker): string =>
    `${node.nodeId} runs ${node.version} and speaks protocol ${node.protocolMin} to ${node.protocolMax}`;
  return `no protocol in common: ${words(a)}; ${words(b)}`;
}
