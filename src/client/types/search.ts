import type { ReadConsistency, ReadOptions } from './calls.js';
import type { Document } from './documents.js';
import type { JsonObject, VectorInput } from './json.js';

export type SearchMode = 'KEYWORD' | 'VECTOR' | 'HYBRID';
export type FilterScalar = string | number | boolean | null;

/** Conditions on metadata: all of `must`, none of `must_not`; `should` alone needs one. Dotted keys reach into objects. */
export interface Filter {
  readonly must?: readonly FilterClause[];
  readonly should?: readonly FilterClause[];
  readonly must_not?: readonly FilterClause[];
}

export type FilterClause =
  | {
      readonly key: string;
      readonly match: { readonly value: FilterScalar } | { readonly any: readonly FilterScalar[] };
    }
  | { readonly key: string; readonly range: FilterRange }
  | { readonly key: string; readonly exists: boolean }
  | { readonly ids: readonly string[] }
  | Filter;

/** Bounds of one type; ISO dates compare as text. */
export interface FilterRange {
  readonly gt?: number | string;
  readonly gte?: number | string;
  readonly lt?: number | string;
  readonly lte?: number | string;
}

/** How the vector and the keyword leg become one list. */
export type Fusion =
  | {
      readonly method: 'rrf';
      readonly k?: number;
      readonly weights?: { readonly vector?: number; readonly keyword?: number };
    }
  | { readonly method: 'relative'; readonly alpha?: number };

/** A search; without `mode`, text and vector mean HYBRID, vector alone VECTOR, text alone KEYWORD. */
export interface SearchRequest {
  readonly text?: string;
  readonly vector?: VectorInput;
  readonly mode?: SearchMode;
  /** 1–10 000, default 10. */
  readonly topK?: number;
  readonly offset?: number;
  readonly filter?: Filter;
  /** A collection or an alias. */
  readonly collection?: string;
  readonly withTitle?: boolean;
  readonly withMetadata?: boolean;
  readonly withContent?: boolean;
  readonly withVector?: boolean;
  readonly params?: { readonly ef?: number; readonly exact?: boolean; readonly legSize?: number };
  readonly fusion?: Fusion;
  readonly consistency?: ReadConsistency;
  /** Milliseconds the node may take. */
  readonly timeoutMs?: number;
  /** 0–1: a smaller share of the documents answering is an error. */
  readonly minCoverage?: number;
  readonly explain?: boolean;
}

export interface SearchHit {
  readonly id: string;
  /** Higher is better: similarity, BM25 or the fused score, by mode. */
  readonly score: number;
  readonly title?: string;
  readonly content?: string;
  readonly metadata?: JsonObject;
  readonly vector?: readonly number[];
  readonly version: string;
  /** Position in each leg, from 1. */
  readonly ranks: { readonly vector?: number; readonly keyword?: number };
  /** Present with `explain`. */
  readonly explanation?: unknown;
}

export type ShardFailureReason = 'TIMEOUT' | 'UNREACHABLE' | 'STALE_ROUTE' | 'OVERLOADED' | 'FAULTED';

/** Which shards answered a read, and how. */
export interface ShardsReport {
  readonly total: number;
  readonly ok: number;
  readonly stale: readonly { readonly shard: number; readonly node: string; readonly lagMs: number }[];
  readonly failed: readonly { readonly shard: number; readonly node?: string; readonly reason: ShardFailureReason }[];
}

export interface SearchAnswer {
  readonly results: readonly SearchHit[];
  /** Results in this answer. */
  readonly totalHits: number;
  readonly queryTimeMs: number;
  readonly mode: SearchMode;
  readonly fusion: Fusion | null;
  /** True whenever a shard failed. */
  readonly partial: boolean;
  readonly shards: ShardsReport;
  /** Documents of answering shards / all, 0–1. */
  readonly coverage: number;
  readonly mapEpoch: number;
  readonly session: string;
  /** Present with `explain`: how the legs were searched. */
  readonly explain?: unknown;
}

/** Which documents a scroll gives, and which of their fields: by default title and metadata. */
export interface ScrollRequest {
  readonly filter?: Filter;
  /** Documents a page, 1–1 000, default 100. */
  readonly limit?: number;
  /** Where to go on; from an earlier page. */
  readonly cursor?: string;
  readonly withTitle?: boolean;
  readonly withMetadata?: boolean;
  readonly withContent?: boolean;
  readonly withVector?: boolean;
}

export interface ScrollOptions extends ReadOptions {
  /** Told which shards did not answer, whose documents are left out then; without it the scroll rejects. */
  readonly missing?: (failed: ShardsReport['failed']) => void;
}

export interface ScrollPage {
  readonly documents: readonly Document[];
  /** Null at the end. */
  readonly cursor: string | null;
  readonly shards: ShardsReport;
}

export interface CountAnswer {
  readonly count: number;
  readonly shards: ShardsReport;
}
