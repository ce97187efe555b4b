import { compareBytes, concatBytes, equalBytes } from '../../kernel/bytes.js';
import type { Hasher } from '../../kernel/hasher.js';
import { entryChain, entryCollectionId, entryId, entryOp } from '../log/core/entry-codec.js';
import {
  documentKey,
  documentKeyParts,
  documentPrefix,
  idempotencyKey,
  idempotencyKeyOpId,
  idempotencyPrefix,
  shardKey,
} from '../log/core/keys.js';
import type { LogStore, LogView } from '../log/log-store.js';
import { decodeCounters, decodeRow, looseRows, ZERO_COUNTERS, type ShardCounters } from '../shard/core/rows.js';
import { BRANCHES_ROW, COUNTERS_ROW } from './core/replica-log.js';
import { decodeBranches } from './core/branch-epochs.js';
import { decodeOperation } from './core/operation-row.js';
import type { PartialSnapshot, SnapshotChunk, SnapshotEnd } from './core/protocol.js';
import { logEndAt, logEndOf, operationOut, rowKey, type SnapshotCursor } from './core/snapshot.js';

/** Bytes of entries in one chunk, or one entry (replication 4.2, 4.7). */
const CHUNK_BYTES = 256 * 1024;
const CHUNK_ROWS = 256;
/** Entries looked through to go on with an earlier snapshot; beyond it a new one is hardly more work. */
const CHANGES_MAX = 200_000;
/** Of them so many are read side by side. */
const CHANGES_AT_ONCE = 64;
/** About 90 bytes each. */
const CHUNK_OPERATIONS = 2_048;
const DOCUMENT_PREFIX_BYTES = 6;

/** The sending side of a snapshot (replication 4.7), see core/snapshot.ts. Holds a view of the database until it is closed. */
export class SnapshotSource {
  /** Offsets of entries that the follower has an older version of, and which go before everything else. */
  #changed: number[] = [];

  private constructor(
    readonly shard: number,
    /** The end of the log the snapshot is of. */
    readonly at: SnapshotEnd,
    /** Of the rows that are sent. */
    readonly counters: ShardCounters,
    private readonly view: LogView,
    private readonly hasher: Hasher,
  ) {}

  /**
   * Undefined while rows of the shard are loose: they are not of its log, and a primary soon has none (5.6).
   * @param rowsAt the offset the rows are of, where that is not the tail (strict mode, 2.1)
   */
  static async open(
    log: LogStore,
    hasher: Hasher,
    shard: number,
    rowsAt: (view: LogView) => Promise<number> = ({ state }) => Promise.resolve(state.tail),
  ): Promise<SnapshotSource | undefined> {
    const view = await log.view(shard);
    try {
      const stored = await view.row(shardKey(shard, COUNTERS_ROW));
      const counters = stored === undefined ? ZERO_COUNTERS : decodeCounters(stored);
      const { state } = view;
      const offset = await rowsAt(view);
      if (looseRows(counters) > 0 || offset === 0) {
        await view.close();
        return undefined;
      }
      const at = offset === state.tail ? logEndOf(state) : logEndAt(state, offset, await chainAt(view, offset));
      const { merged } = decodeBranches(await view.row(shardKey(shard, BRANCHES_ROW)));
      const known = merged.filter((epoch) => epoch.offset <= offset);
      return new SnapshotSource(shard, { ...at, merged: known }, counters, view, hasher);
    } catch (error) {
      await view.close();
      throw error;
    }
  }

