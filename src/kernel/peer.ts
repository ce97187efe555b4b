import type { ErrorCode } from './errors.js';

/** A node as its data directory knows it: 32 lower-case hex digits (replication 1.1). A wiped disk is another node. */
export type NodeUuid = string;

/**
 * Why a peer gave no answer. REFUSED: nobody listens there (the process is gone). UNRESOLVED: its host name means nothing
 * (now). TIMEOUT: silence. RESET: the connection broke while it was asked. REJECTED: it answered, and the answer is no;
 * `code` says which no.
 */
export type PeerFailure = 'REFUSED' | 'UNRESOLVED' | 'TIMEOUT' | 'RESET' | 'REJECTED';

/** A question to a peer that was not answered. */
export class PeerError extends Error {
  override readonly name = 'PeerError';
  constructor(
    readonly reason: PeerFailure,
    message: string,
    /** Of a REJECTED one, when the peer named one. */
    readonly code?: ErrorCode,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Versions of the protocol between nodes that this build speaks (replication 8.5). */
export const PROTOCOL = { min: 1, max: 1 } as const;
