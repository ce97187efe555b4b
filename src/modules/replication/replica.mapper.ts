import type { MessageInitShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import type { EpochStart } from '../../kernel/epoch.js';
import { LIMITS } from '../../kernel/limits.js';
import * as wire from '../../gen/spector/peer/v1/replication_pb.js';
import { BALLAST } from '../../platform/grpc/ballast.js';
import {
  keyOf,
  malformed,
  readChain,
  readEpoch,
  readInteger,
  readShard,
  readUuid,
  readUuidIfAny,
  required,
  writeEpoch,
  writeInteger,
  writeUuid,
  writeUuidIfAny,
} from '../../platform/grpc/peer-fields.js';
import type { ServiceHandlers } from '../../platform/grpc/service-handlers.js';
import type { CheckpointPart } from '../shard/shard-ports.js';
import type {
  CoversAnswer,
  CoversRequest,
  FenceAnswer,
  FenceCause,
  FenceRequest,
  FetchAnswer,
  FetchRequest,
  LogEnd,
  ProbeAnswer,
  ProbeRequest,
  PullAnswer,
  PullRequest,
  ShardLeader,
  ShardSet,
} from './core/protocol.js';
import type { CheckpointRequest } from './index-peers.js';

/** The questions between replicas, on the wire and in the core's words; streams are in follow.mapper.ts. */
export const REPLICA_SERVICE = wire.ReplicationService;
export type ReplicaHandlers = ServiceHandlers<typeof wire.ReplicationService>;

/** A message is refused as a whole before memory is taken for absurd lists: reigns of a shard, members of a set. */
export const HISTORY_MAX = 65_536;
const MEMBERS_MAX = 1_024;
const FILE_NAME_MAX = 255;
const ENTRY_BYTES_MAX = 2 * LIMITS.documentBytesMax;

export function readLeader(leader: wire.ShardLeader | undefined, field: string): ShardLeader {
  const { shard, epoch, node } = required(leader, field);
  return {
    shard: readShard(shard),
    epoch: readEpoch(epoch, `the epoch of ${field}`),
    node: readUuidIfAny(node, field),
  };
}

export function writeLeader(leader: ShardLeader): MessageInitShape<typeof wire.ShardLeaderSchema> {
  return { shard: leader.shard, epoch: writeEpoch(leader.epoch), node: writeUuidIfAny(leader.node) };
}

export function readEnd(end: wire.LogEnd | undefined, field: string): LogEnd {
  const { lastOffset, lastEpoch, chain, history, start, agreed } = required(end, field);
  if (history.length > HISTORY_MAX) throw malformed(`${field} has ${history.length} epochs`);
  if (agreed > lastOffset) throw malformed(`${field} is agreed beyond its end`);
  if (agreed > 0n && !history.some((reign) => reign.start <= agreed))
    throw malformed(`${field} is agreed where it has no history`);
  return {
    lastOffset: readInteger(lastOffset, 'last_offset'),
    lastEpoch: readEpoch(lastEpoch, 'last_epoch'),
    chain: readChain(chain, 'chain'),
    history: history.map(readEpochStart),
    start: readInteger(start, 'start'),
    agreed: readInteger(agreed, 'agreed'),
  };
}

function readEpochStart({ epoch, start }: wire.EpochStart): EpochStart {
  return { epoch: readEpoch(epoch, 'an epoch of the history'), start: readInteger(start, 'start') };
}

export function writeEnd(end: LogEnd): MessageInitShape<typeof wire.LogEndSchema> {
  return {
    lastOffset: writeInteger(end.lastOffset),
    lastEpoch: writeEpoch(end.lastEpoch),
    chain: end.chain,
    history: end.history.map(({ epoch, start }) => ({ epoch: writeEpoch(epoch), start: writeInteger(start) })),
    start: writeInteger(end.start),
    agreed: writeInteger(end.agreed),
  };
}

/** The entries themselves are checked by whoever appends them (replication 4.3). */
export function readEntries(entries: readonly Uint8Array[], bytesMax: number): readonly Uint8Array[] {
  let bytes = 0;
  for (const entry of entries) bytes += entry.length;
  const allowed = entries.length === 1 ? ENTRY_BYTES_MAX : bytesMax;
  if (bytes > allowed) throw malformed(`${entries.length} entries of ${bytes} bytes, ${allowed} are allowed`);
  return entries;
}

function readSet(set: wire.ShardSet | undefined): ShardSet {
  const { mapEpoch, members } = required(set, 'set');
  if (members.length > MEMBERS_MAX) throw malformed(`a set of ${members.length} members`);
  return { mapEpoch: readInteger(mapEpoch, 'map_epoch'), members: members.map((uuid) => readUuid(uuid, 'a member')) };
}

function writeSet(set: ShardSet): MessageInitShape<typeof wire.ShardSetSchema> {
  return { mapEpoch: writeInteger(set.mapEpoch), members: set.members.map(writeUuid) };
}

const CAUSES = {
  suspect: wire.FenceCause.SUSPECT,
  heal: wire.FenceCause.HEAL,
  transfer: wire.FenceCause.TRANSFER,
} as const satisfies Record<FenceCause, wire.FenceCause>;

export function readFence({ shard, epoch, cause, set }: wire.FenceRequest): FenceRequest {
  return {
    shard: readShard(shard),
    epoch: readEpoch(epoch, 'epoch'),
    cause: keyOf(CAUSES, cause, 'cause'),
    set: readSet(set),
  };
}

export function writeFence(request: FenceRequest): wire.FenceRequest {
  return create(wire.FenceRequestSchema, {
    shard: request.shard,
    epoch: writeEpoch(request.epoch),
    cause: CAUSES[request.cause],
    set: writeSet(request.set),
  });
}

type FenceRefusal = Extract<FenceAnswer, { kind: 'refused' }>['reason'];

const FENCE_REFUSALS = {
  SET_NEWER: wire.FenceResponse_RefusalReason.SET_NEWER,
  PROMISED: wire.FenceResponse_RefusalReason.PROMISED,
  PRIMARY_LIVES: wire.FenceResponse_RefusalReason.PRIMARY_LIVES,
  UNKNOWN_SHARD: wire.FenceResponse_RefusalReason.UNKNOWN_SHARD,
  FAULTED: wire.FenceResponse_RefusalReason.FAULTED,
} as const satisfies Record<FenceRefusal, wire.FenceResponse_RefusalReason>;

export function readFenceAnswer({ answer }: wire.FenceResponse): FenceAnswer {
  switch (answer.case) {
    case 'granted':
      return {
        kind: 'granted',
        setEpoch: readInteger(answer.value.setEpoch, 'set_epoch'),
        end: readEnd(answer.value.end, 'end'),
      };
    case 'refused': {
      const { reason, promised, set, hint } = answer.value;
      return {
        kind: 'refused',
        reason: keyOf(FENCE_REFUSALS, reason, 'reason'),
        promised: readEpoch(promised, 'promised'),
        ...(set === undefined ? {} : { set: readSet(set) }),
        ...(hint === undefined ? {} : { hint: readLeader(hint, 'hint') }),
      };
    }
    case undefined:
      throw malformed('a fence without an answer');
  }
}

export function writeFenceAnswer(answer: FenceAnswer): wire.FenceResponse {
  if (answer.kind === 'granted')
    return create(wire.FenceResponseSchema, {
      answer: {
        case: 'granted',
        value: { setEpoch: writeInteger(answer.setEpoch), end: writeEnd(answer.end) },
      },
    });
  return create(wire.FenceResponseSchema, {
    answer: {
      case: 'refused',
      value: {
        reason: FENCE_REFUSALS[answer.reason],
        promised: writeEpoch(answer.promised),
        ...(answer.set === undefined ? {} : { set: writeSet(answer.set) }),
        ...(answer.hint === undefined ? {} : { hint: writeLeader(answer.hint) }),
      },
    },
  });
}

export function readProbe({ shard, epoch, via }: wire.ProbeRequest): ProbeRequest {
  return {
    shard: readShard(shard),
    epoch: readEpoch(epoch, 'epoch'),
    ...(via === undefined ? {} : { via: readUuid(via, 'via') }),
  };
}

export function writeProbe({ shard, epoch, via }: ProbeRequest): wire.ProbeRequest {
  return create(wire.ProbeRequestSchema, {
    shard,
    epoch: writeEpoch(epoch),
    ...(via === undefined ? {} : { via: writeUuid(via) }),
  });
}

export function readProbeAnswer({ alive }: wire.ProbeResponse): ProbeAnswer {
  return { alive };
}

export function writeProbeAnswer({ alive }: ProbeAnswer): wire.ProbeResponse {
  return create(wire.ProbeResponseSchema, { alive, ballast: BALLAST });
}

export function readPull({ shard, epoch, from, bytesMax }: wire.PullRequest): PullRequest {
  return {
    shard: readShard(shard),
    epoch: readEpoch(epoch, 'epoch'),
    from: readInteger(from, 'from'),
    // Whoever asks for more gets what one message holds.
    bytesMax: Math.min(readInteger(bytesMax, 'bytes_max'), PULL_BYTES_MAX),
  };
}

/** Entry bytes of one answer: with their framing they stay below a message. */
export const PULL_BYTES_MAX = LIMITS.peerMessageBytesMax / 2;

export function writePull({ shard, epoch, from, bytesMax }: PullRequest): wire.PullRequest {
  return create(wire.PullRequestSchema, {
    shard,
    epoch: writeEpoch(epoch),
    from: writeInteger(from),
    bytesMax: writeInteger(bytesMax),
  });
}

export function readPullAnswer({ entries, prevChain }: wire.PullResponse): PullAnswer {
  return { entries: readEntries(entries, LIMITS.peerMessageBytesMax), prevChain: readChain(prevChain, 'prev_chain') };
}

export function writePullAnswer({ entries, prevChain }: PullAnswer): wire.PullResponse {
  return create(wire.PullResponseSchema, { entries: [...entries], prevChain });
}

export function readCovers({ shard, mapEpoch, offset, chain }: wire.CoversRequest): CoversRequest {
  return {
    shard: readShard(shard),
    mapEpoch: readInteger(mapEpoch, 'map_epoch'),
    offset: readInteger(offset, 'offset'),
    chain: readChain(chain, 'chain'),
  };
}

export function writeCovers({ shard, mapEpoch, offset, chain }: CoversRequest): wire.CoversRequest {
  return create(wire.CoversRequestSchema, {
    shard,
    mapEpoch: writeInteger(mapEpoch),
    offset: writeInteger(offset),
    chain,
  });
}

export function readCoversAnswer({ covered }: wire.CoversResponse): CoversAnswer {
  return { covered };
}

export function writeCoversAnswer({ covered }: CoversAnswer): wire.CoversResponse {
  return create(wire.CoversResponseSchema, { covered });
}

export function readFetch({ shard, from: first, to: last, anchor, bytesMax }: wire.FetchRequest): FetchRequest {
  const from = readInteger(first, 'from');
  const to = readInteger(last, 'to');
  if (from < 1 || to < from) throw malformed(`entries from offset ${from} to ${to}`);
  return {
    shard: readShard(shard),
    from,
    to,
    anchor: readInteger(anchor, 'anchor'),
    bytesMax: Math.min(readInteger(bytesMax, 'bytes_max'), PULL_BYTES_MAX),
  };
}

export function writeFetch({ shard, from, to, anchor, bytesMax }: FetchRequest): wire.FetchRequest {
  return create(wire.FetchRequestSchema, {
    shard,
    from: writeInteger(from),
    to: writeInteger(to),
    anchor: writeInteger(anchor),
    bytesMax: writeInteger(bytesMax),
  });
}

export function readCheckpoint({ shard, offset, file, from }: wire.CheckpointRequest): CheckpointRequest {
  if (file.length > FILE_NAME_MAX) throw malformed(`a file name of ${file.length} characters`);
  return { shard: readShard(shard), offset: readInteger(offset, 'offset'), file, from: readInteger(from, 'from') };
}

export function writeCheckpoint({ shard, offset, file, from }: CheckpointRequest): wire.CheckpointRequest {
  return create(wire.CheckpointRequestSchema, { shard, offset: writeInteger(offset), file, from: writeInteger(from) });
}

export function readCheckpointAnswer({ offset, part }: wire.CheckpointResponse): CheckpointPart {
  return { offset: readInteger(offset, 'offset'), bytes: part };
}

export function writeCheckpointAnswer({ offset, bytes }: CheckpointPart): wire.CheckpointResponse {
  return create(wire.CheckpointResponseSchema, { offset: writeInteger(offset), part: bytes });
}

export function readFetchAnswer({ entries, anchorChain }: wire.FetchResponse): FetchAnswer {
  return {
    entries: readEntries(entries, LIMITS.peerMessageBytesMax),
    anchorChain: readChain(anchorChain, 'anchor_chain'),
  };
}

export function writeFetchAnswer({ entries, anchorChain }: FetchAnswer): wire.FetchResponse {
  return create(wire.FetchResponseSchema, { entries: [...entries], anchorChain });
}

export function readAnnounce({ leader }: wire.AnnounceRequest): ShardLeader {
  return readLeader(leader, 'leader');
}

export function writeAnnounce(leader: ShardLeader): wire.AnnounceRequest {
  return create(wire.AnnounceRequestSchema, { leader: writeLeader(leader) });
}

export function announced(): wire.AnnounceResponse {
  return create(wire.AnnounceResponseSchema);
}
