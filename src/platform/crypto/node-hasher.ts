import { createHash, hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Hasher } from '../../kernel/hasher.js';

/**
 * Inputs up to this many bytes are joined and hashed in one call: a stream object costs more than copying them, and
 * nearly every entry is smaller.
 */
const ONE_CALL_BYTES_MAX = 64 * 1024;
const joined = new Uint8Array(ONE_CALL_BYTES_MAX);

/** The Hasher of a real process: OpenSSL and zlib. */
export const nodeHasher: Hasher = {
  sha256(...parts) {
    return digest('sha256', 32, parts);
  },
  md5(bytes) {
    return digest('md5', 16, [bytes]);
  },
  crc32(bytes, seed = 0) {
    // zlib starts over for an empty array whose buffer was looked at: it has no memory to point at.
    return bytes.length === 0 ? seed : crc32(bytes, seed);
  },
};

function digest(algorithm: string, length: number, parts: readonly Uint8Array[]): Uint8Array {
  let total = 0;
  for (const part of parts) total += part.length;
  if (total > ONE_CALL_BYTES_MAX) {
    const stream = createHash(algorithm);
    for (const part of parts) stream.update(part);
    return new Uint8Array(stream.digest());
  }
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  // As text of one byte a character: cheaper to get out of OpenSSL's binding than a Buffer.
  const text = hash(algorithm, joined.subarray(0, total), 'binary');
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
