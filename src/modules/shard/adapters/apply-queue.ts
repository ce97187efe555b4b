import { bytesIn } from '../../../kernel/bytes.js';
import { entryOffset } from '../../log/core/entry-codec.js';
import { encodeFrames } from '../core/frames.js';
import { IndexThreadError } from '../core/index-messages.js';
import type { IndexThread } from './index-thread.js';
import { LogBacklog, type ApplyWaiter, type PendingEntries, type ReadLog } from './log-backlog.js';

/** Bytes of frames a shard may have on their way to its thread; the rest waits here, uncopied. */
const IN_FLIGHT_BYTES_MAX = 4 * 1024 * 1024;
/** Bytes of one message: several fit into what may be in flight, so that the thread never waits for the next. */
const BATCH_BYTES_MAX = 1024 * 1024;
/** Beyond so many bytes that are not applied nothing more is kept in memory: it is read from the log when its turn comes. */
const MEMORY_BYTES_MAX = 8 * 1024 * 1024;

/**
 * The entries of one shard on their way into the index, in order. What is asked for within a turn travels together;
 * when the thread dies, what it had not confirmed goes again to the next one, which ignores what it has already.
 *
 * An index that is far behind its log takes no memory for that: what does not fit waits in the log.
 */
export class ApplyQueue {
  readonly #shard: number;
  readonly #thread: IndexThread;
  readonly #ports: ApplyQueuePorts;
  #waiting: PendingEntries[] = [];
  #inFlight: PendingEntries[][] = [];
  #inFlightBytes = 0;
  #pendingBytes = 0;
  /** What comes after those that wait here. */
  #backlog: LogBacklog | undefined;
  #reading = false;
  #open = false;
  #scheduled: NodeJS.Immediate | undefined;

  constructor(shard: number, thread: IndexThread, ports: ApplyQueuePorts) {
    this.#shard = shard;
    this.#thread = thread;
    this.#ports = ports;
  }

  /** Bytes of entries that are not applied yet: for back-pressure. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Entries wait that are not on their way: held back, or left in the log. */
  get isBehind(): boolean {
    return this.#backlog !== undefined || (!this.#open && this.#waiting.length > 0);
  }

  /** Resolves when the entries, at least one, are applied, with the offset the index is at then. They are in the log. */
  push(entries: readonly Uint8Array[]): Promise<number> {
    const bytes = bytesIn(entries);
    if (this.#backlog === undefined && this.#pendingBytes > MEMORY_BYTES_MAX)
      this.#backlog = new LogBacklog(entryOffset(entries[0]), this.#ports.read);
    this.#pendingBytes += bytes;
    return new Promise((resolve, reject) => {
      const pending = { entries, bytes, waiters: [{ resolve, reject }] };
      if (this.#backlog === undefined) this.#waiting.push(pending);
      else this.#backlog.add(pending);
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

  /** Empties it. @returns who waits, to be told what becomes of their entries */
  clear(): readonly ApplyWaiter[] {
    this.suspend();
    const waiters = [...this.#waiting.flatMap((pending) => pending.waiters), ...(this.#backlog?.waiters ?? [])];
    this.#waiting = [];
    this.#backlog = undefined;
    this.#pendingBytes = 0;
    return waiters;
  }

  /** Nothing that waits will be applied. */
  fail(error: Error): void {
    for (const { reject } of this.clear()) reject(error);
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
    if (this.#open && this.#waiting.length === 0 && this.#backlog !== undefined) void this.#readOn(this.#backlog);
  }

  /** Takes the next of what waits in the log. */
  async #readOn(backlog: LogBacklog): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      const read = await backlog.read();
      if (this.#backlog !== backlog) {
        // What it was read for was given up; what waits in the log now may wait for this one.
        this.#schedule();
        return;
      }
      const pending = backlog.take(read);
      // Where the log was cut, whoever cut it has the index read again.
      if (pending === undefined) return;
      this.#waiting.push(pending);
      if (backlog.isEmpty) this.#backlog = undefined;
      this.#schedule();
    } catch (error) {
      if (this.#backlog === backlog) this.#refuse(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#reading = false;
    }
  }

  async #deliver(batch: PendingEntries[], bytes: number): Promise<void> {
    const behind = this.#pendingBytes - this.#inFlightBytes;
    try {
      const frames = encodeFrames(batch.flatMap(({ entries }) => entries));
      const offset = await this.#thread.call('apply', { shard: this.#shard, frames, behind });
      if (!this.#settle(batch)) return;
      this.#inFlightBytes -= bytes;
      this.#pendingBytes -= bytes;
      this.#ports.applied(offset, bytes);
      for (const { waiters } of batch) for (const { resolve } of waiters) resolve(offset);
      this.#schedule();
    } catch (error) {
      // Not in flight any more: the queue was suspended, and the batch waits to be sent again.
      if (!this.#settle(batch)) return;
      this.#inFlight.unshift(batch);
      if (error instanceof IndexThreadError && (error.reason === 'DIED' || error.reason === 'NOT_OPEN')) this.suspend();
      else this.#refuse(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Something cannot be applied, nor what comes after it. */
  #refuse(error: Error): void {
    this.fail(error);
    this.#ports.refused(error);
  }

  /** Takes a batch out of flight; false when it is not there. */
  #settle(batch: PendingEntries[]): boolean {
    const at = this.#inFlight.indexOf(batch);
    if (at >= 0) this.#inFlight.splice(at, 1);
    return at >= 0;
  }
}

export interface ApplyQueuePorts {
  /** Is told of each confirmed batch. */
  readonly applied: (offset: number, bytes: number) => void;
  /** Is told when the index refused an entry, or the log is damaged: everything that waits was rejected. */
  readonly refused: (error: Error) => void;
  /** The log of the shard. */
  readonly read: ReadLog;
}
