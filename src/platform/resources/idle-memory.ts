import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export const ROUND_MS = 1_000;
/** A thread that was busy for this share of a round worked; below the lower one it is idle. */
const WORKED_SHARE = 0.1;
const IDLE_SHARE = 0.05;
/**
 * Idle rounds after work until memory goes back, and from there until it does again: the engine gives back the room for
 * young objects only when hardly anything was allocated for five seconds.
 */
export const IDLE_ROUNDS: readonly number[] = [3, 6];

/** What a thread knows of its memory and its time. */
export interface ThreadMemory {
  /** Share of the time since the last call in which the thread was busy. */
  busy(): number;
  /** Collects everything nobody refers to; stops the thread for tens of milliseconds. */
  collect(): void;
  /** Gives free memory of the process back to the system, as far as that can be done. */
  trim(): void;
}

/**
 * Gives memory back when the work is done. A heap keeps what it grew to under load, for the next allocation, and collects
 * nothing while none comes; the allocator below keeps freed buffers likewise: after an ingest that was more than the whole
 * index. So a thread that worked, and then had nearly nothing to do for some seconds, collects and trims.
 */
export class IdleMemory {
  readonly #memory: ThreadMemory;
  /** Collections since the last work. */
  #collections = 0;
  #idleRounds = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(memory: ThreadMemory) {
    this.#memory = memory;
  }

  /** Looks every second from now on; keeps no process alive. */
  start(): this {
    this.#timer ??= setInterval(() => this.round(), ROUND_MS).unref();
    return this;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Looks once. */
  round(): void {
    const busy = this.#memory.busy();
    if (busy > WORKED_SHARE) this.#collections = 0;
    this.#idleRounds = busy < IDLE_SHARE ? this.#idleRounds + 1 : 0;
    if (this.#idleRounds < (IDLE_ROUNDS.at(this.#collections) ?? Infinity)) return;
    this.#collections += 1;
    this.#idleRounds = 0;
    this.#memory.collect();
    this.#memory.trim();
    // What that took is not work.
    this.#memory.busy();
  }
}

/** Of the thread this is called in. */
export function threadMemory(trim: () => void): ThreadMemory {
  let last = performance.eventLoopUtilization();
  let collect: (() => void) | undefined;
  return {
    busy: () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, last);
      last = now;
      return utilization;
    },
    collect: () => {
      collect ??= collector();
      collect();
    },
    trim,
  };
}

/** The engine's own full collection; no start option is needed for it. */
function collector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
