import { LIMITS } from '../../../kernel/limits.js';
import { readNumberArray } from './json-numbers.js';
import { isJsonSpace } from './json-space.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;

/**
 * Object keys of one JSON value. A parser takes about 1 µs for a key it has not seen, so that megabytes of distinct
 * keys would hold the event loop for most of a second; no valid request comes near (64 KiB of metadata hold 16 000).
 */
export const JSON_KEYS_MAX = 50_000;

/** Values of one JSON value: above, no vector, id list or metadata within its own limit can be meant. */
export const JSON_VALUES_MAX = 200_000;

/** Keys that could reach a prototype; refused wherever they occur. Any other is a key of its object alone. */
const FORBIDDEN_KEYS: readonly string[] = ['__proto__'];

/** Why a JSON text is refused before it is parsed. */
export type JsonScanProblem =
  | { readonly kind: 'depth' }
  | { readonly kind: 'keys' }
  | { readonly kind: 'values' }
  | { readonly kind: 'forbidden-key'; readonly key: string };

const VECTOR_KEY = 'vector';

/**
 * The member `vector` of the object that a JSON text is, read while the text is scanned: a vector is most of its bytes,
 * and reading it there costs a fraction of parsing it.
 */
export class VectorMember {
  /** Where its array begins and ends in the text. */
  from = 0;
  to = 0;
  #vector: Float32Array | undefined;
  #keys = 0;
  /** A key in a spelling that only the parser understands, or a value that only it can judge. */
  #unclear = false;

  /** The vector; undefined when there is none, or the parser must see it. */
  get vector(): Float32Array | undefined {
    return this.#unclear || this.#keys !== 1 ? undefined : this.#vector;
  }

  /**
   * Looks at a key of the object and, when it is the one, reads its value.
   * @param at the key's opening quote
   * @param end behind its closing quote
   * @returns where the scan goes on: behind the value, or `end` when it was not read
   */
  visit(bytes: Uint8Array, at: number, end: number, to: number): number {
    for (let i = at + 1; i < end; i++) if (bytes[i] === BACKSLASH) this.#unclear = true;
    if (!spells(bytes, at + 1, end - 1, VECTOR_KEY)) return end;
    this.#keys++;
    let value = end;
    while (bytes[value] !== COLON) value++;
    do value++;
    while (isJsonSpace(bytes[value]));
    const read = bytes[value] === OPEN_BRACKET && value < to ? readNumberArray(bytes, value, to) : undefined;
    if (read === undefined) {
      this.#unclear = true;
      return end;
    }
    this.#vector = read.vector;
    this.from = value;
    this.to = read.end;
    return read.end;
  }
}

/**
 * Looks at the bytes of a JSON text before they are parsed: nesting, number of keys and values, forbidden keys. One
 * pass, no allocation in the normal case. Malformed text is left to the parser: what is malformed here is bounded all
 * the same.
 * @param member takes the member `vector` of the object that the text is
 * @returns what is wrong, or undefined
 */
export function scanJson(
  bytes: Uint8Array,
  from = 0,
  to = bytes.length,
  member?: VectorMember,
): JsonScanProblem | undefined {
  let depth = 0;
  let keys = 0;
  let values = 0;
  let at = from;
  while (at < to) {
    const byte = bytes[at] ?? 0;
    if (byte > COMMA && byte < OPEN_BRACKET && byte !== COLON) {
      // Digits and capitals: most of a vector.
      at++;
      continue;
    }
    switch (byte) {
      case QUOTE: {
        const start = at;
        const end = stringEnd(bytes, at, to);
        at = end;
        if (!isKey(bytes, end, to)) continue;
        const key = forbiddenKey(bytes, start, end);
        if (key !== undefined) return { kind: 'forbidden-key', key };
        if (depth === 1 && member !== undefined) {
          at = member.visit(bytes, start, end, to);
          if (at === end) continue;
          // What was passed over: the colon, the array, the commas in it.
          if (++keys > JSON_KEYS_MAX) return { kind: 'keys' };
          values += member.vector?.length ?? 0;
          if (values > JSON_VALUES_MAX) return { kind: 'values' };
        }
        continue;
      }
      case 0x7b: // {
      case OPEN_BRACKET:
        if (++depth > LIMITS.jsonDepthMax) return { kind: 'depth' };
        if (++values > JSON_VALUES_MAX) return { kind: 'values' };
        break;
      case 0x7d: // }
      case 0x5d: // ]
        depth--;
        break;
      case COLON:
        if (++keys > JSON_KEYS_MAX) return { kind: 'keys' };
        break;
      case COMMA:
        if (++values > JSON_VALUES_MAX) return { kind: 'values' };
        break;
      default:
    }
    at++;
  }
  return undefined;
}

/** Index after the closing quote of the string that opens at `at`; `to` when it never closes. */
export function stringEnd(bytes: Uint8Array, at: number, to: number): number {
  for (let i = at + 1; i < to; i++) {
    const byte = bytes[i];
    if (byte === BACKSLASH) i++;
    else if (byte === QUOTE) return i + 1;
  }
  return to;
}

/** The forbidden key that the string literal [at, end) spells, if it is one of them. */
function forbiddenKey(bytes: Uint8Array, at: number, end: number): string | undefined {
  for (const forbidden of FORBIDDEN_KEYS) if (spells(bytes, at + 1, end - 1, forbidden)) return forbidden;
  return undefined;
}

function isKey(bytes: Uint8Array, end: number, to: number): boolean {
  let i = end;
  while (i < to && isJsonSpace(bytes[i])) i++;
  return bytes[i] === COLON && i < to;
}

/** Whether the inside of a string literal means `text` (ASCII), `\u` escapes resolved. */
function spells(bytes: Uint8Array, from: number, to: number, text: string): boolean {
  if (to - from < text.length) return false;
  let i = from;
  for (let at = 0; at < text.length; at++) {
    let unit = bytes[i];
    if (unit === BACKSLASH && bytes[i + 1] === 0x75) {
      unit = Number.parseInt(String.fromCharCode(...bytes.subarray(i + 2, i + 6)), 16);
      i += 5;
    }
    if (unit !== text.charCodeAt(at)) return false;
    i++;
  }
  return i === to;
}
