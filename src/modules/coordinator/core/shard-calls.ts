import type { ErrorCode } from '../../../kernel/errors.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { ShardLeader } from '../../replication/core/protocol.js';
import type { AckLevel, RowCondition, WriteOutcome } from '../../replication/core/write.js';
import type { MapOperation } from '../../ring/core/map-operations.js';
import type { DocumentSegments } from '../../shard/core/document-codec.js';
import type { Filter } from '../../shard/core/filter.js';
import type { ShardSearchAnswer } from '../../shard/core/search-answer.js';
import type { KeywordStatistics } from '../../shard/core/search.js';
import type { Position } from './positions.js';
import type { FieldSelection } from './requests.js';

/**
 * What the coordinator asks of the node that holds a shard, in its own words (replication 3, 7.2). The same calls are
 * made on this node and on another one, so that a query does not care where a shard is.
 */

/** Under which conditions one shard may answer; checked by the node that holds it. */
export interface ShardGate {
  readonly shard: number;
  /** Number of the epoch the caller knows; 0 when it knows none. */
  readonly epoch: number;
  /** What the client's session saw: the log must contain it and the index must have applied it. */
  readonly position?: Position;
  /** Answer only as the shard's primary. */
  readonly primary: boolean;
  /** Answer also when not in sync: no better copy can be reached (replication 7.3). */
  readonly stale: boolean;
}

export const REFUSAL_CODES = [
  /** It is not the primary; `hint` names who is, if it knows. */
  'NOT_PRIMARY',
  /** It does not know the caller's map yet, or holds no copy of the shard (any more). */
  'STALE_MAP',
  /** Its copy is behind; asked again with `stale` it answers. */
  'NOT_IN_SYNC',
  /** Its copy has not what the session saw. */
  'NOT_CAUGHT_UP',
  /** Its copy is damaged. */
  'FAULTED',
  /** It is opening the shard. */
  'STARTING',
  /** The range is moving (replication 10). */
  'FROZEN',
  'OVERLOADED',
] as const;
export type RefusalCode = (typeof REFUSAL_CODES)[number];

/** Why a node does not answer for a shard. It speaks to the coordinator and never reaches a client. */
export interface Refusal {
  readonly code: RefusalCode;
  readonly hint?: ShardLeader;
  readonly retryAfterMs?: number;
}

/** What a node says for one shard. */
export type ShardReply<T> =
  | {
      readonly shard: number;
      readonly value: T;
      /** Milliseconds the copy is behind; absent when it is in sync. */
      readonly lagMs?: number;
      readonly refusal?: undefined;
    }
  | { readonly shard: number; readonly refusal: Refusal };

/** A candidate of a search, so that its entry is found again on the copy that answered or at that version on another. */
export interface WantedEntry {
  readonly id: string;
  readonly offset: number;
  readonly versionMs: number;
  readonly versionCounter: number;
}

/** A live document, its JSON unparsed. */
export interface StoredSegments extends DocumentSegments {
  readonly id: string;
  readonly version: string;
}

export interface DocumentPage {
  readonly documents: readonly StoredSegments[];
  /** The last id looked at: where the next page goes on. */
  readonly last: string | undefined;
  readonly more: boolean;
  /** Where each of `documents` is in the log. */
  readonly offsets: readonly number[];
}

/** A write for the primary of a shard; already a full image or a tombstone (replication 2.3). */
export interface ShardWrite {
  readonly shard: number;
  readonly op: 'UPSERT' | 'DELETE' | 'COLLECTION_PURGE' | 'BARRIER';
  readonly collectionId: number;
  readonly id: string;
  readonly payload: Uint8Array;
  readonly condition?: RowCondition;
  readonly level: AckLevel;
  /** 16 bytes: from the client's idempotency key. */
  readonly key?: Uint8Array;
  /** 16 bytes; with `key`. */
  readonly fingerprint?: Uint8Array;
  /** 16 bytes, chosen by the coordinator, so that a repetition is known for what it is. */
  readonly opId: Uint8Array;
  /**
   * It was sent before and may have been logged: the offset below which that cannot have happened. The primary looks
   * for its opId from there on before it makes the write.
   */
  readonly repeatedFrom?: number;
}

/** Writes that come to their primary over another node, since `from` cannot reach it (replication 3). */
export interface WriteRelay {
  /** Who coordinates the writes. */
  readonly from: NodeUuid;
  /** What `from` sent the primary itself on streams of an older generation shall not be done any more. */
  readonly generation: number;
  /** The primary, as long as the writes are to be passed on; absent on the second leg, so that there is no third. */
  readonly to?: NodeUuid;
}

/** What a primary says of a write. */
export type MadeOrRefused = Exclude<WriteOutcome, { readonly kind: 'redirect' }>;
export type ShardWriteOutcome = MadeOrRefused | { readonly kind: 'turned-away'; readonly refusal: Refusal };

export interface ShardSummary {
  readonly offset: number;
  readonly applied: number;
  readonly chain: Uint8Array;
  /** Live digest at `offset`. */
  readonly live: Uint8Array;
  /** Of `offset`: number and tag of its epoch. */
  readonly epoch: number;
  readonly reign: number;
  /** (collectionId, live documents). */
  readonly collections: readonly { readonly id: number; readonly live: number }[];
}

