import { compareVersions } from '../../kernel/version.js';
import { assert } from '../../kernel/assert.js';
import type { Hasher } from '../../kernel/hasher.js';
import { entryCollectionId, entryId, entryOffset, entryOp, entryVersion } from '../log/core/entry-codec.js';
import { documentKey, documentKeyParts, documentPrefix, looseKey, loosePrefix, shardKey } from '../log/core/keys.js';
import { LogDamagedError, OffsetCompactedError, type LogStore, type RowChange } from '../log/log-store.js';
import {
  CounterTally,
  decodeCounters,
  decodeRow,
  encodeCounters,
  encodeRow,
  ZERO_COUNTERS,
  type DocumentRow,
  type ShardCounters,
} from '../shard/core/rows.js';
import { forkOf } from './core/fork.js';
import { COUNTERS_ROW } from './core/replica-log.js';
import type { LogEnd, PartialSnapshot, SnapshotChunk } from './core/protocol.js';
import {
  cursorAfter,
  decodeReceiving,
  encodeReceiving,
  endProblem,
  RECEIVING_ROW,
  rowKey,
  SNAPSHOT_START,
  stageChunk,
  type ChunkProblem,
  type Receiving,
  type SnapshotCursor,
} from './core/snapshot.js';
import { storedEntry } from './stored-copy.js';

const PAGE_ROWS = 512;

/** What a finished snapshot left behind. */
export interface SnapshotOutcome {
  readonly counters: ShardCounters;
  /** Rows of a branch whose entries could not be read, and which are lost here. */
  readonly unreadable: number;
}

/**
 * The receiving side of a snapshot (replication 4.7): puts chunks into a generation beside the log, then makes that the
 * log's. Until `finish` the log and its rows are what they were; a crash before leaves them so, and what was received is
 * there to go on with (`reopen`). Nothing else may write to the shard meanwhile.
 */
export class SnapshotReceiver {
  readonly #tally: CounterTally;
  #cursor: SnapshotCursor = SNAPSHOT_START;
  /** The last row, whatever part comes now. */
  #lastRow: Uint8Array | undefined;
  #bytes = 0;
  #rows = 0;
  #complete = false;

  private constructor(
    readonly shard: number,
    /** What the snapshot is of; undefined between two transfers. */
    private at: LogEnd | undefined,
    /** What is staged is of, as it is noted on the disk. */
    private receiving: Receiving,
    private readonly log: LogStore,
    private readonly hasher: Hasher,
  ) {
    this.#tally = new CounterTally(hasher, ZERO_COUNTERS);
  }

  /** Begins to receive; ends an earlier receiver of the shard. A problem when `at`, which a peer said, cannot be. */
  static async begin(
    log: LogStore,
    hasher: Hasher,
    shard: number,
    at: LogEnd,
  ): Promise<SnapshotReceiver | ChunkProblem> {
    const problem = endProblem(at);
    if (problem !== undefined) return problem;
    const generation = await log.beginStage(shard);
    const receiving = { generation, offset: at.lastOffset, chain: at.chain, last: at };
    const receiver = new SnapshotReceiver(shard, at, receiving, log, hasher);
    await receiver.#note(receiving);
    return receiver;
  }

