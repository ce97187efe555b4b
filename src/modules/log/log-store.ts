import type { Epoch, EpochStart } from '../../kernel/epoch.js';

/**
 * The log of every shard of a node, in one database (replication 2.1). It knows entries, offsets and chains,
 * and opaque rows; never documents. One batch is in flight at a time: what all shards ask for meanwhile goes
 * into the next one, so that one sync covers every shard (group commit).
 *
 * Implementations: LevelLogStore (disk), MemoryLogStore (simulator and tests). test/contract holds both to this.
 */
export interface LogStore {
  /** Shards that have a log here, META_SHARD included, ascending. */
  shards(): readonly number[];

  /** The end, start and history of one shard's log; a shard without a log has an empty one. Synchronous: kept in memory. */
  state(shard: number): LogState;

  /**
   * What was wrong with the ends and records of the logs when this store was opened; fails those shards only (2.6).
   * Offset 0 names the shard's own records: nothing can be appended to such a shard.
   */
  openDamages(): readonly Damage[];

  /**
   * Appends entries and writes rows, all or nothing, and resolves when they are durable as the fsync policy has it.
   * Entries must continue the shard's log (asserted): the caller, replication, assigned their offsets and chains.
   * A write or sync error rejects with StorageFailedError, and every later append too: the node must stop (2.6).
   */
  append(batch: AppendBatch): Promise<void>;

  /** A write or a sync failed: the process is about to end, and acknowledges nothing more (2.6). */
  readonly isBroken: boolean;

  /** The encoded entry at `offset`; verified (crc, shard, offset). Rejects with LogDamagedError when missing or damaged, OffsetCompactedError when compaction took it. */
  read(shard: number, offset: number): Promise<Uint8Array>;

  /** As `read`, synchronously, for the few winners of a search (about 4 µs each from the cache). */
  readSync(shard: number, offset: number): Uint8Array;

  /**
   * Encoded entries from offset `from` on, in order, at most `limit` and about `bytesMax` (at least one), read in bulk.
   * Verified: crc, and chain wherever the entry before is at hand. Inside the compacted part gaps are normal and are
   * skipped; above `start` a gap is LogDamagedError. Empty when `from` is past the tail.
   */
  scan(shard: number, from: number, limit: number, bytesMax: number): Promise<readonly Uint8Array[]>;

  /** Gives back the memory that spares scans of the last entries the disk (replication 4.6). */
  forgetRecent(): void;

  /**
   * Puts encoded entries of consecutive offsets back where they were, in place of damaged or missing ones (2.12); synced. They
   * are verified: crc and place of each, and the chain from whole neighbours on both sides, of which there is always one
   * above `start`. Nothing else of the log changes. Rejects with LogDamagedError when they do not fit; nothing was changed then.
   */
  restore(shard: number, entries: readonly Uint8Array[]): Promise<void>;

  /** A row's value, or undefined. Synchronous so that a decision sees exactly what is stored. */
  row(key: Uint8Array): Uint8Array | undefined;

  /** Rows with the prefix and a key greater than `after` (exclusive), in key order, at most `limit`. */
  rows(prefix: Uint8Array, after: Uint8Array | undefined, limit: number): Promise<readonly Row[]>;

  /**
   * Takes the entries above `to` away (replication 6.3) and writes the rows that follow from it, all or nothing and synced:
   * the log ends at `to` then, with the chain, epoch and history it had there. Asserts that `to` is not below `start`.
   * The side file is told first (2.6). Appends asked for before are part of what is cut; later ones to this shard wait.
   * Resolves when the entries are gone; a crash in between leaves either the old end or the new one.
   * Rejects with LogDamagedError when the entry at `to` cannot be read; nothing was changed then.
   */
  truncate(shard: number, to: number, rows: readonly RowChange[]): Promise<void>;

  /**
   * The highest epoch this disk ever promised to follow for a shard (5.4), or logged an entry of; every lower one is
   * refused, also after the database went back (2.6). Synced whatever the policy; see `AppendBatch.promise`.
   */
  promised(shard: number): Epoch;

  /**
   * Logs that ended, when they were opened, before what this disk had seen (5.8). A node alone does not start then. A
   * node of a cluster retires its uuid and says so with `acceptRegressions`; until then every start reports them again.
   */
  regressions(): readonly Regression[];
  /** The logs are what they are: forgets that they were longer. What was promised stays promised. */
  acceptRegressions(): Promise<void>;

  /**
   * A view of one shard that later writes, compaction included, do not change: what a snapshot is read from (4.7). Costs
   * nothing but disk space for what is replaced meanwhile. Everything in it is durable.
   */
  view(shard: number): Promise<LogView>;

  /**
   * Begins to receive a snapshot beside the log, which stays what it is. Ends an earlier one that was not finished.
   * @returns the generation under which its rows are to be written (see log/core/keys.ts)
   */
  beginStage(shard: number): Promise<number>;
  /** Entries of the snapshot, at their offsets and in any order, and rows; verified by the caller. Durable as the policy has it. */
  stage(shard: number, batch: StagedBatch): Promise<void>;
  /** What was received is the log from now on, its start and tail at the snapshot's end; one synced batch (4.7). The old log is deleted in the background. */
  flip(shard: number, end: SnapshotEnd, rows: readonly RowChange[]): Promise<void>;
  /** The generation a snapshot is received into, also when a crash or a restart came between; undefined: none. */
  staged(shard: number): number | undefined;
  /** What was received goes; in the background. */
  discardStage(shard: number): Promise<void>;

