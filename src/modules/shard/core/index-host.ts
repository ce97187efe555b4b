import type { Version } from '../../../kernel/version.js';
import type { Filter } from './filter.js';
import type { SearchAnswerWriter } from './search-answer-writer.js';
import type { CollectionSpec, KeywordStatistics, ShardSearch } from './search.js';

/**
 * The indexes of some shards, in one thread: for each (shard, collection) one vector index, one keyword index, one
 * attribute index and the table of labels. Single-threaded and, but for writing a checkpoint, synchronous; the worker
 * shell (or, with INDEX_THREADS=0, the main thread) calls it. It applies by its own stored versions, never by the
 * document table's, because that is already ahead during a replay.
 *
 * Invariants: the state after `apply` of offsets 1…n depends on those entries alone; an id has at most one live label
 * in its collection; a label of a dead document is never returned.
 */
export interface IndexHost {
  /**
   * Tells of collections to index; may come again with a dimension that was unknown. Returns the shards that passed
   * over entries of one of them before it was known: they must be opened again, without a checkpoint.
   */
  defineCollections(collections: readonly CollectionSpec[]): readonly number[];

  /** Forgets a dropped collection: entries of it are passed over from now on. */
  dropCollection(collectionId: number): void;

  /** Starts a shard: from a checkpoint, or empty. A checkpoint that is damaged or does not match throws CheckpointDamagedError. */
  openShard(shard: number, checkpoint: CheckpointRef | undefined): void;

  closeShard(shard: number): void;

  /**
   * Applies encoded log entries in offset order; entries at or below the applied offset are ignored. `frames` are
   * frames: u32 big-endian length, then the entry, repeated. Crc is checked again. Returns false when the time slice
   * ended first: call `continueApply` until it returns true. Both do nothing while a checkpoint is written.
   * @param loose entries of loose rows (replication 6.4): applied where they are not known yet, whatever their offsets,
   * and the applied offset stays
   * @throws EntryRefusedError; the shard answers FAULTED from then on
   */
  apply(shard: number, frames: Uint8Array, sliceMs: number, loose?: boolean): boolean;
  continueApply(shard: number, sliceMs: number): boolean;

  /** Leaves out the rest of what `apply` returned false for: it comes again, if at all. */
  abandon(shard: number): void;

  /** Offset applied so far. */
  applied(shard: number): number;

  /** The log was cut at `offset`, if that is below what is applied: the next entries are those of its new branch. Not while a checkpoint is written. */
  rewind(shard: number, offset: number): void;

  /** Forgets documents whose rows are gone without an entry that says so. Not while a checkpoint is written. */
  forget(shard: number, documents: readonly ForgottenDocument[]): void;

  /** Writes the answer of each asked shard, in their order. Never throws for one bad shard: that one says `failed`. */
  search(search: ShardSearch, into: SearchAnswerWriter): void;

  /** Live documents that match. */
  count(shard: number, collectionId: number, filter: Filter | undefined): number;

  /** Live documents, total text length and documents per term: the sums `exact` needs first. */
  keywordStatistics(shard: number, collectionId: number, terms: readonly string[]): KeywordStatistics;

  /** The dotted metadata keys of the collection's documents in the shard (LIMITS.attributeKeysMax is over all of them). */
  attributeKeys(shard: number, collectionId: number): readonly string[];

  /** Ids greater than `after` that match, ascending, at most `limit`, with their offsets. */
  scroll(
    shard: number,
    collectionId: number,
    filter: Filter | undefined,
    after: string | undefined,
    limit: number,
  ): ScrollPage;

  /**
   * Writes a whole checkpoint into `directory` (made by the caller, empty). Nothing is applied meanwhile, searches go on.
   * Files of collections that did not change since `previous` are linked.
   */
  checkpoint(shard: number, directory: string, previous: CheckpointRef | undefined): Promise<WrittenCheckpoint>;

  /** Bytes a checkpoint of the shard would take now, about. */
  checkpointBytes(shard: number): number;

  /** Whether a background rebuild of some graph is due or under way. */
  readonly needsWork: boolean;

  /** Goes on with background rebuilds for about `sliceMs`. */
  work(sliceMs: number): void;

  /** Sum mod 2^128 over live rows (replication 6.5); 16 bytes. Kept with every entry, or recomputed from the labels. */
  digest(shard: number, recompute: boolean): Uint8Array;

  /**
   * Goes on, for about `sliceMs`, comparing what a checkpoint brought with the digests it named. False: something else was
   * brought, and the shard has to be built from its log. Undefined: not at the end yet.
   */
  check(shard: number, sliceMs: number): boolean | undefined;

  statistics(): IndexStatistics;

  /** Gives all memory back. */
  close(): void;
}

export interface ForgottenDocument {
  readonly collectionId: number;
  readonly id: string;
  /** Another one is not touched. */
  readonly version: Version;
}

export interface ScrollPage {
  readonly ids: readonly string[];
  readonly offsets: readonly number[];
  readonly more: boolean;
}

export interface CheckpointRef {
  readonly directory: string;
  readonly manifest: CheckpointManifest;
}

/** A checkpoint whose files are written; the shard goes on meanwhile. */
export interface WrittenCheckpoint {
  /** Syncs every file. */
  readonly seal: () => Promise<CheckpointManifest>;
}

/** Format 2 (format 1 had graphs as hnswlib writes them). Files are relative to the checkpoint's directory. */
export interface CheckpointManifest {
  readonly format: 2;
  readonly shard: number;
  readonly offset: number;
  /** Hex of the log's chain at `offset`; filled in by the shard service, which knows the log. */
  readonly chain: string;
  /** Hex of the live digest at `offset`. */
  readonly digest: string;
  readonly collections: readonly CheckpointCollection[];
  /** Unknown collections whose entries up to `offset` were passed over. */
  readonly passedOver: readonly number[];
}

export interface CheckpointCollection {
  readonly id: number;
  readonly documents: number;
  /** Offset of the last entry that changed this collection: equal means the files can be linked, not written. */
  readonly offset: number;
  /** Hex of its live digest. */
  readonly digest: string;
  readonly files: readonly CheckpointFile[];
}

export interface CheckpointFile {
  readonly name: string;
  readonly bytes: number;
  readonly crc32: number;
}

/** A checkpoint cannot be used: a file is missing or damaged, or it is not of this shard's present. Another one, or the log, serves. */
export class CheckpointDamagedError extends Error {
  override readonly name = 'CheckpointDamagedError';
}

/** The shard is not open in this host. */
export class ShardNotOpenError extends Error {
  override readonly name = 'ShardNotOpenError';
  constructor(readonly shard: number) {
    super(`shard ${shard} is not open`);
  }
}

export interface IndexStatistics {
  readonly shards: readonly ShardStatistics[];
}

export interface ShardStatistics {
  readonly shard: number;
  readonly applied: number;
  /** Why it answers FAULTED. */
  readonly fault?: string;
  readonly collections: readonly {
    readonly id: number;
    readonly documents: number;
    readonly vectors: number;
    readonly texts: number;
    /** Labels of dead documents that wait for the graph to be rebuilt. */
    readonly deadLabels: number;
    readonly tombstones: number;
  }[];
}
