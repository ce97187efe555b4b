import { setTimeout as delay } from 'node:timers/promises';
import { http } from './http.js';
import { running } from './running.js';

const INTERVAL_MS = 25;
const STATE_TIMEOUT_MS = 2_000;
const OUTPUT_CHARS = 2_000;

/**
 * Asks again and again until the probe gives something that is not false, null or undefined, and resolves to it. What
 * the probe throws counts as "not yet". When time runs out it rejects with the last failure and the state of all nodes.
 */
export async function waitFor<T>(
  description: string,
  probe: () => Promise<T> | T,
  timeoutMs: number,
  options: { readonly stopWhen?: () => boolean } = {},
): Promise<Exclude<T, false | null | undefined>> {
  const startedMs = performance.now();
  let last: unknown = 'nothing yet';
  for (;;) {
    try {
      const value = await probe();
      if (value !== false && value !== null && value !== undefined)
        return value as Exclude<T, false | null | undefined>;
      last = value;
    } catch (error) {
      last = error;
    }
    const late = performance.now() - startedMs > timeoutMs;
    if (late || options.stopWhen?.() === true) {
      const cause = last instanceof Error ? { cause: last } : {};
      const reason = last instanceof Error ? last.message : String(last);
      throw new Error(
        `waited ${Math.round(performance.now() - startedMs)} ms for ${description}; last: ${reason}\n${await clusterState()}`,
        cause,
      );
    }
    await delay(INTERVAL_MS);
  }
}

/** What every running node says about itself and printed last. */
export async function clusterState(): Promise<string> {
  const parts: string[] = [];
  for (const node of running) {
    const head = `--- ${node.nodeId} ${node.url} pid ${node.pid}${node.exit === undefined ? '' : `, ended with ${node.exit.signal ?? `exit code ${node.exit.code}`}`}`;
    const answers =
      node.exit === undefined
        ? await Promise.all(['/readyz', '/api/v1/status'].map((path) => answerOf(node.url, path)))
        : [];
    parts.push([head, ...answers, node.output.slice(-OUTPUT_CHARS).trimEnd()].join('\n'));
  }
  return parts.length === 0 ? 'no node is running' : parts.join('\n');
}

async function answerOf(url: string, path: string): Promise<string> {
  try {
    const { status, text } = await http(url, path, { timeoutMs: STATE_TIMEOUT_MS });
    return `${path}: ${status} ${text}`;
  } catch (error) {
    return `${path}: ${error instanceof Error ? error.message : String(error)}`;
  }
}
