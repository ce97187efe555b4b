import type { Hasher } from '../../../kernel/hasher.js';
import { CHAIN_BYTES } from './entry.js';

/** Where the sums are in an entry: the crc, and the chain behind it (see entry-codec.ts). */
export const AT_CRC = 76;
export const AT_CHAIN = 80;
const CRC_BYTES = AT_CHAIN - AT_CRC;

/** Longer entries are summed in memory of their own. */
const ROOM_BYTES = 64 * 1024;

/**
 * The sums of one entry after the other. Each is taken over a copy in which the head of the entry is moved over what the
 * sum leaves out: one array, often used again, where views of the two parts would be four for every entry.
 */
export class EntrySums {
  readonly #room = new Uint8Array(ROOM_BYTES);
  #copy = this.#room;
  /** As long as the entry without its crc: that much is summed, by either. */
  #summed = this.#room;

  /** Takes an entry: `crc` and then `chain` are its. */
  load(entry: Uint8Array): void {
    const { length } = entry;
    const copy = length <= ROOM_BYTES ? this.#room : new Uint8Array(length);
    if (copy !== this.#copy || this.#summed.length !== length - CRC_BYTES)
      this.#summed = copy.subarray(CRC_BYTES, length);
    this.#copy = copy;
    copy.set(entry);
    copy.copyWithin(CRC_BYTES, 0, AT_CRC);
  }

  /** CRC-32 over everything but itself. */
  crc(hasher: Hasher): number {
    return hasher.crc32(this.#summed);
  }

  /** The first 16 bytes of SHA-256(previous chain | the bytes without crc and chain); the last question about an entry. */
  chain(prevChain: Uint8Array, hasher: Hasher): Uint8Array {
    this.#copy.copyWithin(CRC_BYTES + CHAIN_BYTES, CRC_BYTES, AT_CHAIN);
    this.#copy.set(prevChain, CRC_BYTES);
    return hasher.sha256Head(this.#summed);
  }
}
