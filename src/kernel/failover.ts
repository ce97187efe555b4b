/** Silence after which a primary may be replaced, by the interval of heartbeats and their time-out, all in milliseconds (replication 5.1). */
export function failoverAfterMs(intervalMs: number, timeoutMs: number): number {
  return Math.max(2.5 * intervalMs, 0.6 * timeoutMs);
}
