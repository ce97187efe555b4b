import { randomFillSync } from 'node:crypto';
import type { Random } from '../../kernel/random.js';

/** Bytes drawn at once: a call into OpenSSL costs the same for 16 bytes as for these. */
const POOL_BYTES = 8 * 1024;
const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;

/** The random numbers of the operating system. Each byte is given out once and not kept. */
export const systemRandom: Random = {
  bytes(length) {
    if (length > POOL_BYTES) return randomFillSync(new Uint8Array(length));
    if (used + length > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    const bytes = pool.slice(used, used + length);
    pool.fill(0, used, used + length);
    used += length;
    return bytes;
  },
};
