import { bytesIn } from '../../../kernel/bytes.js';
import { assert } from '../../../kernel/assert.js';
import type { Epoch } from '../../../kernel/epoch.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { entryChain, entryOffset } from '../core/entry-codec.js';
import { entryKey, shardKey } from '../core/keys.js';
import { encodeCut, encodeHistory, encodePromise, encodeStart, encodeTail, RECORD_NAMES } from '../core/log-records.js';
import { afterAppend, afterDelete, afterFlip, afterStart, afterTruncate, EMPTY_LOG } from '../core/log-state.js';
import { RecentEntries } from '../core/recent-entries.js';
import { LogDamagedError, OffsetCompactedError, StorageFailedError } from '../log-store.js';
import type {
  AppendBatch,
  CompactReport,
  Damage,
  LivenessTest,
  LogState,
  LogStore,
  LogView,
  Regression,
  Row,
  RowChange,
  ScrubReport,
  SnapshotEnd,
  StagedBatch,
} from '../log-store.js';
import { compactLog } from './compaction.js';
import { readEntries } from './entry-reader.js';
import { scanEntries } from './entry-scan.js';
import { GenerationKeeper } from './generation-keeper.js';
import { GroupCommit } from './group-commit.js';
import type { CommitHost, CommitPolicy, CommitStats, CommitMeasure } from './group-commit.js';
import { openLogView } from './log-view.js';
import { entryKeyChunks } from './open-log.js';
import type { OpenedLog } from './open-log.js';
import type { Pace } from './pace.js';
import { higher, PromiseKeeper } from './promise-keeper.js';
import { findMisfit } from './restored-entries.js';
import { assertCallersRow, SealedRows } from './sealed-rows.js';
import { scrubLog, SWEEP_BYTES, SWEEP_ENTRIES } from './scrub.js';
import type { SideMemory } from './side-memory.js';
import { ShardTurns } from './shard-turns.js';
import type { Table } from './table.js';
import { WholeEntries } from './whole-entries.js';

export interface TableLogOptions {
  readonly table: Table;
  readonly hasher: Hasher;
  readonly policy: CommitPolicy;
  readonly pace: Pace;
  /** Called once, when a write or sync failed: the node must stop (replication 2.6). */
  readonly onFailure: (error: StorageFailedError) => void;
  readonly side: SideMemory;
  /** Logs that went back behind what the side file remembers, when the caller did not refuse them. */
  readonly regressions?: readonly Regression[];
  /** See GroupCommit. */
  readonly turn: () => Promise<void>;
  /** For the metrics: a batch went down. */
  readonly onCommit?: ((batch: CommitMeasure) => void) | undefined;
}

interface Compacting {
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

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
  private readonly sealed: SealedRows;
  private readonly whole: WholeEntries;
  private readonly pace: Pace;
  private readonly side: SideMemory;
  private readonly onFailure: (error: StorageFailedError) => void;
  private readonly onCommit: ((batch: CommitMeasure) => void) | undefined;
  private readonly commits: GroupCommit;
  private readonly published: Map<number, LogState>;
  private readonly queued: Map<number, LogState>;
  /** Shards written since the last sync. */
  private readonly unsynced = new Set<number>();
  private damages: readonly Damage[];
  private readonly unusable: Map<number, Damage>;
  private readonly turns = new ShardTurns();
  private readonly compacting = new Map<number, Compacting>();
  protected readonly recent = new RecentEntries();
  /** Counts how often a log was replaced or cut: a read that spans it tells of damage that is none. */
  private readonly cuts = new Map<number, number>();
  private readonly promises: PromiseKeeper;
  private readonly generations: GenerationKeeper;
  private steps: readonly Regression[];
  private closing: Promise<void> | undefined;

