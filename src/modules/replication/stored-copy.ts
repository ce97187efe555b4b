import { META_SHARD } from '../../kernel/ids.js';
import { HLC_ZERO, type Hlc } from '../../kernel/version.js';
import {
  entryChain,
  entryCollectionId,
  entryId,
  entryOffset,
  entryOp,
  entryPayload,
  entryVersion,
} from '../log/core/entry-codec.js';
import { shardKey } from '../log/core/keys.js';
import { LogDamagedError, OffsetCompactedError, type LogStore, type RowChange } from '../log/log-store.js';
import { decodeCounters, ZERO_COUNTERS, type ShardCounters } from '../shard/core/rows.js';
import { afterCut, decodeBranches, encodeBranches } from './core/branch-epochs.js';
import { cutAgreedMap, decodeAgreedMap, decodeMapOperation, encodeAgreedMap } from './core/map-codec.js';
import { MapState, type PendingOperation } from './core/map-state.js';
import { MAP_ROW } from './core/replica.js';
import { BRANCHES_ROW, COUNTERS_ROW, SETS_ROW, type ReplicaLog, type ReplicaLogOptions } from './core/replica-log.js';
import { decodeSets, encodeSets } from './core/set-codec.js';

// What is kept of a copy on the disk, as its machine and its peers ask for it.

const PAGE = 500;

/** The end of a log and everything kept with it, as stored. */
export function storedEnd(log: LogStore, shard: number): Omit<ReplicaLogOptions, 'shard' | 'hasher' | 'lastHlc'> {
  const { tail, chain, start, history, generation } = log.state(shard);
  return {
    generation,
    tail,
    chain,
    start: start.offset,
    history,
    counters: storedCounters(log, shard),
    sets: decodeSets(log.row(shardKey(shard, SETS_ROW))),
    branches: decodeBranches(log.row(shardKey(shard, BRANCHES_ROW))),
  };
}

/** The map as its row holds it, and the operations of the log beyond that. */
export async function storedMap(log: LogStore, tail: number): Promise<MapState> {
  const bytes = log.row(shardKey(META_SHARD, MAP_ROW));
  const agreed = bytes === undefined ? undefined : decodeAgreedMap(bytes);
  const pending: PendingOperation[] = [];
  const from = Math.max(agreed?.offset ?? 0, log.state(META_SHARD).start.offset) + 1;
  for (let next = from; next <= tail;) {
    const entries = await log.scan(META_SHARD, next, PAGE, 1024 * 1024);
    for (const entry of entries) {
      next = entryOffset(entry) + 1;
      if (entryOp(entry) === 'MAP')
        pending.push({ offset: entryOffset(entry), operation: decodeMapOperation(entryPayload(entry)) });
    }
    if (entries.length === 0) break;
  }
  return new MapState(agreed, pending);
}

/** Rows of a copy that are others once its log is cut behind `to` (6.3), beside its counters and those of documents. */
export function rowsOfCut(log: LogStore, shard: number, to: number): RowChange[] {
  const { tail: lastOffset, history, sets, branches } = storedEnd(log, shard);
  const kept = sets.filter(({ offset }) => offset <= to);
  const rows: RowChange[] = [{ key: shardKey(shard, SETS_ROW), value: encodeSets(kept) }];
  // Of the map's shard nothing is merged: what a majority did not have was never written (9.1).
  if (shard !== META_SHARD) {
    const value = encodeBranches(afterCut(branches, { lastOffset, history }, to));
    return [...rows, { key: shardKey(shard, BRANCHES_ROW), value }];
  }
  const key = shardKey(shard, MAP_ROW);
  const agreed = log.row(key);
  const map = agreed && cutAgreedMap(decodeAgreedMap(agreed), to);
  return map === undefined ? rows : [...rows, { key, value: encodeAgreedMap(map) }];
}

/** The clock reading of the last entry: versions of this copy continue above it (replication 1.3). */
export async function storedClock(log: LogStore, shard: number, tail: number, start: number): Promise<Hlc> {
  if (tail === 0) return HLC_ZERO;
  const [bytes] = await log.scan(shard, tail, 1, 1);
  // The last entry of a log that was compacted up to its end may be gone.
  if (bytes === undefined && tail === start) return HLC_ZERO;
  if (bytes === undefined) throw new LogDamagedError({ shard, offset: tail, problem: 'missing' });
  return entryVersion(bytes).hlc;
}

/** The counters as of the log's tail. */
export function storedCounters(log: LogStore, shard: number): ShardCounters {
  const bytes = log.row(shardKey(shard, COUNTERS_ROW));
  return bytes === undefined ? ZERO_COUNTERS : decodeCounters(bytes);
}

/** The entry that a row points at: compaction takes none of these, so one that is gone is lost. @throws LogDamagedError */
export function storedEntry(log: LogStore, shard: number, offset: number): Uint8Array {
  try {
    return log.readSync(shard, offset);
  } catch (error) {
    if (!(error instanceof OffsetCompactedError)) throw error;
    throw new LogDamagedError({ shard, offset, problem: 'missing' }, error);
  }
}

/** Chain at an offset of the log, or undefined when it is not in it. */
export async function storedChain(log: LogStore, shard: number, offset: number): Promise<Uint8Array | undefined> {
  const { tail, start, chain } = log.state(shard);
  if (offset === tail) return chain;
  if (offset === start.offset) return start.chain;
  if (offset > tail || offset < start.offset) return undefined;
  const [entry] = await log.scan(shard, offset, 1, 1);
  return entry === undefined ? undefined : entryChain(entry);
}

/** The stored rows of the documents that entries are of, in their order. */
export function storedRows(
  log: LogStore,
  copy: ReplicaLog,
  entries: readonly Uint8Array[],
): (Uint8Array | undefined)[] {
  return entries.map((entry) => {
    const op = entryOp(entry);
    if (op !== 'UPSERT' && op !== 'DELETE') return undefined;
    return log.row(copy.rowKey(entryCollectionId(entry), entryId(entry)));
  });
}
