import { EventQueue } from './event-queue.js';
import type { Happening } from './event-queue.js';
import type { SimProcess } from './process.js';
import type { SeededRandom } from './seeded-random.js';

/** Something to do at a moment, for a process or (undefined) for the world around them. */
export interface Task extends Happening {
  readonly process: SimProcess | undefined;
  readonly run: () => void;
  cancelled: boolean;
}

/** Above the ranks of processes: the world acts when they are done with a moment. */
const WORLD_RANK = 2 ** 32;

/**
 * Virtual time. One task at a time; after each the loop of this very process turns once, so that everything the task
 * set off by promises is over before the next one. What a process that is paused should do waits until it continues;
 * what a dead one should do never happens.
 */
export class Scheduler {
  readonly #queue = new EventQueue<Task>();
  readonly #salt: number;
  #sequence = 0;
  #nowUs = 0;
  #tasks = 0;

  constructor(
    random: SeededRandom,
    /** A task threw: a broken invariant of the process it ran for. */
    private readonly onError: (process: SimProcess | undefined, error: unknown) => void,
  ) {
    this.#salt = random.u32();
  }

  get nowUs(): number {
    return this.#nowUs;
  }

  get nowMs(): number {
    return this.#nowUs / 1_000;
  }

  /** Tasks run so far: the measure of a run's size. */
  get tasks(): number {
    return this.#tasks;
  }

  /** Runs `run` at a moment, now at the earliest and never within this call. */
  at(atUs: number, process: SimProcess | undefined, run: () => void): Task {
    const when = Math.max(this.#nowUs, Math.round(atUs));
    const rank = process === undefined ? WORLD_RANK : mix(this.#salt, when, process.number);
    const task: Task = { atUs: when, rank, sequence: this.#sequence++, process, run, cancelled: false };
    this.#queue.push(task);
    return task;
  }

  in(ms: number, process: SimProcess | undefined, run: () => void): Task {
    return this.at(this.#nowUs + ms * 1_000, process, run);
  }

  /** Resolves after `ms` of virtual time, for the world's own procedures. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.in(ms, undefined, resolve));
  }

  /** Lets time pass until `untilMs`, or until `done` says so between two tasks. */
  async run(untilMs: number, done: () => boolean = () => false): Promise<void> {
    const untilUs = untilMs * 1_000;
    await turn();
    while (!done()) {
      const next = this.#queue.peek();
      if (next === undefined || next.atUs > untilUs) {
        this.#nowUs = Math.max(this.#nowUs, untilUs);
        return;
      }
      this.#queue.pop();
      this.#nowUs = next.atUs;
      if (next.cancelled || next.process?.alive === false) continue;
      if (next.process?.hold(next) === true) continue;
      this.#tasks++;
      try {
        next.run();
      } catch (error) {
        this.onError(next.process, error);
      }
      await turn();
    }
  }
}

/** One turn of the real loop: every promise that can be settled is. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function mix(salt: number, when: number, process: number): number {
  let hash = Math.imul(salt ^ (when >>> 0), 0x9e3779b1) ^ Math.imul(process + 1, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}
