import { assert } from '../../../kernel/assert.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { ChainWalk } from '../core/chain-walk.js';
import type { DamageReport } from '../core/chain-walk.js';
import { verifyEntry } from '../core/entry-codec.js';
import { entryKey, shardKey } from '../core/keys.js';
import { encodeHistory, encodeStart, encodeTail, openRow, RECORD_NAMES, sealRow } from '../core/log-records.js';
import { afterAppend, afterDelete, afterStart, EMPTY_LOG } from '../core/log-state.js';
import { LogDamagedError, OffsetCompactedError, StorageFailedError } from '../log-store.js';
import type {
  AppendBatch,
  CompactReport,
  Damage,
  LivenessTest,
  LogState,
  LogStore,
  Row,
  RowChange,
  ScrubReport,
} from '../log-store.js';
import { compactLog } from './compaction.js';
import { readEntries } from './entry-reader.js';
import { GroupCommit } from './group-commit.js';
import type { CommitHost, CommitPolicy, CommitStats, CommitMeasure } from './group-commit.js';
import type { OpenedLog } from './open-log.js';
import type { Pace } from './pace.js';
import { scrubLog } from './scrub.js';
import type { SideFile } from './side-file.js';
import { keyAfter, prefixEnd, TableReadError } from './table.js';
import type { Table } from './table.js';

export interface TableLogOptions {
  readonly table: Table;
  readonly hasher: Hasher;
  readonly policy: CommitPolicy;
  readonly pace: Pace;
  /** Called once, when a write or sync failed: the node must stop (replication 2.6). */
  readonly onFailure: (error: StorageFailedError) => void;
  readonly side: SideFile | undefined;
  /** See GroupCommit. */
  readonly turn: () => Promise<void>;
  /** For the metrics: a batch went down. */
  readonly onCommit?: ((batch: CommitMeasure) => void) | undefined;
}

const TAG_ENTRY = 0x65;
const TAG_DOCUMENT = 0x64;
const TAG_NODE = 0x6e;
const TAG_SHARD = 0x6d;

/**
 * The log of every shard over one table of bytes. Who owns what: the table keeps bytes, GroupCommit decides what goes into
 * a batch and when it is synced, this class knows keys, states and verification.
 *
 * Invariants: `published` states are those of the last written batch and what `state` answers; `queued` states include
 * what was asked for and is not written yet, and are what the next append must continue. An entry is never handed out
 * unverified.
 */
export class TableLogStore implements LogStore, CommitHost {
  protected readonly table: Table;
  private readonly hasher: Hasher;
  private readonly pace: Pace;
  private readonly side: SideFile | undefined;
  private readonly onFailure: (error: StorageFailedError) => void;
  private readonly onCommit: ((batch: CommitMeasure) => void) | undefined;
  private readonly commits: GroupCommit;
  private readonly published: Map<number, LogState>;
  private readonly queued: Map<number, LogState>;
  /** Shards written since the last sync. */
  private readonly unsynced = new Set<number>();
  private readonly damages: readonly Damage[];
  private readonly unusable: ReadonlyMap<number, Damage>;
  private readonly compacting = new Set<number>();
  private closing: Promise<void> | undefined;

  protected constructor(options: TableLogOptions, opened: OpenedLog) {
    this.table = options.table;
    this.hasher = options.hasher;
    this.pace = options.pace;
    this.side = options.side;
    this.onFailure = options.onFailure;
    this.onCommit = options.onCommit;
    this.commits = new GroupCommit(options.table, options.policy, this, options.turn);
    this.published = new Map(opened.states);
    this.queued = new Map(opened.states);
    this.damages = opened.damages;
    this.unusable = opened.unusable;
  }

  shards(): readonly number[] {
    return [...this.published]
      .filter(([, state]) => state.tail > 0)
      .map(([shard]) => shard)
      .sort((a, b) => a - b);
  }

  state(shard: number): LogState {
    return this.published.get(shard) ?? EMPTY_LOG;
  }

  openDamages(): readonly Damage[] {
    return this.damages;
  }

  /** Counters for metrics and tests. */
  stats(): CommitStats {
    return this.commits.stats();
  }

