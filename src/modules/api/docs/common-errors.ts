/** Errors that several calls can meet, for /openapi.json. */

/** Of every read of documents. */
export const READ_ERRORS = [
  'COLLECTION_NOT_FOUND',
  'OVERLOADED',
  'SHARD_UNAVAILABLE',
  'NOT_CAUGHT_UP',
  'QUERY_TIMEOUT',
  'LOG_CORRUPT',
] as const;

/** Of every write of documents. */
export const WRITE_ERRORS = [
  'COLLECTION_NOT_FOUND',
  'OVERLOADED',
  'SHARD_UNAVAILABLE',
  'NO_QUORUM',
  'WRITE_OUTCOME_UNKNOWN',
  'LOG_CORRUPT',
] as const;

/** Of a write that brings a document, beside those. */
export const UPSERT_ERRORS = ['DIMENSION_MISMATCH', 'INSUFFICIENT_STORAGE'] as const;

/** Of every change of the map. */
export const MAP_ERRORS = ['SHARD_UNAVAILABLE', 'NO_QUORUM', 'WRITE_OUTCOME_UNKNOWN'] as const;
