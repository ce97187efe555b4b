import { compareBytes, toHex } from '../../../kernel/bytes.js';
import { compareEpochs } from '../../../kernel/epoch.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { compareVersions } from '../../../kernel/version.js';
import {
  ENTRY_BYTES_MIN,
  entryCollectionId,
  entryId,
  entryOffset,
  entryOp,
  entryVersion,
  verifyEntry,
} from '../../log/core/entry-codec.js';
import { CHAIN_BYTES } from '../../log/core/entry.js';
import { documentKey, idempotencyKey } from '../../log/core/keys.js';
import { decodeHistory, encodeHistory, openRow, sealRow } from '../../log/core/log-records.js';
import type { LogState, RowChange, StagedBatch } from '../../log/log-store.js';
import { decodeRow, encodeRow, type DocumentRow } from '../../shard/core/rows.js';
import type { Branch } from './fork.js';
import type { LogEnd, SnapshotChunk } from './protocol.js';

/**
 * A snapshot (replication 4.7): every row of a shard, tombstones included, as the entry it points at, then the results of
 * idempotency keys, both in key order, so that the last key received says where to go on.
 *
 * It is of exactly one offset X: the sender reads a view of its database, in which entries, rows and the end of the log are
 * of one batch boundary. The rows of the view are the last-writer-wins map of the log up to X, each with its entry; so the
 * receiver's rows, computed from the entries, are the sender's, and its log (those entries, start and tail at X, the chain
 * at X) is what the sender's would be if all below X were compacted.
 */

/** Where a transfer stands. */
export interface SnapshotCursor {
  readonly part: 'documents' | 'operations';
  /** The last key of that part that was transferred; undefined: none. */
  readonly after: Uint8Array | undefined;
}

export const SNAPSHOT_START: SnapshotCursor = { part: 'documents', after: undefined };

/** What a node notes of a snapshot it receives: what the staged rows are of. */
export interface Receiving {
  readonly generation: number;
  /** The rows are of this offset or later: what the first transfer was of. */
  readonly offset: number;
  readonly chain: Uint8Array;
  /** Nothing that is staged is of another log, or beyond its end: what the last transfer was of. */
  readonly last: Branch;
}

export const RECEIVING_ROW = 'receiving';

/** The epochs of `last` are behind them. */
const RECEIVING_BYTES = 4 + 8 + CHAIN_BYTES + 8;

export function encodeReceiving({ generation, offset, chain, last }: Receiving): Uint8Array {
  const history = encodeHistory(last.history);
  const bytes = new Uint8Array(RECEIVING_BYTES + history.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, generation);
  view.setBigUint64(4, BigInt(offset));
  bytes.set(chain, 12);
  view.setBigUint64(RECEIVING_BYTES - 8, BigInt(last.lastOffset));
  bytes.set(history, RECEIVING_BYTES);
  return bytes;
}

/** Undefined when the bytes are none: an older record, which does not tell `last`, is too short. */
export function decodeReceiving(bytes: Uint8Array): Receiving | undefined {
  if (bytes.length < RECEIVING_BYTES) return undefined;
  const history = decodeHistory(bytes.subarray(RECEIVING_BYTES));
  if (history === undefined) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    generation: view.getUint32(0),
    offset: Number(view.getBigUint64(4)),
    chain: bytes.slice(12, 12 + CHAIN_BYTES),
    last: { lastOffset: Number(view.getBigUint64(RECEIVING_BYTES - 8)), history },
  };
}

/** A document's key as it orders the transfer: without the generation, which differs from node to node. */
export function rowKey(shard: number, collectionId: number, id: string): Uint8Array {
  return documentKey(0, shard, collectionId, id).subarray(6);
}

/** The end of a log as replicas tell it to each other. */
export function logEndOf({ tail, epoch, chain, history, start }: LogState): LogEnd {
  return { lastOffset: tail, lastEpoch: epoch, chain, history, start: start.offset, agreed: 0 };
}

/** The log as it was at `offset`: for a snapshot of rows that are behind the log (strict mode, 2.1). */
export function logEndAt(state: LogState, offset: number, chain: Uint8Array): LogEnd {
  const history = state.history.filter(({ start }) => start <= offset);
  const lastEpoch = history.at(-1)?.epoch ?? state.epoch;
  return { lastOffset: offset, lastEpoch, chain, history, start: Math.min(offset, state.start.offset), agreed: 0 };
}

