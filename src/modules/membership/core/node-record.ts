import { compareIds, NODE_ID_PATTERN } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';

/** States of a member; at equal incarnation a later one wins over an earlier one (replication 8.2). */
export const NODE_STATUSES = ['JOINING', 'ACTIVE', 'LEAVING', 'SUSPECT', 'UNAVAILABLE', 'LEFT'] as const;
export type NodeStatus = (typeof NODE_STATUSES)[number];

/** One member as the view knows it (replication 8.2). Only its owner raises the incarnation. */
export interface NodeRecord {
  readonly nodeId: string;
  readonly nodeUuid: NodeUuid;
  readonly incarnation: number;
  readonly status: NodeStatus;
  /** `host:port` other nodes use for gRPC. */
  readonly grpcAddress: string;
  /** `host:port` of its REST interface, as it says itself. */
  readonly httpAddress: string;
  /** Of the package. */
  readonly version: string;
  readonly protocolMin: number;
  readonly protocolMax: number;
}

/** What a node tells of itself with every heartbeat, outside the view's digest. */
export interface NodeLoad {
  readonly diskFreeBytes: number;
  readonly diskTotalBytes: number;
  /** Its wall clock when it spoke: for the skew alarm (1.3). */
  readonly wallMs: number;
}

/** Incarnations a node may use up in one boot: its first one is bootCount times this, so that a restart is always newer. */
export const INCARNATIONS_PER_BOOT = 2 ** 20;
/** Above it a record is refused: its owner could not raise it any more. */
export const INCARNATION_MAX = 2 ** 52;

const UUID_PATTERN = /^[0-9a-f]{32}$/;
/** A DNS name is at most 253 characters. */
const ADDRESS_CHARACTERS_MAX = 260;
const VERSION_CHARACTERS_MAX = 64;
const PROTOCOL_MAX = 2 ** 31;

/** Whether it is up as far as the view knows: neither doubted nor gone. */
export function isUp(status: NodeStatus): boolean {
  return status === 'JOINING' || status === 'ACTIVE' || status === 'LEAVING';
}

/**
 * Which of two records of one node stands: a join of a semilattice (commutative, associative, idempotent). Records that
 * differ only in what a node says of itself cannot come from one owner at one incarnation; a fixed order keeps all nodes
 * in agreement even then.
 */
export function joinRecords(a: NodeRecord, b: NodeRecord): NodeRecord {
  const order =
    a.incarnation - b.incarnation ||
    NODE_STATUSES.indexOf(a.status) - NODE_STATUSES.indexOf(b.status) ||
    compareIds(recordText(a), recordText(b));
  return order >= 0 ? a : b;
}

/** All of a record in one text, equal for equal records. */
export function recordText(record: NodeRecord): string {
  return JSON.stringify([
    record.nodeUuid,
    record.nodeId,
    record.incarnation,
    record.status,
    record.grpcAddress,
    record.httpAddress,
    record.version,
    record.protocolMin,
    record.protocolMax,
  ]);
}

/** What is wrong with a record another node sent, or undefined: one bad record must not harm the view. */
export function recordProblem(record: NodeRecord): string | undefined {
  if (!UUID_PATTERN.test(record.nodeUuid)) return 'the node uuid is not 32 hex digits';
  if (!NODE_ID_PATTERN.test(record.nodeId)) return 'the node id is not a DNS label';
  if (!Number.isSafeInteger(record.incarnation) || record.incarnation < 0 || record.incarnation > INCARNATION_MAX)
    return 'the incarnation is out of range';
  if (!NODE_STATUSES.includes(record.status)) return 'the status is not known';
  if (record.grpcAddress === '' || record.grpcAddress.length > ADDRESS_CHARACTERS_MAX)
    return 'the address is empty or too long';
  if (record.httpAddress.length > ADDRESS_CHARACTERS_MAX) return 'the REST address is too long';
  if (record.version.length > VERSION_CHARACTERS_MAX) return 'the version is too long';
  const { protocolMin: min, protocolMax: max } = record;
  if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max) || min < 0 || min > max || max > PROTOCOL_MAX)
    return 'the protocol range is not one';
  return undefined;
}

/** Protocol numbers a node speaks. */
export interface ProtocolRange {
  readonly protocolMin: number;
  readonly protocolMax: number;
}

/** Whether two nodes have a protocol in common (replication 8.5). */
export function protocolsOverlap(a: ProtocolRange, b: ProtocolRange): boolean {
  return a.protocolMin <= b.protocolMax && b.protocolMin <= a.protocolMax;
}
