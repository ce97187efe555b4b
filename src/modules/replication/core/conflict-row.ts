import { toHex, utf8 } from '../../../kernel/bytes.js';
import { writeU64 } from '../../../kernel/big-endian.js';
import { sameEpoch, UUID_BYTES } from '../../../kernel/epoch.js';
import { versionText } from '../../../kernel/version.js';
import {
  entryCollectionId,
  entryEpoch,
  entryId,
  entryOffset,
  entryOp,
  entryOrigin,
  entryVersion,
} from '../../log/core/entry-codec.js';
import type { EntryOrigin } from '../../log/core/entry.js';
import type { RowChange } from '../../log/log-store.js';

/** A write that lost against a higher version when two branches were merged (replication 6.4). */
export interface Conflict {
  readonly id: string;
  readonly collectionId: number;
  readonly op: 'UPSERT' | 'DELETE';
  readonly version: string;
  /** The version that stands; '' when its collection was dropped. */
  readonly winner: string;
  /** Where it was written. */
  readonly epoch: { readonly num: number; readonly node: string };
  readonly offset: number;
  /** Wall clock of the merge: conflicts are kept 7 days. */
  readonly mergedMs: number;
}

/**
 * Whether who wrote `winner` could see `loser`: both were written in one epoch, by one primary, in this order. Each says
 * where: at its own place, and, when it was merged before, at the one it was first written at (2.2).
 */
export function couldSee(winner: Uint8Array, loser: Uint8Array): boolean {
  const [later, earlier] = [placesOf(winner), placesOf(loser)];
  return later.some((a) => earlier.some((b) => sameEpoch(a.epoch, b.epoch) && a.offset > b.offset));
}

const TAG = 0x63;
const PREFIX_BYTES = 6;
const PLACE_BYTES = 8 + UUID_BYTES + 8;

/** Prefix of the conflicts of a shard: `c!` shard u32, then the time of the merge, so that old ones come first. */
export function conflictPrefix(shard: number): Uint8Array {
  const bytes = new Uint8Array(PREFIX_BYTES);
  bytes[0] = TAG;
  bytes[1] = 0x21;
  new DataView(bytes.buffer).setUint32(2, shard);
  return bytes;
}

/** When the branches of the conflict under a key were merged, by the wall clock. */
export function conflictMs(key: Uint8Array): number {
  const { buffer, byteOffset, byteLength } = key;
  return Number(new DataView(buffer, byteOffset, byteLength).getBigUint64(PREFIX_BYTES));
}

/** The row that records the entry of a losing write, under the time of the merge and the place where it was written. */
export function conflictRow(shard: number, mergedMs: number, entry: Uint8Array, winner: string): RowChange {
  const epoch = entryEpoch(entry);
  const key = new Uint8Array(PREFIX_BYTES + 8 + PLACE_BYTES);
  key.set(conflictPrefix(shard));
  writeU64(key, PREFIX_BYTES, Math.max(0, Math.floor(mergedMs)));
  writeU64(key, PREFIX_BYTES + 8, epoch.num);
  key.set(epoch.uuid, PREFIX_BYTES + 16);
  writeU64(key, PREFIX_BYTES + 16 + UUID_BYTES, entryOffset(entry));
  const conflict: Conflict = {
    id: entryId(entry),
    collectionId: entryCollectionId(entry),
    op: entryOp(entry) === 'DELETE' ? 'DELETE' : 'UPSERT',
    version: versionText(entryVersion(entry)),
    winner,
    epoch: { num: epoch.num, node: toHex(epoch.uuid) },
    offset: entryOffset(entry),
    mergedMs,
  };
  return { key, value: utf8(JSON.stringify(conflict)) };
}

function placesOf(entry: Uint8Array): readonly EntryOrigin[] {
  const origin = entryOrigin(entry);
  const own = { epoch: entryEpoch(entry), offset: entryOffset(entry) };
  return origin === undefined ? [own] : [own, origin];
}
