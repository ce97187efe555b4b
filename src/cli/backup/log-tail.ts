import { type LogEntry, type SpectorClient, SpectorError } from '../../client/index.js';

/** Entries before the start that may not be in the index yet: what a shard may have in flight. */
const IN_FLIGHT_MAX = 8_192;

/** A document written near or after the start of a snapshot, and whether the snapshot has it as it is to be. */
interface Touched {
  readonly collection: string;
  readonly id: string;
  /** Version of its last entry up to the position; undefined when that deletes it. */
  version: string | undefined;
  /** The state the snapshot has, if any. */
  seen: { readonly version: string | undefined } | undefined;
}

/**
 * Follows a shard's log beside a scroll that takes time: which documents the writes since its start touch, and at which
 * offset all that was read is exactly the state of the shard. The scroll may show a document of any moment; reading
 * touched documents again until each has the version of its last entry makes the whole of one moment.
 */
export class LogTail {
  readonly #client: SpectorClient;
  readonly #signal: AbortSignal;
  readonly #touched = new Map<string, Touched>();
  #stale = 0;
  /** Nothing that was seen was written after it; unknown while the scroll goes on. */
  #seenUpTo = Infinity;
  #offset = 0;
  #chain = '';

  private constructor(
    client: SpectorClient,
    readonly shard: number,
    signal: AbortSignal,
  ) {
    this.#client = client;
    this.#signal = signal;
  }

  /** Begins at the shard's present end. */
  static async begin(client: SpectorClient, shard: number, signal: AbortSignal): Promise<LogTail> {
    const { offset, chain } = await client.digest(shard, { signal });
    const tail = new LogTail(client, shard, signal);
    tail.#offset = offset;
    tail.#chain = chain;
    let from = Math.max(1, offset - IN_FLIGHT_MAX);
    for (;;) {
      try {
        if (offset > 0)
          for await (const entry of client.shardLog(shard, { from, limit: offset - from + 1, signal }))
            tail.#note(entry);
        return tail;
      } catch (error) {
        const start =
          error instanceof SpectorError && error.code === 'OFFSET_COMPACTED' ? error.problem?.start : undefined;
        if (typeof start !== 'number' || start < from) throw error;
        if (start >= offset) return tail; // All of it is compacted, hence long applied.
        from = start + 1;
      }
    }
  }

  /** Offset and chain up to which `note`d entries are known. */
  get position(): { readonly offset: number; readonly chain: string } {
    return { offset: this.#offset, chain: this.#chain };
  }

  /** Whether what was seen is the state at the position. */
  get settled(): boolean {
    return this.#stale === 0 && this.#offset >= this.#seenUpTo;
  }

  /** Touched documents whose seen state is not that of the position. */
  stale(): readonly { readonly collection: string; readonly id: string }[] {
    return [...this.#touched.values()].filter(isStale);
  }

  /** Tells which state of a document the snapshot has now; undefined when it has none. */
  see(collection: string, id: string, version: string | undefined): void {
    const touched = this.#touched.get(touchedKey(collection, id));
    if (touched === undefined) return;
    this.#change(touched, () => (touched.seen = { version }));
  }

  /** The scroll has ended: what it did not show is not there, and what it showed was written by now. */
  async endScroll(): Promise<void> {
    for (const touched of this.#touched.values()) {
      if (touched.seen === undefined) this.#change(touched, () => (touched.seen = { version: undefined }));
    }
    this.#seenUpTo = (await this.#client.digest(this.shard, { signal: this.#signal })).offset;
    if (!this.settled) await this.advance();
  }

  /** Reads on, stopping at the first offset where everything seen fits. */
  async advance(): Promise<void> {
    for await (const entry of this.#client.shardLog(this.shard, { from: this.#offset + 1, signal: this.#signal })) {
      this.#offset = entry.offset;
      this.#chain = entry.chain;
      this.#note(entry);
      if (this.settled) return;
    }
  }

  #note({ op, id, collection, version }: LogEntry): void {
    if (id === undefined || collection === undefined || (op !== 'UPSERT' && op !== 'DELETE')) return;
    const key = touchedKey(collection, id);
    const last = op === 'UPSERT' ? version : undefined;
    const touched = this.#touched.get(key);
    if (touched !== undefined) this.#change(touched, () => (touched.version = last));
    else {
      this.#touched.set(key, { collection, id, version: last, seen: undefined });
      this.#stale++;
    }
  }

  #change(touched: Touched, change: () => void): void {
    const before = isStale(touched);
    change();
    this.#stale += Number(isStale(touched)) - Number(before);
  }
}

function isStale(touched: Touched): boolean {
  return touched.seen === undefined || touched.seen.version !== touched.version;
}

/** No name of a collection holds a slash. */
export function touchedKey(collection: string, id: string): string {
  return `${collection}/${id}`;
}
