import { assert } from '../../../kernel/assert.js';
import { readU16, readU32, readU64, writeU16, writeU32, writeU64 } from '../../../kernel/big-endian.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { compareVersions, OP_ID_BYTES, type Version } from '../../../kernel/version.js';
import type { Entry } from '../../log/core/entry.js';
import { LiveDigest, liveTerm } from './digest.js';

/**
 * The document table: a last-writer-wins map id → highest version (replication 2.4, 2.5). A row points at the log entry
 * that holds the payload; a tombstone's row keeps the version of the delete.
 */
export interface DocumentRow {
  readonly version: Version;
  readonly offset: number;
  readonly tombstone: boolean;
  /** Bytes of the entry it points at: what becomes superseded when it is replaced. 0 while it is loose. */
  readonly bytes: number;
  /**
   * Its entry was cut off with a branch and is kept in the side store (replication 6.4); `offset` is where it was. Only the
   * same version at an offset of this log, or a higher one, ends that.
   */
  readonly loose: boolean;
}

/** Flags in the first byte of an encoded row. */
const TOMBSTONE = 1;
const LOOSE = 2;

const ROW_BYTES = 1 + 8 + OP_ID_BYTES + 8 + 4;

export function encodeRow(row: DocumentRow): Uint8Array {
  const bytes = new Uint8Array(ROW_BYTES);
  bytes[0] = (row.tombstone ? TOMBSTONE : 0) | (row.loose ? LOOSE : 0);
  writeU16(bytes, 1, Math.floor(row.version.hlc.ms / 2 ** 32));
  writeU32(bytes, 3, row.version.hlc.ms >>> 0);
  writeU16(bytes, 7, row.version.hlc.counter);
  bytes.set(row.version.opId, 9);
  writeU64(bytes, 25, row.offset);
  writeU32(bytes, 33, row.bytes);
  return bytes;
}

export function decodeRow(bytes: Uint8Array): DocumentRow {
  assert(bytes.length === ROW_BYTES, `a document row has ${ROW_BYTES} bytes`);
  return {
    tombstone: (bytes[0] & TOMBSTONE) !== 0,
    loose: (bytes[0] & LOOSE) !== 0,
    version: {
      hlc: { ms: readU16(bytes, 1) * 2 ** 32 + readU32(bytes, 3), counter: readU16(bytes, 7) },
      opId: bytes.slice(9, 9 + OP_ID_BYTES),
    },
    offset: readU64(bytes, 25),
    bytes: readU32(bytes, 33),
  };
}

/** What is counted of one collection's live rows in one shard. */
export interface CollectionCounters {
  readonly live: number;
  /** Sum of the live rows' terms; 16 bytes (replication 6.5). */
  readonly digest: Uint8Array;
  /** Bytes of the entries its rows, tombstones included, point at. */
  readonly bytes: number;
  /** Rows whose entry was cut off with a branch (replication 6.4). */
  readonly loose: number;
}

/**
 * What is counted of a shard's rows; kept in the same batch as the rows, so that it can never disagree with them. By
 * collection, so that dropping a collection drops its share at once.
 */
export interface ShardCounters {
  /** By collectionId. */
  readonly collections: ReadonlyMap<number, CollectionCounters>;
  /** Bytes of entries that no row points at: what compaction can win. */
  readonly supersededBytes: number;
}

export const ZERO_COUNTERS: ShardCounters = { collections: new Map(), supersededBytes: 0 };

/** The live digest of a whole shard: the sum over its collections. */
export function shardDigest(counters: ShardCounters): Uint8Array {
  const digest = new LiveDigest();
  for (const collection of counters.collections.values()) digest.add(collection.digest);
  return digest.bytes();
}

/** Live documents of a shard, all collections. */
export function liveDocuments(counters: ShardCounters): number {
  let live = 0;
  for (const collection of counters.collections.values()) live += collection.live;
  return live;
}

/** Loose rows of a shard, tombstones included, all collections. */
export function looseRows(counters: ShardCounters): number {
  let loose = 0;
  for (const collection of counters.collections.values()) loose += collection.loose;
  return loose;
}

/**
 * What an entry makes of the live row (replication 2.4): greater version replaces, equal re-points to this offset and so
 * ends that the row is loose, lower is ignored. Undefined: the row stays as it is.
 */
export function nextRow(
  entry: Pick<Entry, 'op' | 'version' | 'offset'>,
  bytes: number,
  row: DocumentRow | undefined,
): DocumentRow | undefined {
  assert(entry.op === 'UPSERT' || entry.op === 'DELETE', 'only documents have rows');
  if (row !== undefined && compareVersions(entry.version, row.version) < 0) return undefined;
  return { version: entry.version, offset: entry.offset, tombstone: entry.op === 'DELETE', bytes, loose: false };
}

interface CollectionTally {
  live: number;
  readonly digest: LiveDigest;
  bytes: number;
  loose: number;
}

/** Counters on their way through a batch: `change` row by row, then `value()` for the row that is written with them. */
export class CounterTally {
  readonly #hasher: Hasher;
  readonly #collections = new Map<number, CollectionTally>();
  #supersededBytes: number;

