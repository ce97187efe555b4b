import type { Hasher } from '../../../kernel/hasher.js';
import { compareVersions } from '../../../kernel/version.js';
import {
  entryCollectionId,
  entryId,
  entryOffset,
  entryOp,
  entryOperation,
  entryVersion,
} from '../../log/core/entry-codec.js';
import { documentKey, idempotencyKey, looseKey, shardKey } from '../../log/core/keys.js';
import type { RowChange } from '../../log/log-store.js';
import { CounterTally, decodeRow, encodeCounters, encodeRow, type ShardCounters } from '../../shard/core/rows.js';
import { COUNTERS_ROW, SETS_ROW } from './replica-log.js';
import { encodeSets, type LoggedSet } from './set-codec.js';

/** What a cut is made of. */
export interface Cut {
  readonly shard: number;
  readonly generation: number;
  readonly hasher: Hasher;
  /** Where the log will end. */
  readonly to: number;
  /** The entries above, in order; empty for a strict shard, whose rows never had them. */
  readonly entries: readonly Uint8Array[];
  readonly storedRow: (key: Uint8Array) => Uint8Array | undefined;
  readonly counters: ShardCounters;
  /** The sets that stay. */
  readonly sets: readonly LoggedSet[];
}

/**
 * The rows to write with a cut (replication 6.4): rows whose entry is cut off become loose, and the entry goes to the side
 * store. The state of the shard stays the same: a loose row is as live as it was.
 */
export function loosen(cut: Cut): readonly RowChange[] {
  const { shard, generation, hasher, to, entries, storedRow } = cut;
  const tally = new CounterTally(hasher, cut.counters);
  const rows = new Map<string, readonly RowChange[]>();
  const forgotten: RowChange[] = [];
  for (const entry of entries) {
    const op = entryOp(entry);
    if (op !== 'UPSERT' && op !== 'DELETE') {
      tally.reclaim(entry.length);
      continue;
    }
    // A key whose write is cut off may be used again: on this branch it never was (2.10).
    if (entryOperation(entry) !== undefined)
      forgotten.push({ key: idempotencyKey(shard, entryVersion(entry).opId, generation), value: undefined });
    const [collectionId, id] = [entryCollectionId(entry), entryId(entry)];
    const key = documentKey(generation, shard, collectionId, id);
    const stored = storedRow(key);
    const row = stored === undefined ? undefined : decodeRow(stored);
    const isCurrent =
      row !== undefined && row.offset === entryOffset(entry) && compareVersions(row.version, entryVersion(entry)) === 0;
    if (row === undefined || !isCurrent || row.offset <= to) {
      tally.reclaim(entry.length);
      continue;
    }
    const loose = { ...row, bytes: 0, loose: true };
    tally.change(collectionId, id, row, loose);
    tally.reclaim(row.bytes);
    rows.set(`${collectionId} ${id}`, [
      { key, value: encodeRow(loose) },
      { key: looseKey(shard, collectionId, id), value: entry },
    ]);
  }
  return [
    ...[...rows.values()].flat(),
    ...forgotten,
    { key: shardKey(shard, SETS_ROW), value: encodeSets(cut.sets) },
    { key: shardKey(shard, COUNTERS_ROW), value: encodeCounters(tally.value()) },
  ];
}
