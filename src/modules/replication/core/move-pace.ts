/** What may be sent at once after a while without: a quarter of a second's worth. */
const BURST_MS = 250;

/**
 * Holds what a node sends to copies that are being built elsewhere to a rate, all of them together (replication 9.6): a
 * move has time, and searches, writes and the recovery of members have none. A bucket that may go below nothing: what is
 * sent is counted first and waited for afterwards, so that one entry of any size passes.
 */
export class MovePace {
  readonly #bytesPerMs: number;
  /** Milliseconds' worth of bytes that may be sent now; below 0: that were sent ahead. */
  #creditMs = BURST_MS;
  #atMs = -Infinity;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1_000;
  }

  /** Bytes were sent; milliseconds after which more may be. */
  spend(bytes: number, nowMs: number): number {
    this.#creditMs = Math.min(BURST_MS, this.#creditMs + (nowMs - this.#atMs)) - bytes / this.#bytesPerMs;
    this.#atMs = nowMs;
    return Math.max(0, -this.#creditMs);
  }
}
