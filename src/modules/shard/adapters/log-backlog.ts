import { bytesIn } from '../../../kernel/bytes.js';
import { entryOffset } from '../../log/core/entry-codec.js';

/** Whoever gave entries to be applied. */
export interface ApplyWaiter {
  /** With the offset the index is at. */
  readonly resolve: (applied: number) => void;
  readonly reject: (error: unknown) => void;
}

/** Entries that are to be applied, in order, and who waits for that. */
export interface PendingEntries {
  readonly entries: readonly Uint8Array[];
  readonly bytes: number;
  readonly waiters: readonly ApplyWaiter[];
}

/** Reads entries of the log from an offset on, in order, at most about a MiB; none beyond its tail. @throws LogDamagedError */
export type ReadLog = (from: number) => Promise<readonly Uint8Array[]>;

/**
 * Entries that wait for an index without taking memory: the log has them, and they are read from there when it is their
 * turn. Only offsets, and who waits, are kept.
 */
export class LogBacklog {
  readonly #read: ReadLog;
  #next: number;
  #last: number;
  #bytes = 0;
  #waiters: (ApplyWaiter & { readonly last: number })[] = [];

  /** @param first the offset of the first entry that is added */
  constructor(first: number, read: ReadLog) {
    this.#read = read;
    this.#next = first;
    this.#last = first - 1;
  }

  get isEmpty(): boolean {
    return this.#next > this.#last;
  }

  /** Of the entries. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Entries of the log that continue those before, at least one. */
  add({ entries, bytes, waiters }: PendingEntries): void {
    this.#last = entryOffset(entries[entries.length - 1]);
    this.#bytes += bytes;
    for (const { resolve, reject } of waiters) this.#waiters.push({ resolve, reject, last: this.#last });
  }

  /** The next of them, as the log has them now. @throws LogDamagedError */
  read(): Promise<readonly Uint8Array[]> {
    return this.#read(this.#next);
  }

  /** Takes what was read; undefined when the log does not have them any more, since it was cut. */
  take(read: readonly Uint8Array[]): PendingEntries | undefined {
    const entries = read.filter((entry) => entryOffset(entry) <= this.#last);
    if (entries.length === 0) return undefined;
    const last = entryOffset(entries[entries.length - 1]);
    this.#next = last + 1;
    const bytes = this.isEmpty ? this.#bytes : Math.min(this.#bytes, bytesIn(entries));
    this.#bytes -= bytes;
    const later = this.#waiters.findIndex((waiter) => waiter.last > last);
    return { entries, bytes, waiters: this.#waiters.splice(0, later < 0 ? Infinity : later) };
  }

  /** Everybody who waits for what was not taken. */
  get waiters(): readonly ApplyWaiter[] {
    return this.#waiters;
  }
}
