import { setTimeout as sleepMs } from 'node:timers/promises';
import type { Clock } from '../../../kernel/clock.js';

/** Time for work at a bounded rate; tests give their own. */
export interface Pace extends Pick<Clock, 'monotonicMs'> {
  /** Resolves after `ms`, or as soon as `signal` is aborted; never rejects. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const NODE_PACE: Pace = {
  monotonicMs: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await sleepMs(ms, undefined, { signal, ref: false });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  },
};

/** Holds a long sweep to a rate. */
export class Throttle {
  private readonly startedMs: number;
  private spent = 0;

  constructor(
    private readonly pace: Pace,
    /** 0: no bound. */
    private readonly bytesPerSecond: number,
    private readonly signal: AbortSignal,
  ) {
    this.startedMs = pace.monotonicMs();
  }

  /** Waits until `bytes` more are within the rate. */
  async spend(bytes: number): Promise<void> {
    if (this.bytesPerSecond <= 0) return;
    this.spent += bytes;
    const aheadMs = (this.spent / this.bytesPerSecond) * 1_000 - (this.pace.monotonicMs() - this.startedMs);
    if (aheadMs > 0) await this.pace.sleep(aheadMs, this.signal);
  }
}
