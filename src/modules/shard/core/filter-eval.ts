import type { JsonObject, JsonValue } from '../../../kernel/json.js';
import type { Filter, FilterClause, FilterScalar } from './filter.js';

type RangeClause = Extract<FilterClause, { readonly kind: 'range' }>;

/**
 * Whether a document passes a filter: the definition, read straight off the metadata. AttributeIndex answers the same for
 * all documents at once; tests hold it to this.
 *
 * - `key` names a member, or through dots a member of a member; `{"a.b": 1}` and `{a: {b: 1}}` both have `a.b`.
 * - Arrays, nested ones too, stand for their elements: any may match. One element must meet all bounds of a range.
 * - Values are equal only in the same type; null and booleans are values. A range finds numbers by numbers and strings by
 *   strings (by UTF-16 code units); without bounds it finds any number or string.
 * - `exists` asks for the key, whatever its value: null, an empty array and an object all exist.
 */
export function matches(filter: Filter, id: string, metadata: JsonObject | undefined): boolean {
  const passes = (clause: FilterClause): boolean => clausePasses(clause, id, metadata);
  if (!filter.must.every(passes)) return false;
  if (filter.must.length === 0 && filter.should.length > 0 && !filter.should.some(passes)) return false;
  return !filter.mustNot.some(passes);
}

/** Whether a value is inside a range: of its bounds' type, and within every one. */
export function inRange(value: FilterScalar, range: RangeClause): boolean {
  if (typeof value !== 'number' && typeof value !== 'string') return false;
  return (
    (range.gt === undefined || compareAlike(value, range.gt) > 0) &&
    (range.gte === undefined || compareAlike(value, range.gte) >= 0) &&
    (range.lt === undefined || compareAlike(value, range.lt) < 0) &&
    (range.lte === undefined || compareAlike(value, range.lte) <= 0)
  );
}

/** Order of two values of one type; NaN, which passes no comparison, for two of different types. */
function compareAlike(a: number | string, b: number | string): number {
  if (typeof a !== typeof b) return NaN;
  return a < b ? -1 : a > b ? 1 : 0;
}

function clausePasses(clause: FilterClause, id: string, metadata: JsonObject | undefined): boolean {
  switch (clause.kind) {
    case 'match':
      return scalarsAt(metadata, clause.key).some((value) => clause.any.some((wanted) => wanted === value));
    case 'range':
      return scalarsAt(metadata, clause.key).some((value) => inRange(value, clause));
    case 'exists':
      return (metadata !== undefined && hasKey(metadata, clause.key)) === clause.exists;
    case 'ids':
      return clause.ids.includes(id);
    case 'nested':
      return matches(clause.filter, id, metadata);
  }
}

/** The values a dotted key reaches, elements of arrays among them. */
function scalarsAt(metadata: JsonObject | undefined, key: string): FilterScalar[] {
  const found: FilterScalar[] = [];
  const collect = (value: JsonValue): void => {
    if (Array.isArray(value)) for (const element of value as readonly JsonValue[]) collect(element);
    else if (value === null || typeof value !== 'object') found.push(value);
  };
  if (metadata !== undefined) reach(metadata, key, collect);
  return found;
}

/** Calls `visit` with every member of `value`, and of the objects in it, that `key` names. */
function reach(value: JsonValue, key: string, visit: (value: JsonValue) => void): void {
  if (Array.isArray(value)) for (const element of value as readonly JsonValue[]) reach(element, key, visit);
  else if (value !== null && typeof value === 'object') {
    for (const [name, member] of Object.entries<JsonValue>(value as JsonObject)) {
      if (name === key) visit(member);
      if (key.startsWith(`${name}.`)) reach(member, key.slice(name.length + 1), visit);
    }
  }
}

/** Whether `key` names a member, or is where the dotted name of one begins. */
function hasKey(value: JsonValue, key: string): boolean {
  if (Array.isArray(value)) return (value as readonly JsonValue[]).some((element) => hasKey(element, key));
  if (value === null || typeof value !== 'object') return false;
  return Object.entries<JsonValue>(value as JsonObject).some(
    ([name, member]) =>
      name === key ||
      name.startsWith(`${key}.`) ||
      (key.startsWith(`${name}.`) && hasKey(member, key.slice(name.length + 1))),
  );
}
