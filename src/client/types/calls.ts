/** How many copies acknowledge a write: see "Write consistency" of the node's documentation. */
export type WriteConsistency = 'auto' | 'one' | 'quorum' | 'all';
/** Which copies may answer a read. A session alone implies `session`. */
export type ReadConsistency = 'any' | 'primary' | 'session';

/** What every call accepts beside its own fields. */
export interface CallOptions {
  /** Ends the call early; the call then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Milliseconds for the whole call, retries included; the client's `timeoutMs` when absent. */
  readonly timeoutMs?: number;
}

/** A call about the documents of one collection. */
export interface CollectionOptions extends CallOptions {
  /** Default `default`, which always exists. */
  readonly collection?: string;
}

export interface ReadOptions extends CollectionOptions {
  readonly consistency?: ReadConsistency;
}

export interface WriteOptions extends CollectionOptions {
  readonly consistency?: WriteConsistency;
  /**
   * Makes repeating the write safe: the node answers a repeated key with the stored result. One is made up for every
   * call that has none, so that the client's own retries are safe; give one to make retries safe over processes.
   */
  readonly idempotencyKey?: string;
}

/** A write of one document that may depend on what is there. */
export interface ConditionalOptions extends WriteOptions {
  /** Only when the document has this version; otherwise 409 VERSION_CONFLICT. */
  readonly ifMatch?: string;
  /** Only when there is no such document; otherwise 409 VERSION_CONFLICT. */
  readonly ifNoneMatch?: '*';
}
