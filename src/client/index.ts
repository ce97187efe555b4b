/** The package's public door: `import { SpectorClient } from 'spector-node/client'`. */
export { SpectorClient, type SpectorClientOptions } from './spector-client.js';
export { RETRYABLE_CODES, SpectorError, type SpectorErrorCode } from './spector-error.js';
export type { CollectionCalls, AliasCalls } from './catalog-calls.js';
export type { OperationCalls, ShardCalls } from './operation-calls.js';
export type { Fetch } from './transport.js';
export type * from './types/calls.js';
export type * from './types/catalog.js';
export type * from './types/cluster.js';
export type * from './types/documents.js';
export type * from './types/json.js';
export type * from './types/search.js';
export type * from './types/streams.js';
