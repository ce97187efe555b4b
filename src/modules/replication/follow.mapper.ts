import type { MessageInitShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
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
  writeEpoch,
  writeInteger,
  writeUuid,
} from '../../platform/grpc/peer-fields.js';
import { MERGED_EPOCHS_MAX, type BranchEpoch, type MergedEpoch } from './core/branch-epochs.js';
import type {
  Ack,
  EntriesBatch,
  FollowerMessage,
  Hello,
  HelloAnswer,
  Offer,
  PartialSnapshot,
  PrimaryMessage,
  RejectReason,
  SnapshotChunk,
} from './core/protocol.js';
import { HISTORY_MAX, readEnd, readEntries, readLeader, writeEnd, writeLeader } from './replica.mapper.js';

/**
 * The messages of a replication stream, on the wire and in the core's words (replication 4). Entries are handed on as
 * they are: views of the received frame, and chunks of the sent one; nothing here copies them.
 */
export type FollowRequest = wire.FollowRequest;
export type FollowResponse = wire.FollowResponse;

/** Entries and idempotency rows of one chunk of a snapshot, with their framing below a message. */
const CHUNK_BYTES_MAX = LIMITS.peerMessageBytesMax - 64 * 1024;
const OP_ID_BYTES = 16;
/** Shard and collection. */
const ROW_KEY_BYTES_MIN = 8;

export function readFollowerMessage({ kind, entries }: wire.FollowRequest): FollowerMessage {
  if (kind.case !== 'offer' && entries.length > 0) throw malformed('entries without an offer');
  switch (kind.case) {
    case 'hello':
      return { kind: 'hello', hello: readHello(kind.value) };
    case 'ack':
      return { kind: 'ack', ack: readAck(kind.value) };
    case 'offer':
      return { kind: 'offer', offer: readOffer(kind.value, entries) };
    case undefined:
      throw malformed('a follower that says nothing');
  }
}

export function writeFollowerMessage(message: FollowerMessage): wire.FollowRequest {
  switch (message.kind) {
    case 'hello':
      return create(wire.FollowRequestSchema, { kind: { case: 'hello', value: writeHello(message.hello) } });
    case 'ack':
      return create(wire.FollowRequestSchema, { kind: { case: 'ack', value: writeAck(message.ack) } });
    case 'offer': {
      const { entries, last, branch } = message.offer;
      return create(wire.FollowRequestSchema, {
        kind: { case: 'offer', value: { last, branch: branch.map(writeBranchEpoch) } },
        entries: entries as Uint8Array[],
      });
    }
  }
}

export function readPrimaryMessage({ kind, entries }: wire.FollowResponse): PrimaryMessage {
  if (kind.case !== 'batch' && kind.case !== 'chunk' && entries.length > 0) throw malformed('entries out of place');
  switch (kind.case) {
    case 'answer':
      return { kind: 'answer', answer: readAnswer(kind.value) };
    case 'batch':
      return { kind: 'batch', batch: readBatch(kind.value, entries) };
    case 'chunk':
      return { kind: 'chunk', chunk: readChunk(kind.value, entries) };
    case 'handOver':
      return { kind: 'handOver', epoch: readEpoch(kind.value.epoch, 'epoch') };
    case undefined:
      throw malformed('a primary that says nothing');
  }
}

export function writePrimaryMessage(message: PrimaryMessage): wire.FollowResponse {
  switch (message.kind) {
    case 'answer':
      return create(wire.FollowResponseSchema, {
        kind: { case: 'answer', value: writeAnswer(message.answer) },
        ballast: BALLAST,
      });
    case 'batch':
      return create(wire.FollowResponseSchema, {
        kind: { case: 'batch', value: writeBatch(message.batch) },
        entries: message.batch.entries as Uint8Array[],
        ...(message.ballast && { ballast: BALLAST }),
      });
    case 'chunk': {
      const { operations, last, entries } = message.chunk;
      return create(wire.FollowResponseSchema, {
        kind: { case: 'chunk', value: { operations: operations.map((operation) => ({ ...operation })), last } },
        entries: entries as Uint8Array[],
      });
    }
    case 'handOver':
      return create(wire.FollowResponseSchema, {
        kind: { case: 'handOver', value: { epoch: writeEpoch(message.epoch) } },
      });
  }
}

