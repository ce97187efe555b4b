import type { ErrorCode } from './errors.js';

/** A node as its data directory knows it: 32 lower-case hex digits (replication 1.1). A wiped disk is another node. */
export type NodeUuid = string;

/**
 * Why a peer gave no answer. REFUSED: nobody listens there (the process is gone). UNRESOLVED: its host name is unknown
 * to DNS. TIMEOUT: silence, or no way there. RESET: the connection broke while it was asked. REJECTED: it answered, and
 * the answer is no; `code` says which no.
 */
export type PeerFailure = 'REFUSED' | 'UNRESOLVED' | 'TIMEOUT' | 'RESET' | 'REJECTED';

/** What only nodes refuse each other with; never told to a client (replication 3). */
export type PeerRefusalCode =
  /** The caller belongs to another cluster (replication 1.1). */
  | 'FOREIGN_CLUSTER'
  /** The caller meant another node: this one has its address now. */
  | 'WRONG_NODE'
  /** The map does not know the caller: it may only introduce itself and join. */
  | 'UNREGISTERED'
  /** No protocol version is spoken by both (replication 8.5). */
  | 'PROTOCOL'
  /** The asked node is not primary of the shard. */
  | 'NOT_PRIMARY'
  /** The caller's map is older than the question needs. */
  | 'STALE_MAP'
  /** The asked copy is damaged. */
  | 'FAULTED';

/** Thrown by what answers peers: the typed no of one node to another, with hints for the next try. */
export class PeerRefusal extends Error {
  override readonly name = 'PeerRefusal';
  constructor(
    readonly code: PeerRefusalCode,
    message: string,
    /** E.g. who is primary, or which map epoch is needed. Few and short. */
    readonly hints: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

/** A question to a peer that was not answered. */
export class PeerError extends Error {
  override readonly name = 'PeerError';
  /** Of a REJECTED one: those of its PeerRefusal. */
  readonly hints: Readonly<Record<string, string>>;
  /** Of a REJECTED one, when the peer named it: milliseconds after which a retry makes sense. */
  readonly retryAfterMs: number | undefined;

  constructor(
    readonly reason: PeerFailure,
    message: string,
    /** Of a REJECTED one, when the peer named one. */
    readonly code?: ErrorCode | PeerRefusalCode,
    options: ErrorOptions & {
      readonly hints?: Readonly<Record<string, string>>;
      readonly retryAfterMs?: number;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.hints = options.hints ?? {};
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Versions of the protocol between nodes that this build speaks (replication 8.5). */
export const PROTOCOL = { min: 1, max: 1 } as const;
