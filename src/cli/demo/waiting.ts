import { setTimeout as delay } from 'node:timers/promises';
import { duration } from '../units.js';

const POLL_INTERVAL_MS = 25;

/**
 * Asks again and again until the probe gives something. What it throws counts as "not yet" and is told when time runs out.
 * Rejects when `signal` aborts.
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    signal.throwIfAborted();
    try {
      const found = await probe();
      if (found !== undefined) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    signal.throwIfAborted();
    if (performance.now() > deadline) throw new Error(`waited ${duration(timeoutMs)} for ${what}`, { cause: last });
    await pause(POLL_INTERVAL_MS, signal);
  }
}

/** Rejects when `signal` aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal });
}
