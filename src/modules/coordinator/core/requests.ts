import type { HnswParameters, Similarity } from '../../../kernel/collection.js';
import type { ErrorCode } from '../../../kernel/errors.js';
import type { JsonObject } from '../../../kernel/json.js';
import type { DocumentFields } from '../../shard/core/document.js';
import type { Filter } from '../../shard/core/filter.js';

/**
 * What the edge (REST, gRPC) asks of the coordinator and gets back. Everything here was validated by the edge against
 * the schemas: types, ranges, limits, finite vectors; what needs the map (collections, dimensions) is checked here.
 * Every call rejects with NodeError only.
 */

export type WriteConsistency = 'auto' | 'one' | 'quorum' | 'all';
export type ReadConsistency = 'any' | 'primary' | 'session';
export type SearchMode = 'KEYWORD' | 'VECTOR' | 'HYBRID';

/** What every call carries beside its own fields. */
export interface CallContext {
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
  /** Milliseconds the caller gives; the smallest of this and QUERY_TIMEOUT wins. */
  readonly timeoutMs?: number;
  /** Session token of the client; the answer folds it in. */
  readonly session?: string;
}

export interface WriteOptions {
  /** Collection or alias… name; default `default`. Writes take a collection's name only. */
  readonly collection: string;
  readonly consistency: WriteConsistency;
  readonly idempotencyKey?: string;
}

export type WriteCondition = { readonly kind: 'version'; readonly version: string } | { readonly kind: 'absent' };

export interface DocumentInput {
  readonly id: string;
  readonly fields: DocumentFields;
}

/** RFC 7386 merge: null removes; `vector` replaces. An absent member leaves the field as it is. */
export interface DocumentPatch {
  readonly title?: string | null;
  readonly content?: string | null;
  readonly metadata?: JsonObject | null;
  readonly vector?: Float32Array | null;
}

export interface WriteAnswer {
  readonly id: string;
  readonly indexed: boolean;
  readonly created: boolean;
  readonly version: string;
  readonly shard: number;
  /** Number of the epoch. */
  readonly epoch: number;
  readonly offset: number;
  /** Durable copies when acknowledged. */
  readonly durable: number;
  /** The fsync policy in words: `always`, `interval:<ms>`, `os`. */
  readonly fsync: string;
  readonly session: string;
}

export interface DeleteAnswer {
  readonly id: string;
  readonly deleted: true;
  readonly version: string;
  readonly session: string;
}

/** One line of a bulk request, or what was wrong with it at the edge. */
export type BulkItem =
  | { readonly kind: 'upsert'; readonly id: string; readonly fields: DocumentFields; readonly bytes: number }
  | { readonly kind: 'patch'; readonly id: string; readonly patch: DocumentPatch; readonly bytes: number }
  /** `version`: only while the document still has it; `key`: 16 bytes, instead of the request's key and the line. */
  | {
      readonly kind: 'delete';
      readonly id: string;
      readonly bytes: number;
      readonly version?: string;
      readonly key?: Uint8Array;
    }
  | { readonly kind: 'invalid'; readonly id?: string; readonly code: ErrorCode; readonly detail: string };

export interface BulkError {
  /** Position in the request, from 0. */
  readonly index: number;
  readonly id: string | null;
  readonly code: ErrorCode;
  readonly detail: string;
}

export interface BulkAnswer {
  readonly total: number;
  readonly success: number;
  readonly failed: number;
  /** The first 1 000, in line order. */
  readonly errors: readonly BulkError[];
  readonly session: string;
}

export interface BulkResult {
  readonly answer: BulkAnswer;
  /** Of all errors, also of those beyond the first 1 000. */
  readonly codes: ReadonlySet<ErrorCode>;
}

export interface ReadOptions {
  readonly collection: string;
  readonly consistency: ReadConsistency;
}

export interface DocumentView extends DocumentFields {
  readonly id: string;
  readonly version: string;
}

/** Which fields of found documents to return. */
export interface FieldSelection {
  readonly title: boolean;
  readonly content: boolean;
  readonly metadata: boolean;
  readonly vector: boolean;
}

export interface ScrollRequest extends ReadOptions {
  readonly filter?: Filter;
  readonly limit: number;
  readonly cursor?: string;
  readonly fields: FieldSelection;
  /** Absent: that of any answer alone (LIMITS.answerBytesMax). */
  readonly bound?: PageBound;
}

/** How much a page may hold, in the form in which it is sent; more than the largest document. */
export interface PageBound {
  readonly bytesMax: number;
  readonly bytesOf: (document: DocumentView) => number;
}

export interface ScrollAnswer {
  readonly documents: readonly DocumentView[];
  readonly cursor: string | null;
  readonly shards: ShardsReport;
  readonly session: string;
}

export interface CountAnswer {
  readonly count: number;
  readonly shards: ShardsReport;
  readonly session: string;
}

export type Fusion =
  | {
      readonly method: 'rrf';
      readonly k: number;
      readonly weights: { readonly vector: number; readonly keyword: number };
    }
  | { readonly method: 'relative'; readonly alpha: number };

export interface SearchRequest {
  readonly collection: string;
  readonly mode: SearchMode;
  readonly text?: string;
  readonly vector?: Float32Array;
  readonly topK: number;
  readonly offset: number;
  readonly filter?: Filter;
  readonly fields: FieldSelection;
  readonly ef?: number;
  readonly exact: boolean;
  readonly legSize?: number;
  readonly fusion: Fusion;
  readonly consistency: ReadConsistency;
  readonly minCoverage?: number;
  readonly explain: boolean;
}

