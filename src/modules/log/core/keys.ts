import { utf8, fromUtf8 } from '../../../kernel/bytes.js';

/**
 * Keys of the node's database (replication 2.1); numbers are big-endian, so that key order is their order.
 *
 * | key | value |
 * |---|---|
 * | `e!` shard u32, offset u64 | an encoded entry |
 * | `d!` generation u32, shard u32, collectionId u32, id | a document row |
 * | `i!` shard u32, opId 16 B | an idempotency row |
 * | `m!` shard u32, name | the shard's own records: tail, history, promise, start, counters |
 * | `n!` name | the node's own records: identity, boot count |
 */
function key(tag: 'd' | 'i' | 'm' | 'n', length: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(2 + length);
  bytes[0] = tag.charCodeAt(0);
  bytes[1] = 0x21;
  return { bytes, view: new DataView(bytes.buffer) };
}

/** Written byte by byte: every append and read makes one. */
export function entryKey(shard: number, offset: number): Uint8Array {
  const high = Math.floor(offset / 2 ** 32);
  const bytes = new Uint8Array(14);
  bytes[0] = 0x65;
  bytes[1] = 0x21;
  bytes[2] = shard >>> 24;
  bytes[3] = shard >>> 16;
  bytes[4] = shard >>> 8;
  bytes[5] = shard;
  bytes[6] = high >>> 24;
  bytes[7] = high >>> 16;
  bytes[8] = high >>> 8;
  bytes[9] = high;
  bytes[10] = offset >>> 24;
  bytes[11] = offset >>> 16;
  bytes[12] = offset >>> 8;
  bytes[13] = offset;
  return bytes;
}

/** The offset behind an entry key. */
export function entryKeyOffset(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getUint32(6) * 2 ** 32 + view.getUint32(10);
}

export function documentKey(generation: number, shard: number, collectionId: number, id: string): Uint8Array {
  const idBytes = utf8(id);
  const { bytes, view } = key('d', 12 + idBytes.length);
  view.setUint32(2, generation);
  view.setUint32(6, shard);
  view.setUint32(10, collectionId);
  bytes.set(idBytes, 14);
  return bytes;
}

/** Prefix of all document rows of a shard, or of one of its collections. */
export function documentPrefix(generation: number, shard: number, collectionId?: number): Uint8Array {
  const { bytes, view } = key('d', collectionId === undefined ? 8 : 12);
  view.setUint32(2, generation);
  view.setUint32(6, shard);
  if (collectionId !== undefined) view.setUint32(10, collectionId);
  return bytes;
}

/** Collection and id behind a document key. */
export function documentKeyParts(bytes: Uint8Array): { collectionId: number; id: string } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { collectionId: view.getUint32(10), id: fromUtf8(bytes.subarray(14)) };
}

export function idempotencyKey(shard: number, opId: Uint8Array): Uint8Array {
  const { bytes, view } = key('i', 4 + opId.length);
  view.setUint32(2, shard);
  bytes.set(opId, 6);
  return bytes;
}

export function idempotencyPrefix(shard: number): Uint8Array {
  return idempotencyKey(shard, new Uint8Array(0));
}

export function shardKey(shard: number, name: string): Uint8Array {
  const nameBytes = utf8(name);
  const { bytes, view } = key('m', 4 + nameBytes.length);
  view.setUint32(2, shard);
  bytes.set(nameBytes, 6);
  return bytes;
}

export function nodeKey(name: string): Uint8Array {
  const nameBytes = utf8(name);
  const { bytes } = key('n', nameBytes.length);
  bytes.set(nameBytes, 2);
  return bytes;
}
