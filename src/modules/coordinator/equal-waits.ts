/** Something waited for, and what happens when it lasts too long. */
export interface Wait {
  readonly untilMs: number;
  readonly overdue: () => void;
}

/**
 * Waits that may all last equally long, so that the one begun first is the first to be overdue: one timer serves
 * thousands, where a timer each costs more than what is waited for.
 */
export class EqualWaits {
  readonly #ms: number;
  /** In the order they were begun. */
  readonly #waits = new Set<Wait>();
  #timer: NodeJS.Timeout | undefined;

  /** @param ms a wait may last */
  constructor(ms: number) {
    this.#ms = ms;
  }

  begin(overdue: () => void): Wait {
    const wait = { untilMs: performance.now() + this.#ms, overdue };
    this.#waits.add(wait);
    if (this.#timer === undefined) this.#arm(this.#ms);
    return wait;
  }

  /** What was waited for came, or nobody waits any more. */
  end(wait: Wait): void {
    this.#waits.delete(wait);
  }

  /** The timer outlives what it was set for, and must not keep a process that is done. */
  #arm(ms: number): void {
    this.#timer = setTimeout(() => this.#look(), ms);
    this.#timer.unref();
  }

  /** What is begun by what was overdue comes last, and finds a timer. */
  #look(): void {
    const now = performance.now();
    try {
      for (const wait of this.#waits) {
        if (wait.untilMs > now) return;
        this.#waits.delete(wait);
        wait.overdue();
      }
    } finally {
      this.#timer = undefined;
      const [next] = this.#waits;
      if (next !== undefined) this.#arm(Math.max(0, next.untilMs - now));
    }
  }
}
