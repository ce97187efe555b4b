import { assert } from '../../../kernel/assert.js';
import { readU16, readU32, readU64, writeU16, writeU32, writeU64 } from '../../../kernel/big-endian.js';
import { fromUtf8 } from '../../../kernel/bytes.js';
import { UUID_BYTES } from '../../../kernel/epoch.js';
import type { Epoch } from '../../../kernel/epoch.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { utf8Length } from '../../../kernel/ids.js';
import { HLC_COUNTER_MAX, HLC_MS_MAX, OP_ID_BYTES } from '../../../kernel/version.js';
import type { Version } from '../../../kernel/version.js';
import { CHAIN_BYTES, ENTRY_OPS } from './entry.js';
import type { Entry, EntryOp, EntryOperation, EntryOrigin } from './entry.js';
import { AT_CHAIN, AT_CRC, EntrySums } from './entry-sums.js';

/**
 * The bytes of a log entry (replication 2.2); numbers are big-endian.
 *
 * | at | field | | at | field |
 * |---|---|---|---|---|
 * | 0 | magic u16 0x5345 | | 40 | offset u64 |
 * | 2 | format u8 = 1 | | 48 | hlc: ms u48, counter u16 |
 * | 3 | op u8 | | 56 | opId, 16 bytes |
 * | 4 | flags u16 (below) | | 72 | collectionId u32 |
 * | 6 | length of the id u16 | | 76 | crc32 u32, over everything but itself |
 * | 8 | shard u32 | | 80 | chain, 16 bytes |
 * | 12 | length of the payload u32 | | 96 | origin if flagged: epoch num u64, epoch uuid 16 bytes, offset u64 |
 * | 16 | epoch num u64 | | … | fingerprint if flagged, 16 bytes |
 * | 24 | epoch uuid, 16 bytes | | … | id in UTF-8, then the payload |
 *
 * Flags: bit 0 has an origin, bit 1 keyed (has a fingerprint), bit 2 the keyed operation created its document.
 */
const MAGIC = 0x5345;
const FORMAT = 1;
const FLAG_ORIGIN = 1;
const FLAG_KEYED = 2;
const FLAG_CREATED = 4;
const FLAGS_KNOWN = FLAG_ORIGIN | FLAG_KEYED | FLAG_CREATED;

const AT_FLAGS = 4;
const AT_ID_LENGTH = 6;
const AT_SHARD = 8;
const AT_PAYLOAD_LENGTH = 12;
const AT_EPOCH_NUM = 16;
const AT_EPOCH_UUID = 24;
const AT_OFFSET = 40;
const AT_HLC = 48;
const AT_OP_ID = 56;
const AT_COLLECTION = 72;
const HEADER_BYTES = 96;
/** Shorter bytes have no field that could be read. */
export const ENTRY_BYTES_MIN = HEADER_BYTES;
const ORIGIN_BYTES = 32;
const FINGERPRINT_BYTES = 16;

const U16_MAX = 0xffff;
const U32_MAX = 0xffff_ffff;
/** High word of the largest safe integer. */
const SAFE_HIGH_MAX = 0x1f_ffff;

const OPS: readonly (EntryOp | undefined)[] = (() => {
  const ops: (EntryOp | undefined)[] = [];
  for (const [op, code] of Object.entries(ENTRY_OPS)) ops[code] = op as EntryOp;
  return ops;
})();

const textEncoder = new TextEncoder();
const sums = new EntrySums();

/** Why an entry's bytes are refused: see `Damage` of the log store. */
export type EntryProblem = 'crc' | 'chain' | 'format' | 'misplaced';

/** The bytes are not an entry this version can read; never skipped (replication 2.2). */
export class EntryFormatError extends Error {
  override readonly name = 'EntryFormatError';
  readonly problem = 'format';
}

/** What the reader already knows about an entry. */
export interface ExpectedEntry {
  readonly shard: number;
  readonly offset: number;
  /** Chain of the entry before; left out when it is not at hand. */
  readonly prevChain?: Uint8Array | undefined;
}

/**
 * Encodes an entry that follows one with chain `prevChain` (CHAIN_ZERO at offset 1).
 */