  async append(batch: AppendBatch): Promise<void> {
    const { shard } = batch;
    const damage = this.unusable.get(shard);
    if (damage !== undefined && batch.entries.length > 0) throw new LogDamagedError(damage);
    if (this.commits.failure !== undefined) throw this.commits.failure;
    const before = this.queued.get(shard) ?? EMPTY_LOG;
    const state = afterAppend(before, batch);
    const changes: RowChange[] = [];
    let bytes = 0;
    for (const entry of batch.entries) {
      changes.push({ key: entryKey(shard, entry.offset), value: entry.bytes });
      bytes += entry.bytes.length;
    }
    for (const { key, value } of batch.rows) {
      assertCallersRow(key);
      changes.push({ key, value: value === undefined ? undefined : sealRow(key, value, this.hasher) });
      bytes += key.length + (value?.length ?? 0);
    }
    if (state !== before) this.queued.set(shard, state);
    const entries = batch.entries.length;
    await this.commits.commit({
      shard,
      changes,
      entries,
      bytes,
      state: state === before ? undefined : state,
      sync: false,
    });
  }

  async read(shard: number, offset: number): Promise<Uint8Array> {
    let bytes;
    try {
      bytes = await this.table.get(entryKey(shard, offset));
    } catch (error) {
      throw entryError(shard, offset, error);
    }
    return this.whole(shard, offset, bytes);
  }

  readSync(shard: number, offset: number): Uint8Array {
    let bytes;
    try {
      bytes = this.table.getSync(entryKey(shard, offset));
    } catch (error) {
      throw entryError(shard, offset, error);
    }
    return this.whole(shard, offset, bytes);
  }

  async scan(shard: number, from: number, limit: number, bytesMax: number): Promise<readonly Uint8Array[]> {
    assert(from >= 1 && limit >= 1 && bytesMax >= 1, 'a scan starts at offset 1 or above and asks for something');
    const { tail } = this.state(shard);
    const entries: Uint8Array[] = [];
    const walk = new ChainWalk(this.hasher, shard, from, () => this.state(shard).start);
    let damage: Damage | undefined;
    const report: DamageReport = (offset, problem) => {
      damage ??= { shard, offset, problem };
      return false;
    };
    let bytes = 0;
    for (let next = from; next <= tail;) {
      const chunk = await readEntries(this.table, shard, next, tail, limit - entries.length, bytesMax - bytes);
      for (const found of chunk.found) {
        if (entries.length >= limit) return entries;
        if (found.bytes === undefined) walk.skip(found.offset, 'unreadable', report);
        else walk.take(found.offset, found.bytes, report);
        if (damage !== undefined || found.bytes === undefined) break;
        if (entries.length > 0 && bytes + found.bytes.length > bytesMax) return entries;
        entries.push(found.bytes);
        bytes += found.bytes.length;
      }
      if (damage === undefined) walk.reach(chunk.end + 1, report);
      if (damage !== undefined) throw new LogDamagedError(damage);
      if (entries.length >= limit || bytes >= bytesMax) break;
      next = chunk.end + 1;
    }
    return entries;
  }

  row(key: Uint8Array): Uint8Array | undefined {
    let sealed;
    try {
      sealed = this.table.getSync(key);
    } catch (error) {
      throw error instanceof TableReadError ? rowError(key, 'unreadable', error) : error;
    }
    return sealed === undefined ? undefined : this.opened(key, sealed);
  }

  async rows(prefix: Uint8Array, after: Uint8Array | undefined, limit: number): Promise<readonly Row[]> {
    const from = after === undefined ? prefix : keyAfter(after);
    let rows;
    try {
      rows = await this.table.range({ from, to: prefixEnd(prefix), limit, bytesMax: Number.MAX_SAFE_INTEGER });
      if (rows.length === limit) await this.table.check(from, rows[rows.length - 1].key);
    } catch (error) {
      throw error instanceof TableReadError ? rowError(from, 'unreadable', error) : error;
    }
    return rows.map(({ key, value }) => ({ key, value: this.opened(key, value) }));
  }

  sync(): Promise<void> {
    return this.commits.sync();
  }

  scrub(shard: number, signal: AbortSignal, bytesPerSecond: number): Promise<ScrubReport> {
    return scrubLog(this.swept(shard), 1, this.state(shard).tail, signal, bytesPerSecond, this.pace);
  }

  async compact(
    shard: number,
    upTo: number,
    isLive: LivenessTest,
    signal: AbortSignal,
    bytesPerSecond: number,
  ): Promise<CompactReport> {
    assert(!this.compacting.has(shard), `shard ${shard} is being compacted already`);
    const log = {
      ...this.swept(shard),
      moveStart: (start: LogState['start']) => this.change(shard, [], (state) => afterStart(state, start), true),
      deleteEntries: (deletions: readonly RowChange[], bytes: number) =>
        this.change(shard, deletions, (state) => afterDelete(state, bytes), false),
    };
    this.compacting.add(shard);
    try {
      return await compactLog(log, upTo, isLive, signal, bytesPerSecond, this.pace);
    } finally {
      this.compacting.delete(shard);
    }
  }