/** A result of an idempotency key on its way: sealed, as nothing else of it is checked on the other side. */
export function operationOut(
  shard: number,
  opId: Uint8Array,
  value: Uint8Array,
  hasher: Hasher,
): SnapshotChunk['operations'][number] {
  return { opId, value: sealRow(idempotencyKey(shard, opId), value, hasher) };
}

/** A part of a snapshot that must not be used. */
export interface ChunkProblem {
  readonly problem: string;
}

export interface StagedChunk extends StagedBatch {
  /** Of the entries. */
  readonly bytes: number;
  /** The rows among `rows` that are documents, to be counted. */
  readonly added: readonly {
    readonly collectionId: number;
    readonly id: string;
    /** What was staged before of it: it changed since. */
    readonly before: DocumentRow | undefined;
    readonly row: DocumentRow;
  }[];
}

/**
 * What a received chunk puts into the generation `generation`; of a row that came before, in a chunk that was repeated,
 * nothing. A higher version takes the place of the one that is staged: it changed while the transfer was interrupted.
 * @param stored the generation's row, if it has one already
 */
export function stageChunk(
  chunk: SnapshotChunk,
  { shard, generation, end }: { readonly shard: number; readonly generation: number; readonly end: number },
  stored: (key: Uint8Array) => Uint8Array | undefined,
  hasher: Hasher,
): StagedChunk | ChunkProblem {
  const entries: { offset: number; bytes: Uint8Array }[] = [];
  const rows: RowChange[] = [];
  const added: StagedChunk['added'][number][] = [];
  const seen = new Set<string>();
  let bytes = 0;
  for (const entry of chunk.entries) {
    const offset = entry.length < ENTRY_BYTES_MIN ? 0 : entryOffset(entry);
    const problem = verifyEntry(entry, hasher, { shard, offset });
    if (problem !== undefined) return { problem: `an entry is damaged (${problem})` };
    if (offset > end) return { problem: `an entry of offset ${offset} is beyond the end ${end}` };
    const op = entryOp(entry);
    if (op !== 'UPSERT' && op !== 'DELETE') return { problem: `the entry of offset ${offset} is a ${op}` };
    const collectionId = entryCollectionId(entry);
    const id = entryId(entry);
    const key = documentKey(generation, shard, collectionId, id);
    const name = toHex(key);
    const version = entryVersion(entry);
    const staged = stored(key);
    const before = staged === undefined ? undefined : decodeRow(staged);
    if (seen.has(name) || (before !== undefined && compareVersions(version, before.version) <= 0)) continue;
    seen.add(name);
    const row: DocumentRow = { version, offset, tombstone: op === 'DELETE', bytes: entry.length, loose: false };
    added.push({ collectionId, id, before, row });
    entries.push({ offset, bytes: entry });
    rows.push({ key, value: encodeRow(row) });
    bytes += entry.length;
  }
  for (const { opId, value } of chunk.operations) {
    const opened = openRow(idempotencyKey(shard, opId), value, hasher);
    if (opened === undefined) return { problem: 'a result of an idempotency key is damaged' };
    rows.push({ key: idempotencyKey(shard, opId, generation), value: opened });
  }
  return { entries, rows, bytes, added };
}

/** What is wrong with the end a snapshot is said to have, or undefined. */
export function endProblem({ lastOffset, chain, history }: LogEnd): ChunkProblem | undefined {
  const last = history.at(-1);
  if (!Number.isSafeInteger(lastOffset) || lastOffset < 1) return { problem: 'a snapshot is of an offset' };
  if (chain.length !== CHAIN_BYTES) return { problem: 'the chain of a snapshot has 16 bytes' };
  const ascending = history.every(
    ({ epoch, start }, i) =>
      i === 0 || (compareEpochs(epoch, history[i - 1].epoch) > 0 && start > history[i - 1].start),
  );
  if (last === undefined || last.start > lastOffset || !ascending)
    return { problem: 'the epochs of a snapshot ascend up to its offset' };
  return undefined;
}

/** Where the transfer stands after a chunk. What changed of an earlier part does not set it back. */
export function cursorAfter(chunk: SnapshotChunk, before: SnapshotCursor, shard: number): SnapshotCursor {
  const operation = chunk.operations.at(-1);
  if (operation !== undefined) return { part: 'operations', after: operation.opId };
  const entry = chunk.entries.at(-1);
  if (entry === undefined || before.part === 'operations') return before;
  const after = rowKey(shard, entryCollectionId(entry), entryId(entry));
  return before.after !== undefined && compareBytes(after, before.after) <= 0 ? before : { part: 'documents', after };
}
