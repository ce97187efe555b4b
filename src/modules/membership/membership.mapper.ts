import type { MessageInitShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import * as wire from '../../gen/spector/peer/v1/membership_pb.js';
import { BALLAST } from '../../platform/grpc/ballast.js';
import {
  keyOf,
  malformed,
  readInteger,
  readUuid,
  required,
  writeInteger,
  writeUuid,
} from '../../platform/grpc/peer-fields.js';
import type { ServiceHandlers } from '../../platform/grpc/service-handlers.js';
import type { NodeRecord, NodeStatus } from './core/node-record.js';
import type { Exchange, Heartbeat, Introduction, JoinAnswer, JoinRequest } from './membership-peers.js';

/** What members say to each other, on the wire and in the core's words. Whether it makes sense is the core's to judge. */
export const MEMBERSHIP_SERVICE = wire.MembershipService;
export type MembershipHandlers = ServiceHandlers<typeof wire.MembershipService>;

/** Far above the members of a cluster, those that left included. */
const RECORDS_MAX = 4_096;

const STATUSES = {
  JOINING: wire.NodeStatus.JOINING,
  ACTIVE: wire.NodeStatus.ACTIVE,
  LEAVING: wire.NodeStatus.LEAVING,
  SUSPECT: wire.NodeStatus.SUSPECT,
  UNAVAILABLE: wire.NodeStatus.UNAVAILABLE,
  LEFT: wire.NodeStatus.LEFT,
} as const satisfies Record<NodeStatus, wire.NodeStatus>;

function readRecord(message: wire.NodeRecord | undefined): NodeRecord {
  const record = required(message, 'a record');
  return {
    nodeId: record.nodeId,
    nodeUuid: readUuid(record.nodeUuid, 'node_uuid'),
    incarnation: readInteger(record.incarnation, 'incarnation'),
    status: keyOf(STATUSES, record.status, 'status'),
    grpcAddress: record.grpcAddress,
    httpAddress: record.httpAddress,
    version: record.version,
    protocolMin: record.protocolMin,
    protocolMax: record.protocolMax,
  };
}

function writeRecord(record: NodeRecord): MessageInitShape<typeof wire.NodeRecordSchema> {
  return {
    ...record,
    nodeUuid: writeUuid(record.nodeUuid),
    incarnation: writeInteger(record.incarnation),
    status: STATUSES[record.status],
  };
}

function readRecords(records: readonly wire.NodeRecord[]): NodeRecord[] {
  if (records.length > RECORDS_MAX) throw malformed(`${records.length} records`);
  return records.map(readRecord);
}

export function readIntroduction({ self }: wire.IntroduceRequest | wire.IntroduceResponse): Introduction {
  const introduction = required(self, 'self');
  return {
    nodeId: introduction.nodeId,
    nodeUuid: readUuid(introduction.nodeUuid, 'node_uuid'),
    bootCount: readInteger(introduction.bootCount, 'boot_count'),
    clusterId: introduction.clusterId,
    provisional: introduction.provisional,
    bootstrappedMs: readInteger(introduction.bootstrappedMs, 'bootstrapped_ms'),
    protocolMin: introduction.protocolMin,
    protocolMax: introduction.protocolMax,
    version: introduction.version,
    grpcAddress: introduction.grpcAddress,
  };
}

function introductionMessage(self: Introduction): MessageInitShape<typeof wire.IntroductionSchema> {
  return {
    ...self,
    nodeUuid: writeUuid(self.nodeUuid),
    bootCount: writeInteger(self.bootCount),
    bootstrappedMs: writeInteger(self.bootstrappedMs),
  };
}

export function writeIntroduction(self: Introduction): wire.IntroduceRequest {
  return create(wire.IntroduceRequestSchema, { self: introductionMessage(self) });
}

export function writeIntroductionAnswer(self: Introduction): wire.IntroduceResponse {
  return create(wire.IntroduceResponseSchema, { self: introductionMessage(self) });
}

export function readJoin({ record, bootCount }: wire.JoinRequest): JoinRequest {
  return { record: readRecord(record), bootCount: readInteger(bootCount, 'boot_count') };
}

export function writeJoin({ record, bootCount }: JoinRequest): wire.JoinRequest {
  return create(wire.JoinRequestSchema, { record: writeRecord(record), bootCount: writeInteger(bootCount) });
}

const JOIN_REFUSALS = {
  DUPLICATE_NODE_ID: wire.JoinResponse_RefusalReason.DUPLICATE_NODE_ID,
  FOREIGN_CLUSTER: wire.JoinResponse_RefusalReason.FOREIGN_CLUSTER,
  PROTOCOL: wire.JoinResponse_RefusalReason.PROTOCOL,
} as const satisfies Record<Extract<JoinAnswer, { kind: 'refused' }>['reason'], wire.JoinResponse_RefusalReason>;

export function readJoinAnswer({ answer }: wire.JoinResponse): JoinAnswer {
  switch (answer.case) {
    case 'joined':
      return { kind: 'joined', clusterId: answer.value.clusterId, records: readRecords(answer.value.records) };
    case 'later':
      return { kind: 'later', detail: answer.value.detail };
    case 'refused': {
      const { reason, detail } = answer.value;
      return { kind: 'refused', reason: keyOf(JOIN_REFUSALS, reason, 'reason'), detail };
    }
    case undefined:
      throw malformed('a join without an answer');
  }
}

export function writeJoinAnswer(answer: JoinAnswer): wire.JoinResponse {
  switch (answer.kind) {
    case 'joined': {
      const value = { clusterId: answer.clusterId, records: answer.records.map(writeRecord) };
      return create(wire.JoinResponseSchema, { answer: { case: 'joined', value } });
    }
    case 'later':
      return create(wire.JoinResponseSchema, { answer: { case: 'later', value: { detail: answer.detail } } });
    case 'refused': {
      const value = { reason: JOIN_REFUSALS[answer.reason], detail: answer.detail };
      return create(wire.JoinResponseSchema, { answer: { case: 'refused', value } });
    }
  }
}

export function readBeat({ beat }: wire.HeartbeatRequest | wire.HeartbeatResponse): Heartbeat {
  const { clusterId, self, load, viewDigest, mapEpoch, positions, heard } = required(beat, 'beat');
  const { diskFreeBytes, diskTotalBytes, wallMs } = required(load, 'load');
  if (heard.length > RECORDS_MAX) throw malformed(`${heard.length} peers heard`);
  return {
    clusterId,
    self: readRecord(self),
    load: {
      diskFreeBytes: readInteger(diskFreeBytes, 'disk_free_bytes'),
      diskTotalBytes: readInteger(diskTotalBytes, 'disk_total_bytes'),
      wallMs: readInteger(wallMs, 'wall_ms'),
    },
    viewDigest,
    mapEpoch: readInteger(mapEpoch, 'map_epoch'),
    // Kept until the next one: not with the frame around it.
    positions: Uint8Array.prototype.slice.call(positions),
    heard: heard.map(({ nodeUuid, agoMs }) => ({
      nodeUuid: readUuid(nodeUuid, 'node_uuid'),
      agoMs: readInteger(agoMs, 'ago_ms'),
    })),
  };
}

function beatMessage(beat: Heartbeat): MessageInitShape<typeof wire.BeatSchema> {
  return {
    clusterId: beat.clusterId,
    self: writeRecord(beat.self),
    load: {
      diskFreeBytes: writeInteger(Math.round(beat.load.diskFreeBytes)),
      diskTotalBytes: writeInteger(Math.round(beat.load.diskTotalBytes)),
      wallMs: writeInteger(Math.round(beat.load.wallMs)),
    },
    viewDigest: beat.viewDigest,
    mapEpoch: writeInteger(beat.mapEpoch),
    positions: beat.positions,
    heard: beat.heard.map(({ nodeUuid, agoMs }) => ({
      nodeUuid: writeUuid(nodeUuid),
      // Monotonic clocks have fractions.
      agoMs: writeInteger(Math.max(0, Math.round(agoMs))),
    })),
  };
}

export function writeBeat(beat: Heartbeat): wire.HeartbeatRequest {
  return create(wire.HeartbeatRequestSchema, { beat: beatMessage(beat), ballast: BALLAST });
}

export function writeBeatAnswer(beat: Heartbeat): wire.HeartbeatResponse {
  return create(wire.HeartbeatResponseSchema, { beat: beatMessage(beat), ballast: BALLAST });
}

export function readExchange({ clusterId, from, viewDigest, records }: wire.ExchangeRequest): Exchange {
  return { clusterId, from: readUuid(from, 'from'), viewDigest, records: readRecords(records) };
}

export function writeExchange({ clusterId, from, viewDigest, records }: Exchange): wire.ExchangeRequest {
  return create(wire.ExchangeRequestSchema, {
    clusterId,
    from: writeUuid(from),
    viewDigest,
    records: records.map(writeRecord),
  });
}

export function readExchangeAnswer({ records }: wire.ExchangeResponse): readonly NodeRecord[] {
  return readRecords(records);
}

export function writeExchangeAnswer(records: readonly NodeRecord[]): wire.ExchangeResponse {
  return create(wire.ExchangeResponseSchema, { records: records.map(writeRecord) });
}
