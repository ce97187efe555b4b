/** Randomness as a capability, so that a simulation can seed it. */
export interface Random {
  /** `length` random bytes. */
  bytes(length: number): Uint8Array;
}
