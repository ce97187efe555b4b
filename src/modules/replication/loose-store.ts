import { assert } from '../../kernel/assert.js';
import type { Hasher } from '../../kernel/hasher.js';
import { compareVersions } from '../../kernel/version.js';
import { entryCollectionId, entryOp, entryVersion } from '../log/core/entry-codec.js';
import { documentPrefix, looseKey, loosePrefix, shardKey } from '../log/core/keys.js';
import type { LogStore, RowChange } from '../log/log-store.js';
import { CounterTally, decodeCounters, encodeCounters, ZERO_COUNTERS, type ShardCounters } from '../shard/core/rows.js';
import { COUNTERS_ROW } from './core/replica-log.js';
import { loosen, sortLoose, type SortedLoose, type StoredShard } from './core/loose-rows.js';

/** Entries of a branch looked at in one turn, and rows of the side store in one page. */
const CHUNK_ENTRIES = 512;
const CHUNK_BYTES = 1024 * 1024;

/** Loose rows of this node's shards, over the log (replication 6.4). Nothing else may write to the shard meanwhile. */
export class LooseStore {
  constructor(
    private readonly log: LogStore,
    private readonly hasher: Hasher,
  ) {}

  /**
   * Cuts a branch off: the log ends at `fork`, rows that pointed beyond are loose. Payloads go to the side store first, in
   * parts; then one synced batch changes everything else, so that a crash leaves the branch as it was or all of it loose.
   * Of a collection that was dropped on the branch nothing is left: its rows count nowhere, and the log that is followed next
   * may change them, until it is dropped there, too.
   * @param beside rows to write with it
   * @returns the counters as of the fork, as they are stored
   */
  async cutBranch(shard: number, fork: number, beside: readonly RowChange[] = []): Promise<ShardCounters> {
    const { log } = this;
    const stored = this.#stored(shard);
    const tally = new CounterTally(this.hasher, this.#counters(shard));
    const rows: RowChange[] = [];
    const { tail } = log.state(shard);
    for (let next = fork + 1; next <= tail;) {
      const entries = await log.scan(shard, next, CHUNK_ENTRIES, CHUNK_BYTES);
      assert(entries.length > 0, `shard ${shard}: the log ended at ${tail}, and was cut before ${next} meanwhile`);
      for (const entry of entries) {
        if (entryOp(entry) !== 'COLLECTION_PURGE') continue;
        const collectionId = entryCollectionId(entry);
        await this.#delete(shard, documentPrefix(stored.generation, shard, collectionId));
        tally.begin(collectionId);
      }
      const part = loosen(entries, fork, stored, tally);
      if (part.side.length > 0) await log.append({ shard, entries: [], rows: part.side });
      rows.push(...part.rows);
      next += entries.length;
    }
    const counters = tally.value();
    rows.push({ key: shardKey(shard, COUNTERS_ROW), value: encodeCounters(counters) }, ...beside);
    // What is in the side store must be on disk before the log loses it.
    await log.sync();
    await log.truncate(shard, fork, rows);
    return counters;
  }

  /** Entries of loose rows, a page at a time, in key order; pass the page's `last` as `after` for the next one. */
  async page(
    shard: number,
    after: Uint8Array | undefined,
  ): Promise<SortedLoose & { readonly last: Uint8Array | undefined }> {
    const kept = await this.log.rows(loosePrefix(shard), after, CHUNK_ENTRIES);
    return { ...sortLoose(kept, this.#stored(shard)), last: kept.at(-1)?.key };
  }

  /** All entries of loose rows; for the index after a restart. */
  async *entries(shard: number): AsyncGenerator<readonly Uint8Array[]> {
    for (let after: Uint8Array | undefined; ;) {
      const { entries, last } = await this.page(shard, after);
      if (entries.length > 0) yield entries;
      if (last === undefined) return;
      after = last;
    }
  }

  /**
   * Deletes what the side store keeps for nothing, after a cut or a snapshot that a crash came between, or that brought the
   * same or a higher version. `lost` is told of each entry that another version won over, before it goes (6.4: they belong
   * into the conflict log).
   */
  async sweep(shard: number, lost: (entry: Uint8Array) => Promise<void>): Promise<void> {
    for (let after: Uint8Array | undefined; ;) {
      const { leftovers, last } = await this.page(shard, after);
      for (const { entry, winner } of leftovers)
        if (winner === undefined || compareVersions(winner.version, entryVersion(entry)) > 0) await lost(entry);
      const changes = leftovers.map(({ key }) => ({ key, value: undefined }));
      if (changes.length > 0) await this.log.append({ shard, entries: [], rows: changes });
      if (last === undefined) return;
      after = last;
    }
  }

  /** Deletes all that is kept of a shard. */
  clear(shard: number): Promise<void> {
    return this.#delete(shard, loosePrefix(shard));
  }

  async #delete(shard: number, prefix: Uint8Array): Promise<void> {
    for (;;) {
      const kept = await this.log.rows(prefix, undefined, CHUNK_ENTRIES);
      if (kept.length === 0) return;
      const changes = kept.map(({ key }) => ({ key, value: undefined }));
      await this.log.append({ shard, entries: [], rows: changes });
    }
  }

  #stored(shard: number): StoredShard {
    const { log } = this;
    return { shard, generation: log.state(shard).generation, row: (key) => log.row(key) };
  }

  #counters(shard: number): ShardCounters {
    const bytes = this.log.row(shardKey(shard, COUNTERS_ROW));
    return bytes === undefined ? ZERO_COUNTERS : decodeCounters(bytes);
  }
}

/** The entry of a loose row, or undefined. */
export function looseEntry(log: LogStore, shard: number, collectionId: number, id: string): Uint8Array | undefined {
  return log.row(looseKey(shard, collectionId, id));
}
