/** Takes back what was asked of a timer. Harmless once it ran, and when called twice. */
export type CancelTimer = () => void;

/**
 * Later, as a capability, so that a simulation owns time. Durations are of the monotonic clock (replication 1.5); a
 * process that was paused runs what fell due, in order, when it continues.
 */
export interface Timers {
  /** Calls `run` once, not before `ms` milliseconds passed and never within this call. A pending one keeps no process alive. */
  after(ms: number, run: () => void): CancelTimer;
  /** Calls `run` in the next turn of the loop: after this turn's promises, with everybody else who asked in this turn. */
  soon(run: () => void): void;
}
