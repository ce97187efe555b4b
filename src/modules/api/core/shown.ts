/** Characters of a client's own text that an error sentence quotes. */
const QUOTED_MAX = 60;

/** A short, single-line rendering of what a client sent, for error sentences. */
export function shown(value: unknown): string {
  if (value === null) return 'null';
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > QUOTED_MAX ? `${value.slice(0, QUOTED_MAX)}…` : value);
    case 'number':
    case 'boolean':
      return String(value);
    case 'object':
      return Array.isArray(value) ? 'an array' : 'an object';
    default:
      return `a value of type ${typeof value}`;
  }
}

/** A field's name as error sentences quote it. */
export function quoted(name: string): string {
  return `\`${name.length > QUOTED_MAX ? `${name.slice(0, QUOTED_MAX)}…` : name}\``;
}
