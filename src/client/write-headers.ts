import { SpectorError } from './spector-error.js';
import type { CollectionOptions, ConditionalOptions, ReadOptions, WriteOptions } from './types/calls.js';

/** Headers of a write: its idempotency key, made up when the caller gave none, and its condition. */
export function writeHeaders(options: WriteOptions & ConditionalOptions): Record<string, string> {
  return {
    'idempotency-key': options.idempotencyKey ?? randomKey(),
    ...(options.ifMatch === undefined ? {} : { 'if-match': `"${options.ifMatch}"` }),
    ...(options.ifNoneMatch === undefined ? {} : { 'if-none-match': options.ifNoneMatch }),
  };
}

/** Query parameters every call about documents takes. */
export function documentQuery(
  options: CollectionOptions & { readonly consistency?: ReadOptions['consistency'] | WriteOptions['consistency'] },
): Record<string, string | undefined> {
  return { collection: options.collection, consistency: options.consistency };
}

/**
 * The path of a document. `.` and `..` are legal ids that no URL can name (every client resolves them away): they are
 * refused here, instead of asking for something else.
 */
export function documentPath(id: string): string {
  if (id === '.' || id === '..' || id === '' || !id.isWellFormed()) {
    const detail = `the id ${JSON.stringify(id)} cannot stand in a URL; use ingest, getMany, deleteMany or bulk for it`;
    throw new SpectorError({ code: 'INVALID_REQUEST', status: 0, detail, retryable: false });
  }
  return `/api/v1/documents/${encodeURIComponent(id)}`;
}

/** 128 random bits; not crypto.randomUUID, which browsers keep from pages without TLS. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
