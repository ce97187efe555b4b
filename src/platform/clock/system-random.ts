import { randomBytes } from 'node:crypto';
import type { Random } from '../../kernel/random.js';

/** The random numbers of the operating system. */
export const systemRandom: Random = {
  bytes(length) {
    return randomBytes(length);
  },
};
