import { fromUtf8, utf8 } from '../../../kernel/bytes.js';
import { LIMITS } from '../../../kernel/limits.js';
import { fromBase64Url, toBase64Url } from '../../../kernel/base64url.js';

/** Where a scroll goes on: after this id, in this shard. Names no node, so it survives a failover. */
export interface ScrollCursor {
  readonly shard: number;
  readonly after: string | undefined;
}

export function encodeScrollCursor(cursor: ScrollCursor): string {
  return toBase64Url(utf8(JSON.stringify(cursor.after === undefined ? [cursor.shard] : [cursor.shard, cursor.after])));
}

/** The cursor behind its text, or undefined when it is not one. */
export function decodeScrollCursor(text: string): ScrollCursor | undefined {
  const bytes = text.length > 4 * LIMITS.idBytesMax ? undefined : fromBase64Url(text);
  if (bytes === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(fromUtf8(bytes));
    if (!Array.isArray(value) || value.length < 1 || value.length > 2) return undefined;
    const [shard, after] = value as readonly unknown[];
    if (typeof shard !== 'number' || !Number.isInteger(shard) || shard < 0 || shard >= LIMITS.shardsMax)
      return undefined;
    if (after !== undefined && typeof after !== 'string') return undefined;
    return { shard, after };
  } catch {
    // Neither UTF-8 nor JSON: not a cursor.
    return undefined;
  }
}
