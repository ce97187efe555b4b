import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Hasher } from '../../kernel/hasher.js';

/** The Hasher of a real process: OpenSSL and zlib. */
export const nodeHasher: Hasher = {
  sha256(...parts) {
    const hash = createHash('sha256');
    for (const part of parts) hash.update(part);
    return hash.digest();
  },
  md5(bytes) {
    return createHash('md5').update(bytes).digest();
  },
  crc32(bytes, seed = 0) {
    return crc32(bytes, seed);
  },
};
