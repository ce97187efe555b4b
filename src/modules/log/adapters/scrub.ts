import type { Hasher } from '../../../kernel/hasher.js';
import { ChainWalk } from '../core/chain-walk.js';
import type { DamageReport } from '../core/chain-walk.js';
import type { Damage, LogState, ScrubReport } from '../log-store.js';
import { readEntries } from './entry-reader.js';
import { Throttle } from './pace.js';
import type { Pace } from './pace.js';
import type { Table } from './table.js';

/** One shard's log, as the sweeps over it need it. */
export interface SweptLog {
  readonly table: Table;
  readonly hasher: Hasher;
  readonly shard: number;
  /** Asked anew at each step: appends and compaction go on meanwhile. */
  state(): LogState;
}

/** Read and verified at once, about 2 ms of work. */
export const SWEEP_BYTES = 256 * 1024;
export const SWEEP_ENTRIES = 512;
const DAMAGES_MAX = 100;

/**
 * Reads the log of a shard from offset `from` to offset `to` and checks contiguity, crc and chain (replication 2.12).
 * What compaction deletes meanwhile is not missed.
 */
export async function scrubLog(
  log: SweptLog,
  from: number,
  to: number,
  signal: AbortSignal,
  bytesPerSecond: number,
  pace: Pace,
): Promise<ScrubReport> {
  const { table, hasher, shard } = log;
  const { generation } = log.state();
  const throttle = new Throttle(pace, bytesPerSecond, signal);
  const walk = new ChainWalk(hasher, shard, from, () => log.state().start);
  const damages: Damage[] = [];
  const report: DamageReport = (offset, problem) => {
    if (damages.length < DAMAGES_MAX) damages.push({ shard, offset, problem });
    return damages.length < DAMAGES_MAX;
  };
  let entries = 0;
  let bytes = 0;
  for (let next = from; next <= to && !signal.aborted;) {
    const chunk = await readEntries(table, { shard, generation }, next, to, SWEEP_ENTRIES, SWEEP_BYTES);
    let chunkBytes = 0;
    for (const found of chunk.found) {
      if (found.bytes === undefined) {
        walk.skip(found.offset, 'unreadable', report);
        continue;
      }
      entries++;
      chunkBytes += found.bytes.length;
      walk.take(found.offset, found.bytes, report);
    }
    walk.reach(chunk.end + 1, report);
    bytes += chunkBytes;
    next = chunk.end + 1;
    await throttle.spend(chunkBytes);
  }
  return { entries, bytes, damages };
}
