/**
 * Every error a client can meet (api.md, Errors): its HTTP status, gRPC status and whether trying the same
 * request again can help. The table in docs/errors.md is compared with this one by a test.
 */
export const ERRORS = {
  INVALID_REQUEST: { http: 400, grpc: 'INVALID_ARGUMENT', retryable: false, title: 'The request is not valid' },
  DIMENSION_MISMATCH: {
    http: 400,
    grpc: 'INVALID_ARGUMENT',
    retryable: false,
    title: 'The vector has another dimension than its collection',
  },
  LIMIT_EXCEEDED: { http: 400, grpc: 'INVALID_ARGUMENT', retryable: false, title: 'A limit is exceeded' },
  UNAUTHENTICATED: { http: 401, grpc: 'UNAUTHENTICATED', retryable: false, title: 'A valid API key is needed' },
  FORBIDDEN: { http: 403, grpc: 'PERMISSION_DENIED', retryable: false, title: 'The API key lacks the scope' },
  DOCUMENT_NOT_FOUND: { http: 404, grpc: 'NOT_FOUND', retryable: false, title: 'No such document' },
  COLLECTION_NOT_FOUND: { http: 404, grpc: 'NOT_FOUND', retryable: false, title: 'No such collection' },
  ALIAS_NOT_FOUND: { http: 404, grpc: 'NOT_FOUND', retryable: false, title: 'No such alias' },
  SHARD_NOT_FOUND: { http: 404, grpc: 'NOT_FOUND', retryable: false, title: 'No such shard' },
  NODE_NOT_FOUND: { http: 404, grpc: 'NOT_FOUND', retryable: false, title: 'No such node' },
  OPERATION_NOT_FOUND: { http: 404, grpc: 'NOT_FOUND', retryable: false, title: 'No such operation' },
  ROUTE_NOT_FOUND: { http: 404, grpc: 'NOT_FOUND', retryable: false, title: 'No such route' },
  METHOD_NOT_ALLOWED: { http: 405, grpc: 'UNIMPLEMENTED', retryable: false, title: 'The method is not allowed here' },
  UNSUPPORTED_MEDIA_TYPE: {
    http: 415,
    grpc: 'UNIMPLEMENTED',
    retryable: false,
    title: 'The content type is not supported',
  },
  VERSION_CONFLICT: { http: 409, grpc: 'ABORTED', retryable: false, title: 'The document has another version' },
  OPERATION_CONFLICT: { http: 409, grpc: 'ABORTED', retryable: false, title: 'Another operation is in the way' },
  IDEMPOTENCY_CONFLICT: {
    http: 409,
    grpc: 'ALREADY_EXISTS',
    retryable: false,
    title: 'The idempotency key was used for another request',
  },
  COLLECTION_CONFLICT: {
    http: 409,
    grpc: 'ALREADY_EXISTS',
    retryable: false,
    title: 'The collection exists with other settings',
  },
  OFFSET_COMPACTED: { http: 410, grpc: 'OUT_OF_RANGE', retryable: false, title: 'The log no longer holds that offset' },
  PAYLOAD_TOO_LARGE: { http: 413, grpc: 'RESOURCE_EXHAUSTED', retryable: false, title: 'The payload is too large' },
  OVERLOADED: { http: 429, grpc: 'RESOURCE_EXHAUSTED', retryable: true, title: 'The node is overloaded' },
  SHARD_UNAVAILABLE: { http: 503, grpc: 'UNAVAILABLE', retryable: true, title: 'A shard cannot be reached' },
  NO_QUORUM: { http: 503, grpc: 'UNAVAILABLE', retryable: true, title: 'Too few replicas for the consistency asked' },
  NOT_CAUGHT_UP: {
    http: 503,
    grpc: 'UNAVAILABLE',
    retryable: true,
    title: 'No replica has caught up with the session',
  },
  COVERAGE_TOO_LOW: { http: 503, grpc: 'UNAVAILABLE', retryable: true, title: 'Too few documents could be searched' },
  FROZEN: { http: 503, grpc: 'UNAVAILABLE', retryable: true, title: 'The range is moving' },
  STARTING: { http: 503, grpc: 'UNAVAILABLE', retryable: true, title: 'The node is starting' },
  DRAINING: { http: 503, grpc: 'UNAVAILABLE', retryable: true, title: 'The node is shutting down' },
  WRITE_OUTCOME_UNKNOWN: {
    http: 504,
    grpc: 'DEADLINE_EXCEEDED',
    retryable: true,
    title: 'It is not known whether the write is stored',
  },
  QUERY_TIMEOUT: { http: 504, grpc: 'DEADLINE_EXCEEDED', retryable: true, title: 'The deadline passed' },
  INSUFFICIENT_STORAGE: {
    http: 507,
    grpc: 'RESOURCE_EXHAUSTED',
    retryable: true,
    title: 'The node is out of disk or memory',
  },
  LOG_CORRUPT: { http: 500, grpc: 'DATA_LOSS', retryable: true, title: 'A log entry is damaged' },
  INTERNAL: { http: 500, grpc: 'INTERNAL', retryable: false, title: 'An internal error' },
} as const satisfies Record<string, { http: number; grpc: string; retryable: boolean; title: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** Facts a client may need beside the sentence; only JSON values. */
export interface NodeErrorOptions {
  readonly cause?: unknown;
  /** Milliseconds after which a retry makes sense. */
  readonly retryAfterMs?: number;
  /** Extra members of the problem document (e.g. `shards` of COVERAGE_TOO_LOW). */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** An operating error on its way to a client. `message` becomes `detail`: it says what is wrong and what to do. */
export class NodeError extends Error {
  override readonly name = 'NodeError';
  readonly code: ErrorCode;
  readonly retryAfterMs: number | undefined;
  readonly extra: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, detail: string, options: NodeErrorOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.extra = options.extra;
  }
}
