/**
 * Where a byte of UTF-8 comes in the order ids have everywhere, which is that of UTF-16 code units: there, characters of four
 * bytes come before those from U+E000 on (EE, EF).
 */
export function codeUnitRank(byte: number): number {
  return byte >= 0xee ? (byte >= 0xf0 ? byte - 2 : byte + 0x10) : byte;
}

/** Order of two ids in UTF-8, as `compareIds` has it of their texts. */
export function compareIdBytes(
  a: Uint8Array,
  startOfA: number,
  endOfA: number,
  b: Uint8Array,
  startOfB: number,
  endOfB: number,
): number {
  const common = Math.min(endOfA - startOfA, endOfB - startOfB);
  for (let i = 0; i < common; i++) {
    const byteOfA = a[startOfA + i];
    const byteOfB = b[startOfB + i];
    if (byteOfA !== byteOfB) return codeUnitRank(byteOfA) - codeUnitRank(byteOfB);
  }
  return endOfA - startOfA - (endOfB - startOfB);
}

/** FNV-1a of an id in UTF-8, 32 bits: equal for equal ids, on every node. */
export function idHash(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at], 0x0100_0193);
  return hash >>> 0;
}
