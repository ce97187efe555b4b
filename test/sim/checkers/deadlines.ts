import type { Violation } from './violation.js';

/** A call into a node, from when it arrived until it was answered. */
export interface Call {
  readonly what: string;
  readonly startedMs: number;
  readonly endedMs: number | undefined;
  /** Time its process did not run (paused) between the two. */
  readonly pausedMs: number;
  /** Its process died before it could answer. */
  readonly bereft: boolean;
}

/** L8: every call ends by its deadline. */
export function checkDeadlines(calls: readonly Call[], nowMs: number, limitMs: number): readonly Violation[] {
  const violations: Violation[] = [];
  for (const { what, startedMs, endedMs, pausedMs, bereft } of calls) {
    const tookMs = (endedMs ?? nowMs) - startedMs - pausedMs;
    if (!bereft && tookMs > limitMs)
      violations.push({
        rule: 'L8',
        detail: `${what} ${endedMs === undefined ? 'waits since' : 'took'} ${Math.round(tookMs)} ms`,
      });
  }
  return violations;
}