export function encodeEntry(
  entry: Omit<Entry, 'chain'>,
  prevChain: Uint8Array,
  hasher: Hasher,
): { bytes: Uint8Array; chain: Uint8Array } {
  const { id, payload, origin, operation, epoch, version } = entry;
  assertEncodable(entry, prevChain);
  const idLength = utf8Length(id);
  assert(idLength <= U16_MAX, 'an id is at most 65 535 bytes');
  const fingerprintAt = HEADER_BYTES + (origin === undefined ? 0 : ORIGIN_BYTES);
  const idAt = fingerprintAt + (operation === undefined ? 0 : FINGERPRINT_BYTES);
  const bytes = new Uint8Array(idAt + idLength + payload.length);

  writeU16(bytes, 0, MAGIC);
  bytes[2] = FORMAT;
  bytes[3] = ENTRY_OPS[entry.op];
  writeU16(bytes, AT_FLAGS, flagsOf(entry));
  writeU16(bytes, AT_ID_LENGTH, idLength);
  writeU32(bytes, AT_SHARD, entry.shard);
  writeU32(bytes, AT_PAYLOAD_LENGTH, payload.length);
  writeU64(bytes, AT_EPOCH_NUM, epoch.num);
  bytes.set(epoch.uuid, AT_EPOCH_UUID);
  writeU64(bytes, AT_OFFSET, entry.offset);
  writeU16(bytes, AT_HLC, Math.floor(version.hlc.ms / 2 ** 32));
  writeU32(bytes, AT_HLC + 2, version.hlc.ms >>> 0);
  writeU16(bytes, AT_HLC + 6, version.hlc.counter);
  bytes.set(version.opId, AT_OP_ID);
  writeU32(bytes, AT_COLLECTION, entry.collectionId);
  if (origin !== undefined) {
    writeU64(bytes, HEADER_BYTES, origin.epoch.num);
    bytes.set(origin.epoch.uuid, HEADER_BYTES + 8);
    writeU64(bytes, HEADER_BYTES + 24, origin.offset);
  }
  if (operation !== undefined) bytes.set(operation.fingerprint, fingerprintAt);
  writeText(bytes, idAt, id, idLength);
  bytes.set(payload, idAt + idLength);

  // The chain covers the bytes without both sums; the crc covers the chain, too.
  sums.load(bytes);
  const chain = sums.chain(prevChain, hasher);
  bytes.set(chain, AT_CHAIN);
  sums.load(bytes);
  writeU32(bytes, AT_CRC, sums.crc(hasher));
  return { bytes, chain };
}

/**
 * The entry behind its bytes. The layout is checked, the sums are not: see `verifyEntry`.
 * The payload is a view of `bytes`, everything else a copy, so that a kept version or chain does not keep the document.
 * @throws EntryFormatError
 */
export function decodeEntry(bytes: Uint8Array): Entry {
  const problem = layoutProblem(bytes);
  if (problem !== undefined) throw new EntryFormatError(problem);
  const entry = {
    op: OPS[bytes[3]] as EntryOp,
    shard: readU32(bytes, AT_SHARD),
    epoch: entryEpoch(bytes),
    offset: readU64(bytes, AT_OFFSET),
    version: entryVersion(bytes),
    collectionId: readU32(bytes, AT_COLLECTION),
    id: decodeId(bytes),
    payload: entryPayload(bytes),
    chain: copy(bytes, AT_CHAIN, CHAIN_BYTES),
  };
  const operation = entryOperation(bytes);
  return {
    ...entry,
    ...(hasOrigin(bytes) ? { origin: readOrigin(bytes) } : {}),
    ...(operation === undefined ? {} : { operation }),
  };
}

/**
 * What is wrong with an entry read from a disk or a peer, or undefined when nothing is.
 * Without `expected` only the entry itself is checked; the chain only with the chain before it.
 */
export function verifyEntry(bytes: Uint8Array, hasher: Hasher, expected?: ExpectedEntry): EntryProblem | undefined {
  if (headProblem(bytes) !== undefined) return 'format';
  sums.load(bytes);
  if (sums.crc(hasher) !== readU32(bytes, AT_CRC)) return 'crc';
  if (layoutProblem(bytes) !== undefined) return 'format';
  if (expected === undefined) return undefined;
  if (readU32(bytes, AT_SHARD) !== expected.shard || readU64(bytes, AT_OFFSET) !== expected.offset) return 'misplaced';
  if (expected.prevChain === undefined) return undefined;
  return hasAt(bytes, AT_CHAIN, sums.chain(expected.prevChain, hasher)) ? undefined : 'chain';
}

// Peeks at one field. They trust the layout: only for bytes that were encoded, decoded or verified before.

/** @throws EntryFormatError for an op of a newer version */
export function entryOp(bytes: Uint8Array): EntryOp {
  const op = OPS[bytes[3]];
  if (op === undefined) throw new EntryFormatError(`unknown entry op ${bytes[3]}`);
  return op;
}

export function entryShard(bytes: Uint8Array): number {
  return readU32(bytes, AT_SHARD);
}

