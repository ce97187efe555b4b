import { ChainWalk } from '../core/chain-walk.js';
import type { DamageReport } from '../core/chain-walk.js';
import type { Damage } from '../log-store.js';
import { readEntries } from './entry-reader.js';
import type { SweptLog } from './scrub.js';

export interface ScannedEntries {
  readonly entries: readonly Uint8Array[];
  /** What is wrong right behind them. */
  readonly damage: Damage | undefined;
}

/** Reads entries of a shard from offset `from` on, verified; see `LogStore.scan`. */
export async function scanEntries(
  log: SweptLog,
  from: number,
  limit: number,
  bytesMax: number,
): Promise<ScannedEntries> {
  const { table, hasher, shard } = log;
  const { tail, generation } = log.state();
  const place = { shard, generation };
  const entries: Uint8Array[] = [];
  const walk = new ChainWalk(hasher, shard, from, () => log.state().start);
  let damage: Damage | undefined;
  const report: DamageReport = (offset, problem) => {
    damage ??= { shard, offset, problem };
    return false;
  };
  let bytes = 0;
  for (let next = from; next <= tail;) {
    const chunk = await readEntries(table, place, next, tail, limit - entries.length, bytesMax - bytes);
    for (const found of chunk.found) {
      if (entries.length >= limit) return { entries, damage };
      if (found.bytes === undefined) walk.skip(found.offset, 'unreadable', report);
      else walk.take(found.offset, found.bytes, report);
      if (damage !== undefined || found.bytes === undefined) break;
      if (entries.length > 0 && bytes + found.bytes.length > bytesMax) return { entries, damage };
      entries.push(found.bytes);
      bytes += found.bytes.length;
    }
    if (damage === undefined) walk.reach(chunk.end + 1, report);
    if (damage !== undefined || entries.length >= limit || bytes >= bytesMax) break;
    next = chunk.end + 1;
  }
  return { entries, damage };
}
