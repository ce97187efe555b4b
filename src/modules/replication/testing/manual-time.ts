import type { Clock } from '../../../kernel/clock.js';
import type { CancelTimer, Timers } from '../../../kernel/timers.js';

/** Time that goes on when it is told to. */
export class ManualTime implements Clock, Timers {
  #nowMs = 1_000_000;
  #pending: { readonly dueMs: number; readonly run: () => void }[] = [];

  wallMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(ms: number, run: () => void): CancelTimer {
    const timer = { dueMs: this.#nowMs + ms, run };
    this.#pending.push(timer);
    return () => {
      this.#pending = this.#pending.filter((other) => other !== timer);
    };
  }

  soon(run: () => void): void {
    this.after(0, run);
  }

  /** Runs what falls due within `ms`, in order, with all promises of a timer before the next one. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const [next] = this.#pending.filter(({ dueMs }) => dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined) break;
      this.#pending = this.#pending.filter((other) => other !== next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.run();
      await settled();
    }
    this.#nowMs = endMs;
  }
}

/** Lets promises that can go on do so. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