export function entryOffset(bytes: Uint8Array): number {
  return readU64(bytes, AT_OFFSET);
}

export function entryEpoch(bytes: Uint8Array): Epoch {
  return { num: readU64(bytes, AT_EPOCH_NUM), uuid: copy(bytes, AT_EPOCH_UUID, UUID_BYTES) };
}

/** Whether it was logged in this reign. */
export function isOfEpoch(bytes: Uint8Array, { num, uuid }: Epoch): boolean {
  return readU64(bytes, AT_EPOCH_NUM) === num && hasAt(bytes, AT_EPOCH_UUID, uuid);
}

export function entryVersion(bytes: Uint8Array): Version {
  return {
    hlc: {
      ms: readU16(bytes, AT_HLC) * 2 ** 32 + readU32(bytes, AT_HLC + 2),
      counter: readU16(bytes, AT_HLC + 6),
    },
    opId: copy(bytes, AT_OP_ID, OP_ID_BYTES),
  };
}

export function entryCollectionId(bytes: Uint8Array): number {
  return readU32(bytes, AT_COLLECTION);
}

/** A copy, 16 bytes. */
export function entryChain(bytes: Uint8Array): Uint8Array {
  return copy(bytes, AT_CHAIN, CHAIN_BYTES);
}

/** Copies the chain into `chain`, 16 bytes. */
export function entryChainInto(bytes: Uint8Array, chain: Uint8Array): void {
  for (let i = 0; i < CHAIN_BYTES; i++) chain[i] = bytes[AT_CHAIN + i];
}

/** @throws EntryFormatError when the id is not well-formed UTF-8 */
export function entryId(bytes: Uint8Array): string {
  return decodeId(bytes);
}

/** Where a merged row was first written; undefined for any other entry. A copy. */
export function entryOrigin(bytes: Uint8Array): EntryOrigin | undefined {
  return hasOrigin(bytes) ? readOrigin(bytes) : undefined;
}

/** What a keyed entry says of its operation; undefined for any other. The fingerprint is a copy. */
export function entryOperation(bytes: Uint8Array): EntryOperation | undefined {
  const flags = bytes[AT_FLAGS + 1];
  if ((flags & FLAG_KEYED) === 0) return undefined;
  const at = HEADER_BYTES + (hasOrigin(bytes) ? ORIGIN_BYTES : 0);
  return { fingerprint: copy(bytes, at, FINGERPRINT_BYTES), created: (flags & FLAG_CREATED) !== 0 };
}

/** A view of `bytes`. */
export function entryPayload(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(idStart(bytes) + readU16(bytes, AT_ID_LENGTH));
}

function assertEncodable(entry: Omit<Entry, 'chain'>, prevChain: Uint8Array): void {
  const { hlc, opId } = entry.version;
  assert(prevChain.length === CHAIN_BYTES, 'a chain has 16 bytes');
  assert(isU32(entry.shard), 'a shard is a u32');
  assert(isU32(entry.collectionId), 'a collectionId is a u32');
  assert(isPosition(entry.offset), 'an offset is a safe integer from 1');
  assertEpoch(entry.epoch);
  assert(Number.isSafeInteger(hlc.ms) && hlc.ms >= 0 && hlc.ms <= HLC_MS_MAX, 'hlc.ms has 48 bits');
  assert(
    Number.isSafeInteger(hlc.counter) && hlc.counter >= 0 && hlc.counter <= HLC_COUNTER_MAX,
    'hlc.counter has 16 bits',
  );
  assert(opId.length === OP_ID_BYTES, 'an opId has 16 bytes');
  assert(entry.payload.length <= U32_MAX, 'a payload is shorter than 4 GiB');
  if (entry.operation !== undefined)
    assert(entry.operation.fingerprint.length === FINGERPRINT_BYTES, 'a fingerprint has 16 bytes');
  if (entry.origin !== undefined) {
    assert(isPosition(entry.origin.offset), 'the offset of an origin is a safe integer from 1');
    assertEpoch(entry.origin.epoch);
  }
}

function assertEpoch(epoch: Epoch): void {
  assert(isPosition(epoch.num), 'the number of an epoch is a safe integer from 1');
  assert(epoch.uuid.length === UUID_BYTES, 'the uuid of an epoch has 16 bytes');
}

function isU32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= U32_MAX;
}

function isPosition(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1;
}

