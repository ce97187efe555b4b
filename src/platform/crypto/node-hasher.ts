import { createHash, hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Hasher } from '../../kernel/hasher.js';

/**
 * Inputs up to this many bytes are joined and hashed in one call: a stream object costs more than copying them, and
 * nearly every entry is smaller.
 */
const ONE_CALL_BYTES_MAX = 64 * 1024;
const DIGEST_BYTES = 16;
/** Arrays up to this long lie in the engine's heap: OpenSSL's binding would move each out of it for good. */
const IN_HEAP_MAX = 64;
const joined = new Uint8Array(ONE_CALL_BYTES_MAX);

/** The Hasher of a real process: OpenSSL and zlib. */
export const nodeHasher: Hasher = {
  sha256Head(...parts) {
    return digest('sha256', parts);
  },
  md5(bytes) {
    return digest('md5', [bytes]);
  },
  crc32(bytes, seed = 0) {
    // zlib starts over for an empty array whose buffer was looked at: it has no memory to point at.
    return bytes.length === 0 ? seed : crc32(bytes, seed);
  },
};

/** The first 16 bytes: as much of a SHA-256 as anything here keeps, and all of an MD5. */
function digest(algorithm: string, parts: readonly Uint8Array[]): Uint8Array {
  let total = 0;
  for (const part of parts) total += part.length;
  if (total > ONE_CALL_BYTES_MAX) {
    const stream = createHash(algorithm);
    for (const part of parts) stream.update(part);
    return Uint8Array.from(stream.digest().subarray(0, DIGEST_BYTES));
  }
  // As text of one byte a character: cheaper to get out of OpenSSL's binding than a Buffer.
  const text = hash(algorithm, parts.length === 1 && total > IN_HEAP_MAX ? parts[0] : joinedOf(parts, total), 'binary');
  const bytes = new Uint8Array(DIGEST_BYTES);
  for (let i = 0; i < DIGEST_BYTES; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function joinedOf(parts: readonly Uint8Array[], total: number): Uint8Array {
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined.subarray(0, total);
}