  /**
   * Takes the whole log of a shard away, with its document and idempotency rows, and writes the rows that follow from it, all
   * or nothing and synced (9.6). The side file is told first. What was promised stays promised. What is on the disk of it is
   * deleted in the background. Rejects with LogDamagedError when the shard's own records are damaged; nothing was changed then.
   */
  drop(shard: number, rows: readonly RowChange[]): Promise<void>;

  /** Syncs now, whatever the policy; resolves when everything appended before is on disk. */
  sync(): Promise<void>;

  /**
   * Reads the whole log of a shard at a bounded rate, checking contiguity, crc and chain, and reports what is wrong.
   * @param signal ends it early
   * @param bytesPerSecond 0 for as fast as it can
   */
  scrub(shard: number, signal: AbortSignal, bytesPerSecond: number): Promise<ScrubReport>;

  /**
   * Deletes superseded entries up to `upTo` (inclusive), at a bounded rate: never a live one, never moves one (2.5).
   * `isLive` says, for decoded (offset, encoded entry), whether the document table still points at it.
   * `start` moves to `upTo` first, so that a crash between leaves only entries nobody misses.
   * @param mayStart asked in the turn in which that is asked of the disk: who tells others where this log starts tells the new
   * start from then on. False: nothing is changed
   */
  compact(
    shard: number,
    upTo: number,
    isLive: LivenessTest,
    signal: AbortSignal,
    bytesPerSecond: number,
    mayStart?: () => boolean,
  ): Promise<CompactReport>;

  close(): Promise<void>;
}

export type LivenessTest = (offset: number, entry: Uint8Array) => boolean;

export interface LogState {
  /** Offset of the last entry; 0 when empty. */
  readonly tail: number;
  /** Chain of the last entry; CHAIN_ZERO when empty. */
  readonly chain: Uint8Array;
  /** Epoch of the last entry; NO_EPOCH when empty. */
  readonly epoch: Epoch;
  /** Gaps end here: every entry above `start.offset` is present (2.5). Zero offset: nothing was compacted. */
  readonly start: { readonly offset: number; readonly chain: Uint8Array };
  /** All epochs of this log with their first offsets, ascending (6.3). */
  readonly history: readonly EpochStart[];
  /** Bytes of the entries appended and not compacted. */
  readonly bytes: number;
  /** Under which entries and rows are kept (see log/core/keys.ts); another one after each received snapshot (4.7). */
  readonly generation: number;
}

/** A shard as it was at one moment; everything as LogStore has it. */
export interface LogView {
  readonly state: LogState;
  row(key: Uint8Array): Promise<Uint8Array | undefined>;
  rows(prefix: Uint8Array, after: Uint8Array | undefined, limit: number): Promise<readonly Row[]>;
  read(offset: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface StagedBatch {
  readonly entries: readonly Pick<AppendEntry, 'offset' | 'bytes'>[];
  readonly rows: readonly RowChange[];
}

/** Where a received snapshot ends. */
export interface SnapshotEnd {
  readonly offset: number;
  readonly chain: Uint8Array;
  readonly history: readonly EpochStart[];
  /** Of the staged entries. */
  readonly bytes: number;
}

/** A log that is shorter than it was. */
export interface Regression {
  readonly shard: number;
  /** Where it ends. */
  readonly tail: number;
  /** Where it ended. */
  readonly remembered: number;
}

export interface AppendBatch {
  readonly shard: number;
  /** Encoded entries, dense and continuing the tail; may be empty (a batch of rows alone). */
  readonly entries: readonly AppendEntry[];
  /** Rows to write (value) or delete (undefined); opaque keys, see log/core/keys.ts for their namespaces. */
  readonly rows: readonly RowChange[];
  /** Raises the promise (`promised`) with this batch, which is synced then whatever the policy. A lower one changes nothing. */
  readonly promise?: Epoch;
}

export interface AppendEntry {
  readonly offset: number;
  readonly epoch: Epoch;
  readonly bytes: Uint8Array;
}

export interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface RowChange {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** One thing wrong with a log. */
export interface Damage {
  readonly shard: number;
  readonly offset: number;
  readonly problem: 'missing' | 'crc' | 'chain' | 'format' | 'misplaced' | 'unreadable';
}

export interface ScrubReport {
  readonly entries: number;
  readonly bytes: number;
  /** The first 100; a log with more is lost anyway. */
  readonly damages: readonly Damage[];
}

export interface CompactReport {
  readonly deleted: number;
  readonly bytes: number;
}

/** An entry is missing or damaged. Fails its shard only (2.6); named with shard and offset, never served. */
export class LogDamagedError extends Error {
  override readonly name = 'LogDamagedError';
  constructor(
    readonly damage: Damage,
    cause?: unknown,
  ) {
    super(
      `the log entry at offset ${damage.offset} of shard ${damage.shard} is damaged (${damage.problem})`,
      cause === undefined ? undefined : { cause },
    );
  }
}

/** The entry was superseded and compacted away. */
export class OffsetCompactedError extends Error {
  override readonly name = 'OffsetCompactedError';
  constructor(
    readonly shard: number,
    readonly offset: number,
    /** Everything above is still there. */
    readonly start: number,
  ) {
    super(`offset ${offset} of shard ${shard} was compacted; the log is whole above ${start}`);
  }
}

/** A write or sync failed, or the database cannot be opened: the node must end with exit code 74 (2.6). */
export class StorageFailedError extends Error {
  override readonly name = 'StorageFailedError';
}
