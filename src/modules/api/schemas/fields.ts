import type { Static, TInteger, TObject, TSchema, TUnsafe } from 'typebox';
import { Type } from 'typebox';
import type { JsonObject } from '../../../kernel/json.js';
import { LIMITS } from '../../../kernel/limits.js';

/**
 * Fields that several requests share. A schema is the type, the validator (Ajv) and the text in /openapi.json.
 * Annotations: `x-limit` marks an upper bound of api.md, Limits, whose violation is LIMIT_EXCEEDED; `x-component` names
 * the part of /openapi.json that describes a value which a loop checks instead of the validator.
 */

/** An object that refuses unknown fields; `example` is one that is taken. */
export function closed<P extends Record<string, TSchema>>(
  properties: P,
  description?: string,
  example?: JsonObject,
): TObject<P> {
  return Type.Object(properties, {
    additionalProperties: false,
    ...(description === undefined ? {} : { description }),
    ...(example === undefined ? {} : { examples: [example] }),
  });
}

/** One of some texts. */
export function oneOf<const V extends readonly string[]>(values: V, description: string): TUnsafe<V[number]> {
  return Type.Unsafe<V[number]>({ type: 'string', enum: [...values], description });
}

/** A value described by components.schemas of /openapi.json and checked by code. */
function component<T>(name: string, description: string): TUnsafe<T> {
  return Type.Unsafe<T>({ 'x-component': name, description });
}

export const Id = Type.String({
  description: 'Document id: 1–512 bytes of well-formed Unicode without control characters.',
  examples: ['doc-1'],
});
export const Title = Type.String({ description: 'Searched by keyword.' });
export const Content = Type.String({ description: 'Searched by keyword.' });
/** Checked by vectorOfJson. */
export const Vector = component<unknown>(
  'Vector',
  'Numbers, finite as 32-bit floats, of the dimension of the collection.',
);
/** Checked by metadataOf. */
export const Metadata = component<JsonObject>(
  'Metadata',
  'Any JSON object of at most 64 KiB and 16 levels; what filters look at.',
);
/** Checked by filterOf. */
export const FilterField = component<unknown>('Filter', 'Which documents are meant, by metadata or id.');
/** Checked by idsOf. */
export const Ids = component<unknown>('Ids', `Document ids, at most ${LIMITS.idsMax}.`);

export const CollectionName = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$',
  description: 'Collection; by default `default`.',
});
export const Session = Type.String({
  pattern: '^[A-Za-z0-9_-]*$',
  maxLength: 16_384,
  description: 'Session token of the newest answer; also as header Spector-Session.',
});
export const WriteConsistencyField = oneOf(
  ['auto', 'one', 'quorum', 'all'],
  'How many durable copies acknowledge a write; by default what the cluster is set to.',
);
export const ReadConsistencyField = oneOf(
  ['any', 'primary', 'session'],
  'Which copies may answer: `any` by default, `session` when a session is given.',
);

/** An integer with a bound of api.md, Limits. */
export function limitedInteger(minimum: number, maximum: number, description: string): TInteger {
  return Type.Integer({ minimum, maximum, 'x-limit': true, description });
}

/** Query parameters of every call that writes documents. */
export const WriteQuery = closed({
  collection: Type.Optional(CollectionName),
  consistency: Type.Optional(WriteConsistencyField),
  session: Type.Optional(Session),
});
export type WriteQuery = Static<typeof WriteQuery>;

/** Query parameters of every call that reads documents. */
export const ReadQuery = closed({
  collection: Type.Optional(CollectionName),
  consistency: Type.Optional(ReadConsistencyField),
  session: Type.Optional(Session),
});
export type ReadQuery = Static<typeof ReadQuery>;

/** No query parameters at all. */
export const NoQuery = closed({});
