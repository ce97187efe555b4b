import type { LogState, RowChange } from '../log-store.js';
import { StorageFailedError } from '../log-store.js';
import type { Table } from './table.js';

/** When a write counts as durable (replication 2.7). */
export type CommitPolicy =
  { readonly kind: 'always' } | { readonly kind: 'interval'; readonly ms: number } | { readonly kind: 'os' };

/** What one caller wants written, all or nothing. */
export interface CommitUnit {
  readonly shard: number;
  readonly changes: readonly RowChange[];
  /** The shard's state afterwards; undefined when it stays. */
  readonly state: LogState | undefined;
  readonly entries: number;
  /** Bytes of keys and values, for the bound of a batch. */
  readonly bytes: number;
  /** Durable before it resolves, whatever the policy. */
  readonly sync: boolean;
}

/** The owner of a GroupCommit. */
export interface CommitHost {
  /** The rows that record `state` as the shard's. */
  recordsOf(shard: number, state: LogState): readonly RowChange[];
  /** A batch is written; its states are the new ones. Called before its callers hear of it. */
  committed(states: ReadonlyMap<number, LogState>): void;
  /** Everything committed so far is on disk. */
  synced(): void;
  /** For the metrics: a batch went down, its sync included. */
  measured(batch: CommitMeasure): void;
  /** Called once: nothing will be written any more. */
  failed(error: StorageFailedError): void;
}

/** One batch. */
export interface CommitMeasure {
  readonly entries: number;
  readonly bytes: number;
  readonly ms: number;
}

/** Counters since the log was opened. */
export interface CommitStats {
  readonly batches: number;
  readonly entries: number;
  readonly bytes: number;
  readonly syncs: number;
  /** Units waiting or in flight, and their bytes. */
  readonly pending: number;
  readonly pendingBytes: number;
}

/** Bounds of one batch, so that one caller's wait stays short; a single larger unit still goes through, alone. */
const BATCH_BYTES_MAX = 8 * 1024 * 1024;
const BATCH_ENTRIES_MAX = 4_096;

interface Waiting {
  readonly unit: CommitUnit;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Group commit (replication 2.1): one batch is in flight for the whole node; what is asked for meanwhile goes into the
 * next one, so that one sync covers every shard. Units are written in the order they came.
 * A failed write or sync ends it for good: an fsync is never retried (2.6).
 */
export class GroupCommit {
  private queue: Waiting[] = [];
  private inFlight: readonly Waiting[] = [];
  private running: Promise<void> | undefined;
  private refusal: StorageFailedError | undefined;
  private timer: NodeJS.Timeout | undefined;
  private unsynced = false;
  private batches = 0;
  private entries = 0;
  private bytes = 0;
  private syncs = 0;
  private pendingBytes = 0;

  constructor(
    private readonly table: Table,
    private readonly policy: CommitPolicy,
    private readonly host: CommitHost,
    /** Waited for before a first batch is closed, so that what else is asked for in this turn of the loop joins it. */
    private readonly turn: () => Promise<void>,
  ) {}

  commit(unit: CommitUnit): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.refusal !== undefined) {
        reject(this.refusal);
        return;
      }
      this.queue.push({ unit, resolve, reject });
      this.pendingBytes += unit.bytes;
      this.running ??= this.turn().then(() => this.run());
    });
  }

  /** The error every commit is refused with by now, if any. */
  get failure(): StorageFailedError | undefined {
    return this.refusal;
  }

  sync(): Promise<void> {
    return this.commit({ shard: 0, changes: [], state: undefined, entries: 0, bytes: 0, sync: true });
  }

  /** Deletes rows, in order with everything else; durable as the policy has it. */
  deleteKeys(shard: number, keys: readonly Uint8Array[]): Promise<void> {
    let bytes = 0;
    for (const key of keys) bytes += key.length;
    const changes = keys.map((key) => ({ key, value: undefined }));
    return this.commit({ shard, changes, state: undefined, entries: 0, bytes, sync: false });
  }

  stats(): CommitStats {
    const { batches, entries, bytes, syncs, pendingBytes } = this;
    return { batches, entries, bytes, syncs, pending: this.queue.length + this.inFlight.length, pendingBytes };
  }

  /** Writes and syncs what was asked for before, then refuses everything. Never rejects: a failure was reported. */
  async close(): Promise<void> {
    if (this.refusal === undefined) {
      const last = this.sync();
      this.refusal = new StorageFailedError('the log is closed');
      await last.catch((error: unknown) => {
        // Told to the host when it happened; the database must be closed all the same.
        this.refusal = error instanceof StorageFailedError ? error : this.refusal;
      });
    }
    await this.running;
    clearTimeout(this.timer);
  }

  private async run(): Promise<void> {
    while (this.queue.length > 0) {
      const batch = this.take();
      this.inFlight = batch;
      const startedMs = performance.now();
      try {
        await this.write(batch);
      } catch (error) {
        this.fail(error);
        break;
      }
      this.inFlight = [];
      this.host.measured(sizeOf(batch, performance.now() - startedMs));
      for (const { unit, resolve } of batch) {
        this.pendingBytes -= unit.bytes;
        resolve();
      }
    }
    this.running = undefined;
  }

  private take(): readonly Waiting[] {
    let count = 0;
    let entries = 0;
    let bytes = 0;
    for (const { unit } of this.queue) {
      entries += unit.entries;
      bytes += unit.bytes;
      if (count > 0 && (entries > BATCH_ENTRIES_MAX || bytes > BATCH_BYTES_MAX)) break;
      count++;
    }
    return this.queue.splice(0, count);
  }

  private async write(batch: readonly Waiting[]): Promise<void> {
    const always = this.policy.kind === 'always';
    const changes: RowChange[] = [];
    const states = new Map<number, LogState>();
    let wantsSync = false;
    for (const { unit } of batch) {
      for (const change of unit.changes) changes.push(change);
      if (unit.state !== undefined) states.set(unit.shard, unit.state);
      wantsSync ||= unit.sync;
      this.entries += unit.entries;
      this.bytes += unit.bytes;
    }
    for (const [shard, state] of states) changes.push(...this.host.recordsOf(shard, state));
    if (changes.length > 0) {
      this.unsynced = true;
      await this.table.write(changes, always);
      this.batches++;
      if (always) this.countSync();
      this.host.committed(states);
    }
    if (this.unsynced && wantsSync) {
      await this.table.sync();
      this.countSync();
    }
    if (this.unsynced) this.armTimer();
    else this.host.synced();
  }

  private countSync(): void {
    this.syncs++;
    this.unsynced = false;
  }

  private armTimer(): void {
    if (this.policy.kind !== 'interval' || this.timer !== undefined || this.refusal !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      // A failure reaches the host through `failed`, and every caller through its own commit.
      if (this.refusal === undefined) this.sync().catch(() => undefined);
    }, this.policy.ms);
    this.timer.unref();
  }

  private fail(cause: unknown): void {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const error = new StorageFailedError(
      `the log cannot be written (${reason}); the node stops so that nothing is lost`,
      { cause },
    );
    this.refusal = error;
    clearTimeout(this.timer);
    const refused = [...this.inFlight, ...this.queue];
    this.inFlight = [];
    this.queue = [];
    this.pendingBytes = 0;
    this.host.failed(error);
    for (const { reject } of refused) reject(error);
  }
}

function sizeOf(batch: readonly Waiting[], ms: number): CommitMeasure {
  let entries = 0;
  let bytes = 0;
  for (const { unit } of batch) {
    entries += unit.entries;
    bytes += unit.bytes;
  }
  return { entries, bytes, ms };
}
