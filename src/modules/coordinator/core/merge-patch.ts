import type { JsonObject, JsonValue } from '../../../kernel/json.js';
import type { DocumentFields } from '../../shard/core/document.js';
import type { DocumentPatch } from './requests.js';

/** A document after a merge patch (RFC 7386): null removes a member, objects merge, anything else replaces. */
export function mergePatch(fields: DocumentFields, patch: DocumentPatch): DocumentFields {
  const title = patch.title === undefined ? fields.title : (patch.title ?? undefined);
  const content = patch.content === undefined ? fields.content : (patch.content ?? undefined);
  const vector = patch.vector === undefined ? fields.vector : (patch.vector ?? undefined);
  const metadata =
    patch.metadata === undefined
      ? fields.metadata
      : patch.metadata === null
        ? undefined
        : mergeObject(fields.metadata ?? {}, patch.metadata);
  return {
    ...(title === undefined ? {} : { title }),
    ...(content === undefined ? {} : { content }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(vector === undefined ? {} : { vector }),
  };
}

function mergeObject(target: JsonObject, patch: JsonObject): JsonObject {
  const merged = new Map<string, JsonValue>(Object.entries(target));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, isObject(value) ? mergeObject(objectOrEmpty(merged.get(key)), value) : value);
  }
  return Object.fromEntries(merged);
}

function objectOrEmpty(value: JsonValue | undefined): JsonObject {
  return value !== undefined && isObject(value) ? value : {};
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
