/** A JSON value as documents carry it in `metadata`. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** The same value with the members of every object in the order of their names. */
export function sortedMembers<T extends JsonValue>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item: JsonValue) => sortedMembers(item)) as unknown as T;
  const members = Object.entries(value).map(([name, member]): [string, JsonValue] => [name, sortedMembers(member)]);
  return Object.fromEntries(members.sort(([a], [b]) => (a < b ? -1 : 1))) as T;
}