  constructor(hasher: Hasher, from: ShardCounters) {
    this.#hasher = hasher;
    for (const [id, { live, digest, bytes, loose }] of from.collections) {
      this.#collections.set(id, { live, digest: new LiveDigest(digest), bytes, loose });
    }
    this.#supersededBytes = from.supersededBytes;
  }

  /** A row went from `before` to `after`. */
  change(collectionId: number, id: string, before: DocumentRow | undefined, after: DocumentRow): void {
    const collection = this.#of(collectionId);
    if (before !== undefined) {
      collection.bytes -= before.bytes;
      if (before.loose) collection.loose -= 1;
      this.#supersededBytes += before.bytes;
      if (!before.tombstone) {
        collection.live -= 1;
        collection.digest.subtract(liveTerm(this.#hasher, collectionId, id, before.version));
      }
    }
    collection.bytes += after.bytes;
    if (after.loose) collection.loose += 1;
    if (!after.tombstone) {
      collection.live += 1;
      collection.digest.add(liveTerm(this.#hasher, collectionId, id, after.version));
    }
    assert(collection.live >= 0, 'a collection cannot have fewer than no documents');
  }

  /** A collection is there, though it may have no row: it can be dropped. */
  begin(collectionId: number): void {
    this.#of(collectionId);
  }

  /** A row went without another one in its place. */
  remove(collectionId: number, id: string, before: DocumentRow): void {
    const collection = this.#collections.get(collectionId);
    if (collection === undefined) return;
    collection.bytes -= before.bytes;
    this.#supersededBytes += before.bytes;
    if (before.loose) collection.loose -= 1;
    if (before.tombstone) return;
    collection.live -= 1;
    collection.digest.subtract(liveTerm(this.#hasher, collectionId, id, before.version));
  }

  /** False for a collection that was dropped, or never had a row: its rows count no more. */
  has(collectionId: number): boolean {
    return this.#collections.has(collectionId);
  }

  /** An entry no row points at (BARRIER and the like, an ignored lower version) is superseded from the start. */
  supersede(bytes: number): void {
    this.#supersededBytes += bytes;
  }

  /** Superseded entries were deleted from the log. */
  reclaim(bytes: number): void {
    this.#supersededBytes = Math.max(0, this.#supersededBytes - bytes);
  }

  /** A collection was dropped: its entries are superseded, its rows count no more. */
  drop(collectionId: number): void {
    const collection = this.#collections.get(collectionId);
    if (collection === undefined) return;
    this.#supersededBytes += collection.bytes;
    this.#collections.delete(collectionId);
  }

  value(): ShardCounters {
    const collections = new Map<number, CollectionCounters>();
    for (const [id, { live, digest, bytes, loose }] of this.#collections)
      collections.set(id, { live, digest: digest.bytes(), bytes, loose });
    return { collections, supersededBytes: this.#supersededBytes };
  }

  #of(collectionId: number): CollectionTally {
    let collection = this.#collections.get(collectionId);
    if (collection === undefined) {
      collection = { live: 0, digest: new LiveDigest(), bytes: 0, loose: 0 };
      this.#collections.set(collectionId, collection);
    }
    return collection;
  }
}

const COUNTER_BYTES = 4 + 8 + 16 + 8;
/** Behind the counters of all collections: each one's loose rows, in the same order. Older rows end before. */
const LOOSE_BYTES = 4;

export function encodeCounters(counters: ShardCounters): Uint8Array {
  const { size } = counters.collections;
  const bytes = new Uint8Array(8 + 4 + (COUNTER_BYTES + LOOSE_BYTES) * size);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(counters.supersededBytes));
  view.setUint32(8, size);
  let at = 12;
  let looseAt = 12 + COUNTER_BYTES * size;
  for (const [id, { live, digest, bytes: entryBytes, loose }] of counters.collections) {
    view.setUint32(at, id);
    view.setBigUint64(at + 4, BigInt(live));
    bytes.set(digest, at + 12);
    view.setBigUint64(at + 28, BigInt(entryBytes));
    view.setUint32(looseAt, loose);
    at += COUNTER_BYTES;
    looseAt += LOOSE_BYTES;
  }
  return bytes;
}

export function decodeCounters(bytes: Uint8Array): ShardCounters {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getUint32(8);
  const looseAt = 12 + COUNTER_BYTES * size;
  const hasLoose = bytes.length === looseAt + LOOSE_BYTES * size;
  assert(hasLoose || bytes.length === looseAt, 'the lengths of the counters do not add up');
  const collections = new Map<number, CollectionCounters>();
  for (let i = 0, at = 12; i < size; i++, at += COUNTER_BYTES) {
    collections.set(view.getUint32(at), {
      live: Number(view.getBigUint64(at + 4)),
      digest: bytes.slice(at + 12, at + 28),
      bytes: Number(view.getBigUint64(at + 28)),
      loose: hasLoose ? view.getUint32(looseAt + LOOSE_BYTES * i) : 0,
    });
  }
  return { collections, supersededBytes: Number(view.getBigUint64(0)) };
}
