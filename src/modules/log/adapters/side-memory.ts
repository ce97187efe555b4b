import { compareEpochs, NO_EPOCH, type Epoch } from '../../../kernel/epoch.js';

/** What is remembered of one shard. A reader keeps to the members it knows. */
export interface SideRecord {
  readonly shard: number;
  /** Highest offset known to be on disk; 0 when only a promise is known. */
  readonly tail: number;
  /** Highest epoch promised (replication 5.4). */
  readonly promise?: Epoch;
}

/** What a store remembers beside its database (replication 2.6). */
export interface SideMemory {
  /** Names it in messages. */
  readonly path: string;
  records(): readonly SideRecord[];
  /** The log of `shard` is on disk up to `tail`. */
  note(shard: number, tail: number): void;
  /** The promise is on disk. */
  notePromise(shard: number, promise: Epoch): void;
  /** The log of `shard` is about to end at `tail`, on purpose; on disk when it resolves. Rejects when it cannot be written. */
  lower(shard: number, tail: number): Promise<void>;
  close(): Promise<void>;
  /** Closes it as it is. */
  abandon(): Promise<void>;
}

/** Highest tail and promise by shard. */
export class Remembered {
  private readonly shards = new Map<number, SideRecord>();

  records(): readonly SideRecord[] {
    return [...this.shards.values()].sort((a, b) => a.shard - b.shard);
  }

  /** True when either is higher than before. */
  raise(shard: number, tail: number, promise: Epoch | undefined): boolean {
    const before = this.shards.get(shard);
    const higher = promise !== undefined && compareEpochs(promise, before?.promise ?? NO_EPOCH) > 0;
    if (!higher && tail <= (before?.tail ?? 0)) return false;
    const kept = higher ? promise : before?.promise;
    this.shards.set(shard, {
      shard,
      tail: Math.max(tail, before?.tail ?? 0),
      ...(kept === undefined ? {} : { promise: kept }),
    });
    return true;
  }

  /** False when the tail was not above. */
  lower(shard: number, tail: number): boolean {
    const before = this.shards.get(shard);
    if (before === undefined || before.tail <= tail) return false;
    this.shards.set(shard, { ...before, tail });
    return true;
  }

  clear(): void {
    this.shards.clear();
  }
}

/** The side file of a log in memory: outlives a crash as a file would. */
export class MemorySide implements SideMemory {
  readonly path = 'memory';
  private readonly remembered = new Remembered();

  records(): readonly SideRecord[] {
    return this.remembered.records();
  }

  note(shard: number, tail: number): void {
    this.remembered.raise(shard, tail, undefined);
  }

  notePromise(shard: number, promise: Epoch): void {
    this.remembered.raise(shard, 0, promise);
  }

  lower(shard: number, tail: number): Promise<void> {
    this.remembered.lower(shard, tail);
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  abandon(): Promise<void> {
    return Promise.resolve();
  }
}
