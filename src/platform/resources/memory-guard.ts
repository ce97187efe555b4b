import type { Clock } from '../../kernel/clock.js';

export interface MemoryGuardOptions {
  /** Resident bytes above which upserts are refused. */
  readonly maxBytes: number;
  readonly clock: Clock;
  /** Resident bytes of the process, threads and native memory included. */
  readonly probe?: () => number;
}

/** A reading is used this long: even at 100 MB/s of growth it is 25 MB late. */
const READING_MS_MAX = 250;
/** Once refused, upserts are taken again below this part of the maximum, so that it does not flap at every collection. */
const RESUME_AT = 0.95;

/** Refuses upserts while the process is too large; searches and deletes go on (api.md, MAX_MEMORY). */
export class MemoryGuard {
  readonly maxBytes: number;
  readonly #clock: Clock;
  readonly #probe: () => number;
  #rssBytes = 0;
  #readAtMs = -Infinity;
  #over = false;

  constructor({ maxBytes, clock, probe = () => process.memoryUsage.rss() }: MemoryGuardOptions) {
    this.maxBytes = maxBytes;
    this.#clock = clock;
    this.#probe = probe;
  }

  /** Whether an upsert may be taken. */
  admits(): boolean {
    this.#refresh();
    return !this.#over;
  }

  /** Resident bytes, at most 250 ms old. */
  get rssBytes(): number {
    this.#refresh();
    return this.#rssBytes;
  }

  #refresh(): void {
    const now = this.#clock.monotonicMs();
    if (now - this.#readAtMs < READING_MS_MAX) return;
    this.#readAtMs = now;
    try {
      this.#rssBytes = this.#probe();
    } catch {
      // No descriptor left to read it by, say: the last reading holds for another moment.
      return;
    }
    this.#over = this.#rssBytes > this.maxBytes * (this.#over ? RESUME_AT : 1);
  }
}