function readHello(hello: wire.Hello): Hello {
  return {
    ...readEnd(hello.end, 'end'),
    shard: readShard(hello.shard),
    nodeUuid: readUuid(hello.nodeUuid, 'node_uuid'),
    bootCount: readInteger(hello.bootCount, 'boot_count'),
    mapEpoch: readInteger(hello.mapEpoch, 'map_epoch'),
    promised: readEpoch(hello.promised, 'promised'),
    loose: readInteger(hello.loose, 'loose'),
    ...(hello.partial === undefined ? {} : { partial: readPartial(hello.partial) }),
    ...(hello.damaged ? { damaged: true } : {}),
  };
}

function readPartial({ offset, chain, after }: wire.PartialSnapshot): PartialSnapshot {
  if (after.length < ROW_KEY_BYTES_MIN || after.length > ROW_KEY_BYTES_MIN + LIMITS.idBytesMax)
    throw malformed(`a key of ${after.length} bytes`);
  return { offset: readInteger(offset, 'offset'), chain: readChain(chain, 'chain'), after: new Uint8Array(after) };
}

function writeHello(hello: Hello): MessageInitShape<typeof wire.HelloSchema> {
  return {
    shard: hello.shard,
    nodeUuid: writeUuid(hello.nodeUuid),
    bootCount: writeInteger(hello.bootCount),
    mapEpoch: writeInteger(hello.mapEpoch),
    promised: writeEpoch(hello.promised),
    loose: writeInteger(hello.loose),
    end: writeEnd(hello),
    damaged: hello.damaged === true,
    ...(hello.partial && { partial: { ...hello.partial, offset: writeInteger(hello.partial.offset) } }),
  };
}

function readAck(ack: wire.Ack): Ack {
  return {
    durableOffset: readInteger(ack.durableOffset, 'durable_offset'),
    appliedOffset: readInteger(ack.appliedOffset, 'applied_offset'),
    chain: readChain(ack.chain, 'chain'),
    creditBytes: readInteger(ack.creditBytes, 'credit_bytes'),
  };
}

function writeAck(ack: Ack): MessageInitShape<typeof wire.AckSchema> {
  return {
    durableOffset: writeInteger(ack.durableOffset),
    appliedOffset: writeInteger(ack.appliedOffset),
    chain: ack.chain,
    creditBytes: writeInteger(ack.creditBytes),
  };
}

function readOffer({ last, branch }: wire.Offer, entries: readonly Uint8Array[]): Offer {
  if (branch.length > HISTORY_MAX) throw malformed(`a branch of ${branch.length} epochs`);
  return {
    entries: readEntries(entries, LIMITS.replicaBatchBytesMax),
    last,
    branch: branch.map(readBranchEpoch),
  };
}

function readBranchEpoch({ epoch, end, fork }: wire.Offer_BranchEpoch): BranchEpoch {
  return { epoch: readEpoch(epoch, 'epoch'), end: readInteger(end, 'end'), fork: readInteger(fork, 'fork') };
}

function writeBranchEpoch({ epoch, end, fork }: BranchEpoch): MessageInitShape<typeof wire.Offer_BranchEpochSchema> {
  return { epoch: writeEpoch(epoch), end: writeInteger(end), fork: writeInteger(fork) };
}

function readMerged(merged: readonly wire.MergedEpoch[]): readonly MergedEpoch[] {
  if (merged.length > MERGED_EPOCHS_MAX) throw malformed(`${merged.length} merged epochs`);
  return merged.map(({ branch, offset }) => {
    if (branch === undefined) throw malformed('a merged epoch without one');
    return { ...readBranchEpoch(branch), offset: readInteger(offset, 'offset') };
  });
}

const REJECTIONS = {
  NOT_PRIMARY: wire.HelloAnswer_RejectReason.NOT_PRIMARY,
  UNKNOWN_SHARD: wire.HelloAnswer_RejectReason.UNKNOWN_SHARD,
  STALE_EPOCH: wire.HelloAnswer_RejectReason.STALE_EPOCH,
  FAULTED: wire.HelloAnswer_RejectReason.FAULTED,
  BUSY: wire.HelloAnswer_RejectReason.BUSY,
  BEHIND: wire.HelloAnswer_RejectReason.BEHIND,
  FOREIGN_CLUSTER: wire.HelloAnswer_RejectReason.FOREIGN_CLUSTER,
  PROTOCOL: wire.HelloAnswer_RejectReason.PROTOCOL,
} as const satisfies Record<RejectReason, wire.HelloAnswer_RejectReason>;

