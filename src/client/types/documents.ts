import type { JsonObject, VectorInput } from './json.js';

/** The fields of a document beside its id; at least one is present. */
export interface DocumentFields {
  readonly title?: string;
  readonly content?: string;
  /** Of its collection's dimension; finite. */
  readonly vector?: VectorInput;
  readonly metadata?: JsonObject;
}

/** A document to store. Ids: 1–512 bytes of well-formed Unicode without control characters. */
export interface DocumentInput extends DocumentFields {
  readonly id: string;
}

/** RFC 7386 merge: null removes, an absent member stays as it is; `vector` replaces. */
export interface DocumentPatch {
  readonly title?: string | null;
  readonly content?: string | null;
  readonly vector?: VectorInput;
  readonly metadata?: JsonObject | null;
}

/** One line of a bulk request: a document, or an operation. */
export type BulkLine =
  | DocumentInput
  | ({ readonly op: 'upsert' } & DocumentInput)
  | ({ readonly op: 'patch'; readonly id: string } & DocumentPatch)
  | { readonly op: 'delete'; readonly id: string };

/** A stored document. `version` is opaque text; the greater text is the later version. */
export interface Document {
  readonly id: string;
  readonly title?: string;
  readonly content?: string;
  readonly vector?: readonly number[];
  readonly metadata?: JsonObject;
  readonly version: string;
}

/** The answer to a write of one document. */
export interface WriteAnswer {
  readonly id: string;
  /** False when it is stored, but the index took longer than 2 s. */
  readonly indexed: boolean;
  readonly created: boolean;
  readonly version: string;
  readonly shard: number;
  readonly epoch: number;
  readonly offset: number;
  /** Durable copies when acknowledged. */
  readonly durable: number;
  /** The fsync policy: `always`, `interval:<ms>` or `os`. */
  readonly fsync: string;
  readonly session: string;
}

export interface DeleteAnswer {
  readonly id: string;
  readonly deleted: true;
  readonly version: string;
  readonly session?: string;
}

export interface BulkError {
  /** Line of the request, from 0. */
  readonly index: number;
  readonly id: string | null;
  readonly code: string;
  readonly detail: string;
}

export interface BulkAnswer {
  readonly total: number;
  readonly success: number;
  readonly failed: number;
  /** The first 1 000, in line order; `failed` is exact. */
  readonly errors: readonly BulkError[];
  readonly session: string;
}

export interface GetManyAnswer {
  readonly documents: readonly Document[];
  /** Asked ids without a document. */
  readonly missing: readonly string[];
  readonly session?: string;
}

export interface DeleteManyAnswer {
  readonly deleted: number;
  readonly failed: number;
  readonly errors: readonly { readonly id: string; readonly code: string; readonly detail: string }[];
  readonly session?: string;
}