  /** What a crash or a restart left of a transfer, ready to go on; undefined when nothing is left that could. */
  static async reopen(log: LogStore, hasher: Hasher, shard: number): Promise<SnapshotReceiver | undefined> {
    const generation = log.staged(shard);
    const stored = log.row(shardKey(shard, RECEIVING_ROW));
    const receiving = stored === undefined ? undefined : decodeReceiving(stored);
    if (generation === undefined || receiving?.generation !== generation) return undefined;
    const receiver = new SnapshotReceiver(shard, undefined, receiving, log, hasher);
    return (await receiver.#count()) ? receiver : undefined;
  }

  /** What to tell the primary, so that it goes on from there; undefined before the first row. */
  get partial(): PartialSnapshot | undefined {
    const { offset, chain } = this.receiving;
    return this.#lastRow === undefined ? undefined : { offset, chain, after: this.#lastRow };
  }

  /**
   * The primary goes on: first with what changed of the rows that are here, then behind them. A problem when it cannot be of
   * `at`, or when what is here is not part of that log: the last transfer was of another branch, or went further.
   */
  async resume(at: LogEnd): Promise<ChunkProblem | undefined> {
    const problem = endProblem(at);
    if (problem !== undefined) return problem;
    const { last } = this.receiving;
    if (forkOf(last, at) < last.lastOffset)
      return { problem: `the snapshot is of a log without offset ${last.lastOffset}, which rows that are here are of` };
    // Before anything of it is staged: whoever goes on after it must have this log as well.
    await this.#note({ ...this.receiving, last: at });
    this.at = at;
    this.#cursor = { part: 'documents', after: this.#lastRow };
    this.#complete = false;
    return undefined;
  }

  /** Where the transfer stands. */
  get cursor(): SnapshotCursor {
    return this.#cursor;
  }

  /** The last chunk is here. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Rows that are here. */
  get rows(): number {
    return this.#rows;
  }

  /** Stages a chunk; one that came before changes nothing. A chunk with a problem is not used at all. */
  async take(chunk: SnapshotChunk): Promise<ChunkProblem | undefined> {
    const { log, shard, hasher, at } = this;
    const { generation } = this.receiving;
    assert(at !== undefined, 'a chunk is of a snapshot');
    const staged = stageChunk(chunk, { shard, generation, end: at.lastOffset }, (key) => log.row(key), hasher);
    if ('problem' in staged) return staged;
    await log.stage(shard, staged);
    for (const { collectionId, id, before, row } of staged.added) {
      this.#tally.change(collectionId, id, before, row);
      if (before === undefined) this.#rows++;
    }
    this.#bytes += staged.bytes;
    this.#cursor = cursorAfter(chunk, this.#cursor, shard);
    if (this.#cursor.part === 'documents') this.#lastRow = this.#cursor.after;
    this.#complete ||= chunk.last;
    return undefined;
  }

  /**
   * Makes the snapshot the shard's log. Rows beyond `fork`, the last offset the old log had in common with it, and rows that
   * were loose stay as loose rows where the snapshot has no row or a lower version (6.4).
   * @param rows records of the shard that change with it, when so many rows could not be kept
   * @param damaged its rows cannot be relied on: what is loose is told by the entries (2.12)
   */
  async finish(
    fork: number,
    rows: (unreadable: number) => readonly RowChange[] = () => [],
    damaged = false,
  ): Promise<SnapshotOutcome> {
    const { log, shard, at } = this;
    assert(at !== undefined && this.complete, 'a snapshot is whole before it is used');
    const unreadable = await (damaged ? this.#keepEntries(fork) : this.#keepLoose(fork));
    const counters = this.#tally.value();
    const end = { offset: at.lastOffset, chain: at.chain, history: at.history, bytes: this.#bytes };
    const received = { key: shardKey(shard, RECEIVING_ROW), value: undefined };
    await log.flip(shard, end, [
      ...rows(unreadable),
      received,
      { key: shardKey(shard, COUNTERS_ROW), value: encodeCounters(counters) },
    ]);
    return { counters, unreadable };
  }

  /** Forgets what was received. */
  discard(): Promise<void> {
    return this.log.discardStage(this.shard);
  }

  async #note(receiving: Receiving): Promise<void> {
    const row = { key: shardKey(this.shard, RECEIVING_ROW), value: encodeReceiving(receiving) };
    await this.log.append({ shard: this.shard, entries: [], rows: [row] });
    this.receiving = receiving;
  }

  /** Counts what is staged; false when it cannot be gone on with. */
  async #count(): Promise<boolean> {
    const { log, shard } = this;
    const prefix = documentPrefix(this.receiving.generation, shard);
    for (let after: Uint8Array | undefined; ;) {
      const page = await log.rows(prefix, after, PAGE_ROWS);
      for (const { key, value } of page) {
        const { collectionId, id } = documentKeyParts(key);
        const row = decodeRow(value);
        // The end of it had begun: rows of the old log are among those of the snapshot.
        if (row.loose) return false;
        this.#tally.change(collectionId, id, undefined, row);
        this.#bytes += row.bytes;
        this.#rows++;
        this.#lastRow = rowKey(shard, collectionId, id);
      }
      if (page.length < PAGE_ROWS) return this.#lastRow !== undefined;
      after = page[page.length - 1].key;
    }
  }

  async #keepLoose(fork: number): Promise<number> {
    const { log, shard } = this;
    const { generation, tail } = log.state(shard);
    const stored = log.row(shardKey(shard, COUNTERS_ROW));
    const known = (stored === undefined ? ZERO_COUNTERS : decodeCounters(stored)).collections;
    let unreadable = 0;
    // When nothing lies beyond the fork only rows that are loose already matter, and the side store names them.
    const all = fork < tail;
    const prefix = all ? documentPrefix(generation, shard) : loosePrefix(shard);
    for (let after: Uint8Array | undefined; ;) {
      const page = await log.rows(prefix, after, PAGE_ROWS);
      const changes: RowChange[] = [];
      for (const { key, value } of page) {
        const { collectionId, id } = all ? documentKeyParts(key) : placeOf(value);
        const bytes = all ? value : log.row(documentKey(generation, shard, collectionId, id));
        const row = bytes === undefined ? undefined : decodeRow(bytes);
        if (row === undefined || !known.has(collectionId) || !(row.loose || row.offset > fork)) continue;
        const kept = this.#looseRow(collectionId, id, row);
        if (kept === 'unreadable') unreadable++;
        else changes.push(...kept);
      }
      if (changes.length > 0) await log.stage(shard, { entries: [], rows: changes });
      if (page.length < PAGE_ROWS) return unreadable;
      after = page[page.length - 1].key;
    }
  }

  /** Keeps as loose what a branch wrote that the snapshot has no row or a lower version of, whatever the old rows say. */
  async #keepEntries(fork: number): Promise<number> {
    const { log, shard } = this;
    const known = this.#knownCollections();
    const keep = async (entry: Uint8Array): Promise<void> => {
      if (known?.has(entryCollectionId(entry)) !== false) await this.#keepEntry(entry);
    };
    for (let after: Uint8Array | undefined; ;) {
      const page = await log.rows(loosePrefix(shard), after, PAGE_ROWS);
      for (const { value } of page) await keep(value);
      if (page.length < PAGE_ROWS) break;
      after = page[page.length - 1].key;
    }
    let unreadable = 0;
    const { tail } = log.state(shard);
    for (let offset = fork + 1; offset <= tail; offset++) {
      try {
        await keep(await log.read(shard, offset));
      } catch (error) {
        if (error instanceof LogDamagedError) unreadable++;
        // What compaction took was superseded.
        else if (!(error instanceof OffsetCompactedError)) throw error;
      }
    }
    return unreadable;
  }

