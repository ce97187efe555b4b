import type { Hasher } from '../../../kernel/hasher.js';
import type { Version } from '../../../kernel/version.js';
import {
  entryCollectionId,
  entryId,
  entryOffset,
  entryOp,
  entryPayload,
  entryVersion,
  verifyEntry,
} from '../../log/core/entry-codec.js';
import { CollectionIndex } from './collection-index.js';
import { LiveDigest } from './digest.js';
import { decodeDocument } from './document-codec.js';
import type { SearchFailure } from './search-answer.js';
import type { CollectionSpec } from './search.js';
import type { VectorIndexes } from './vector-index.js';

/** An entry that cannot be applied: damaged, of a newer version, or with a vector that does not fit. Faults its shard. */
export class EntryRefusedError extends Error {
  override readonly name = 'EntryRefusedError';
  constructor(
    readonly shard: number,
    readonly offset: number,
    problem: string,
    cause?: unknown,
  ) {
    super(
      `entry ${offset} of shard ${shard} cannot be indexed: ${problem}`,
      cause === undefined ? undefined : { cause },
    );
  }
}

/**
 * One shard's indexes, by collection. Applies entries in offset order; what is at or below the applied offset is
 * ignored, gaps are normal (compaction leaves them). Entries of a collection that is not known are passed over and the
 * collection remembered in `passedOver`: when it becomes known after all, the shard has to be read again.
 */
export class ShardIndex {
  readonly shard: number;
  readonly collections = new Map<number, CollectionIndex>();
  /** Unknown collections whose entries were passed over. */
  readonly passedOver: Set<number>;
  /** Collections that were purged; the map forgets them, and their ids never come again. */
  readonly #purged = new Set<number>();
  readonly #hasher: Hasher;
  readonly #indexes: VectorIndexes;
  readonly #specs: ReadonlyMap<number, CollectionSpec>;
  #applied: number;
  #fault: string | undefined;

  /** @param specs the known collections, kept up by the owner */
  constructor(
    shard: number,
    specs: ReadonlyMap<number, CollectionSpec>,
    indexes: VectorIndexes,
    hasher: Hasher,
    loaded?: {
      readonly applied: number;
      readonly collections: Iterable<CollectionIndex>;
      readonly passedOver: Iterable<number>;
    },
  ) {
    this.shard = shard;
    this.#specs = specs;
    this.#indexes = indexes;
    this.#hasher = hasher;
    this.#applied = loaded?.applied ?? 0;
    this.passedOver = new Set(loaded?.passedOver);
    for (const collection of loaded?.collections ?? []) this.collections.set(collection.spec.id, collection);
  }

  /** Offset applied so far. */
  get applied(): number {
    return this.#applied;
  }

  /** Why the shard answers no more, or undefined while it does. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /**
   * Applies one encoded entry.
   * @throws EntryRefusedError; the shard is faulted then, and nothing of the entry was applied
   */
  apply(entry: Uint8Array): void {
    let offset = 0;
    try {
      const problem = verifyEntry(entry, this.#hasher);
      if (problem !== undefined) throw new Error(`it is damaged (${problem})`);
      offset = entryOffset(entry);
      if (offset <= this.#applied) return;
      this.#perform(entry, offset);
      this.#applied = offset;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      this.#fault = problem;
      throw new EntryRefusedError(this.shard, offset, problem, error);
    }
  }

  /**
   * Applies the entry of a loose row (replication 6.4), wherever its offset was: only what is not here yet, and the applied
   * offset stays.
   * @throws EntryRefusedError; the shard is faulted then
   */
  applyLoose(entry: Uint8Array): void {
    try {
      const problem = verifyEntry(entry, this.#hasher);
      if (problem !== undefined) throw new Error(`it is damaged (${problem})`);
      const collectionId = entryCollectionId(entry);
      if (this.collections.get(collectionId)?.has(entryId(entry), entryVersion(entry)) === true) return;
      this.#perform(entry, entryOffset(entry));
      this.collections.get(collectionId)?.touch(this.#applied);
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      this.#fault = problem;
      throw new EntryRefusedError(this.shard, 0, problem, error);
    }
  }

  /**
   * The log was cut at `offset`: the entries of its new branch are applied from there on. What the old branch brought stays
   * until a higher version replaces it, or the same one re-points it.
   */
  rewind(offset: number): void {
    if (offset >= this.#applied) return;
    this.#applied = offset;
    for (const collection of this.collections.values()) if (collection.changedAt > offset) collection.touch(offset);
  }

  /** A document's row is gone, and no entry says so (replication 6.6): forgets it, if it is of this version. */
  forget(collectionId: number, id: string, version: Version): void {
    this.collections.get(collectionId)?.forget(id, version);
  }

  /** A collection is known, or known better. */
  define(spec: CollectionSpec): void {
    try {
      this.collections.get(spec.id)?.redefine(spec);
    } catch (error) {
      this.#fault = error instanceof Error ? error.message : String(error);
    }
  }

  drop(collectionId: number): void {
    this.collections.get(collectionId)?.dispose();
    this.collections.delete(collectionId);
  }

  /** Live documents of all collections. */
  get documents(): number {
    let documents = 0;
    for (const collection of this.collections.values()) documents += collection.documents;
    return documents;
  }

  /** Sum over the collections' digests: the running ones, or computed again from the labels; 16 bytes. */
  digest(recompute: boolean): Uint8Array {
    const digest = new LiveDigest();
    for (const collection of this.collections.values()) {
      digest.add(recompute ? collection.recomputeDigest().bytes() : collection.digest);
    }
    return digest.bytes();
  }

  /** Goes on comparing what a checkpoint brought with its digests. Undefined: not at the end yet. */
  check(expired: () => boolean): boolean | undefined {
    for (const collection of this.collections.values()) {
      const sound = collection.check(expired);
      if (sound !== true) return sound;
    }
    return true;
  }

  /** The collection, to be searched; or why it cannot be. */
  searched(collectionId: number): CollectionIndex | SearchFailure {
    if (this.#fault !== undefined) return 'FAULTED';
    return this.collections.get(collectionId) ?? this.#create(collectionId) ?? 'NOT_READY';
  }

  dispose(): void {
    for (const collection of this.collections.values()) collection.dispose();
    this.collections.clear();
  }

  #perform(entry: Uint8Array, offset: number): void {
    const op = entryOp(entry);
    const collectionId = entryCollectionId(entry);
    if (op === 'COLLECTION_PURGE') {
      this.drop(collectionId);
      this.#purged.add(collectionId);
      return;
    }
    if ((op !== 'UPSERT' && op !== 'DELETE') || this.#purged.has(collectionId)) return;
    const collection = this.collections.get(collectionId) ?? this.#create(collectionId);
    if (collection === undefined) {
      this.passedOver.add(collectionId);
      return;
    }
    if (op === 'DELETE') collection.delete(entryId(entry), entryVersion(entry), offset);
    else collection.upsert(entryId(entry), entryVersion(entry), offset, decodeDocument(entryPayload(entry)));
  }

  #create(collectionId: number): CollectionIndex | undefined {
    const spec = this.#specs.get(collectionId);
    if (spec === undefined) return undefined;
    const collection = new CollectionIndex(spec, this.#indexes, this.#hasher);
    this.collections.set(collectionId, collection);
    return collection;
  }
}
