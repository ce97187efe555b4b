import { assert } from '../../kernel/assert.js';
import type { Hasher } from '../../kernel/hasher.js';
import { META_SHARD } from '../../kernel/ids.js';
import { shardKey } from '../log/core/keys.js';
import { LogDamagedError, type LogStore, type RowChange } from '../log/log-store.js';
import { MAP_ROW } from './core/replica.js';
import { BRANCHES_ROW, COUNTERS_ROW, SCRUB_ROW, SETS_ROW } from './core/replica-log.js';
import { RECEIVING_ROW } from './core/snapshot.js';
import { LooseStore } from './loose-store.js';
import type { ShardIndexes } from './replication-ports.js';
import type { ShardReplica } from './shard-replica.js';

/** What the copies of a node are opened with. */
export interface LocalCopiesPorts {
  readonly log: LogStore;
  readonly hasher: Hasher;
  readonly shards: ShardIndexes;
  /** @throws LogDamagedError */
  open(shard: number): Promise<ShardReplica>;
  /** A log could not be opened: the copy is to be faulted. */
  damaged(shard: number, error: LogDamagedError): void;
}

/** Shards opened side by side at start: enough to keep the index threads busy. */
const OPEN_AT_ONCE = 4;

/** The copies on this disk: which are open, being opened, faulted (2.6), or at rest to be dropped or opened again (9.6). */
export class LocalCopies {
  readonly #ports: LocalCopiesPorts;
  readonly #replicas = new Map<number, ShardReplica>();
  readonly #opening = new Map<number, Promise<void>>();
  readonly #faults = new Map<number, Error>();
  readonly #resting = new Set<number>();
  #stopped = false;

  constructor(ports: LocalCopiesPorts) {
    this.#ports = ports;
  }

  /** The copies that are open, that of the map's shard among them. */
  [Symbol.iterator](): Iterator<[number, ShardReplica]> {
    return this.#replicas[Symbol.iterator]();
  }

  /** The copy of a shard; undefined while it is not open. */
  get(shard: number): ShardReplica | undefined {
    return this.#replicas.get(shard);
  }

  fault(shard: number): Error | undefined {
    return this.#faults.get(shard);
  }

  isResting(shard: number): boolean {
    return this.#resting.has(shard);
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Data shards with a copy that is open or faulted, ascending. */
  shards(): readonly number[] {
    return [...new Set([...this.#replicas.keys(), ...this.#faults.keys()])]
      .filter((shard) => shard !== META_SHARD)
      .sort((a, b) => a - b);
  }

  /** Opens those that are not, several side by side; resolves when each is open or known to be faulted. */
  async openAll(shards: readonly number[]): Promise<void> {
    const waiting = [...new Set(shards)].filter((shard) => !this.#replicas.has(shard));
    await Promise.all(
      Array.from({ length: OPEN_AT_ONCE }, async () => {
        for (let shard = waiting.shift(); shard !== undefined; shard = waiting.shift()) await this.#openOnce(shard);
      }),
    );
  }

  async open(shard: number): Promise<void> {
    if (this.#replicas.has(shard) || this.#faults.has(shard) || this.#resting.has(shard) || this.#stopped) return;
    try {
      this.#replicas.set(shard, await this.#ports.open(shard));
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error;
      this.#ports.damaged(shard, error);
    }
  }

  #openOnce(shard: number): Promise<void> {
    const running = this.#opening.get(shard);
    if (running !== undefined) return running;
    const opening = this.open(shard).finally(() => this.#opening.delete(shard));
    this.#opening.set(shard, opening);
    return opening;
  }

  /** Takes a copy out of service; false when it was already. */
  markFaulted(shard: number, error: Error): boolean {
    if (this.#faults.has(shard)) return false;
    this.#faults.set(shard, error);
    return true;
  }

  /** Resolves when the log of a copy is cut or replaced no more. */
  idle(shard: number): Promise<void> {
    return this.#replicas.get(shard)?.idle() ?? Promise.resolve();
  }

  /** The log of a faulted copy was made whole: it is opened again. False: it is damaged still. */
  async reopen(shard: number): Promise<boolean> {
    this.#close(shard);
    this.#faults.delete(shard);
    try {
      await this.#openOnce(shard);
    } catch (error) {
      this.#faults.set(shard, error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
    return !this.#faults.has(shard);
  }

  /** Whether a copy may be closed for now: not while it is opened, reigns, or is being cut or replaced. */
  mayRest(shard: number): boolean {
    return !this.#opening.has(shard) && !this.#stopped && this.#replicas.get(shard)?.mayRest !== false;
  }

  /** Closes a copy for now: its log stays as it is. */
  async rest(shard: number): Promise<void> {
    this.#resting.add(shard);
    this.#close(shard);
    await this.#ports.log.sync();
  }

  /** Opens a copy that rested. */
  async wake(shard: number): Promise<void> {
    this.#resting.delete(shard);
    if (!this.#faults.has(shard)) await this.#openOnce(shard);
  }

  /** Deletes a copy that rests, with all that is kept of it on the disk but the promise. */
  async drop(shard: number): Promise<void> {
    assert(this.#resting.has(shard), `the copy of shard ${shard} rests before it is dropped`);
    await this.#delete(shard);
    this.#faults.delete(shard);
    this.#resting.delete(shard);
  }

  /** Closes every copy and deletes what it held. */
  async surrender(): Promise<void> {
    const shards = [...this.#replicas.keys()];
    for (const replica of this.#replicas.values()) replica.close();
    this.#replicas.clear();
    for (const shard of shards) await this.#delete(shard);
  }

  stop(): void {
    this.#stopped = true;
    for (const replica of this.#replicas.values()) replica.close();
  }

  #close(shard: number): void {
    this.#replicas.get(shard)?.close();
    this.#replicas.delete(shard);
  }

  /** The index first: a crash in between leaves a log, from which it is built again. */
  async #delete(shard: number): Promise<void> {
    const { log, hasher, shards } = this.#ports;
    if (shard !== META_SHARD) await shards.dropShard(shard);
    await new LooseStore(log, hasher).clear(shard);
    await log.drop(shard, forgetRows(shard));
  }
}

/** What is kept beside a log that is emptied. */
function forgetRows(shard: number): readonly RowChange[] {
  return [MAP_ROW, COUNTERS_ROW, SETS_ROW, BRANCHES_ROW, SCRUB_ROW, RECEIVING_ROW].map((name) => ({
    key: shardKey(shard, name),
    value: undefined,
  }));
}