  /**
   * Goes on where an earlier snapshot stopped, of this node or another one: what changed of its rows since comes first, then
   * the rows behind them. False when the log does not hold the offset it is of, or rows went since: then it begins anew.
   * @param tooLong nobody waits for it any longer: it begins anew
   */
  async resume({ offset, chain, after }: PartialSnapshot, tooLong = (): boolean => false): Promise<boolean> {
    const { view, at } = this;
    const { start } = view.state;
    if (offset < start.offset || offset > at.lastOffset || at.lastOffset - offset > CHANGES_MAX) return false;
    if (!equalBytes(chain, offset === at.lastOffset ? at.chain : await chainAt(view, offset))) return false;
    const changed: number[] = [];
    for (let next = offset + 1; next <= at.lastOffset; next += CHANGES_AT_ONCE) {
      if (tooLong()) return false;
      const length = Math.min(CHANGES_AT_ONCE, at.lastOffset - next + 1);
      const found = await Promise.all(Array.from({ length }, (_, i) => this.#changeAt(next + i, after)));
      if (found.includes('rows went')) return false;
      for (const [i, change] of found.entries()) if (change === 'changed') changed.push(next + i);
    }
    this.#changed = changed;
    return true;
  }

  /** What the entry at `offset` did to the rows up to `after`: whether it is the one that a row is of now. */
  async #changeAt(offset: number, after: Uint8Array): Promise<'changed' | 'rows went' | undefined> {
    const { shard, view } = this;
    const entry = await view.read(offset);
    const op = entryOp(entry);
    if (op === 'BARRIER' || op === 'SET' || op === 'MERGED') return undefined;
    if (op !== 'UPSERT' && op !== 'DELETE') return 'rows went';
    const [collectionId, id] = [entryCollectionId(entry), entryId(entry)];
    if (compareBytes(rowKey(shard, collectionId, id), after) > 0) return undefined;
    const row = await view.row(documentKey(view.state.generation, shard, collectionId, id));
    return row !== undefined && decodeRow(row).offset === offset ? 'changed' : undefined;
  }

  /** The chunk after `cursor`; `core/snapshot.ts` tells the cursor after it. */
  async next({ part, after }: SnapshotCursor): Promise<SnapshotChunk> {
    if (this.#changed.length > 0) return this.#changes();
    return (part === 'documents' ? await this.#documents(after) : undefined) ?? (await this.#operations(part, after));
  }

  close(): Promise<void> {
    return this.view.close();
  }

  async #changes(): Promise<SnapshotChunk> {
    const entries: Uint8Array[] = [];
    let bytes = 0;
    while (this.#changed.length > 0 && entries.length < CHUNK_ROWS) {
      const entry = await this.view.read(this.#changed[0]);
      if (entries.length > 0 && bytes + entry.length > CHUNK_BYTES) break;
      entries.push(entry);
      bytes += entry.length;
      this.#changed.shift();
    }
    return { entries, operations: [], last: false };
  }

  /** Undefined when there are no more. */
  async #documents(after: Uint8Array | undefined): Promise<SnapshotChunk | undefined> {
    const { view, shard } = this;
    const prefix = documentPrefix(view.state.generation, shard);
    let key = after === undefined ? undefined : concatBytes([prefix.subarray(0, DOCUMENT_PREFIX_BYTES), after]);
    for (;;) {
      const page = await view.rows(prefix, key, CHUNK_ROWS);
      const offsets: number[] = [];
      let bytes = 0;
      for (const row of page) {
        // Rows of a dropped collection wait to be deleted, and their entries may be gone.
        if (!this.counters.collections.has(documentKeyParts(row.key).collectionId)) continue;
        const { offset, bytes: entryBytes } = decodeRow(row.value);
        if (offsets.length > 0 && bytes + entryBytes > CHUNK_BYTES) break;
        offsets.push(offset);
        bytes += entryBytes;
      }
      if (offsets.length > 0) {
        const entries = await Promise.all(offsets.map((offset) => view.read(offset)));
        return { entries, operations: [], last: false };
      }
      if (page.length < CHUNK_ROWS) return undefined;
      key = page[page.length - 1].key;
    }
  }

  async #operations(part: SnapshotCursor['part'], after: Uint8Array | undefined): Promise<SnapshotChunk> {
    const { view, shard, hasher } = this;
    const { generation } = view.state;
    const from = part === 'operations' && after !== undefined ? idempotencyKey(shard, after, generation) : undefined;
    const page = await view.rows(idempotencyPrefix(shard, generation), from, CHUNK_OPERATIONS);
    const operations = page
      .filter(({ value }) => decodeOperation(value).offset <= this.at.lastOffset)
      .map(({ key, value }) => operationOut(shard, idempotencyKeyOpId(key), value, hasher));
    if (operations.length === 0 && page.length === CHUNK_OPERATIONS)
      return this.#operations('operations', idempotencyKeyOpId(page[page.length - 1].key));
    return { entries: [], operations, last: page.length < CHUNK_OPERATIONS };
  }
}

async function chainAt(view: LogView, offset: number): Promise<Uint8Array> {
  const { start } = view.state;
  return offset === start.offset ? start.chain : entryChain(await view.read(offset));
}