/** A part of a shard's log. */
export interface EntryPage {
  readonly entries: readonly Uint8Array[];
  /** The log is whole above this offset. */
  readonly start: number;
  readonly tail: number;
  /**
   * The log does not contain the asked position: it was on a branch that ended at this offset, and the entries go on
   * from there (replication 7.2).
   */
  readonly fork?: number;
  /** The asked offset is not above `start`: entries may be missing that the reader never saw. */
  readonly compacted: boolean;
}

export interface ShardCalls {
  readonly search: {
    ask: {
      readonly mapEpoch: number;
      readonly gates: readonly ShardGate[];
      /** As `encodeSearch` writes it. */
      readonly search: Uint8Array;
    };
    answer: readonly ShardReply<ShardSearchAnswer>[];
  };
  readonly statistics: {
    ask: {
      readonly mapEpoch: number;
      readonly gates: readonly ShardGate[];
      readonly collectionId: number;
      readonly terms: readonly string[];
    };
    answer: readonly ShardReply<KeywordStatistics>[];
  };
  readonly count: {
    ask: {
      readonly mapEpoch: number;
      readonly gates: readonly ShardGate[];
      readonly collectionId: number;
      readonly filter: Filter | undefined;
    };
    answer: readonly ShardReply<number>[];
  };
  /** Documents by id; `ids[i]` belong to `gates[i]`. Undefined: there is no such document. */
  readonly read: {
    ask: {
      readonly mapEpoch: number;
      readonly gates: readonly ShardGate[];
      readonly collectionId: number;
      readonly ids: readonly (readonly string[])[];
      readonly fields: FieldSelection;
    };
    answer: readonly ShardReply<readonly (StoredSegments | undefined)[]>[];
  };
  /** Matching documents of each shard in the order of their ids. */
  readonly page: {
    ask: {
      readonly mapEpoch: number;
      readonly gates: readonly ShardGate[];
      readonly collectionId: number;
      readonly filter: Filter | undefined;
      readonly after: string | undefined;
      readonly limit: number;
      readonly fields: FieldSelection;
    };
    answer: readonly ShardReply<DocumentPage>[];
  };
  readonly keys: {
    ask: { readonly mapEpoch: number; readonly gates: readonly ShardGate[]; readonly collectionId: number };
    answer: readonly ShardReply<readonly string[]>[];
  };
  readonly summary: {
    ask: { readonly mapEpoch: number; readonly gates: readonly ShardGate[] };
    answer: readonly ShardReply<ShardSummary>[];
  };
  /** Payloads of winners; `wanted[i]` belong to `shards[i]`. Undefined: superseded since, and gone. */
  readonly fetch: {
    ask: {
      readonly collectionId: number;
      readonly shards: readonly number[];
      readonly wanted: readonly (readonly WantedEntry[])[];
      readonly fields: FieldSelection;
    };
    answer: readonly ShardReply<readonly (StoredSegments | undefined)[]>[];
  };
  /** In the order of `writes`. */
  readonly write: {
    ask: {
      readonly mapEpoch: number;
      readonly writes: readonly ShardWrite[];
      readonly relay?: WriteRelay;
    };
    answer: readonly ShardWriteOutcome[];
  };
  /** A part of one shard's log; waits for news up to `waitMs` when there is none. */
  readonly entries: {
    ask: {
      readonly mapEpoch: number;
      readonly shard: number;
      /** The last entry the reader has; offset 0 for the beginning, epoch 0 when it is not known. */
      readonly after: Position;
      readonly limit: number;
      readonly bytesMax: number;
      readonly waitMs: number;
    };
    answer: ShardReply<EntryPage>;
  };
  /** Changes the map, on the primary of its shard; answers the map epoch that holds the change. */
  readonly change: {
    ask: { readonly operation: MapOperation };
    answer:
      | { readonly kind: 'changed'; readonly mapEpoch: number }
      | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string }
      | { readonly kind: 'turned-away'; readonly refusal: Refusal };
  };
  /** The map epoch that node has: of the primary of the map's shard, the newest that is agreed. */
  readonly map: {
    ask: { readonly mapEpoch: number };
    answer: { readonly mapEpoch: number };
  };
  /** Hands the primary of a shard over to another in-sync copy (replication 5.7), on the primary. */
  readonly transfer: {
    ask: { readonly shard: number; readonly to: NodeUuid };
    answer: { readonly refusal?: Refusal };
  };
  /** How many keyed operations of a shard have an id that begins with `prefix` (replication 2.10). */
  readonly operations: {
    ask: { readonly mapEpoch: number; readonly gates: readonly ShardGate[]; readonly prefix: Uint8Array };
    answer: readonly ShardReply<number>[];
  };
  /** Superseded writes of merged branches, as JSON values (replication 6.4). */
  readonly conflicts: {
    ask: { readonly mapEpoch: number; readonly gates: readonly ShardGate[] };
    answer: readonly ShardReply<readonly unknown[]>[];
  };
}

export type ShardCall = keyof ShardCalls;
export type ShardAsk<C extends ShardCall> = ShardCalls[C]['ask'];
export type ShardAnswer<C extends ShardCall> = ShardCalls[C]['answer'];

/** Calls that ask several shards of a node at once under gates. */
export type GatedCall =
  'search' | 'statistics' | 'count' | 'read' | 'page' | 'keys' | 'summary' | 'operations' | 'conflicts';
/** What a gated call answers for one shard. */
export type GatedValue<C extends GatedCall> = ShardAnswer<C> extends readonly ShardReply<infer T>[] ? T : never;