/** A result; title, content and metadata are JSON text as stored, spliced into the answer unparsed. */
export interface SearchHit {
  readonly id: string;
  readonly score: number;
  readonly titleJson?: string | undefined;
  readonly contentJson?: string | undefined;
  readonly metadataJson?: string | undefined;
  readonly vector?: Float32Array | undefined;
  readonly version: string;
  readonly ranks: { readonly vector?: number | undefined; readonly keyword?: number | undefined };
  readonly explanation?: HitExplanation | undefined;
}

export interface HitExplanation {
  readonly shard: number;
  readonly vector?: { readonly rank: number; readonly score: number; readonly contribution: number };
  readonly keyword?: {
    readonly rank: number;
    readonly score: number;
    readonly contribution: number;
    readonly length: number;
    readonly averageLength: number;
    readonly terms: readonly {
      readonly term: string;
      readonly frequency: number;
      readonly idf: number;
      readonly score: number;
    }[];
  };
}

export type ShardFailureReason = 'TIMEOUT' | 'UNREACHABLE' | 'STALE_ROUTE' | 'OVERLOADED' | 'FAULTED';

export interface ShardsReport {
  readonly total: number;
  readonly ok: number;
  readonly stale: readonly { readonly shard: number; readonly node: string; readonly lagMs: number }[];
  readonly failed: readonly { readonly shard: number; readonly node?: string; readonly reason: ShardFailureReason }[];
}

export interface SearchAnswer {
  readonly results: readonly SearchHit[];
  readonly totalHits: number;
  readonly queryTimeMs: number;
  readonly mode: SearchMode;
  readonly fusion: Fusion | null;
  readonly partial: boolean;
  readonly shards: ShardsReport;
  readonly coverage: number;
  readonly mapEpoch: number;
  readonly session: string;
  /** Present with `explain`: how the legs were searched and how long each phase took, in milliseconds. */
  readonly explain?: SearchExplanation;
}

export interface SearchExplanation {
  readonly terms?: readonly string[];
  readonly legSize: number;
  readonly ef?: number;
  readonly rounds: number;
  readonly statistics?: { readonly documents: number; readonly averageLength: number };
  readonly timings: {
    readonly planMs: number;
    readonly shardsMs: number;
    readonly fuseMs: number;
    readonly fetchMs: number;
  };
}

export interface CollectionSettings {
  readonly dimensions?: number;
  readonly similarity?: Similarity;
  readonly hnsw?: Partial<HnswParameters>;
}

export interface CollectionView {
  readonly name: string;
  readonly dimensions: number | null;
  readonly similarity: Similarity;
  readonly hnsw: HnswParameters;
  readonly documents: number;
  /** Shards that did not say how many documents they have, which are not counted then; absent: each did. */
  readonly missingShards?: readonly number[];
}

export interface AliasView {
  readonly name: string;
  readonly collection: string;
}

/** One line of the change stream. */
export interface ChangeView {
  readonly cursor: string;
  readonly op: 'upsert' | 'delete';
  readonly id: string;
  readonly version: string;
  readonly collection: string;
  readonly document?: DocumentView;
  /**
   * The reader had followed a branch of this shard that is no longer part of its log: the changes start over after
   * `offset` (replication 7.2). On the first change after that.
   */
  readonly restarted?: { readonly shard: number; readonly offset: number };
}

/** One line of a shard's log. */
export interface LogLineView {
  readonly offset: number;
  readonly op: string;
  readonly epoch: number;
  readonly id?: string;
  readonly collection?: string;
  readonly version: string;
  readonly chain: string;
  readonly bytes: number;
}

export interface DigestView {
  readonly shard: number;
  readonly offset: number;
  readonly chain: string;
  readonly live: string;
  readonly replicas: readonly {
    readonly node: string;
    readonly offset: number;
    readonly chain: string;
    readonly live: string;
  }[];
}

/** The published status shape (api.md, Status answer). */
export interface StatusView {
  readonly status: 'STARTING' | 'RUNNING' | 'DEGRADED' | 'DRAINING';
  readonly clusterMode: boolean;
  readonly activeNodes: number;
  readonly shardCount: number;
  readonly replicaCount: number;
  readonly topology: Readonly<
    Record<string, { readonly status: string; readonly shards: readonly (number | string)[] }>
  >;
  readonly nodeId: string;
  readonly clusterId: string;
  readonly version: string;
  readonly mapEpoch: number;
  readonly viewDigest: string;
  readonly insecure: boolean;
  readonly uptimeMs: number;
  readonly documents: number;
  readonly shards: readonly {
    readonly shard: number;
    readonly epoch: number;
    readonly primary: string | null;
    readonly documents: number;
    readonly offset: number;
    readonly replicas: readonly {
      readonly node: string;
      readonly role: 'primary' | 'replica' | 'learner';
      readonly inSync: boolean;
      readonly offset: number;
      readonly lagMs: number;
      /** Why the copy takes no entries; absent: it does. */
      readonly held?: 'DISK_FULL';
    }[];
  }[];
}

export interface ClusterView {
  readonly clusterId: string;
  readonly mapEpoch: number;
  readonly viewDigest: string;
  readonly failoverPromiseMs: number;
  /** Node ids; a majority of them agrees to changes of the map. */
  readonly mapVoters: readonly string[];
  readonly settings: ClusterSettingsView;
  readonly members: readonly {
    readonly nodeId: string;
    readonly nodeUuid: string;
    readonly incarnation: number;
    readonly status: string;
    readonly addresses: { readonly http: string; readonly grpc: string };
    readonly lagMs: number;
    readonly disk: { readonly freeBytes: number; readonly totalBytes: number };
    readonly version: string;
  }[];
}

export interface ClusterSettingsView {
  readonly replicaCount: number;
  readonly writeConsistency: WriteConsistency;
  readonly partitionMode: 'available' | 'strict';
  /** Milliseconds. */
  readonly rebalanceGraceMs: number;
}
