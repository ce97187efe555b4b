/** Latencies that are remembered. */
const WINDOW = 256;
/** So many new ones before the percentile is computed again. */
const REFRESH = 32;
/** Requests that must have been seen before any is hedged. */
const SEEN_MIN = 64;
/** Share of requests that may be sent a second time (replication 7.2). */
const SHARE = 0.05;
/** Hedges that may be saved up: a burst after a quiet time stays small. */
const SAVED_MAX = 8;
/** Below this a second request costs more than it can win. */
const HEDGE_MIN_MS = 5;
const HEDGE_FIRST_MS = 50;

/**
 * When a request is sent to a second copy (Dean and Barroso, "The Tail at Scale", 2013): once it takes longer than 95 %
 * of the recent ones did, and for at most 5 % of all.
 */
export class HedgePolicy {
  readonly #latencies = new Float64Array(WINDOW);
  #seen = 0;
  #p95 = HEDGE_FIRST_MS;
  #saved = 1;

  /** A request was answered. */
  answered(ms: number): void {
    this.#latencies[this.#seen % WINDOW] = ms;
    this.#seen++;
    if (this.#seen % REFRESH === 0 && this.#seen >= SEEN_MIN) this.#p95 = this.#percentile();
  }

  /** A request is sent: earns its share of a hedge. */
  sent(): void {
    this.#saved = Math.min(SAVED_MAX, this.#saved + SHARE);
  }

  /** Milliseconds after which a request that is not answered may be sent again. */
  get afterMs(): number {
    return Math.max(HEDGE_MIN_MS, this.#p95);
  }

  /** Takes one hedge from what was saved, if there is one. */
  take(): boolean {
    if (this.#saved < 1) return false;
    this.#saved--;
    return true;
  }

  #percentile(): number {
    const sorted = this.#latencies.slice(0, Math.min(this.#seen, WINDOW)).sort();
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.95))];
  }
}
