import { SpectorError } from '../client/index.js';
import { errorCode } from './error-code.js';
import type { Output } from './output.js';
import { UsageError } from './usage-error.js';

/** What to do about a code; codes whose `detail` says it all are not here. */
const ADVICE: Readonly<Record<string, string>> = {
  UNREACHABLE: 'Start a node (spector serve), or name the right one with --url or SPECTOR_URL.',
  TIMEOUT: 'Try again, give --timeout more milliseconds, or look at `spector status`.',
  BAD_ANSWER: 'Check --url: this does not look like the HTTP port of a Spector node.',
  UNAUTHENTICATED: 'Give a key with --api-key or SPECTOR_API_KEY.',
  FORBIDDEN: 'Use a key with the scope this needs: read, write or admin.',
  COLLECTION_NOT_FOUND: 'See `spector collections`, or make it: spector collections create <name>.',
  DIMENSION_MISMATCH: 'See `spector collections` for the dimension; use vectors of it, or another collection.',
  VERSION_CONFLICT: 'Read the document again and decide anew.',
  OFFSET_COMPACTED: 'Start over: the log no longer holds that position.',
  OVERLOADED: 'Wait and try again, or send less at once (--concurrency, --batch).',
  PAYLOAD_TOO_LARGE: 'Split it; one document may have 1 MiB.',
  SHARD_UNAVAILABLE: 'Look at `spector status`, and try again.',
  NODE_NOT_FOUND: 'See `spector cluster` for the nodes.',
  SHARD_NOT_FOUND: 'See `spector shards`.',
  NO_QUORUM: 'Look at `spector status`, and try again when enough copies are in sync.',
  STARTING: 'The node is still opening its log; try again in a moment.',
  DRAINING: 'The node is shutting down; ask another one.',
  WRITE_OUTCOME_UNKNOWN: 'It may be stored; repeat it to be sure.',
  QUERY_TIMEOUT: 'Try again, or ask for less.',
  INSUFFICIENT_STORAGE: 'Free disk space or memory of the node, or delete documents; searches go on.',
  LOG_CORRUPT: 'Stop the node and run `spector verify <data directory>`.',
  INTERNAL: "Look for the instance in the node's log, and report it.",
};

/** Exit codes of every command. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/**
 * Prints what went wrong, with its code and what to do, and tells the exit code it means.
 * @param interrupted whether the user ended the command: then what failed for it is of no interest
 */
export function reportFailure(error: unknown, output: Output, interrupted: boolean): number {
  if (interrupted) {
    output.note(
      output.json ? JSON.stringify({ error: { code: 'INTERRUPTED', detail: 'interrupted' } }) : 'spector: interrupted',
    );
    return EXIT.failed;
  }
  if (error instanceof UsageError) {
    output.note(
      output.json ? JSON.stringify({ error: { code: 'USAGE', detail: error.message } }) : `spector: ${error.message}`,
    );
    return EXIT.usage;
  }
  const { code, detail, instance } = described(error);
  const advice = ADVICE[code];
  if (output.json) output.note(JSON.stringify({ error: { code, detail, advice, instance } }));
  else {
    output.note(`spector: ${code}: ${detail}${instance === undefined ? '' : ` (instance ${instance})`}`);
    if (advice !== undefined) output.note(`  ${advice}`);
  }
  return EXIT.failed;
}

function described(error: unknown): { readonly code: string; readonly detail: string; readonly instance?: string } {
  if (error instanceof SpectorError)
    return {
      code: error.code,
      detail: error.detail,
      ...(error.instance === undefined ? {} : { instance: error.instance }),
    };
  return { code: errorCode(error) ?? 'FAILED', detail: error instanceof Error ? error.message : String(error) };
}
