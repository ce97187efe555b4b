import { entryChain } from '../log/core/entry-codec.js';
import type { AppendEntry } from '../log/log-store.js';
import type { EntriesBatch, PrimaryMessage } from './core/protocol.js';
import type { Link } from '../../kernel/link.js';

/** Entry bytes of one message, or one entry (replication 4.2). */
export const BATCH_BYTES = 256 * 1024;
const BATCH_ENTRIES = 2_000;
/** Entries that wait in memory for a follower; beyond it they are read from the log again (4.6). */
const WAITING_BYTES_MAX = 8 * 1024 * 1024;
const KEEP_ALIVE_MS = 500;
/** Of keep-alives, one in so long is as large as a packet. */
const BALLAST_MS = 2_000;

/** What a feed asks of the primary's copy. */
export interface FeedSource {
  /** Everything up to here can be read from the log. */
  durable(): number;
  /** Encoded entries from an offset on, about so many bytes. @throws LogDamagedError, OffsetCompactedError */
  scan(from: number, limit: number, bytesMax: number): Promise<readonly Uint8Array[]>;
  /** What every batch says of the primary now. */
  head(): Pick<EntriesBatch, 'epoch' | 'highWaterMark' | 'tail' | 'inSync' | 'floor' | 'taken'>;
  monotonicMs(): number;
  /** The log cannot be read: the copy is damaged, or compaction took what this follower needs. */
  broken(error: unknown): void;
  /** Bytes were sent, for the metrics: what a returning node receives (recovery is delta only). */
  sent(entries: number, bytes: number): void;
  /** So much that was read from the log was sent: resolves when more may be; undefined: now. */
  paced(bytes: number): Promise<void> | undefined;
}

/**
 * Sends a follower what its log lacks, in order, as fast as its credit and the connection allow and no faster. Fresh
 * entries are sent from memory while they travel to the disk here (4.2); older ones are read from the log in bulk.
 */
export class FollowerFeed {
  readonly #link: Link<PrimaryMessage>;
  readonly #source: FeedSource;
  #next: number;
  #prevChain: Uint8Array;
  #credit = 0;
  #waiting: AppendEntry[] = [];
  #waitingBytes = 0;
  #sentMs: number;
  #ballastMs: number;
  #pumping = false;
  /** What a batch says beside its entries is to be told, and was not yet. */
  #owesHead = false;
  #closed = false;

  constructor(link: Link<PrimaryMessage>, source: FeedSource, from: number, prevChain: Uint8Array) {
    this.#link = link;
    this.#source = source;
    this.#next = from;
    this.#prevChain = prevChain;
    this.#sentMs = source.monotonicMs();
    this.#ballastMs = this.#sentMs;
  }

  /** Bytes of entries that wait in memory. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** The follower is ready for more. */
  credit(bytes: number): void {
    this.#credit += bytes;
    this.pump();
  }

  /** The primary logged entries; they follow what it logged before. */
  logged(entries: readonly AppendEntry[]): void {
    for (const entry of entries) {
      this.#waiting.push(entry);
      this.#waitingBytes += entry.bytes.length;
    }
    if (this.#waitingBytes > WAITING_BYTES_MAX) this.#forget();
    this.pump();
  }

  /** Tells the high-water mark when nothing else did lately; called a few times a second. */
  tick(): void {
    if (this.#closed || this.#pumping) return;
    const nowMs = this.#source.monotonicMs();
    if (nowMs - this.#sentMs >= KEEP_ALIVE_MS) {
      const ballast = nowMs - this.#ballastMs >= BALLAST_MS;
      if (ballast) this.#ballastMs = nowMs;
      this.#send([], ballast);
    }
    this.pump();
  }

  /** Tells the high-water mark, and what else a batch says, now or with what is being sent. */
  tell(): void {
    this.#owesHead = true;
    if (!this.#closed && !this.#pumping) this.#send([]);
  }

  close(): void {
    this.#closed = true;
    this.#forget();
  }

  /** Sends what can be sent; also called when entries became durable. */
  pump(): void {
    if (this.#pumping || this.#closed) return;
    this.#pumping = true;
    this.#run()
      .catch((error: unknown) => {
        if (this.#closed) return;
        this.close();
        this.#source.broken(error);
      })
      .finally(() => {
        this.#pumping = false;
        if (this.#owesHead) this.tell();
        if (!this.#closed && this.#credit > 0 && this.#has()) this.pump();
      });
  }

  /** Whether the next entry can be sent: it is in memory, or durable. What lies between waits for the disk. */
  #has(): boolean {
    this.#dropSent();
    return this.#waiting.at(0)?.offset === this.#next || this.#next <= this.#source.durable();
  }

  async #run(): Promise<void> {
    while (!this.#closed && this.#credit > 0) {
      const fresh = this.#fromMemory();
      const entries = fresh ?? (await this.#fromLog());
      if (entries.length === 0 || this.#isClosed()) return;
      if (!this.#send(entries)) await this.#link.drained();
      if (fresh === undefined) await this.#source.paced(entries.reduce((sum, { length }) => sum + length, 0));
    }
  }

  /** `close` may come while the log is read. */
  #isClosed(): boolean {
    return this.#closed;
  }

  /** The next entries when they are at hand; undefined when they must be read. */
  #fromMemory(): readonly Uint8Array[] | undefined {
    this.#dropSent();
    if (this.#waiting.length === 0 || this.#waiting[0].offset !== this.#next) return undefined;
    let [count, bytes] = [0, 0];
    while (count < this.#waiting.length && count < BATCH_ENTRIES) {
      const size = this.#waiting[count].bytes.length;
      if (count > 0 && bytes + size > BATCH_BYTES) break;
      bytes += size;
      count++;
    }
    const taken = this.#waiting.splice(0, count);
    this.#waitingBytes -= bytes;
    return taken.map((entry) => entry.bytes);
  }

  async #fromLog(): Promise<readonly Uint8Array[]> {
    const durable = this.#source.durable();
    if (this.#next > durable) return [];
    const upTo = Math.min(durable, (this.#waiting.at(0)?.offset ?? Infinity) - 1);
    return this.#source.scan(this.#next, Math.min(BATCH_ENTRIES, upTo - this.#next + 1), BATCH_BYTES);
  }

  #send(entries: readonly Uint8Array[], ballast = false): boolean {
    this.#owesHead = false;
    const batch: EntriesBatch = {
      ...this.#source.head(),
      prevOffset: this.#next - 1,
      prevChain: this.#prevChain,
      entries,
    };
    let bytes = 0;
    for (const entry of entries) bytes += entry.length;
    if (entries.length > 0) {
      this.#next += entries.length;
      this.#prevChain = entryChain(entries[entries.length - 1]);
      this.#credit -= bytes;
      this.#source.sent(entries.length, bytes);
    }
    this.#sentMs = this.#source.monotonicMs();
    return this.#link.send({ kind: 'batch', batch, ...(ballast && { ballast }) });
  }

  #dropSent(): void {
    let count = 0;
    while (count < this.#waiting.length && this.#waiting[count].offset < this.#next)
      this.#waitingBytes -= this.#waiting[count++].bytes.length;
    if (count > 0) this.#waiting.splice(0, count);
  }

  #forget(): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
  }
}
