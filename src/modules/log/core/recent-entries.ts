/** Bounds of what is kept in memory (replication 4.6), in bytes of entries. */
export interface RecentBounds {
  readonly shardBytes: number;
  readonly nodeBytes: number;
}

export const RECENT_BOUNDS: RecentBounds = { shardBytes: 8 * 1024 * 1024, nodeBytes: 64 * 1024 * 1024 };

/** A shard's ring is cut into about so many pieces; the oldest one goes when there is no room. */
const CHUNKS = 32;
/** The first chunk of a ring is this much smaller; each next one twice as large as the one before. */
const FIRST_CHUNK_SHARE = 64;
/** When the node is full, so much is taken from its largest rings at once, so that they are not searched with every entry. */
const MAKE_ROOM_SHARE = 16;

/** Entries that follow one another, copied together: one object for the collector instead of three for each of them. */
interface Chunk {
  /** Offset of the first entry. */
  readonly first: number;
  readonly bytes: Uint8Array;
  /** Where each entry ends. */
  readonly ends: number[];
}

interface Ring {
  /** Never empty. */
  readonly chunks: Chunk[];
  bytes: number;
}

/**
 * The last entries of every shard, as they were appended: followers that are nearly in sync are served from here instead of
 * from the database (replication 4.6). Each ring is dense and ends at the last entry that was pushed.
 */
export class RecentEntries {
  readonly #bounds: RecentBounds;
  readonly #chunkBytes: number;
  readonly #rings = new Map<number, Ring>();
  #bytes = 0;

  constructor(bounds: RecentBounds = RECENT_BOUNDS) {
    this.#bounds = bounds;
    this.#chunkBytes = Math.floor(bounds.shardBytes / CHUNKS);
  }

  /** Bytes of memory taken for all shards. */
  get bytes(): number {
    return this.#bytes;
  }

  /** An entry is in the log. One that does not follow the last starts the ring anew. */
  push(shard: number, offset: number, bytes: Uint8Array): void {
    let ring = this.#rings.get(shard);
    if (ring !== undefined && offset !== endOf(ring)) {
      this.forget(shard);
      ring = undefined;
    }
    if (bytes.length > this.#bounds.shardBytes) {
      this.forget(shard);
      return;
    }
    if (ring === undefined) {
      ring = { chunks: [], bytes: 0 };
      this.#rings.set(shard, ring);
    }
    const last = ring.chunks.at(-1);
    const chunk =
      last !== undefined && usedOf(last) + bytes.length <= last.bytes.length
        ? last
        : this.#addChunk(ring, offset, bytes.length);
    const start = usedOf(chunk);
    chunk.bytes.set(bytes, start);
    chunk.ends.push(start + bytes.length);
    while (ring.bytes > this.#bounds.shardBytes) this.#dropFirst(shard, ring);
    if (this.#bytes > this.#bounds.nodeBytes) this.#makeRoom();
  }

  /**
   * Entries from offset `from` to offset `to`, both inclusive, at most `limit`, and at most `bytesMax` bytes but at least
   * one; undefined when not all of that part is here. Not to be changed.
   */
  read(shard: number, from: number, to: number, limit: number, bytesMax: number): readonly Uint8Array[] | undefined {
    const ring = this.#rings.get(shard);
    if (ring === undefined || from < ring.chunks[0].first || to >= endOf(ring)) return undefined;
    const found: Uint8Array[] = [];
    let bytes = 0;
    let at = ring.chunks.length - 1;
    while (ring.chunks[at].first > from) at--;
    for (let offset = from; offset <= to && found.length < limit; offset++) {
      if (offset >= ring.chunks[at].first + ring.chunks[at].ends.length) at++;
      const { first, ends, bytes: whole } = ring.chunks[at];
      const start = offset === first ? 0 : ends[offset - first - 1];
      const end = ends[offset - first];
      if (found.length > 0 && bytes + end - start > bytesMax) break;
      found.push(whole.subarray(start, end));
      bytes += end - start;
    }
    return found;
  }

  /** The entries of a shard are not what they were. */
  forget(shard: number): void {
    this.#bytes -= this.#rings.get(shard)?.bytes ?? 0;
    this.#rings.delete(shard);
  }

  /** Memory is wanted for something else: whoever reads again reads from the database. */
  forgetAll(): void {
    this.#bytes = 0;
    this.#rings.clear();
  }

  #addChunk(ring: Ring, first: number, atLeast: number): Chunk {
    const before = ring.chunks.at(-1)?.bytes.length ?? this.#chunkBytes / FIRST_CHUNK_SHARE / 2;
    const size = Math.max(atLeast, Math.floor(Math.min(2 * before, this.#chunkBytes)));
    const chunk: Chunk = { first, bytes: new Uint8Array(size), ends: [] };
    ring.chunks.push(chunk);
    ring.bytes += size;
    this.#bytes += size;
    return chunk;
  }

  #makeRoom(): void {
    const target = this.#bounds.nodeBytes - Math.floor(this.#bounds.nodeBytes / MAKE_ROOM_SHARE);
    while (this.#bytes > target) {
      const [[shard, largest]] = [...this.#rings].sort(([, a], [, b]) => b.bytes - a.bytes);
      this.#dropFirst(shard, largest);
    }
  }

  #dropFirst(shard: number, ring: Ring): void {
    const dropped = ring.chunks.shift()?.bytes.length ?? 0;
    ring.bytes -= dropped;
    this.#bytes -= dropped;
    if (ring.chunks.length === 0) this.#rings.delete(shard);
  }
}

function usedOf({ ends }: Chunk): number {
  return ends.at(-1) ?? 0;
}

/** The offset after the last entry. */
function endOf({ chunks }: Ring): number {
  const last = chunks[chunks.length - 1];
  return last.first + last.ends.length;
}
