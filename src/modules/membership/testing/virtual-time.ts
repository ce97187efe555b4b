import type { Clock } from '../../../kernel/clock.js';
import type { CancelTimer, Timers } from '../../../kernel/timers.js';

interface Task {
  readonly atMs: number;
  readonly order: number;
  readonly process: VirtualProcess | undefined;
  readonly run: () => void;
  cancelled: boolean;
}

/** A queue of what happens when: minutes of a cluster pass in a moment, the same way each time. */
export class VirtualTime {
  nowMs = 0;
  #tasks: Task[] = [];
  #order = 0;

  in(ms: number, process: VirtualProcess | undefined, run: () => void): CancelTimer {
    const task: Task = { atMs: this.nowMs + ms, order: this.#order++, process, run, cancelled: false };
    // Binary search for the place behind all that are due no later.
    let [low, high] = [0, this.#tasks.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#tasks[middle].atMs <= task.atMs) low = middle + 1;
      else high = middle;
    }
    this.#tasks.splice(low, 0, task);
    return () => {
      task.cancelled = true;
    };
  }

  /** Lets so much time pass; with `until`, at most so much. Answers how much did. */
  async pass(ms: number, until?: () => boolean): Promise<number> {
    const beganMs = this.nowMs;
    const endMs = beganMs + ms;
    await settled();
    for (;;) {
      if (until?.() === true) return this.nowMs - beganMs;
      const next = this.#tasks.at(0);
      if (next === undefined || next.atMs > endMs) break;
      this.#tasks.shift();
      this.nowMs = next.atMs;
      if (next.cancelled || next.process?.alive === false) continue;
      if (next.process?.hold(next.run) === true) continue;
      next.run();
      await settled();
    }
    this.nowMs = endMs;
    return ms;
  }
}

/** All promises settle before anything else happens. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** One process: its timers die with it and wait while it is paused. */
export class VirtualProcess {
  alive = true;
  wallOffsetMs = 1_700_000_000_000;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly #time: VirtualTime;
  #held: (() => void)[] | undefined;

  constructor(time: VirtualTime) {
    this.#time = time;
    this.clock = { wallMs: () => this.wallOffsetMs + time.nowMs, monotonicMs: () => time.nowMs };
    this.timers = {
      after: (ms, run) => {
        let cancelled = false;
        const cancel = time.in(Math.max(1, ms), this, () => {
          if (!cancelled) run();
        });
        return () => {
          cancelled = true;
          cancel();
        };
      },
      soon: (run) => void time.in(0, this, run),
    };
  }

  get paused(): boolean {
    return this.#held !== undefined;
  }

  /** SIGSTOP. */
  pause(): void {
    this.#held ??= [];
  }

  /** SIGCONT: what fell due happens at once, in order. */
  resume(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const run of held) this.#time.in(0, this, run);
  }

  hold(run: () => void): boolean {
    this.#held?.push(run);
    return this.#held !== undefined;
  }
}
