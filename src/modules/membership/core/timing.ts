import { assert } from '../../../kernel/assert.js';
import { failoverAfterMs } from '../../../kernel/failover.js';

/** What the detector goes by, all in milliseconds. */
export interface MembershipTiming {
  readonly intervalMs: number;
  /** Silence after which a node is UNAVAILABLE (replication 8.2). */
  readonly timeoutMs: number;
  /** Silence after which a node is SUSPECT, and its primaries may be replaced (replication 5.1). */
  readonly failoverAfterMs: number;
  /** Between two rounds of anti-entropy, and between two attempts to reach who cannot be reached (replication 8.3). */
  readonly contactMs: number;
}

/** How often the machine wants a tick: bounds how late anything is noticed. */
export const TICK_MS = 100;
/** Between the two probes that must both be refused (replication 5.1). */
export const REFUSAL_GAP_MS = 200;
/** A step of the loop or of one clock against the other above it is a pause (replication 1.5). */
export const PAUSE_MS = 1_000;
const SECOND_MS = 1_000;

/** The timing that follows from the two configured durations. */
export function timingOf(intervalMs: number, timeoutMs: number): MembershipTiming {
  assert(timeoutMs >= 2.5 * intervalMs, 'a heartbeat timeout holds at least 2.5 intervals (replication 8.4)');
  return {
    intervalMs,
    timeoutMs,
    failoverAfterMs: failoverAfterMs(intervalMs, timeoutMs),
    contactMs: Math.min(intervalMs, SECOND_MS),
  };
}

/** Longest a heartbeat is waited for: a late answer is an answer. */
export function heartbeatTimeoutMs(timing: MembershipTiming): number {
  return Math.max(timing.intervalMs, SECOND_MS);
}
