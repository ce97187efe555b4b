/** Elements of one piece of memory. */
const PIECE = 16_384;

/**
 * Columns of answers, cut from larger pieces of memory. A typed array of its own costs the allocator and the collector
 * many times what filling a few dozen elements does; a view costs little. A piece lives as long as any column of it.
 */
export class Columns {
  #floats = new Float64Array(0);
  #floatsAt = 0;
  #integers = new Uint32Array(0);
  #integersAt = 0;

  /** Zeros. */
  float64(length: number): Float64Array {
    if (length > PIECE / 16) return new Float64Array(length);
    if (this.#floatsAt + length > this.#floats.length) {
      this.#floats = new Float64Array(PIECE);
      this.#floatsAt = 0;
    }
    return this.#floats.subarray(this.#floatsAt, (this.#floatsAt += length));
  }

  /** Zeros. */
  uint32(length: number): Uint32Array {
    if (length > PIECE / 16) return new Uint32Array(length);
    if (this.#integersAt + length > this.#integers.length) {
      this.#integers = new Uint32Array(PIECE);
      this.#integersAt = 0;
    }
    return this.#integers.subarray(this.#integersAt, (this.#integersAt += length));
  }
}
