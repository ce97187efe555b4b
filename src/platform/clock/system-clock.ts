import type { Clock } from '../../kernel/clock.js';

/** The clocks of the machine. */
export const systemClock: Clock = {
  wallMs() {
    return Date.now();
  },
  monotonicMs() {
    return performance.now();
  },
};
