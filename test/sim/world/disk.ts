import { fromUtf8 } from '../../../src/kernel/bytes.js';
import type { Hasher } from '../../../src/kernel/hasher.js';
import { compareVersions } from '../../../src/kernel/version.js';
import type { Version } from '../../../src/kernel/version.js';
import { MemoryTable } from '../../../src/modules/log/adapters/memory-table.js';
import { prefixEnd } from '../../../src/modules/log/adapters/table.js';
import { decodeEntry, encodeEntry, entryChain, entryOp } from '../../../src/modules/log/core/entry-codec.js';
import {
  documentKeyParts,
  documentPrefix,
  entryKey,
  entryKeyOffset,
  entryPrefix,
  FIRST_GENERATION,
  shardKey,
} from '../../../src/modules/log/core/keys.js';
import {
  decodeGenerations,
  decodeHistory,
  decodeStart,
  decodeTail,
  encodeTail,
  openRow,
  RECORD_NAMES,
  sealRow,
} from '../../../src/modules/log/core/log-records.js';
import { EMPTY_LOG } from '../../../src/modules/log/core/log-state.js';
import type { LogState, RowChange, StorageFailedError } from '../../../src/modules/log/log-store.js';
import { conflictPrefix, type Conflict } from '../../../src/modules/replication/core/conflict-row.js';
import { decodeRow } from '../../../src/modules/shard/core/rows.js';
import type { SimProcess } from './process.js';
import type { Scheduler } from './scheduler.js';
import { SeededRandom } from './seeded-random.js';
import { MemorySide } from '../../../src/modules/log/adapters/side-memory.js';
import { SimLogStore } from './sim-log-store.js';
import { SimTable } from './sim-table.js';

/** A document's row as a disk holds it. */
export interface StoredDocument {
  readonly collectionId: number;
  readonly id: string;
  readonly version: Version;
  readonly tombstone: boolean;
  readonly offset: number;
}

export interface DiskFaults {
  /** One write or sync takes a time between these. */
  minMs: number;
  maxMs: number;
  /** The next write or sync fails. */
  failNext: boolean;
  /** Every write fails until room is made. */
  full: boolean;
  /** A switchable bug: syncs that sync nothing. */
  lying: boolean;
  /** A switchable bug: rows whose key passes are left out of every batch. */
  forgets: ((key: Uint8Array) => boolean) | undefined;
}

/** What the user of a disk is told. */
export interface DiskWatch {
  readonly onFailure: (error: StorageFailedError) => void;
  /** A batch is in the table: its entries by shard, empty for a shard of which only records changed. */
  readonly onWritten: (entries: ReadonlyMap<number, readonly Uint8Array[]>) => void;
}