function readAnswer({ answer }: wire.HelloAnswer): HelloAnswer {
  switch (answer.case) {
    case 'accept': {
      const { epoch, from } = answer.value;
      return { kind: 'accept', epoch: readEpoch(epoch, 'epoch'), from: readInteger(from, 'from') };
    }
    case 'diverged': {
      const { epoch, fork } = answer.value;
      return { kind: 'diverged', epoch: readEpoch(epoch, 'epoch'), fork: readInteger(fork, 'fork') };
    }
    case 'snapshot': {
      const { epoch, fork, at, resumed, merged } = answer.value;
      return {
        kind: 'snapshot',
        epoch: readEpoch(epoch, 'epoch'),
        fork: readInteger(fork, 'fork'),
        at: { ...readEnd(at, 'at'), merged: readMerged(merged) },
        ...(resumed ? { resumed } : {}),
      };
    }
    case 'reject': {
      const { reason, hint } = answer.value;
      return {
        kind: 'reject',
        reason: keyOf(REJECTIONS, reason, 'reason'),
        ...(hint === undefined ? {} : { hint: readLeader(hint, 'hint') }),
      };
    }
    case undefined:
      throw malformed('a hello without an answer');
  }
}

function writeAnswer(answer: HelloAnswer): MessageInitShape<typeof wire.HelloAnswerSchema> {
  switch (answer.kind) {
    case 'accept': {
      const value = { epoch: writeEpoch(answer.epoch), from: writeInteger(answer.from) };
      return { answer: { case: 'accept', value } };
    }
    case 'diverged': {
      const value = { epoch: writeEpoch(answer.epoch), fork: writeInteger(answer.fork) };
      return { answer: { case: 'diverged', value } };
    }
    case 'snapshot': {
      const { epoch, fork, at, resumed = false } = answer;
      const merged = at.merged.map((known) => ({
        branch: writeBranchEpoch(known),
        offset: writeInteger(known.offset),
      }));
      const value = { epoch: writeEpoch(epoch), fork: writeInteger(fork), at: writeEnd(at), resumed, merged };
      return { answer: { case: 'snapshot', value } };
    }
    case 'reject': {
      const hint = answer.hint === undefined ? {} : { hint: writeLeader(answer.hint) };
      return { answer: { case: 'reject', value: { reason: REJECTIONS[answer.reason], ...hint } } };
    }
  }
}

function readBatch(batch: wire.EntriesBatch, entries: readonly Uint8Array[]): EntriesBatch {
  return {
    epoch: readEpoch(batch.epoch, 'epoch'),
    prevOffset: readInteger(batch.prevOffset, 'prev_offset'),
    prevChain: readChain(batch.prevChain, 'prev_chain'),
    entries: readEntries(entries, LIMITS.replicaBatchBytesMax),
    highWaterMark: readInteger(batch.highWaterMark, 'high_water_mark'),
    tail: readInteger(batch.tail, 'tail'),
    inSync: batch.inSync.map((uuid) => readUuid(uuid, 'a member in sync')),
    floor: readInteger(batch.floor, 'floor'),
    ...(batch.taken === undefined ? {} : { taken: readInteger(batch.taken, 'taken') }),
  };
}

function writeBatch(batch: EntriesBatch): MessageInitShape<typeof wire.EntriesBatchSchema> {
  return {
    epoch: writeEpoch(batch.epoch),
    prevOffset: writeInteger(batch.prevOffset),
    prevChain: batch.prevChain,
    highWaterMark: writeInteger(batch.highWaterMark),
    tail: writeInteger(batch.tail),
    inSync: batch.inSync.map(writeUuid),
    floor: writeInteger(batch.floor),
    ...(batch.taken === undefined ? {} : { taken: writeInteger(batch.taken) }),
  };
}

function readChunk({ operations, last }: wire.SnapshotChunk, entries: readonly Uint8Array[]): SnapshotChunk {
  for (const { opId } of operations)
    if (opId.length !== OP_ID_BYTES) throw malformed(`an operation id of ${opId.length} bytes`);
  return {
    entries: readEntries(entries, CHUNK_BYTES_MAX),
    operations: operations.map(({ opId, value }) => ({ opId, value })),
    last,
  };
}
