import { assert } from '../../../kernel/assert.js';
import { entryChain, verifyEntry } from '../core/entry-codec.js';
import { entryKey } from '../core/keys.js';
import type { CompactReport, LivenessTest, LogState, RowChange } from '../log-store.js';
import { LogDamagedError } from '../log-store.js';
import { readEntries } from './entry-reader.js';
import { Throttle } from './pace.js';
import type { Pace } from './pace.js';
import { scrubLog, SWEEP_BYTES, SWEEP_ENTRIES } from './scrub.js';
import type { SweptLog } from './scrub.js';

/** What compaction changes; both resolve when written, `moveStart` when it is on disk. */
export interface CompactedLog extends SweptLog {
  moveStart(start: LogState['start']): Promise<void>;
  deleteEntries(deletions: readonly RowChange[], bytes: number): Promise<void>;
}

/** What its caller has to say while it runs: whether `start` may move, and that it is to end early. */
export interface CompactionTerms {
  readonly mayStart: () => boolean;
  readonly signal: AbortSignal;
}

/**
 * Deletes superseded entries up to `upTo` (replication 2.5). The part that becomes compacted is read once beforehand: below
 * `start` a missing entry looks like a deleted one, so damage must be found while it still shows.
 * @throws LogDamagedError when that part is not whole; nothing was changed
 */
export async function compactLog(
  log: CompactedLog,
  upTo: number,
  isLive: LivenessTest,
  { mayStart, signal }: CompactionTerms,
  bytesPerSecond: number,
  pace: Pace,
): Promise<CompactReport> {
  const { table, hasher, shard } = log;
  const { tail, start, generation } = log.state();
  assert(upTo <= tail, `shard ${shard}: compaction ends at the tail ${tail}, asked for ${upTo}`);
  let deleted = 0;
  let bytes = 0;
  if (upTo > start.offset) {
    const { damages } = await scrubLog(log, start.offset + 1, upTo, signal, bytesPerSecond, pace);
    if (damages.length > 0) throw new LogDamagedError(damages[0]);
    if (signal.aborted) return { deleted, bytes };
    const chain = await chainAt(log, upTo);
    // Nothing is waited for between the question and the move: a cut comes before both or after both.
    if (signal.aborted || !mayStart()) return { deleted, bytes };
    await log.moveStart({ offset: upTo, chain });
  }

  const throttle = new Throttle(pace, bytesPerSecond, signal);
  for (let next = 1; next <= upTo && !signal.aborted;) {
    const chunk = await readEntries(table, { shard, generation }, next, upTo, SWEEP_ENTRIES, SWEEP_BYTES);
    const deletions: RowChange[] = [];
    let read = 0;
    let freed = 0;
    for (const { offset, bytes: entry } of chunk.found) {
      if (entry === undefined) continue;
      read += entry.length;
      // A damaged entry stays: whether it is live cannot be told, and the scrub must find it.
      if (verifyEntry(entry, hasher, { shard, offset }) !== undefined || isLive(offset, entry)) continue;
      deletions.push({ key: entryKey(shard, offset, generation), value: undefined });
      freed += entry.length;
    }
    if (deletions.length > 0) await log.deleteEntries(deletions, freed);
    deleted += deletions.length;
    bytes += freed;
    next = chunk.end + 1;
    await throttle.spend(read);
  }
  return { deleted, bytes };
}

async function chainAt(log: CompactedLog, offset: number): Promise<Uint8Array> {
  const { shard, table, hasher } = log;
  const bytes = await table.get(entryKey(shard, offset, log.state().generation));
  if (bytes === undefined) throw new LogDamagedError({ shard, offset, problem: 'missing' });
  const problem = verifyEntry(bytes, hasher, { shard, offset });
  if (problem !== undefined) throw new LogDamagedError({ shard, offset, problem });
  return entryChain(bytes);
}