  protected constructor(options: TableLogOptions, opened: OpenedLog) {
    this.table = options.table;
    this.hasher = options.hasher;
    this.sealed = new SealedRows(options.table, options.hasher);
    this.whole = new WholeEntries(options.table, options.hasher, (shard) => this.state(shard));
    this.pace = options.pace;
    this.side = options.side;
    this.onFailure = options.onFailure;
    this.onCommit = options.onCommit;
    this.commits = new GroupCommit(options.table, options.policy, this, options.turn);
    this.published = new Map(opened.states);
    this.queued = new Map(opened.states);
    this.damages = opened.damages;
    this.unusable = new Map(opened.unusable);
    this.promises = new PromiseKeeper(options.side, opened.promises);
    this.generations = new GenerationKeeper(this.table, this.commits, this.hasher, opened.generations);
    this.steps = options.regressions ?? [];
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

  promised(shard: number): Epoch {
    return higher(this.promises.of(shard), this.state(shard).epoch);
  }

  regressions(): readonly Regression[] {
    return this.steps;
  }

  async acceptRegressions(): Promise<void> {
    for (const { shard } of this.steps) await this.side.lower(shard, this.state(shard).tail);
    this.steps = [];
  }

  get isBroken(): boolean {
    return this.commits.failure !== undefined;
  }

  async append(batch: AppendBatch): Promise<void> {
    const { shard } = batch;
    const turn = this.turns.pending(shard);
    if (turn !== undefined) await turn;
    const damage = this.unusable.get(shard);
    if (damage !== undefined && batch.entries.length > 0) throw new LogDamagedError(damage);
    if (this.commits.failure !== undefined) throw this.commits.failure;
    const before = this.queued.get(shard) ?? EMPTY_LOG;
    const state = afterAppend(before, batch);
    const changes: RowChange[] = [];
    let bytes = 0;
    for (const entry of batch.entries) {
      changes.push({ key: entryKey(shard, entry.offset, state.generation), value: entry.bytes });
      bytes += entry.bytes.length;
    }
    bytes += this.sealed.sealInto(changes, batch.rows);
    const promise = this.promises.ask(shard, batch.promise, this.state(shard).epoch);
    if (promise !== undefined) changes.push(this.sealed.record(shard, RECORD_NAMES.promise, encodePromise(promise)));
    if (state !== before) this.queued.set(shard, state);
    const entries = batch.entries.length;
    await this.commits.commit({
      shard,
      changes,
      entries,
      bytes,
      state: state === before ? undefined : state,
      sync: batch.promise !== undefined,
    });
    for (const entry of batch.entries) this.recent.push(shard, entry.offset, entry.bytes);
    if (promise !== undefined) this.promises.written(shard, promise);
  }

  truncate(shard: number, to: number, rows: readonly RowChange[]): Promise<void> {
    const damage = this.unusable.get(shard);
    if (damage !== undefined) return Promise.reject(new LogDamagedError(damage));
    const { start, tail } = this.queued.get(shard) ?? EMPTY_LOG;
    assert(
      Number.isSafeInteger(to) && to >= start.offset && to <= tail,
      `shard ${shard}: a log is truncated between its start ${start.offset} and its tail ${tail}, not at ${to}`,
    );
    rows.forEach(({ key }) => assertCallersRow(key));
    return this.turns.take(shard, () => this.cut(shard, to, rows));
  }

  async view(shard: number): Promise<LogView> {
    if (this.commits.failure !== undefined) throw this.commits.failure;
    const view = this.table.view();
    try {
      await this.commits.sync();
    } catch (error) {
      await view.close();
      throw error;
    }
    return openLogView(view, this.table, this.hasher, shard);
  }

  beginStage(shard: number): Promise<number> {
    const damage = this.unusable.get(shard);
    if (damage !== undefined && !this.generations.knows(shard)) return Promise.reject(new LogDamagedError(damage));
    return this.turns.take(shard, () => this.generations.begin(shard));
  }

  async stage(shard: number, batch: StagedBatch): Promise<void> {
    const generation = this.generations.received(shard);
    if (this.commits.failure !== undefined) throw this.commits.failure;
    const changes: RowChange[] = [];
    let bytes = 0;
    for (const entry of batch.entries) {
      changes.push({ key: entryKey(shard, entry.offset, generation), value: entry.bytes });
      bytes += entry.bytes.length;
    }
    bytes += this.sealed.sealInto(changes, batch.rows);
    await this.commits.commit({
      shard,
      changes,
      entries: batch.entries.length,
      bytes,
      state: undefined,
      sync: false,
    });
  }

  flip(shard: number, end: SnapshotEnd, rows: readonly RowChange[]): Promise<void> {
    this.generations.received(shard);
    rows.forEach(({ key }) => assertCallersRow(key));
    return this.turns.take(shard, async () => {
      const state = afterFlip(this.generations.received(shard), end);
      await this.endCompaction(shard);
      // Everything staged is on disk before it is the log.
      await this.commits.sync();
      await this.lowerSide(shard, end.offset);
      const record = this.generations.flip(shard);
      await this.replace(shard, state, [...this.sealed.sealed(rows), record], end.bytes);
      this.unusable.delete(shard);
      this.damages = this.damages.filter((damage) => damage.shard !== shard);
      this.generations.clear(shard);
    });
  }

  discardStage(shard: number): Promise<void> {
    return this.turns.take(shard, () => this.generations.discard(shard));
  }

  staged(shard: number): number | undefined {
    return this.generations.staged(shard);
  }

  drop(shard: number, rows: readonly RowChange[]): Promise<void> {
    const damage = this.unusable.get(shard);
    if (damage !== undefined) return Promise.reject(new LogDamagedError(damage));
    rows.forEach(({ key }) => assertCallersRow(key));
    return this.turns.take(shard, async () => {
      await this.endCompaction(shard);
      await this.commits.sync();
      await this.lowerSide(shard, 0);
      const { generation, record } = this.generations.renew(shard);
      await this.replace(shard, { ...EMPTY_LOG, generation }, [...this.sealed.sealed(rows), record], 0);
      this.damages = this.damages.filter((found) => found.shard !== shard);
      this.generations.clear(shard);
    });
  }

  read(shard: number, offset: number): Promise<Uint8Array> {
    return this.whole.read(shard, offset);
  }

  readSync(shard: number, offset: number): Uint8Array {
    return this.whole.readSync(shard, offset);
  }

  async scan(shard: number, from: number, limit: number, bytesMax: number): Promise<readonly Uint8Array[]> {
    assert(from >= 1 && limit >= 1 && bytesMax >= 1, 'a scan starts at offset 1 or above and asks for something');
    const { tail, start } = this.state(shard);
    if (from > tail) return [];
    // What compaction may have taken is looked up.
    const recent = from <= start.offset ? undefined : this.recent.read(shard, from, tail, limit, bytesMax);
    if (recent !== undefined) return recent;
    for (;;) {
      const cuts = this.cuts.get(shard);
      const { entries, damage } = await scanEntries(this.swept(shard), from, limit, bytesMax);
      // Cut or replaced while it was read: what is there now is another log.
      if (this.cuts.get(shard) !== cuts) continue;
      if (damage !== undefined) throw new LogDamagedError(damage);
      return entries;
    }
  }

  forgetRecent(): void {
    this.recent.forgetAll();
  }

  restore(shard: number, entries: readonly Uint8Array[]): Promise<void> {
    const damage = this.unusable.get(shard);
    if (damage !== undefined) return Promise.reject(new LogDamagedError(damage));
    assert(entries.length > 0, 'something is restored');
    return this.turns.take(shard, async () => {
      await this.endCompaction(shard);
      await this.commits.sync();
      const state = this.state(shard);
      const misfit = await findMisfit(this.swept(shard), entries);
      if (misfit !== undefined) throw new LogDamagedError(misfit);
      const from = entryOffset(entries[0]);
      const changes = entries.map((bytes, i) => ({ key: entryKey(shard, from + i, state.generation), value: bytes }));
      const bytes = bytesIn(entries);
      await this.commits.commit({ shard, changes, state: undefined, entries: 0, bytes, sync: true });
      this.recent.forget(shard);
      // A read that met the damage looks again.
      this.cuts.set(shard, (this.cuts.get(shard) ?? 0) + 1);
      const restored = (offset: number): boolean => offset >= from && offset < from + entries.length;
      this.damages = this.damages.filter((found) => found.shard !== shard || !restored(found.offset));
    });
  }

  row(key: Uint8Array): Uint8Array | undefined {
    return this.sealed.row(key);
  }

  rows(prefix: Uint8Array, after: Uint8Array | undefined, limit: number): Promise<readonly Row[]> {
    return this.sealed.rows(prefix, after, limit);
  }

  sync(): Promise<void> {
    return this.commits.sync();
  }

  async scrub(shard: number, signal: AbortSignal, bytesPerSecond: number): Promise<ScrubReport> {
    const cuts = this.cuts.get(shard);
    const report = await scrubLog(this.swept(shard), 1, this.state(shard).tail, signal, bytesPerSecond, this.pace);
    // What was cut or replaced meanwhile is missed, not missing.
    return this.cuts.get(shard) === cuts ? report : { ...report, damages: [] };
  }

  async compact(
    shard: number,
    upTo: number,
    isLive: LivenessTest,
    signal: AbortSignal,
    bytesPerSecond: number,
    mayStart: () => boolean = () => true,
  ): Promise<CompactReport> {
    const turn = this.turns.pending(shard);
    if (turn !== undefined) {
      await turn;
      if (upTo > this.state(shard).tail) return { deleted: 0, bytes: 0 };
    }
    assert(!this.compacting.has(shard), `shard ${shard} is being compacted already`);
    const log = {
      ...this.swept(shard),
      moveStart: (start: LogState['start']) => this.change(shard, [], (state) => afterStart(state, start), true),
      deleteEntries: (deletions: readonly RowChange[], bytes: number) =>
        this.change(shard, deletions, (state) => afterDelete(state, bytes), false),
    };
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const work = compactLog(log, upTo, isLive, { mayStart, signal: either }, bytesPerSecond, this.pace);
    this.compacting.set(shard, { stop, done: work.then(ignore, ignore) });
    try {
      return await work;
    } finally {
      this.compacting.delete(shard);
    }
  }

  /** Writes and syncs what was asked for, whatever the policy. Calls after it are refused. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      for (const { stop } of this.compacting.values()) stop.abort();
      await this.commits.close();
      await this.generations.idle();
      await this.side.close();
      await this.table.close();
    })();
    return this.closing;
  }

  recordsOf(shard: number, state: LogState): readonly RowChange[] {
    const before = this.state(shard);
    const records = [this.sealed.record(shard, RECORD_NAMES.tail, encodeTail(state))];
    if (state.history !== before.history)
      records.push(this.sealed.record(shard, RECORD_NAMES.history, encodeHistory(state.history)));
    if (state.start !== before.start)
      records.push(this.sealed.record(shard, RECORD_NAMES.start, encodeStart(state.start)));
    return records;
  }

  committed(states: ReadonlyMap<number, LogState>): void {
    for (const [shard, state] of states) {
      this.published.set(shard, state);
      this.unsynced.add(shard);
    }
  }

  synced(): void {
    for (const shard of this.unsynced) this.side.note(shard, this.state(shard).tail);
    this.unsynced.clear();
  }

  measured(batch: CommitMeasure): void {
    if (batch.entries > 0) this.onCommit?.(batch);
  }

  failed(error: StorageFailedError): void {
    this.onFailure(error);
  }

  /** See `truncate`; the shard is ours for the time. */
  private async cut(shard: number, to: number, rows: readonly RowChange[]): Promise<void> {
    await this.endCompaction(shard);
    await this.commits.sync();
    const before = this.state(shard);
    assert(to <= before.tail, `shard ${shard}: the log was cut to ${before.tail} before it could be cut to ${to}`);
    if (to < before.start.offset) throw new OffsetCompactedError(shard, to, before.start.offset);
    const chain = await this.chainAt(shard, to, before);
    const bytes = await this.bytesAbove(shard, to, before);
    await this.lowerSide(shard, to);
    const changes = this.sealed.sealed(rows);
    if (to < before.tail) changes.push(this.sealed.record(shard, RECORD_NAMES.cut, encodeCut(before.tail)));
    await this.replace(shard, afterTruncate(before, to, chain, bytes), changes, bytes);
    if (to === before.tail) return;
    for (const keys of entryKeyChunks(shard, before.generation, to + 1, before.tail))
      await this.commits.deleteKeys(shard, keys);
    // The record goes only after all it speaks of.
    await this.commits.sync();
    await this.commits.deleteKeys(shard, [shardKey(shard, RECORD_NAMES.cut)]);
  }

  /** Makes another state the shard's, in one synced batch; the promise goes with it, as epochs of the log may not. */
  private async replace(shard: number, state: LogState, changes: readonly RowChange[], bytes: number): Promise<void> {
    const promise = this.promised(shard);
    const record = this.sealed.record(shard, RECORD_NAMES.promise, encodePromise(promise));
    this.queued.set(shard, state);
    await this.commits.commit({
      shard,
      changes: promise.num === 0 ? changes : [...changes, record],
      state,
      entries: 0,
      bytes,
      sync: true,
    });
    this.promises.written(shard, promise);
    this.recent.forget(shard);
    this.cuts.set(shard, (this.cuts.get(shard) ?? 0) + 1);
  }

  private async lowerSide(shard: number, tail: number): Promise<void> {
    try {
      await this.side.lower(shard, tail);
    } catch (error) {
      throw new StorageFailedError(`${this.side.path} cannot be written; the log stays as it is`, { cause: error });
    }
  }

  private async chainAt(shard: number, offset: number, state: LogState): Promise<Uint8Array> {
    if (offset === state.tail) return state.chain;
    if (offset === state.start.offset) return state.start.chain;
    return entryChain(await this.read(shard, offset));
  }

  /** Bytes of the entries above `offset`; unreadable ones count nothing. */
  private async bytesAbove(shard: number, offset: number, { tail, generation }: LogState): Promise<number> {
    let bytes = 0;
    for (let next = offset + 1; next <= tail;) {
      const place = { shard, generation };
      const chunk = await readEntries(this.table, place, next, tail, SWEEP_ENTRIES, SWEEP_BYTES);
      for (const found of chunk.found) bytes += found.bytes?.length ?? 0;
      next = chunk.end + 1;
    }
    return bytes;
  }

  private async endCompaction(shard: number): Promise<void> {
    const compacting = this.compacting.get(shard);
    compacting?.stop.abort();
    await compacting?.done;
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
}

function ignore(): void {
  // Whoever asked for the work hears of its end.
}