  /** Those that are not dropped; undefined when that cannot be read. */
  #knownCollections(): ShardCounters['collections'] | undefined {
    try {
      const stored = this.log.row(shardKey(this.shard, COUNTERS_ROW));
      return stored === undefined ? undefined : decodeCounters(stored).collections;
    } catch (error) {
      if (error instanceof LogDamagedError) return undefined;
      throw error;
    }
  }

  async #keepEntry(entry: Uint8Array): Promise<void> {
    const { log, shard } = this;
    const op = entryOp(entry);
    if (op !== 'UPSERT' && op !== 'DELETE') return;
    const { collectionId, id } = placeOf(entry);
    const key = documentKey(this.receiving.generation, shard, collectionId, id);
    const bytes = log.row(key);
    const staged = bytes === undefined ? undefined : decodeRow(bytes);
    const version = entryVersion(entry);
    if (staged !== undefined && compareVersions(version, staged.version) <= 0) return;
    const tombstone = op === 'DELETE';
    const loose: DocumentRow = { version, offset: entryOffset(entry), tombstone, bytes: 0, loose: true };
    this.#tally.change(collectionId, id, staged, loose);
    const side = { key: looseKey(shard, collectionId, id), value: entry };
    await log.stage(shard, { entries: [], rows: [side, { key, value: encodeRow(loose) }] });
  }

  /** The changes that keep a row of the old generation in the new one; none when the snapshot has it, or a higher version. */
  #looseRow(collectionId: number, id: string, row: DocumentRow): readonly RowChange[] | 'unreadable' {
    const { log, shard } = this;
    const key = documentKey(this.receiving.generation, shard, collectionId, id);
    const bytes = log.row(key);
    const staged = bytes === undefined ? undefined : decodeRow(bytes);
    if (staged !== undefined && compareVersions(row.version, staged.version) <= 0) return [];
    const side: RowChange[] = [];
    if (!row.loose) {
      try {
        side.push({ key: looseKey(shard, collectionId, id), value: storedEntry(log, shard, row.offset) });
      } catch (error) {
        if (error instanceof LogDamagedError) return 'unreadable';
        throw error;
      }
    }
    const loose: DocumentRow = { ...row, loose: true, bytes: 0 };
    this.#tally.change(collectionId, id, staged, loose);
    return [...side, { key, value: encodeRow(loose) }];
  }
}

/** Collection and id of an entry of the side store. */
function placeOf(entry: Uint8Array): { readonly collectionId: number; readonly id: string } {
  return { collectionId: entryCollectionId(entry), id: entryId(entry) };
}
