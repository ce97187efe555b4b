import { toHex } from '../../../kernel/bytes.js';
import type { Clock } from '../../../kernel/clock.js';
import type { UnsavedIndex } from '../core/checkpoint-plan.js';
import type { CheckpointManifest, CheckpointRef } from '../core/index-host.js';
import type { CheckpointReport, ShardReport } from '../shard-ports.js';
import { CHECKPOINTS_KEPT, type CheckpointStore } from './checkpoint-store.js';
import type { IndexThread } from './index-thread.js';
import { chainAt, type LogReader } from './shard-opening.js';

/** After a checkpoint failed or found no room, the next try waits. */
const RETRY_AFTER_MS = 60_000;

/**
 * The checkpoints of one shard: which there are, what they lack, and how another one is taken. Whoever owns the keepers
 * lets one checkpoint of the node be written at a time.
 */
export class CheckpointKeeper {
  readonly #shard: number;
  readonly #thread: IndexThread;
  readonly #ports: CheckpointKeeperPorts;
  /** Newest first. */
  #kept: CheckpointRef[] = [];
  #bytes = 0;
  #changedAtMs: number | undefined;
  #notBeforeMs = -Infinity;
  /** The index was changed by more than the log up to its offset: files of collections that seem unchanged are not linked. */
  #altered = false;
  /** Of the log the index was built from. */
  #generation: number | undefined;

  constructor(shard: number, thread: IndexThread, ports: CheckpointKeeperPorts) {
    this.#shard = shard;
    this.#thread = thread;
    this.#ports = ports;
  }

  /** Offset of the oldest checkpoint that would be loaded; 0 when there is none. */
  get oldest(): number {
    return this.#kept.at(-1)?.manifest.offset ?? 0;
  }

  /** Offset of the newest; undefined when there is none. */
  get newest(): number | undefined {
    return this.#kept[0]?.manifest.offset;
  }

  /** The one at `offset`, or the newest for 0. */
  at(offset: number): CheckpointRef | undefined {
    return offset === 0 ? this.#kept.at(0) : this.#kept.find(({ manifest }) => manifest.offset === offset);
  }

  /** The shard was opened, with these checkpoints to fall back to, newest first. */
  opened(kept: readonly CheckpointRef[]): void {
    this.#kept = [...kept];
    this.#generation = this.#ports.log.state(this.#shard).generation;
    this.#altered = false;
    this.#bytes = 0;
    this.#changedAtMs = undefined;
  }

  /** Something that is not an entry of the log was applied. */
  altered(): void {
    this.#altered = true;
    this.#changedAtMs ??= this.#ports.clock.monotonicMs();
  }

  /**
   * The log was cut at `offset`: checkpoints beyond are of a branch that is gone. They would be refused by their chains as
   * well, wherever the log has one at their offset.
   */
  async rewound(offset: number): Promise<void> {
    this.altered();
    const gone = this.#kept.filter(({ manifest }) => manifest.offset > offset);
    this.#kept = this.#kept.filter(({ manifest }) => manifest.offset <= offset);
    for (const { directory } of gone) await this.#ports.store.remove(directory);
  }

  /** Bytes of log were applied. */
  applied(bytes: number): void {
    this.#bytes += bytes;
    this.#changedAtMs ??= this.#ports.clock.monotonicMs();
  }

  /** What no checkpoint holds of an index at `applied`; undefined when there is nothing, or none may be taken now. */
  unsaved(applied: number): UnsavedIndex | undefined {
    const nowMs = this.#ports.clock.monotonicMs();
    if (this.#changedAtMs === undefined || nowMs < this.#notBeforeMs) return undefined;
    const [newest] = this.#kept;
    return {
      shard: this.#shard,
      entries: Math.max(0, applied - (this.newest ?? 0)),
      logBytes: this.#bytes,
      ageMs: nowMs - this.#changedAtMs,
      savedBytes: newest === undefined ? 0 : bytesOf(newest.manifest),
    };
  }

  /**
   * Takes a checkpoint of what is applied now; undefined when the newest holds all of it already or there is no room.
   * @throws Error when it cannot be written; nothing is left of it then
   */
  async take(applied: number): Promise<CheckpointReport | undefined> {
    const { clock, store, spaceFor, report } = this.#ports;
    if (applied === (this.newest ?? 0)) return undefined;
    const startedMs = clock.monotonicMs();
    this.#notBeforeMs = startedMs + RETRY_AFTER_MS;
    const estimate = await this.#thread.call('size', { shard: this.#shard });
    if (!spaceFor(estimate)) {
      report('warn', 'no room on the disk for an index checkpoint', { shard: this.#shard, bytes: estimate });
      return undefined;
    }
    const bytesBefore = this.#bytes;
    const changedBefore = this.#changedAtMs;
    this.#bytes = 0;
    this.#changedAtMs = undefined;
    const directory = await store.begin(this.#shard);
    try {
      const ref = await this.#write(directory);
      await this.#prune(ref);
      this.#notBeforeMs = -Infinity;
      const { offset } = ref.manifest;
      return { shard: this.#shard, offset, bytes: bytesOf(ref.manifest), tookMs: clock.monotonicMs() - startedMs };
    } catch (error) {
      this.#bytes += bytesBefore;
      this.#changedAtMs = changedBefore ?? this.#changedAtMs;
      await store.remove(directory);
      throw error;
    }
  }

  async #write(directory: string): Promise<CheckpointRef> {
    const { log, store } = this.#ports;
    const shard = this.#shard;
    const previous = this.#altered ? undefined : this.#kept.at(0);
    const manifest = await this.#thread.call('checkpoint', { shard, directory, previous });
    const chain = await chainAt(log, shard, manifest.offset);
    // A snapshot took its place meanwhile: its chain at that offset is of another history than the index.
    if (log.state(shard).generation !== this.#generation)
      throw new Error(`the log of shard ${shard} is another one now`);
    if (chain === undefined) throw new Error(`the log has no entry ${manifest.offset} of shard ${shard}`);
    const ref = await store.commit(directory, { ...manifest, chain: toHex(chain) });
    // Whoever alters an index waits for a checkpoint of it to be whole.
    this.#altered = false;
    return ref;
  }

  async #prune(newest: CheckpointRef): Promise<void> {
    const older = this.#kept.filter(({ manifest }) => manifest.offset !== newest.manifest.offset);
    this.#kept = [newest, ...older.slice(0, CHECKPOINTS_KEPT - 1)];
    for (const { directory } of older.slice(CHECKPOINTS_KEPT - 1)) await this.#ports.store.remove(directory);
  }
}

export interface CheckpointKeeperPorts {
  readonly log: LogReader;
  readonly store: CheckpointStore;
  readonly clock: Clock;
  readonly spaceFor: (bytes: number) => boolean;
  readonly report: ShardReport;
}

export function bytesOf({ collections }: CheckpointManifest): number {
  return collections.reduce((sum, { files }) => sum + files.reduce((part, { bytes }) => part + bytes, 0), 0);
}
