import { NodeError } from '../../../kernel/errors.js';
import type { BulkItem } from '../../coordinator/core/requests.js';
import type { RawFields } from './document-fields.js';
import { checkedId, documentFieldsOf, documentPatchOf } from './document-fields.js';
import { shown } from './shown.js';

/** The shapes a bulk item may have, as validators: each returns the value or throws a NodeError. */
export interface BulkSchemas {
  readonly upsert: (value: unknown) => RawFields & { readonly id: string };
  readonly patch: (value: unknown) => RawFields & { readonly id: string };
  readonly delete: (value: unknown) => { readonly id: string };
}

/**
 * The bulk item in a parsed JSON value: a document, or `{"op": "upsert" | "patch" | "delete", …}` (api.md, bulk).
 * @param bytes of its JSON text
 * @throws NodeError what is wrong with it
 */
export function bulkItemOf(value: unknown, bytes: number, schemas: BulkSchemas): BulkItem {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return NO_OBJECT;
  const { op } = value as { readonly op?: unknown };
  if (op === 'delete') return { kind: 'delete', id: checkedId(schemas.delete(value).id), bytes };
  if (op === 'patch') {
    const line = schemas.patch(value);
    return { kind: 'patch', id: checkedId(line.id), patch: documentPatchOf(line), bytes };
  }
  if (op !== undefined && op !== 'upsert') {
    throw new NodeError('INVALID_REQUEST', `\`op\` must be "upsert", "patch" or "delete", not ${shown(op)}`);
  }
  const line = schemas.upsert(value);
  return { kind: 'upsert', id: checkedId(line.id), fields: documentFieldsOf(line), bytes };
}

/** Made once: rubbish comes by the million. */
const NO_OBJECT: BulkItem = { kind: 'invalid', code: 'INVALID_REQUEST', detail: 'a document must be a JSON object' };

/** The item that stands for one that cannot be read; its id when it shows one, so that the client finds it. */
export function invalidItem(error: NodeError, value?: unknown): BulkItem {
  const id = typeof value === 'object' && value !== null ? (value as { readonly id?: unknown }).id : undefined;
  return {
    kind: 'invalid',
    ...(typeof id === 'string' && id.length <= ID_SHOWN_MAX ? { id: id.toWellFormed() } : {}),
    code: error.code,
    detail: error.message,
  };
}

/** Characters of an invalid item's id that are given back. */
const ID_SHOWN_MAX = 1_024;
