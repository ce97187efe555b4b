import { sameEpoch, type EpochStart } from '../../../kernel/epoch.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { CHAIN_ZERO } from '../core/entry.js';
import { entryChain, entryEpoch, verifyEntry } from '../core/entry-codec.js';
import type { LogState } from '../log-store.js';
import { readEntries } from './entry-reader.js';
import { SWEEP_BYTES, SWEEP_ENTRIES } from './scrub.js';
import type { Table } from './table.js';

/**
 * The end of a log whose own records are damaged, as its entries tell it: their last run without a gap, each whole and chained
 * to the one before. It says what this copy may have that no other one has (replication 2.12), nothing is appended to it.
 * Undefined: there are none.
 */
export async function findState(
  table: Table,
  hasher: Hasher,
  shard: number,
  generation: number,
): Promise<LogState | undefined> {
  let run: LogState | undefined;
  for (let next = 1; ;) {
    const last = Number.MAX_SAFE_INTEGER - 1;
    const chunk = await readEntries(table, { shard, generation }, next, last, SWEEP_ENTRIES, SWEEP_BYTES);
    for (const { offset, bytes } of chunk.found) {
      if (bytes === undefined || verifyEntry(bytes, hasher, { shard, offset }) !== undefined) continue;
      const follows =
        run?.tail === offset - 1 && verifyEntry(bytes, hasher, { shard, offset, prevChain: run.chain }) === undefined;
      run = after(follows ? run : undefined, offset, bytes, generation);
    }
    if (chunk.end >= last || chunk.found.length === 0) return run;
    next = chunk.end + 1;
  }
}

function after(run: LogState | undefined, offset: number, entry: Uint8Array, generation: number): LogState {
  const epoch = entryEpoch(entry);
  const begun: EpochStart[] = run !== undefined && sameEpoch(run.epoch, epoch) ? [] : [{ epoch, start: offset }];
  return {
    tail: offset,
    chain: entryChain(entry),
    epoch,
    start: run?.start ?? { offset: offset - 1, chain: CHAIN_ZERO },
    history: [...(run?.history ?? []), ...begun],
    bytes: (run?.bytes ?? 0) + entry.length,
    generation,
  };
}
