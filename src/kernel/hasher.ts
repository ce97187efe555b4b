/** Hashing as a capability: the cores import no crypto. */
export interface Hasher {
  /** The first 16 bytes of SHA-256 over the concatenation of `parts`. */
  sha256Head(...parts: readonly Uint8Array[]): Uint8Array;
  /** MD5 of `bytes`; 16 bytes. Only for the published ring (replication 9.3), never for integrity. */
  md5(bytes: Uint8Array): Uint8Array;
  /** CRC-32 (IEEE, as zlib) continued from `seed` (0 to start); an unsigned 32-bit number. */
  crc32(bytes: Uint8Array, seed?: number): number;
}
