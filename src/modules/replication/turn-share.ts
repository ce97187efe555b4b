import type { Clock } from '../../kernel/clock.js';
import type { Timers } from '../../kernel/timers.js';

/** What begins within so much of a turn of the loop is done in it. */
const SHARE_MS = 5;

/**
 * Work that comes in bursts, as the batches of entries that one read of a socket brings do: in its order, and in a turn of
 * the loop no more of it than leaves room for everything else, as heartbeats, searches and what the disk has done.
 */
export class TurnShare {
  readonly #clock: Clock;
  readonly #timers: Pick<Timers, 'soon'>;
  readonly #waiting: (() => void)[] = [];
  #spentMs = 0;
  #scheduled = false;

  constructor(clock: Clock, timers: Pick<Timers, 'soon'>) {
    this.#clock = clock;
    this.#timers = timers;
  }

  /** Does it now; in a later turn when this one had its share, or what came before it waits for that. */
  run(act: () => void): void {
    if (this.#waiting.length > 0 || this.#spentMs >= SHARE_MS) this.#waiting.push(act);
    else this.#do(act);
  }

  /** The next turn has a share of its own, and does first what waits. */
  #goOn(): void {
    if (this.#scheduled || (this.#spentMs === 0 && this.#waiting.length === 0)) return;
    this.#scheduled = true;
    this.#timers.soon(() => {
      this.#scheduled = false;
      this.#spentMs = 0;
      const next = (): (() => void) | undefined => (this.#spentMs < SHARE_MS ? this.#waiting.shift() : undefined);
      for (let act = next(); act !== undefined; act = next()) this.#do(act);
    });
  }

  #do(act: () => void): void {
    const beganMs = this.#clock.monotonicMs();
    try {
      act();
    } finally {
      this.#spentMs += this.#clock.monotonicMs() - beganMs;
      this.#goOn();
    }
  }
}
