import type { Hasher } from '../../../kernel/hasher.js';
import { entryKey } from '../core/keys.js';
import type { StorageFailedError } from '../log-store.js';
import { MemoryTable } from './memory-table.js';
import type { MemoryImage, WriteDelay } from './memory-table.js';
import { MemorySide } from './side-memory.js';
import { openLog, refuseStepsBackwards, stepsBackwards } from './open-log.js';
import type { OpenedLog } from './open-log.js';
import type { Pace } from './pace.js';
import { TableLogStore } from './table-log-store.js';
import type { TableLogOptions } from './table-log-store.js';

export interface MemoryLogOptions {
  readonly hasher: Hasher;
  /** `os`: only `sync` and `close` make writes durable. Default `always`. */
  readonly fsync?: { readonly kind: 'always' } | { readonly kind: 'os' };
  readonly onFailure?: (error: StorageFailedError) => void;
  /** How long a write or sync takes; by default a microtask. */
  readonly delay?: WriteDelay;
  /** See LevelLogOptions. */
  readonly regressed?: 'refuse' | 'report';
  /** Time for the rates of scrub and compaction; by default it does not pass and nothing waits. */
  readonly pace?: Pace;
}

const NO_PACE: Pace = { monotonicMs: () => 0, sleep: () => Promise.resolve() };

/**
 * The log in memory, for simulations and tests: the same code over another table, with no timers of its own, so that
 * it is deterministic; and with the faults of a disk at hand.
 */
export class MemoryLogStore extends TableLogStore {
  private constructor(
    private readonly disk: MemoryTable,
    private readonly options: MemoryLogOptions,
    private readonly memory: MemorySide,
    tableOptions: TableLogOptions,
    opened: OpenedLog,
  ) {
    super(tableOptions, opened);
  }

  static open(options: MemoryLogOptions): Promise<MemoryLogStore> {
    return MemoryLogStore.over(new MemoryTable(options.delay), options, new MemorySide());
  }

  /**
   * Kills the process that uses this store and opens the log for the next one. Batches not synced are lost, but for the
   * first `kept` of them. Calls in flight on this store never end, and later ones neither.
   */
  crash(kept = 0): Promise<MemoryLogStore> {
    return MemoryLogStore.over(this.disk.crash(kept), this.options, this.memory);
  }

  /** Opens the log again after `close`. */
  reopen(): Promise<MemoryLogStore> {
    return MemoryLogStore.over(this.disk.reopen(), this.options, this.memory);
  }

  /** A copy of what is in the database now, as a backup of its files would be. */
  image(): MemoryImage {
    return this.disk.image();
  }

  /**
   * Kills the process, and the next one finds an older copy of the database, beside the side file of now: the log went
   * back (replication 5.8).
   */
  goBack(image: MemoryImage): Promise<MemoryLogStore> {
    this.disk.crash();
    return MemoryLogStore.over(image.table(this.options.delay), this.options, this.memory);
  }

  /** The next batch fails, and with it the store, as a disk error would make it. */
  failNextAppend(error: Error = new Error('injected write error')): void {
    this.disk.failNextWrite(error);
  }

  /** Flips one bit of byte `at` of a stored entry; false when there is none. */
  flipByte(shard: number, offset: number, at: number): boolean {
    return this.tamperEntry(shard, offset, at);
  }

  /** Loses a stored entry; false when there is none. */
  dropEntry(shard: number, offset: number): boolean {
    return this.tamperEntry(shard, offset, undefined);
  }

  /** Flips one bit of byte `at` of any stored value, or (undefined) loses the row; false when there is none. */
  tamper(key: Uint8Array, at: number | undefined): boolean {
    return at === undefined ? this.disk.drop(key) : this.disk.flipByte(key, at);
  }

  /** What is damaged on a disk shows once it is read from there. */
  private tamperEntry(shard: number, offset: number, at: number | undefined): boolean {
    this.recent.forget(shard);
    return this.tamper(entryKey(shard, offset, this.state(shard).generation), at);
  }

  private static async over(disk: MemoryTable, options: MemoryLogOptions, side: MemorySide): Promise<MemoryLogStore> {
    const opened = await openLog(disk, options.hasher);
    const regressions = stepsBackwards(opened, side.records());
    if (options.regressed !== 'report') refuseStepsBackwards(regressions, side.path);
    for (const [shard, state] of opened.states) side.note(shard, state.tail);
    const tableOptions: TableLogOptions = {
      table: disk,
      hasher: options.hasher,
      policy: options.fsync ?? { kind: 'always' },
      pace: options.pace ?? NO_PACE,
      onFailure: options.onFailure ?? (() => undefined),
      side,
      regressions,
      turn: () => Promise.resolve(),
    };
    return new MemoryLogStore(disk, options, side, tableOptions, opened);
  }
}
