import type { Clock } from '../../../src/kernel/clock.js';
import type { Timers } from '../../../src/kernel/timers.js';
import type { Scheduler, Task } from './scheduler.js';

/** The clocks of one machine: they outlive its processes. */
export interface Hardware {
  /** Wall clock at the beginning of the world, ms; changed by a jump. */
  wallOffsetMs: number;
  /** How fast both clocks run: 1 is right; changed by a drift, with the offsets, so that neither jumps. */
  rate: number;
  monotonicOffsetMs: number;
}

/**
 * One start of a node: what it schedules dies with it. A paused one (SIGSTOP) does nothing while time, its own clocks
 * included, goes on; when it continues, what fell due happens at once and in order.
 */
export class SimProcess {
  readonly clock: Clock;
  readonly timers: Timers;
  #alive = true;
  #held: Task[] | undefined;

  constructor(
    /** Unique in a run. */
    readonly number: number,
    readonly host: string,
    private readonly scheduler: Scheduler,
    hardware: Hardware,
  ) {
    this.clock = {
      wallMs: () => Math.floor(hardware.wallOffsetMs + scheduler.nowMs * hardware.rate),
      monotonicMs: () => hardware.monotonicOffsetMs + scheduler.nowMs * hardware.rate,
    };
    this.timers = {
      after: (ms, run) => {
        // As Node has it: not below one millisecond.
        const task = this.scheduler.in(Math.max(1, ms) / hardware.rate, this, run);
        return () => {
          task.cancelled = true;
        };
      },
      soon: (run) => void this.scheduler.in(0, this, run),
    };
  }

  get alive(): boolean {
    return this.#alive;
  }

  get paused(): boolean {
    return this.#held !== undefined;
  }

  /** Takes a task to do later, while paused. */
  hold(task: Task): boolean {
    this.#held?.push(task);
    return this.#held !== undefined;
  }

  pause(): void {
    this.#held ??= [];
  }

  resume(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const task of held) {
      this.scheduler.in(0, this, () => {
        if (!task.cancelled) task.run();
      });
    }
  }

  /** SIGKILL. */
  kill(): void {
    this.#alive = false;
    this.#held = undefined;
  }
}
