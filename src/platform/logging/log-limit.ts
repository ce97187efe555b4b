import type { Clock } from '../../kernel/clock.js';

/** Keys remembered at once; the oldest is forgotten first, and may then speak again early. */
const KEYS_MAX = 256;

/** Says whether a line that may come thousands of times a second should be written now: once per key and interval. */
export class LogLimit {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #keys = new Map<string, { atMs: number; suppressed: number }>();

  constructor(clock: Clock, everyMs: number) {
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  /** How many lines of this key were suppressed since the last one, when this one may be written; else undefined. */
  take(key: string): number | undefined {
    const nowMs = this.#clock.monotonicMs();
    const last = this.#keys.get(key);
    if (last !== undefined && nowMs - last.atMs < this.#everyMs) {
      last.suppressed++;
      return undefined;
    }
    this.#keys.delete(key);
    if (this.#keys.size >= KEYS_MAX) for (const oldest of [...this.#keys.keys()].slice(0, 1)) this.#keys.delete(oldest);
    this.#keys.set(key, { atMs: nowMs, suppressed: 0 });
    return last?.suppressed ?? 0;
  }
}
