import { LIMITS } from '../../../kernel/limits.js';

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

/** Keys that could reach a prototype; refused wherever they occur. */
const FORBIDDEN_KEYS: readonly string[] = ['__proto__', 'constructor'];

/** Why a JSON text is refused before it is parsed. */
export type JsonScanProblem =
  | { readonly kind: 'depth' }
  | { readonly kind: 'keys' }
  | { readonly kind: 'values' }
  | { readonly kind: 'forbidden-key'; readonly key: string };

/**
 * Looks at the bytes of a JSON text before they are parsed: nesting, number of keys and values, forbidden keys. One
 * pass, no allocation in the normal case. Malformed text is left to the parser: what is malformed here is bounded all
 * the same.
 * @returns what is wrong, or undefined
 */
export function scanJson(bytes: Uint8Array, from = 0, to = bytes.length): JsonScanProblem | undefined {
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
        const end = stringEnd(bytes, at, to);
        const key = suspectKey(bytes, at, end, to);
        if (key !== undefined) return { kind: 'forbidden-key', key };
        at = end;
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

/** The forbidden key that the string literal [at, end) spells, if it is a key and one of them. */
function suspectKey(bytes: Uint8Array, at: number, end: number, to: number): string | undefined {
  if (!isKey(bytes, end, to)) return undefined;
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

/** Whether `byte` is white space between JSON tokens. */
export function isJsonSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
