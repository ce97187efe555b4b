import type { Filter } from './filter.js';
import type {
  CheckpointManifest,
  CheckpointRef,
  ForgottenDocument,
  ScrollPage,
  ShardStatistics,
} from './index-host.js';
import type { ShardSearchAnswer } from './search-answer.js';
import type { CollectionSpec, KeywordStatistics } from './search.js';

/**
 * What an index thread can be asked, and what it answers. One message per turn of the loop carries many requests, and
 * many replies back (architecture, index of a shard).
 */
export interface IndexCalls {
  readonly define: { ask: { readonly collections: readonly CollectionSpec[] }; answer: readonly number[] };
  readonly drop: { ask: { readonly collectionId: number }; answer: undefined };
  readonly open: { ask: { readonly shard: number; readonly checkpoint: CheckpointRef | undefined }; answer: undefined };
  readonly close: { ask: { readonly shard: number }; answer: undefined };
  /** Answers the applied offset once all frames are applied. */
  readonly apply: {
    ask: {
      readonly shard: number;
      readonly frames: Uint8Array<ArrayBuffer>;
      readonly loose?: boolean;
      /** Bytes of entries of the shard that are known to come after these; absent: none. */
      readonly behind?: number;
    };
    answer: number;
  };
  /** What is on its way to `apply` is not applied, but for what already is; its callers are refused as if the shard was not open. */
  readonly hold: { ask: { readonly shard: number }; answer: undefined };
  /** Answers the applied offset. Nothing may be on its way to `apply`. */
  readonly rewind: { ask: { readonly shard: number; readonly offset: number }; answer: number };
  readonly forget: {
    ask: { readonly shard: number; readonly documents: readonly ForgottenDocument[] };
    answer: undefined;
  };
  readonly search: {
    /** `search` as `encodeSearch` writes it; it crosses between threads in `RequestMessage.searches`. */
    ask: { readonly shards: readonly number[]; readonly search: Uint8Array };
    answer: readonly ShardSearchAnswer[];
  };
  readonly statistics: {
    ask: { readonly shard: number; readonly collectionId: number; readonly terms: readonly string[] };
    answer: KeywordStatistics;
  };
  readonly count: {
    ask: { readonly shard: number; readonly collectionId: number; readonly filter: Filter | undefined };
    answer: number;
  };
  readonly scroll: {
    ask: {
      readonly shard: number;
      readonly collectionId: number;
      readonly filter: Filter | undefined;
      readonly after: string | undefined;
      readonly limit: number;
    };
    answer: ScrollPage;
  };
  readonly keys: { ask: { readonly shard: number; readonly collectionId: number }; answer: readonly string[] };
  readonly checkpoint: {
    ask: { readonly shard: number; readonly directory: string; readonly previous: CheckpointRef | undefined };
    answer: CheckpointManifest;
  };
  /** Bytes a checkpoint would take, about. */
  readonly size: { ask: { readonly shard: number }; answer: number };
  readonly digest: {
    ask: { readonly shard: number; readonly recompute: boolean };
    answer: { readonly offset: number; readonly digest: Uint8Array };
  };
  /** Whether the shard is what its checkpoint said it was; answered when nothing else is to be done. */
  readonly check: { ask: { readonly shard: number }; answer: boolean };
  readonly inspect: { ask: object; answer: readonly ShardStatistics[] };
}

export type IndexCall = keyof IndexCalls;
export type IndexAsk<C extends IndexCall> = IndexCalls[C]['ask'];
export type IndexAnswer<C extends IndexCall> = IndexCalls[C]['answer'];

/** A request with the number its reply will carry. */
export type IndexRequest = { [C in IndexCall]: { readonly id: number; readonly kind: C } & IndexAsk<C> }[IndexCall];

/** `cancelled`: requests nobody waits for any more; one that was not begun is dropped and has no reply. */
export interface RequestMessage {
  readonly requests: readonly IndexRequest[];
  readonly cancelled: readonly number[];
  /** The searches, one after the other (`SearchPacker`). */
  readonly searches: Uint8Array<ArrayBuffer> | undefined;
}

export type IndexReply =
  | { readonly id: number; readonly kind: IndexCall; readonly answer: unknown }
  | { readonly id: number; readonly error: IndexFailure };

/** Replies of one turn. What `searches` were answered is in `bytes`, one after the other up to each one's end. */
export interface ReplyMessage {
  readonly replies: readonly IndexReply[];
  readonly searches: readonly number[];
  readonly ends: readonly number[];
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
}

/** Why a request failed, as it crosses between threads. */
export interface IndexFailure {
  readonly reason: IndexFailureReason;
  readonly message: string;
  /** Offset of the entry that was refused. */
  readonly offset?: number;
}

/** NOT_OPEN: the shard is not open in that thread. DIED: the thread ended before it answered. */
export type IndexFailureReason = 'CHECKPOINT_DAMAGED' | 'ENTRY_REFUSED' | 'NOT_OPEN' | 'DIED' | 'FAILED';

/** An index thread could not do what it was asked. */
export class IndexThreadError extends Error {
  override readonly name = 'IndexThreadError';
  readonly reason: IndexFailureReason;
  readonly offset: number | undefined;

  constructor({ reason, message, offset }: IndexFailure) {
    super(message);
    this.reason = reason;
    this.offset = offset;
  }
}