  /** Writes and syncs what was asked for, whatever the policy. Calls after it are refused. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      await this.commits.close();
      await this.side?.close();
      await this.table.close();
    })();
    return this.closing;
  }

  recordsOf(shard: number, state: LogState): readonly RowChange[] {
    const before = this.state(shard);
    const records = [this.record(shard, RECORD_NAMES.tail, encodeTail(state))];
    if (state.history !== before.history)
      records.push(this.record(shard, RECORD_NAMES.history, encodeHistory(state.history)));
    if (state.start !== before.start) records.push(this.record(shard, RECORD_NAMES.start, encodeStart(state.start)));
    return records;
  }

  committed(states: ReadonlyMap<number, LogState>): void {
    for (const [shard, state] of states) {
      this.published.set(shard, state);
      this.unsynced.add(shard);
    }
  }

  synced(): void {
    for (const shard of this.unsynced) this.side?.note(shard, this.state(shard).tail);
    this.unsynced.clear();
  }

  measured(batch: CommitMeasure): void {
    if (batch.entries > 0) this.onCommit?.(batch);
  }

  failed(error: StorageFailedError): void {
    this.onFailure(error);
  }

  private change(
    shard: number,
    changes: readonly RowChange[],
    next: (state: LogState) => LogState,
    sync: boolean,
  ): Promise<void> {
    if (this.commits.failure !== undefined) return Promise.reject(this.commits.failure);
    const state = next(this.queued.get(shard) ?? EMPTY_LOG);
    this.queued.set(shard, state);
    return this.commits.commit({ shard, changes, state, entries: 0, bytes: changes.length * 16, sync });
  }

  private swept(shard: number): { table: Table; hasher: Hasher; shard: number; state: () => LogState } {
    return { table: this.table, hasher: this.hasher, shard, state: () => this.state(shard) };
  }

  private record(shard: number, name: string, value: Uint8Array): RowChange {
    const key = shardKey(shard, name);
    return { key, value: sealRow(key, value, this.hasher) };
  }

  /** The entry read for `offset`, or the reason why it cannot be served. */
  private whole(shard: number, offset: number, bytes: Uint8Array | undefined): Uint8Array {
    if (bytes === undefined) {
      const { start } = this.state(shard);
      if (offset <= start.offset) throw new OffsetCompactedError(shard, offset, start.offset);
      throw new LogDamagedError({ shard, offset, problem: 'missing' });
    }
    const problem = verifyEntry(bytes, this.hasher, { shard, offset });
    if (problem !== undefined) throw new LogDamagedError({ shard, offset, problem });
    return bytes;
  }

  private opened(key: Uint8Array, sealed: Uint8Array): Uint8Array {
    const value = openRow(key, sealed, this.hasher);
    if (value === undefined) throw rowError(key, 'crc');
    return value;
  }
}

function entryError(shard: number, offset: number, error: unknown): unknown {
  return error instanceof TableReadError ? new LogDamagedError({ shard, offset, problem: 'unreadable' }, error) : error;
}

/** A damaged row fails its shard (offset 0: no entry's); one of the node's own fails the node. */
function rowError(key: Uint8Array, problem: Damage['problem'], cause?: unknown): Error {
  if (key[0] === TAG_NODE) {
    return new StorageFailedError(
      `a record of the node itself is damaged (${problem}). Restore the data directory from a backup, or start with an empty one and let another replica fill it.`,
      { cause },
    );
  }
  const at = key[0] === TAG_DOCUMENT ? 6 : 2;
  const shard = key.length < at + 4 ? 0 : new DataView(key.buffer, key.byteOffset).getUint32(at);
  return new LogDamagedError({ shard, offset: 0, problem }, cause);
}

/** Callers write their own rows only: entries and the log's records change together, here. */
function assertCallersRow(key: Uint8Array): void {
  assert(key[0] !== TAG_ENTRY, 'entries are appended, not written as rows');
  if (key[0] !== TAG_SHARD) return;
  const name = String.fromCharCode(...key.subarray(6, 14));
  assert(!(Object.values(RECORD_NAMES) as string[]).includes(name), `the record ${name} of a shard belongs to the log`);
}
