import { assert } from '../../../kernel/assert.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { documentPrefix, entryPrefix, idempotencyPrefix, shardKey } from '../core/keys.js';
import { encodeGenerations, FIRST_GENERATIONS, RECORD_NAMES, sealRow, type Generations } from '../core/log-records.js';
import { StorageFailedError } from '../log-store.js';
import type { RowChange } from '../log-store.js';
import type { GroupCommit } from './group-commit.js';
import { keyAfter, prefixEnd, TableReadError } from './table.js';
import type { Table } from './table.js';

/** Rows of an old generation deleted in one batch. */
const CLEARED_KEYS = 4_096;

/**
 * Which generation of each shard is in use, which one is being received, and the end of those nobody reads (see Generations).
 * The record forgets a generation only after everything of it is gone, so that a crash leaves nothing behind for good.
 */
export class GenerationKeeper {
  private readonly generations: Map<number, Generations>;
  private readonly staging = new Map<number, number>();
  /** One shard after the other; never rejects for what can be tried again. */
  private clearing: Promise<void> = Promise.resolve();

  constructor(
    private readonly table: Table,
    private readonly commits: GroupCommit,
    private readonly hasher: Hasher,
    opened: ReadonlyMap<number, Generations>,
  ) {
    this.generations = new Map(opened);
    for (const [shard, { staged }] of opened) if (staged !== undefined) this.staging.set(shard, staged);
    for (const shard of this.generations.keys()) this.clear(shard);
  }

  /** False for a shard without a record, or with one that is damaged. */
  knows(shard: number): boolean {
    return this.generations.has(shard);
  }

  /** Makes a new generation the one that is received, and ends an earlier one. Durable. */
  async begin(shard: number): Promise<number> {
    const { current, oldest, next } = this.of(shard);
    await this.set(shard, { current, oldest, next: next + 1, staged: next });
    this.staging.set(shard, next);
    this.clear(shard);
    return next;
  }

  /** The one that is received; undefined when none is. */
  staged(shard: number): number | undefined {
    return this.staging.get(shard);
  }

  received(shard: number): number {
    const generation = this.staging.get(shard);
    assert(generation !== undefined, `shard ${shard} receives no snapshot`);
    return generation;
  }

  /** The record that makes the received generation the one in use, once it is written: call `clear` then. */
  flip(shard: number): RowChange {
    const { current, oldest, next } = this.of(shard);
    const generations = { current: this.received(shard), oldest: Math.min(oldest, current), next };
    this.staging.delete(shard);
    this.generations.set(shard, generations);
    return this.record(shard, generations);
  }

  /** A generation without anything in it, and the record that makes it the one in use: call `clear` when that is written. */
  renew(shard: number): { readonly generation: number; readonly record: RowChange } {
    const { current, oldest, next } = this.of(shard);
    this.staging.delete(shard);
    const generations = { current: next, oldest: Math.min(oldest, current), next: next + 1 };
    this.generations.set(shard, generations);
    return { generation: next, record: this.record(shard, generations) };
  }

  /** Forgets what was received. Durable. */
  async discard(shard: number): Promise<void> {
    if (!this.staging.delete(shard)) return;
    const { current, oldest, next } = this.of(shard);
    await this.set(shard, { current, oldest, next });
    this.clear(shard);
  }

  /** Deletes generations nobody reads, in the background. */
  clear(shard: number): void {
    this.clearing = this.clearing
      .then(() => this.clearNow(shard))
      .catch((error: unknown) => {
        // A failed write was told to the host; what cannot be read now is tried again when the log is opened.
        if (!(error instanceof StorageFailedError || error instanceof TableReadError)) throw error;
      });
  }

  /** Resolves when nothing is being deleted. */
  idle(): Promise<void> {
    return this.clearing;
  }

  private async clearNow(shard: number): Promise<void> {
    const found = this.of(shard);
    // As the record says: what is about to be received is named there first.
    const upTo = found.staged ?? found.next;
    if (found.oldest >= upTo) return;
    for (let generation = found.oldest; generation < upTo; generation++) {
      if (generation !== found.current) await this.empty(shard, generation);
    }
    await this.commits.sync();
    const now = this.of(shard);
    // A flip meanwhile made the generation before it a leftover, which its own clearing takes.
    if (now.current === found.current) await this.set(shard, { ...now, oldest: upTo });
  }

  private async empty(shard: number, generation: number): Promise<void> {
    for (const prefix of [
      entryPrefix(shard, generation),
      documentPrefix(generation, shard),
      idempotencyPrefix(shard, generation),
    ]) {
      for (let from = prefix; ;) {
        const keys = await this.table.keys({ from, to: prefixEnd(prefix), limit: CLEARED_KEYS });
        if (this.commits.failure !== undefined) throw this.commits.failure;
        if (keys.length > 0) await this.commits.deleteKeys(shard, keys);
        if (keys.length < CLEARED_KEYS) break;
        from = keyAfter(keys[keys.length - 1]);
      }
    }
  }

  private of(shard: number): Generations {
    return this.generations.get(shard) ?? FIRST_GENERATIONS;
  }

  private async set(shard: number, generations: Generations): Promise<void> {
    this.generations.set(shard, generations);
    const changes = [this.record(shard, generations)];
    await this.commits.commit({ shard, changes, state: undefined, entries: 0, bytes: 32, sync: true });
  }

  private record(shard: number, generations: Generations): RowChange {
    const key = shardKey(shard, RECORD_NAMES.generation);
    return { key, value: sealRow(key, encodeGenerations(generations), this.hasher) };
  }
}
