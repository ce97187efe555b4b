/** Bounds of what is kept in memory (replication 4.6), in bytes of entries. */
export interface RecentBounds {
  readonly shardBytes: number;
  readonly nodeBytes: number;
}

export const RECENT_BOUNDS: RecentBounds = { shardBytes: 8 * 1024 * 1024, nodeBytes: 64 * 1024 * 1024 };

/** When the node is full, so much is taken from its largest ring at once, so that it is not searched for with every entry. */
const MAKE_ROOM_SHARE = 16;
/** Places of dropped entries before the list is moved together. */
const SLACK = 1_024;

interface Ring {
  /** Offset of `entries[head]`. */
  first: number;
  entries: Uint8Array[];
  head: number;
  bytes: number;
}

/**
 * The last entries of every shard, as they were appended: followers that are nearly in sync are served from here instead of
 * from the database (replication 4.6). Each ring is dense and ends at the last entry that was pushed.
 */
export class RecentEntries {
  readonly #bounds: RecentBounds;
  readonly #rings = new Map<number, Ring>();
  #bytes = 0;

  constructor(bounds: RecentBounds = RECENT_BOUNDS) {
    this.#bounds = bounds;
  }

  /** Bytes kept of all shards. */
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
    if (ring === undefined) {
      ring = { first: offset, entries: [], head: 0, bytes: 0 };
      this.#rings.set(shard, ring);
    }
    ring.entries.push(bytes);
    ring.bytes += bytes.length;
    this.#bytes += bytes.length;
    while (ring.bytes > this.#bounds.shardBytes) this.#dropFirst(ring);
    if (this.#bytes > this.#bounds.nodeBytes) this.#makeRoom();
  }

  /**
   * Entries from offset `from` to offset `to`, both inclusive, at most `limit`, and at most `bytesMax` bytes but at least
   * one; undefined when not all of that part is here. Not to be changed.
   */
  read(shard: number, from: number, to: number, limit: number, bytesMax: number): readonly Uint8Array[] | undefined {
    const ring = this.#rings.get(shard);
    if (ring === undefined || from < ring.first || to >= endOf(ring)) return undefined;
    const found: Uint8Array[] = [];
    let bytes = 0;
    for (let offset = from; offset <= to && found.length < limit; offset++) {
      const entry = ring.entries[ring.head + offset - ring.first];
      if (found.length > 0 && bytes + entry.length > bytesMax) break;
      found.push(entry);
      bytes += entry.length;
    }
    return found;
  }

  /** The entries of a shard are not what they were. */
  forget(shard: number): void {
    this.#bytes -= this.#rings.get(shard)?.bytes ?? 0;
    this.#rings.delete(shard);
  }

  #makeRoom(): void {
    let largest: Ring | undefined;
    for (const ring of this.#rings.values()) if (largest === undefined || ring.bytes > largest.bytes) largest = ring;
    const target = this.#bounds.nodeBytes - Math.floor(this.#bounds.nodeBytes / MAKE_ROOM_SHARE);
    while (largest !== undefined && this.#bytes > target && largest.bytes > 0) this.#dropFirst(largest);
  }

  #dropFirst(ring: Ring): void {
    const { length } = ring.entries[ring.head];
    ring.head++;
    ring.first++;
    ring.bytes -= length;
    this.#bytes -= length;
    if (ring.head < SLACK || ring.head * 2 < ring.entries.length) return;
    ring.entries = ring.entries.slice(ring.head);
    ring.head = 0;
  }
}

/** The offset after the last entry. */
function endOf(ring: Ring): number {
  return ring.first + ring.entries.length - ring.head;
}
