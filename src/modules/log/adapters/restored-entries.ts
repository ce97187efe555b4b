import { equalBytes } from '../../../kernel/bytes.js';
import { CHAIN_ZERO } from '../core/entry.js';
import { ENTRY_BYTES_MIN, entryChain, entryOffset, verifyEntry } from '../core/entry-codec.js';
import { entryKey } from '../core/keys.js';
import type { Damage } from '../log-store.js';
import type { SweptLog } from './scrub.js';
import { TableReadError } from './table.js';

/**
 * Whether entries of consecutive offsets fit between what the log has before and behind them (replication 2.12): the first
 * that does not, or a neighbour that is damaged itself. In the compacted part, where neighbours may be gone, those that are
 * there count.
 */
export async function findMisfit(log: SweptLog, entries: readonly Uint8Array[]): Promise<Damage | undefined> {
  const { hasher, shard } = log;
  const { tail, start, chain } = log.state();
  const from = entries[0].length < ENTRY_BYTES_MIN ? 0 : entryOffset(entries[0]);
  const to = from + entries.length - 1;
  if (from < 1 || to > tail) return { shard, offset: Math.max(0, from), problem: 'misplaced' };
  let previous = await chainBefore(log, from);
  if (previous === 'damaged') return { shard, offset: from - 1, problem: 'missing' };
  for (const [i, bytes] of entries.entries()) {
    const offset = from + i;
    const problem = verifyEntry(bytes, hasher, { shard, offset, ...(previous && { prevChain: previous }) });
    if (problem !== undefined) return { shard, offset, problem };
    previous = entryChain(bytes);
    if (offset === start.offset && !equalBytes(previous, start.chain)) return { shard, offset, problem: 'chain' };
  }
  if (previous === undefined) return undefined;
  if (to === tail) return equalBytes(previous, chain) ? undefined : { shard, offset: to, problem: 'chain' };
  const next = await wholeEntry(log, to + 1);
  if (next === undefined) return to < start.offset ? undefined : { shard, offset: to + 1, problem: 'missing' };
  const problem = verifyEntry(next, hasher, { shard, offset: to + 1, prevChain: previous });
  return problem === undefined ? undefined : { shard, offset: to, problem };
}

/** Chain of the entry before `offset`; undefined where compaction may have taken it. */
async function chainBefore(log: SweptLog, offset: number): Promise<Uint8Array | undefined | 'damaged'> {
  const { start } = log.state();
  const before = offset - 1;
  if (before === 0) return CHAIN_ZERO;
  if (before === start.offset) return start.chain;
  const entry = await wholeEntry(log, before);
  if (entry !== undefined) return entryChain(entry);
  return before < start.offset ? undefined : 'damaged';
}

async function wholeEntry(log: SweptLog, offset: number): Promise<Uint8Array | undefined> {
  const { table, hasher, shard } = log;
  try {
    const bytes = await table.get(entryKey(shard, offset, log.state().generation));
    return bytes !== undefined && verifyEntry(bytes, hasher, { shard, offset }) === undefined ? bytes : undefined;
  } catch (error) {
    if (error instanceof TableReadError) return undefined;
    throw error;
  }
}