/** What is wrong with the part that every format shares. */
function headProblem(bytes: Uint8Array): string | undefined {
  if (bytes.length < HEADER_BYTES) return `an entry has at least ${HEADER_BYTES} bytes, got ${bytes.length}`;
  if (readU16(bytes, 0) !== MAGIC) return 'not a log entry: the magic number is missing';
  if (bytes[2] > FORMAT) {
    return `the entry has format ${bytes[2]}, written by a newer version; this one reads up to ${FORMAT}`;
  }
  if (bytes[2] !== FORMAT) return `the entry has format ${bytes[2]}, which does not exist`;
  return undefined;
}

function layoutProblem(bytes: Uint8Array): string | undefined {
  const head = headProblem(bytes);
  if (head !== undefined) return head;
  if (OPS[bytes[3]] === undefined) return `unknown entry op ${bytes[3]}, written by a newer version`;
  const flags = readU16(bytes, AT_FLAGS);
  if ((flags & ~FLAGS_KNOWN) !== 0) return `unknown entry flags 0x${flags.toString(16)}, written by a newer version`;
  const length = idStart(bytes) + readU16(bytes, AT_ID_LENGTH) + readU32(bytes, AT_PAYLOAD_LENGTH);
  if (length !== bytes.length) return `the entry should have ${length} bytes, got ${bytes.length}`;
  if (!isPositionAt(bytes, AT_EPOCH_NUM)) return 'the epoch number is not a safe integer from 1';
  if (!isPositionAt(bytes, AT_OFFSET)) return 'the offset is not a safe integer from 1';
  if (!hasOrigin(bytes)) return undefined;
  if (!isPositionAt(bytes, HEADER_BYTES)) return 'the epoch number of the origin is not a safe integer from 1';
  if (!isPositionAt(bytes, HEADER_BYTES + 24)) return 'the offset of the origin is not a safe integer from 1';
  return undefined;
}

function isPositionAt(bytes: Uint8Array, at: number): boolean {
  const high = readU32(bytes, at);
  return high <= SAFE_HIGH_MAX && (high !== 0 || readU32(bytes, at + 4) !== 0);
}

function hasOrigin(bytes: Uint8Array): boolean {
  return (bytes[AT_FLAGS + 1] & FLAG_ORIGIN) !== 0;
}

function flagsOf({ origin, operation }: Omit<Entry, 'chain'>): number {
  return (
    (origin === undefined ? 0 : FLAG_ORIGIN) |
    (operation === undefined ? 0 : FLAG_KEYED) |
    (operation?.created === true ? FLAG_CREATED : 0)
  );
}

function idStart(bytes: Uint8Array): number {
  const flags = bytes[AT_FLAGS + 1];
  return (
    HEADER_BYTES +
    ((flags & FLAG_ORIGIN) === 0 ? 0 : ORIGIN_BYTES) +
    ((flags & FLAG_KEYED) === 0 ? 0 : FINGERPRINT_BYTES)
  );
}

function readOrigin(bytes: Uint8Array): EntryOrigin {
  return {
    epoch: { num: readU64(bytes, HEADER_BYTES), uuid: copy(bytes, HEADER_BYTES + 8, UUID_BYTES) },
    offset: readU64(bytes, HEADER_BYTES + 24),
  };
}

/** Ids are mostly short ASCII, for which a call of the text encoder costs more than the copy. */
function writeText(bytes: Uint8Array, at: number, text: string, length: number): void {
  if (length !== text.length) {
    assert(text.isWellFormed(), 'an id is well-formed Unicode');
    textEncoder.encodeInto(text, bytes.subarray(at, at + length));
    return;
  }
  for (let i = 0; i < length; i++) bytes[at + i] = text.charCodeAt(i);
}

function decodeId(bytes: Uint8Array): string {
  const start = idStart(bytes);
  const end = start + readU16(bytes, AT_ID_LENGTH);
  let text = '';
  if (end - start <= 48) {
    let at = start;
    while (at < end && bytes[at] < 0x80) text += String.fromCharCode(bytes[at++]);
    if (at === end) return text;
  }
  try {
    return fromUtf8(bytes.subarray(start, end));
  } catch (error) {
    throw new EntryFormatError('the id of the entry is not well-formed UTF-8', { cause: error });
  }
}

/** Whether `bytes` have `part` at a place. */
function hasAt(bytes: Uint8Array, at: number, part: Uint8Array): boolean {
  for (let i = 0; i < part.length; i++) if (bytes[at + i] !== part[i]) return false;
  return true;
}

/** A plain copy; `slice` would be a view again when `bytes` is a Buffer. */
function copy(bytes: Uint8Array, at: number, length: number): Uint8Array {
  const part = new Uint8Array(length);
  for (let i = 0; i < length; i++) part[i] = bytes[at + i];
  return part;
}
