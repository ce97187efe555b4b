import type { Epoch } from '../../../kernel/epoch.js';
import type { Version } from '../../../kernel/version.js';

/** Kinds of log entry (replication 2.3). The number is on disk: never reuse one. */
export const ENTRY_OPS = {
  BARRIER: 1,
  UPSERT: 2,
  DELETE: 3,
  SET: 4,
  PURGE: 5,
  MERGED: 6,
  COLLECTION_PURGE: 7,
  RESHARD_MARK: 8,
  RANGE_PURGE: 9,
  /** An operation of the map; only in the log of META_SHARD. */
  MAP: 10,
} as const;
export type EntryOp = keyof typeof ENTRY_OPS;

/** Where a merged row was first written (replication 6.4). */
export interface EntryOrigin {
  readonly epoch: Epoch;
  readonly offset: number;
}

/** What a keyed entry says of its operation (replication 2.10): every copy writes the same idempotency row from it. */
export interface EntryOperation {
  /** 16 bytes: what the client asked for under its key. */
  readonly fingerprint: Uint8Array;
  /** Whether the id had no live document before. */
  readonly created: boolean;
}

/** A log entry as the cores see it. */
export interface Entry {
  readonly op: EntryOp;
  readonly shard: number;
  readonly epoch: Epoch;
  /** Safe integer from 1, dense in its shard. */
  readonly offset: number;
  /** For UPSERT and DELETE the version of the document; for other ops when and by what they were written. */
  readonly version: Version;
  /** u32 from the map; 0 where an entry belongs to no collection. */
  readonly collectionId: number;
  /** Document id; empty where an entry is about none. */
  readonly id: string;
  readonly origin?: EntryOrigin;
  /** Only of entries written under an idempotency key, which is their version's opId. */
  readonly operation?: EntryOperation;
  /** Opaque to the log: an encoded document for UPSERT, empty for DELETE, an op's own bytes otherwise. */
  readonly payload: Uint8Array;
  /** 16 bytes: SHA-256(previous chain | this entry without chain and crc), cut (replication 2.2). */
  readonly chain: Uint8Array;
}

export const CHAIN_BYTES = 16;
/** The chain before offset 1. */
export const CHAIN_ZERO = new Uint8Array(CHAIN_BYTES);
