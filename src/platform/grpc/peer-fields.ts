import { fromHex, toHex } from '../../kernel/bytes.js';
import { assert } from '../../kernel/assert.js';
import type { Epoch } from '../../kernel/epoch.js';
import { UUID_BYTES } from '../../kernel/epoch.js';
import { NodeError } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { NodeUuid } from '../../kernel/peer.js';

/**
 * Fields that all messages between nodes have, checked as they are read: what a peer sends is refused, never trusted.
 * Small byte strings are copied, because the core keeps them and a view would keep the whole frame.
 */

/** @throws NodeError INVALID_REQUEST */
export function malformed(what: string): NodeError {
  return new NodeError('INVALID_REQUEST', `A message between nodes is malformed: ${what}`);
}

export function readInteger(value: bigint, field: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw malformed(`${field} is not a safe integer`);
  return number;
}

export function writeInteger(value: number): bigint {
  assert(Number.isSafeInteger(value) && value >= 0, 'a number on the wire is a safe integer from 0');
  return BigInt(value);
}

/** Bytes of a chain (replication 2.2). */
const CHAIN_BYTES = 16;

export function readChain(bytes: Uint8Array, field: string): Uint8Array {
  if (bytes.length !== CHAIN_BYTES) throw malformed(`${field} has ${bytes.length} bytes instead of ${CHAIN_BYTES}`);
  return Uint8Array.prototype.slice.call(bytes);
}

export function readUuid(bytes: Uint8Array, field: string): NodeUuid {
  if (bytes.length !== UUID_BYTES) throw malformed(`${field} has ${bytes.length} bytes instead of ${UUID_BYTES}`);
  return toHex(bytes);
}

export function writeUuid(uuid: NodeUuid): Uint8Array {
  const bytes = fromHex(uuid);
  assert(bytes?.length === UUID_BYTES, 'a node uuid is 32 hex digits');
  return bytes;
}

/** '' where there may be none. */
export function readUuidIfAny(bytes: Uint8Array, field: string): NodeUuid {
  return bytes.length === 0 ? '' : readUuid(bytes, field);
}

export function writeUuidIfAny(uuid: NodeUuid): Uint8Array {
  return uuid === '' ? new Uint8Array() : writeUuid(uuid);
}

export function readEpoch(
  epoch: { readonly num: bigint; readonly uuid: Uint8Array } | undefined,
  field: string,
): Epoch {
  if (epoch === undefined) throw malformed(`${field} is missing`);
  if (epoch.uuid.length !== UUID_BYTES) throw malformed(`the uuid of ${field} has ${epoch.uuid.length} bytes`);
  return { num: readInteger(epoch.num, field), uuid: Uint8Array.prototype.slice.call(epoch.uuid) };
}

export function writeEpoch({ num, uuid }: Epoch): { num: bigint; uuid: Uint8Array } {
  assert(uuid.length === UUID_BYTES, 'the uuid of an epoch has 16 bytes');
  return { num: writeInteger(num), uuid };
}

export function readShard(shard: number): number {
  if (shard >= LIMITS.shardsMax && shard !== META_SHARD) throw malformed(`there is no shard ${shard}`);
  return shard;
}

/** A part that must be there. */
export function required<T>(part: T | undefined, field: string): T {
  if (part === undefined) throw malformed(`${field} is missing`);
  return part;
}

/** The word of the core for a number of the wire. */
export function keyOf<K extends string>(words: Readonly<Record<K, number>>, value: number, field: string): K {
  for (const key of Object.keys(words) as K[]) if (words[key] === value) return key;
  throw malformed(`${field} has no meaning for ${value}`);
}
