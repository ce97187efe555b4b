import { NodeError } from '../../../kernel/errors.js';
import { utf8Length } from '../../../kernel/ids.js';
import type { JsonObject } from '../../../kernel/json.js';
import { LIMITS } from '../../../kernel/limits.js';
import { quoted, shown } from './shown.js';

/** Characters of the longest number JSON writes, e.g. -1.2345678901234567e-300. */
const NUMBER_LENGTH_MAX = 25;

/**
 * The metadata in a parsed JSON value (api.md, Limits): an object of at most 64 KiB as JSON and 16 levels, whose
 * strings are well-formed and whose numbers are finite, since anything else would come back changed.
 * @param name of the field, for the error
 */
export function metadataOf(value: unknown, name: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new NodeError('INVALID_REQUEST', `${quoted(name)} must be an object, not ${shown(value)}`);
  }
  const metadata = value as JsonObject;
  if (walk(metadata, name, 1) > LIMITS.metadataBytesMax && metadataBytes(metadata) > LIMITS.metadataBytesMax) {
    throw new NodeError(
      'LIMIT_EXCEEDED',
      `${quoted(name)} takes ${metadataBytes(metadata)} bytes as JSON; at most ${LIMITS.metadataBytesMax} are allowed`,
    );
  }
  return metadata;
}

/** Bytes of metadata as JSON in UTF-8. */
export function metadataBytes(metadata: JsonObject): number {
  return utf8Length(JSON.stringify(metadata));
}

/** Checks every value and returns an upper bound of the bytes of all, so that most need no exact count. */
function walk(value: unknown, name: string, depth: number): number {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw malformed(name);
      return 6 * value.length + 2;
    case 'number':
      if (!Number.isFinite(value)) {
        throw new NodeError('INVALID_REQUEST', `${quoted(name)} must be a finite number that a 64-bit float holds`);
      }
      return NUMBER_LENGTH_MAX;
    case 'object':
      return value === null ? 4 : walkInside(value, name, depth);
    default:
      return 5;
  }
}

function walkInside(value: object, name: string, depth: number): number {
  if (depth > LIMITS.metadataDepthMax) {
    throw new NodeError('LIMIT_EXCEEDED', `${quoted(name)} is nested deeper than ${LIMITS.metadataDepthMax} levels`);
  }
  let bound = 2;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) bound += 1 + walk(value[i], name, depth + 1);
    return bound;
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) throw forbidden('__proto__', name);
  for (const key of Object.keys(value)) {
    if (!key.isWellFormed()) throw malformed(name);
    if (key === '__proto__') throw forbidden(key, name);
    bound += 6 * key.length + 4 + walk((value as Readonly<Record<string, unknown>>)[key], `${name}.${key}`, depth + 1);
  }
  return bound;
}

/** Keys that could reach a prototype; one that did before we saw it, in a decoder, shows by the prototype it left. */
function forbidden(key: string, name: string): NodeError {
  return new NodeError(
    'INVALID_REQUEST',
    `${quoted(name)} holds the key \`${key}\`, which is not allowed anywhere: rename it`,
  );
}

function malformed(name: string): NodeError {
  return new NodeError('INVALID_REQUEST', `${quoted(name)} must be well-formed Unicode: it holds a lone surrogate`);
}
