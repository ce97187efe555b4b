const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Texts up to this long are first tried as ASCII: below, a call of the encoder costs more than the loop. */
const TRIED_MAX = 160;

/** UTF-8 bytes of `text`. */
export function utf8(text: string): Uint8Array {
  const { length } = text;
  if (length > TRIED_MAX) return encoder.encode(text);
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) return encoder.encode(text);
    bytes[i] = unit;
  }
  return bytes;
}

/** Writes the UTF-8 bytes of `text` to the start of `into`, as far as there is room for whole characters; how many it wrote. */
export function utf8Into(text: string, into: Uint8Array): number {
  return encoder.encodeInto(text, into).written;
}

/** Text of UTF-8 `bytes`; throws a TypeError when they are not well-formed. */
export function fromUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Arrays up to this long are cut from a larger one; that many bytes. */
const POOLED_MAX = 512;
const POOL_BYTES = 16 * 1024;
let pool = new Uint8Array(POOL_BYTES);
let pooled = 0;

/**
 * `length` zeros whose memory lies beside that of others, for what goes to native code and is soon forgotten: a key, a row.
 * A small array of its own would be moved out of the heap for each call, and cost the collector more than the call.
 */
export function pooledBytes(length: number): Uint8Array {
  if (length > POOLED_MAX) return new Uint8Array(length);
  if (pooled + length > POOL_BYTES) {
    pool = new Uint8Array(POOL_BYTES);
    pooled = 0;
  }
  const start = pooled;
  pooled += length;
  return pool.subarray(start, pooled);
}

/** Lower-case hexadecimal of `bytes`. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/** Bytes of a hexadecimal `text`, or undefined when it is not one. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** Lexicographic order of unsigned bytes, as LevelDB orders keys: negative, 0 or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

/** Whether two byte strings are equal. Not constant time: never for secrets. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0;
}

/** How many bytes there are in all of `parts`. */
export function bytesIn(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

/** The concatenation of `parts`. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(bytesIn(parts));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
