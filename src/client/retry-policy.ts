import type { SpectorError } from './spector-error.js';

/** First back-off; doubled with each attempt. */
const BACKOFF_MS = 50;
/** Longest back-off the client chooses itself; a node's `retryAfterMs` may ask for more. */
const BACKOFF_MS_MAX = 2_000;

/** Failures of one node that another node of the list need not share: go there at once. */
const NODE_FAILURES: ReadonlySet<string> = new Set(['UNREACHABLE', 'STARTING', 'DRAINING']);

/**
 * Milliseconds to wait before the next attempt: exponential with full jitter, at least what the node asked for, and
 * nothing at all while a node is left that was not tried yet.
 * @param attempt attempts made so far, from 1
 * @param nodes length of the node list
 * @param random in [0, 1)
 */
export function retryDelayMs(error: SpectorError, attempt: number, nodes: number, random: number): number {
  if (attempt < nodes && NODE_FAILURES.has(error.code)) return 0;
  const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** (attempt - 1));
  return Math.max(error.retryAfterMs ?? 0, ceiling / 2 + (random * ceiling) / 2);
}
