import { writeU16, writeU32 } from '../../../kernel/big-endian.js';
import { utf8 } from '../../../kernel/bytes.js';
import type { Hasher } from '../../../kernel/hasher.js';
import type { Version } from '../../../kernel/version.js';

export const DIGEST_BYTES = 16;

/** One live row's part of the digest: SHA-256(collection, id, version), cut to 16 bytes (replication 6.5). */
export function liveTerm(hasher: Hasher, collectionId: number, id: string, version: Version): Uint8Array {
  const idBytes = utf8(id);
  const bytes = new Uint8Array(4 + 8 + version.opId.length + idBytes.length);
  writeU32(bytes, 0, collectionId);
  writeU16(bytes, 4, Math.floor(version.hlc.ms / 2 ** 32));
  writeU32(bytes, 6, version.hlc.ms >>> 0);
  writeU16(bytes, 10, version.hlc.counter);
  bytes.set(version.opId, 12);
  bytes.set(idBytes, 12 + version.opId.length);
  return hasher.sha256Head(bytes);
}

/**
 * The live digest of a shard: the sum of its live rows' terms mod 2^128, so that it can be kept up one write at a time
 * and does not depend on order (replication 6.5).
 */
export class LiveDigest {
  /** Eight 16-bit limbs, least significant first: sums stay exact in doubles. */
  readonly #limbs = new Uint16Array(8);

  constructor(bytes?: Uint8Array) {
    if (bytes !== undefined) this.#accumulate(bytes, 1);
  }

  add(term: Uint8Array): void {
    this.#accumulate(term, 1);
  }

  subtract(term: Uint8Array): void {
    this.#accumulate(term, -1);
  }

  /** 16 bytes, most significant first. */
  bytes(): Uint8Array {
    const bytes = new Uint8Array(DIGEST_BYTES);
    for (let limb = 0; limb < 8; limb++) {
      bytes[15 - 2 * limb] = this.#limbs[limb] & 0xff;
      bytes[14 - 2 * limb] = this.#limbs[limb] >> 8;
    }
    return bytes;
  }

  #accumulate(term: Uint8Array, sign: 1 | -1): void {
    let carry = 0;
    for (let limb = 0; limb < 8; limb++) {
      const sum = this.#limbs[limb] + sign * ((term[14 - 2 * limb] << 8) | term[15 - 2 * limb]) + carry;
      this.#limbs[limb] = sum & 0xffff;
      carry = sum >> 16;
    }
  }
}
