import { compareVersions } from '../../../kernel/version.js';
import { entryCollectionId, entryId, entryOffset, entryOp, entryVersion } from '../../log/core/entry-codec.js';
import { documentKey, idempotencyKey, looseKey } from '../../log/core/keys.js';
import type { Row, RowChange } from '../../log/log-store.js';
import { decodeRow, encodeRow, type CounterTally, type DocumentRow } from '../../shard/core/rows.js';
import { decodeOperation } from './operation-row.js';

/**
 * Loose rows (replication 6.4): what is left of a branch that was cut off. The row stays, the entry that wrote it moves to
 * the side store (`l!`, see log/core/keys.ts), and only the same version at an offset of this log, or a higher one, ends
 * that. A row in the side store whose document row is not loose, or of another version, is a leftover and means nothing:
 * so the side store may be written ahead of the cut and cleaned up behind it.
 */

/** What is stored of the shard; reads by key, as `LogStore.row` does. */
export interface StoredShard {
  readonly shard: number;
  readonly generation: number;
  readonly row: (key: Uint8Array) => Uint8Array | undefined;
}

export interface Loosened {
  /** Document and idempotency rows, to be written with the cut. */
  readonly rows: readonly RowChange[];
  /** The side store's rows, to be written before or with it. */
  readonly side: readonly RowChange[];
}

/**
 * What cutting off `entries`, all above `fork`, makes of the rows. A row that points at one of them becomes loose; results of
 * idempotency keys above the fork go, as another branch may execute the key again (2.10). May be called with one part of
 * the branch after the other, with what was stored before the cut; `tally` sums up.
 */
export function loosen(
  entries: readonly Uint8Array[],
  fork: number,
  { shard, generation, row }: StoredShard,
  tally: CounterTally,
): Loosened {
  const rows: RowChange[] = [];
  const side: RowChange[] = [];
  for (const entry of entries) {
    const offset = entryOffset(entry);
    const op = entryOp(entry);
    const operationKey = idempotencyKey(shard, entryVersion(entry).opId, generation);
    const operation = row(operationKey);
    if (operation !== undefined && decodeOperation(operation).offset > fork)
      rows.push({ key: operationKey, value: undefined });
    if (op === 'UPSERT' || op === 'DELETE') {
      const collectionId = entryCollectionId(entry);
      const id = entryId(entry);
      const key = documentKey(generation, shard, collectionId, id);
      const stored = row(key);
      const before = stored === undefined ? undefined : decodeRow(stored);
      if (before !== undefined && !before.loose && before.offset === offset) {
        if (tally.has(collectionId)) {
          const after: DocumentRow = { ...before, loose: true, bytes: 0 };
          tally.change(collectionId, id, before, after);
          rows.push({ key, value: encodeRow(after) });
          side.push({ key: looseKey(shard, collectionId, id), value: entry });
        } else {
          // Of a dropped collection: it only waited to be deleted.
          rows.push({ key, value: undefined });
        }
      }
    }
    // It counted as superseded, since now at the latest, and is in the log no more.
    tally.reclaim(entry.length);
  }
  return { rows, side };
}

/** The side store's row goes with the change that ends a loose row: to be written in the same batch. */
export function endOfLoose(
  shard: number,
  collectionId: number,
  id: string,
  before: DocumentRow | undefined,
): readonly RowChange[] {
  return before?.loose === true ? [{ key: looseKey(shard, collectionId, id), value: undefined }] : [];
}

/** Rows of the side store, sorted into those that stand for a loose row and leftovers. */
export interface SortedLoose {
  /** Encoded entries, as they were logged: what is offered to a primary, and put into an index. */
  readonly entries: readonly Uint8Array[];
  readonly leftovers: readonly {
    readonly key: Uint8Array;
    readonly entry: Uint8Array;
    /** The version that took its place; undefined when the document has no row. */
    readonly winner: DocumentRow | undefined;
  }[];
}

export function sortLoose(kept: readonly Row[], { shard, generation, row }: StoredShard): SortedLoose {
  const entries: Uint8Array[] = [];
  const leftovers: SortedLoose['leftovers'][number][] = [];
  for (const { key, value: entry } of kept) {
    const stored = row(documentKey(generation, shard, entryCollectionId(entry), entryId(entry)));
    const winner = stored === undefined ? undefined : decodeRow(stored);
    if (winner?.loose === true && compareVersions(winner.version, entryVersion(entry)) === 0) entries.push(entry);
    else leftovers.push({ key, entry, winner });
  }
  return { entries, leftovers };
}
