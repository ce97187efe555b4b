import type { JsonObject, JsonValue } from '../../../kernel/json.js';
import type { FilterScalar } from './filter.js';

/** Between the parts of a dotted key. */
export const KEY_SEPARATOR = '.';

/**
 * Calls `visit` for every filterable attribute of `metadata`: a dotted key and one value. Objects are reached through
 * dotted keys, `{a: {b: 1}}` as `a.b`; arrays are their elements, one visit each, and arrays of objects are reached through
 * the same dotted key; an empty object or array is its key without a value (undefined). A key that has dots itself,
 * `{"a.b": 1}`, is the same dotted key as nesting makes.
 */
export function visitAttributes(
  metadata: JsonObject,
  visit: (key: string, value: FilterScalar | undefined) => void,
): void {
  for (const name of Object.keys(metadata)) visitValue(name, metadata[name], visit);
}

function visitValue(
  key: string,
  value: JsonValue,
  visit: (key: string, value: FilterScalar | undefined) => void,
): void {
  if (value === null || typeof value !== 'object') visit(key, value);
  else if (isArray(value)) {
    if (value.length === 0) visit(key, undefined);
    for (const element of value) visitValue(key, element, visit);
  } else {
    const names = Object.keys(value);
    if (names.length === 0) visit(key, undefined);
    for (const name of names) visitValue(key + KEY_SEPARATOR + name, value[name], visit);
  }
}

/** The distinct dotted keys of `metadata`, in order of occurrence: what LIMITS.attributeKeysMax counts. */
export function metadataKeys(metadata: JsonObject): string[] {
  const keys = new Set<string>();
  visitAttributes(metadata, (key) => keys.add(key));
  return [...keys];
}

function isArray(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}
