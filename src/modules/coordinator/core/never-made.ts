import type { ShardWrite } from './shard-calls.js';

/** Sorts before every version there is: no document has it. */
const CONDITION = { kind: 'version', version: '0'.repeat(48) } as const;

/**
 * A write as one that is never made: it only asks its primary what its key was answered by (replication 2.10), and what is in
 * its way. The answer is VERSION_CONFLICT when that is nothing.
 */
export function neverMade<W extends Pick<ShardWrite, 'op' | 'condition'>>(write: W) {
  return { ...write, op: 'UPSERT' as const, condition: CONDITION };
}
