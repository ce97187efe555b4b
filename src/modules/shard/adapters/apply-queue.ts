import { encodeFrames } from '../core/frames.js';
import { IndexThreadError } from '../core/index-messages.js';
import type { IndexThread } from './index-thread.js';

/** Bytes of frames a shard may have on their way to its thread; the rest waits here, uncopied. */
const IN_FLIGHT_BYTES_MAX = 4 * 1024 * 1024;
/** Bytes of one message: several fit into what may be in flight, so that the thread never waits for the next. */
const BATCH_BYTES_MAX = 1024 * 1024;

/**
 * The entries of one shard on their way into the index, in order. What is asked for within a turn travels together;
 * when the thread dies, what it had not confirmed goes again to the next one, which ignores what it has already.
 */
export class ApplyQueue {
  readonly #shard: number;
  readonly #thread: IndexThread;
  readonly #applied: (offset: number, bytes: number) => void;
  readonly #refused: (error: IndexThreadError) => void;
  #waiting: PendingEntries[] = [];
  #inFlight: PendingEntries[][] = [];
  #inFlightBytes = 0;
  #pendingBytes = 0;
  #open = false;
  #scheduled: NodeJS.Immediate | undefined;

  /**
   * @param applied is told of each confirmed batch
   * @param refused is told when the index refused an entry: everything that waits was rejected
   */
  constructor(
    shard: number,
    thread: IndexThread,
    events: {
      readonly applied: (offset: number, bytes: number) => void;
      readonly refused: (error: IndexThreadError) => void;
    },
  ) {
    this.#shard = shard;
    this.#thread = thread;
    this.#applied = events.applied;
    this.#refused = events.refused;
  }

  /** Bytes of entries that are not applied yet: for back-pressure. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Resolves when the entries are applied. */
  push(entries: readonly Uint8Array[]): Promise<void> {
    if (entries.length === 0) return Promise.resolve();
    let bytes = 0;
    for (const entry of entries) bytes += entry.length;
    this.#pendingBytes += bytes;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entries, bytes, resolve, reject });
      this.#schedule();
    });
  }

  /** The shard is open in its thread: entries may go there. */
  open(): void {
    this.#open = true;
    this.#send();
  }

  /** The shard is not open any more: entries wait; what was in flight goes first when it is again. */
  suspend(): void {
    this.#open = false;
    this.#waiting = [...this.#inFlight.flat(), ...this.#waiting];
    this.#inFlight = [];
    this.#inFlightBytes = 0;
  }

  /** Nothing that waits will be applied. */
  fail(error: Error): void {
    this.suspend();
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#pendingBytes = 0;
    for (const { reject } of waiting) reject(error);
  }

  #schedule(): void {
    if (!this.#open) return;
    this.#scheduled ??= setImmediate(() => this.#send());
  }

  #send(): void {
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
    while (this.#open && this.#waiting.length > 0 && this.#inFlightBytes < IN_FLIGHT_BYTES_MAX) {
      let bytes = 0;
      let count = 0;
      while (count < this.#waiting.length && (count === 0 || bytes + this.#waiting[count].bytes <= BATCH_BYTES_MAX)) {
        bytes += this.#waiting[count++].bytes;
      }
      const batch = this.#waiting.splice(0, count);
      this.#inFlight.push(batch);
      this.#inFlightBytes += bytes;
      void this.#deliver(batch, bytes);
    }
    this.#thread.flush();
  }

  async #deliver(batch: PendingEntries[], bytes: number): Promise<void> {
    const behind = this.#pendingBytes - this.#inFlightBytes;
    try {
      const frames = encodeFrames(batch.flatMap(({ entries }) => entries));
      const offset = await this.#thread.call('apply', { shard: this.#shard, frames, behind });
      if (!this.#settle(batch)) return;
      this.#inFlightBytes -= bytes;
      this.#pendingBytes -= bytes;
      this.#applied(offset, bytes);
      for (const { resolve } of batch) resolve();
      this.#schedule();
    } catch (error) {
      // Not in flight any more: the queue was suspended, and the batch waits to be sent again.
      if (!this.#settle(batch)) return;
      if (error instanceof IndexThreadError && (error.reason === 'DIED' || error.reason === 'NOT_OPEN')) {
        this.#inFlight.unshift(batch);
        this.suspend();
        return;
      }
      for (const { reject } of batch) reject(error);
      this.#pendingBytes -= bytes;
      const refusal =
        error instanceof IndexThreadError ? error : new IndexThreadError({ reason: 'FAILED', message: String(error) });
      this.fail(refusal);
      this.#refused(refusal);
    }
  }

  /** Takes a batch out of flight; false when it is not there. */
  #settle(batch: PendingEntries[]): boolean {
    const at = this.#inFlight.indexOf(batch);
    if (at >= 0) this.#inFlight.splice(at, 1);
    return at >= 0;
  }
}

interface PendingEntries {
  readonly entries: readonly Uint8Array[];
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}