/** The disk of one host: it survives the processes that write to it, and loses what they did not sync. */
export class SimDisk {
  readonly faults: DiskFaults;
  #memory = new MemoryTable();
  #side = new MemorySide();
  /** How often it was replaced by an empty one. */
  #generation = 1;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly random: SeededRandom,
    private readonly hasher: Hasher,
  ) {
    const minMs = 0.1 + random.between(0, 1);
    this.faults = {
      minMs,
      maxMs: minMs + random.between(0.5, 6),
      failNext: false,
      full: false,
      lying: false,
      forgets: undefined,
    };
  }

  get generation(): number {
    return this.#generation;
  }

  /** Opens the log for a process. */
  open(process: SimProcess, watch: DiskWatch): Promise<SimLogStore> {
    const part = (share: number) =>
      new Promise<void>(
        (resolve) =>
          void this.scheduler.in(this.random.between(this.faults.minMs, this.faults.maxMs) * share, process, resolve),
      );
    const table = new SimTable(this.#memory, {
      before: () => part(0.7),
      after: () => part(0.3),
      fail: () => {
        if (this.faults.full) throw new Error('no space left on device');
        if (!this.faults.failNext) return;
        this.faults.failNext = false;
        throw new Error('input/output error');
      },
      written: (changes) => watch.onWritten(this.#written(changes)),
      liesAboutSync: () => this.faults.lying,
    });
    const filtered = this.faults.forgets === undefined ? table : forgetful(table, this.faults.forgets);
    return SimLogStore.open(filtered, {
      hasher: this.hasher,
      side: this.faults.forgets === undefined ? this.#side : new MemorySide(),
      onFailure: watch.onFailure,
    });
  }

  /** The process is gone: of what it did not sync, the first `kept` batches may be there all the same. */
  crash(kept = 0): void {
    this.#memory = this.#memory.crash(kept);
  }

  /** The process ended in good order. */
  release(): void {
    this.#memory = this.#memory.reopen();
  }

  /** What is on it now, for the checkers when it is gone. */
  remains(): SimDisk {
    const disk = new SimDisk(this.scheduler, new SeededRandom(0), this.hasher);
    disk.#memory = this.#memory;
    return disk;
  }

  /** An empty disk in its place. */
  wipe(): void {
    this.#memory = new MemoryTable();
    this.#side = new MemorySide();
    this.#generation++;
    this.faults.full = false;
    this.faults.failNext = false;
  }

  /** Flips one bit of a stored entry; false when there is none. */
  flipEntry(shard: number, offset: number, at: number): boolean {
    return this.#memory.flipByte(entryKey(shard, offset, this.generationOf(shard)), at);
  }

  /** Flips one bit of each document row of a shard; how many there are. */
  async flipRows(shard: number): Promise<number> {
    const from = documentPrefix(this.generationOf(shard), shard);
    const rows = await this.#memory.range({
      from,
      to: prefixEnd(from),
      limit: 1_000,
      bytesMax: Number.MAX_SAFE_INTEGER,
    });
    for (const { key } of rows) this.#memory.flipByte(key, 0);
    return rows.length;
  }

  /** Flips one bit of a record of a shard; false when there is none. */
  flipRecord(shard: number, name: string): boolean {
    return this.#memory.flipByte(shardKey(shard, name), 0);
  }

  /**
   * The last entry of a log becomes another one of the same place and version, its sums right: what a directory brings that
   * was restored from elsewhere. False when it holds no document.
   */
  async rewriteLast(shard: number, payload: Uint8Array): Promise<boolean> {
    const state = this.logState(shard);
    const bytes = state === undefined ? undefined : this.entry(shard, state.tail);
    const before = state === undefined ? undefined : this.entry(shard, state.tail - 1);
    if (state === undefined || bytes === undefined || before === undefined || entryOp(bytes) !== 'UPSERT') return false;
    const entry = encodeEntry({ ...decodeEntry(bytes), payload }, entryChain(before), this.hasher);
    const key = shardKey(shard, RECORD_NAMES.tail);
    const tail = sealRow(key, encodeTail({ ...state, chain: entry.chain }), this.hasher);
    const changes = [
      { key: entryKey(shard, state.tail, this.generationOf(shard)), value: entry.bytes },
      { key, value: tail },
    ];
    await this.#memory.write(changes, true);
    return true;
  }

  /** Synchronous looks at what is stored, for the checkers. */
  value(key: Uint8Array): Uint8Array | undefined {
    const sealed = this.#memory.getSync(key);
    return sealed === undefined ? undefined : openRow(key, sealed, this.hasher);
  }

  entry(shard: number, offset: number): Uint8Array | undefined {
    return this.#memory.getSync(entryKey(shard, offset, this.generationOf(shard)));
  }

  /** End, start and history of a log as recorded; undefined when the records are damaged. */
  logState(shard: number): LogState | undefined {
    const record = (name: string) => this.value(shardKey(shard, name));
    const [tail, start, history] = [RECORD_NAMES.tail, RECORD_NAMES.start, RECORD_NAMES.history].map(record);
    if (tail === undefined) return EMPTY_LOG;
    const tailRecord = decodeTail(tail);
    const historyRecord = history === undefined ? undefined : decodeHistory(history);
    const startRecord = start === undefined ? EMPTY_LOG.start : decodeStart(start);
    if (tailRecord === undefined || historyRecord === undefined || startRecord === undefined) return undefined;
    return { ...tailRecord, start: startRecord, history: historyRecord, generation: this.generationOf(shard) };
  }

  /** The generation under which a shard's entries and rows are kept; another one after each received snapshot. */
  generationOf(shard: number): number {
    const record = this.value(shardKey(shard, RECORD_NAMES.generation));
    return (record === undefined ? undefined : decodeGenerations(record)?.current) ?? FIRST_GENERATION;
  }

  /** All entries of a log, ascending. */
  async entries(shard: number): Promise<readonly { readonly offset: number; readonly bytes: Uint8Array }[]> {
    const from = entryPrefix(shard, this.generationOf(shard));
    const rows = await this.#memory.range({
      from,
      to: prefixEnd(from),
      limit: Number.MAX_SAFE_INTEGER,
      bytesMax: Number.MAX_SAFE_INTEGER,
    });
    return rows.map(({ key, value }) => ({ offset: entryKeyOffset(key), bytes: value }));
  }

  /** The shards a batch touches, with the entries it puts into the log in use, in order of their offsets. */
  #written(changes: readonly RowChange[]): ReadonlyMap<number, readonly Uint8Array[]> {
    const written = new Map<number, Uint8Array[]>();
    for (const { key, value } of changes) {
      const [tag] = key;
      if (tag !== TAG_ENTRY && tag !== TAG_LATER_ENTRY && tag !== TAG_SHARD) continue;
      const view = new DataView(key.buffer, key.byteOffset);
      const shard = view.getUint32(tag === TAG_LATER_ENTRY ? 6 : 2);
      const generation = tag === TAG_LATER_ENTRY ? view.getUint32(2) : FIRST_GENERATION;
      const entries = written.get(shard) ?? [];
      written.set(shard, entries);
      // What is staged is no log yet.
      if (tag !== TAG_SHARD && value !== undefined && generation === this.generationOf(shard)) entries.push(value);
    }
    return written;
  }

  /** What its copy lists as lost when branches were merged (replication 6.4). */
  async conflicts(shard: number): Promise<readonly Conflict[]> {
    const from = conflictPrefix(shard);
    const rows = await this.#memory.range({
      from,
      to: prefixEnd(from),
      limit: 1_000,
      bytesMax: Number.MAX_SAFE_INTEGER,
    });
    return rows.flatMap(({ key, value }) => {
      const bytes = openRow(key, value, this.hasher);
      return bytes === undefined ? [] : [JSON.parse(fromUtf8(bytes)) as Conflict];
    });
  }

  /** The document rows of a shard, by collection and id. */
  async documents(shard: number): Promise<readonly StoredDocument[]> {
    const prefix = documentPrefix(this.generationOf(shard), shard);
    const rows = await this.#memory.range({
      from: prefix,
      to: prefixEnd(prefix),
      limit: Number.MAX_SAFE_INTEGER,
      bytesMax: Number.MAX_SAFE_INTEGER,
    });
    const documents: StoredDocument[] = [];
    for (const { key, value } of rows) {
      const bytes = openRow(key, value, this.hasher);
      if (bytes === undefined) continue;
      const { version, offset, tombstone } = decodeRow(bytes);
      documents.push({ ...documentKeyParts(key), version, offset, tombstone });
    }
    return documents;
  }
}

/** Orders documents by place, then version: for comparisons of whole disks. */
export function compareDocuments(a: StoredDocument, b: StoredDocument): number {
  return (
    a.collectionId - b.collectionId || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0) || compareVersions(a.version, b.version)
  );
}

/** A table that leaves some rows out of what it writes. */
function forgetful(table: SimTable, forgets: (key: Uint8Array) => boolean): SimTable {
  const write = table.write.bind(table);
  table.write = (changes: readonly RowChange[], sync) =>
    write(
      changes.filter(({ key }) => !forgets(key)),
      sync,
    );
  return table;
}

/** Families of keys (log/core/keys.ts). */
const TAG_ENTRY = 0x65;
const TAG_LATER_ENTRY = 0x66;
const TAG_SHARD = 0x6d;
