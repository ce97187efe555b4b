import type { ErrorCode } from '../../../kernel/errors.js';
import type { MapOperation } from '../../ring/core/map-operations.js';
import type { Version } from '../../../kernel/version.js';
import type { ShardLeader } from './protocol.js';

/** Copies that must be durable before a write is acknowledged (replication 2.8), after `auto` was resolved. */
export type AckLevel = 'one' | 'quorum' | 'all';

/** What must be true of the live row for the write to happen. */
export type RowCondition =
  { readonly kind: 'version'; readonly version: string } | { readonly kind: 'absent' } | { readonly kind: 'present' };

/** A write that its shard's primary is asked to make; already expanded to a full image or a tombstone (replication 2.3). */
export interface Proposal {
  /** Names the answer; unique in this process. */
  readonly ticket: number;
  /** BARRIER: where a keyed request of several writes begins (replication 2.10). */
  readonly op: 'UPSERT' | 'DELETE' | 'COLLECTION_PURGE' | 'MAP' | 'BARRIER';
  readonly collectionId: number;
  readonly id: string;
  readonly payload: Uint8Array;
  readonly condition?: RowCondition;
  readonly level: AckLevel;
  /** 16 bytes: from the idempotency key when `keyed`, random otherwise. */
  readonly opId: Uint8Array;
  readonly keyed: boolean;
  /** 16 bytes: what the client asked for; a keyed retry must ask for the same. */
  readonly fingerprint: Uint8Array;
  /** When it was first asked for, in monotonic milliseconds. */
  readonly sinceMs: number;
  /** Its caller waits no longer than this, in monotonic milliseconds; absent: longer than any wait here. */
  readonly untilMs?: number;
  /** The stored live row and idempotency row, as they are now. */
  readonly storedRow: Uint8Array | undefined;
  readonly storedOperation: Uint8Array | undefined;
  /** Only with MAP: what is evaluated against the map before it is logged. */
  readonly mapOperation?: MapOperation;
}

/** A write as the coordinator or the map asks for it. */
export interface WriteRequest {
  readonly op: Proposal['op'];
  readonly collectionId: number;
  readonly id: string;
  readonly payload: Uint8Array;
  readonly condition?: RowCondition;
  readonly level: AckLevel;
  /** 16 bytes from the client's idempotency key; absent: a random one. */
  readonly key?: Uint8Array;
  /** 16 bytes: what the client asked for. Only looked at with `key`. */
  readonly fingerprint?: Uint8Array;
  readonly mapOperation?: MapOperation;
  /** 16 bytes the coordinator chose, so that a repetition is known; absent: random. `key` goes before it. */
  readonly opId?: Uint8Array;
  /** It was sent before and may have been logged: kept and looked up like a keyed one from now on. */
  readonly repeatedFrom?: number;
  /** Milliseconds the caller waits; absent: longer than any wait here. */
  readonly waitMs?: number;
  /** The encoded result of that earlier sending, when its entry was found in the log. */
  readonly earlier?: Uint8Array;
}

export type WriteOutcome =
  | {
      readonly kind: 'written';
      readonly version: Version;
      /** Number of the epoch the entry belongs to. */
      readonly epoch: number;
      /** `reignTag` of that epoch; 0 when it is not known, of a result that came with a merged branch. */
      readonly reign: number;
      readonly offset: number;
      /** Whether the id had no live document before. */
      readonly created: boolean;
      readonly durable: number;
      readonly indexed: boolean;
    }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string; readonly retryAfterMs?: number }
  /** This replica is not the shard's primary, or is handing over: nothing was logged; ask the one in the hint, or again. */
  | { readonly kind: 'redirect'; readonly hint?: ShardLeader };

/** Answer to a proposal. */
export interface Reply {
  readonly ticket: number;
  readonly outcome: WriteOutcome;
}

/** A write that is not made. */
export function refused(code: Extract<WriteOutcome, { kind: 'refused' }>['code'], detail: string): WriteOutcome {
  return { kind: 'refused', code, detail };
}
