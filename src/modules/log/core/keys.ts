import { readU32, readU64, writeU32, writeU64 } from '../../../kernel/big-endian.js';
import { fromUtf8, pooledBytes, utf8 } from '../../../kernel/bytes.js';
import { OP_ID_BYTES } from '../../../kernel/version.js';

/**
 * Keys of the node's database (replication 2.1); numbers are big-endian, so that key order is their order.
 *
 * | key | value |
 * |---|---|
 * | `e!` shard u32, offset u64 | an encoded entry of the first generation |
 * | `f!` generation u32, shard u32, offset u64 | an encoded entry of a later one |
 * | `d!` generation u32, shard u32, collectionId u32, id | a document row |
 * | `i!` shard u32, opId 16 B | an idempotency row of the first generation |
 * | `j!` generation u32, shard u32, opId 16 B | an idempotency row of a later one |
 * | `l!` shard u32, collectionId u32, id | the entry of a loose row, as it was logged (6.4) |
 * | `m!` shard u32, name | the shard's own records: tail, history, promise, start, counters |
 * | `n!` name | the node's own records: identity, boot count |
 *
 * A generation is everything a snapshot brings: entries, document rows, idempotency rows (4.7). The one being received is
 * invisible beside the one in use until a single record makes it the one in use. Loose rows survive that.
 */
function key(tag: 'd' | 'e' | 'f' | 'i' | 'j' | 'l' | 'm' | 'n', length: number): Uint8Array {
  const bytes = pooledBytes(2 + length);
  bytes[0] = tag.charCodeAt(0);
  bytes[1] = 0x21;
  return bytes;
}

/** The generation of a shard that never received a snapshot. */
export const FIRST_GENERATION = 1;

export function entryKey(shard: number, offset: number, generation = FIRST_GENERATION): Uint8Array {
  if (generation === FIRST_GENERATION) {
    const bytes = key('e', 12);
    writeU32(bytes, 2, shard);
    writeU64(bytes, 6, offset);
    return bytes;
  }
  const bytes = key('f', 16);
  writeU32(bytes, 2, generation);
  writeU32(bytes, 6, shard);
  writeU64(bytes, 10, offset);
  return bytes;
}

/** Prefix of all entries of a shard in one generation. */
export function entryPrefix(shard: number, generation = FIRST_GENERATION): Uint8Array {
  const bytes = entryKey(shard, 0, generation);
  return bytes.subarray(0, bytes.length - 8);
}

/** The offset behind an entry key. */
export function entryKeyOffset(bytes: Uint8Array): number {
  return readU64(bytes, bytes.length - 8);
}

export function documentKey(generation: number, shard: number, collectionId: number, id: string): Uint8Array {
  const idBytes = utf8(id);
  const bytes = key('d', 12 + idBytes.length);
  writeU32(bytes, 2, generation);
  writeU32(bytes, 6, shard);
  writeU32(bytes, 10, collectionId);
  bytes.set(idBytes, 14);
  return bytes;
}

/** Prefix of all document rows of a shard, or of one of its collections. */
export function documentPrefix(generation: number, shard: number, collectionId?: number): Uint8Array {
  const bytes = key('d', collectionId === undefined ? 8 : 12);
  writeU32(bytes, 2, generation);
  writeU32(bytes, 6, shard);
  if (collectionId !== undefined) writeU32(bytes, 10, collectionId);
  return bytes;
}

/** Collection and id behind a document key. */
export function documentKeyParts(bytes: Uint8Array): { collectionId: number; id: string } {
  return { collectionId: readU32(bytes, 10), id: fromUtf8(bytes.subarray(14)) };
}

export function idempotencyKey(shard: number, opId: Uint8Array, generation = FIRST_GENERATION): Uint8Array {
  if (generation === FIRST_GENERATION) {
    const bytes = key('i', 4 + opId.length);
    writeU32(bytes, 2, shard);
    bytes.set(opId, 6);
    return bytes;
  }
  const bytes = key('j', 8 + opId.length);
  writeU32(bytes, 2, generation);
  writeU32(bytes, 6, shard);
  bytes.set(opId, 10);
  return bytes;
}

export function idempotencyPrefix(shard: number, generation = FIRST_GENERATION): Uint8Array {
  return idempotencyKey(shard, new Uint8Array(0), generation);
}

/** The operation id behind an idempotency key; a copy. */
export function idempotencyKeyOpId(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes.subarray(bytes.length - OP_ID_BYTES));
}

/** Where the entry of a loose row is kept (6.4). */
export function looseKey(shard: number, collectionId: number, id: string): Uint8Array {
  const idBytes = utf8(id);
  const bytes = key('l', 8 + idBytes.length);
  writeU32(bytes, 2, shard);
  writeU32(bytes, 6, collectionId);
  bytes.set(idBytes, 10);
  return bytes;
}

/** Prefix of the entries of all loose rows of a shard. */
export function loosePrefix(shard: number): Uint8Array {
  const bytes = key('l', 4);
  writeU32(bytes, 2, shard);
  return bytes;
}

export function shardKey(shard: number, name: string): Uint8Array {
  const nameBytes = utf8(name);
  const bytes = key('m', 4 + nameBytes.length);
  writeU32(bytes, 2, shard);
  bytes.set(nameBytes, 6);
  return bytes;
}

export function nodeKey(name: string): Uint8Array {
  const nameBytes = utf8(name);
  const bytes = key('n', nameBytes.length);
  bytes.set(nameBytes, 2);
  return bytes;
}
