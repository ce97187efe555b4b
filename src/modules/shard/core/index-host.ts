import type { CollectionSpec, KeywordStatistics, ShardSearch, ShardSearchAnswer } from './search.js';
import type { Filter } from './filter.js';

/**
 * The indexes of some shards, in one thread: for each (shard, collection) one vector index, one keyword index, one
 * attribute index and the table of labels. Synchronous and single-threaded; the worker shell (or, with
 * INDEX_THREADS=0, the main thread) calls it. It applies by its own stored versions, never by the document table's,
 * because that is already ahead during a replay.
 *
 * Invariants: the state after `apply` of offsets 1…n depends on those entries alone; an id has at most one live label
 * in its collection; a label of a dead document is never returned.
 */
export interface IndexHost {
  /** Tells of collections to index; may come again with a dimension that was unknown. Entries of unknown ids wait in `apply`'s error. */
  defineCollections(collections: readonly CollectionSpec[]): void;

  /** Forgets a dropped collection: entries of it are ignored from now on. */
  dropCollection(collectionId: number): void;

  /** Starts a shard: from a checkpoint directory, or empty. A checkpoint that is damaged or does not match throws CheckpointDamagedError. */
  openShard(shard: number, checkpoint: CheckpointRef | undefined): void;

  closeShard(shard: number): void;

  /**
   * Applies encoded log entries in offset order; entries at or below the applied offset are ignored. `entries` are
   * frames: u32 big-endian length, then the entry, repeated. Crc is checked again. Returns false when the time slice
   * ended first: call `continueApply` until it returns true.
   */
  apply(shard: number, frames: Uint8Array, sliceMs: number): boolean;
  continueApply(shard: number, sliceMs: number): boolean;

  /** Offset applied so far. */
  applied(shard: number): number;

  /** Answers per asked shard. Never throws for one bad shard: that one says `failed`. */
  search(search: ShardSearch): readonly ShardSearchAnswer[];

  /** Live documents that match. */
  count(shard: number, collectionId: number, filter: Filter | undefined): number;

  /** Live documents, total text length and documents per term: the sums `exact` needs first. */
  keywordStatistics(shard: number, collectionId: number, terms: readonly string[]): KeywordStatistics;

  /** Ids greater than `after` that match, ascending, at most `limit`, with their offsets. */
  scroll(shard: number, collectionId: number, filter: Filter | undefined, after: string | undefined, limit: number): ScrollPage;

  /** Writes a whole checkpoint into `directory` (made by the caller, empty) and returns its manifest; nothing is applied meanwhile. */
  checkpoint(shard: number, directory: string, previous: CheckpointRef | undefined): CheckpointManifest;

  /** Sum mod 2^128 over live rows, recomputed from the labels (replication 6.5), per shard; 16 bytes. */
  digest(shard: number): Uint8Array;

  statistics(): IndexStatistics;
}

export interface ScrollPage {
  readonly ids: readonly string[];
  readonly offsets: readonly number[];
  readonly more: boolean;
}

export interface CheckpointRef {
  readonly directory: string;
}

/** Format 1. Files are relative to the checkpoint's directory. */
export interface CheckpointManifest {
  readonly format: 1;
  readonly shard: number;
  readonly offset: number;
  /** Hex of the log's chain at `offset`; filled in by the shard service, which knows the log. */
  readonly chain: string;
  /** Hex of the live digest at `offset`. */
  readonly digest: string;
  readonly collections: readonly {
    readonly id: number;
    readonly documents: number;
    /** Offset of the last entry that changed this collection: equal means the files can be linked, not written. */
    readonly offset: number;
    readonly files: readonly { readonly name: string; readonly bytes: number; readonly crc32: number }[];
  }[];
}

export interface IndexStatistics {
  readonly shards: readonly {
    readonly shard: number;
    readonly applied: number;
    readonly collections: readonly { readonly id: number; readonly documents: number; readonly vectors: number; readonly texts: number; readonly deadLabels: number }[];
  }[];
}
