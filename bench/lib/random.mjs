/**
 * A seeded generator (sfc32): the same numbers on every machine and in every version of the engine.
 */
export class Random {
  #a;
  #b;
  #c;
  #d;
  /** @type {number | undefined} */
  #spare;

  /** @param {number} seed u32 */
  constructor(seed) {
    this.#a = seed >>> 0;
    this.#b = 0x9e3779b9;
    this.#c = 0x243f6a88;
    this.#d = 1;
    for (let i = 0; i < 16; i++) this.u32();
  }

  /** @returns {number} 0 … 2^32 − 1 */
  u32() {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t;
    this.#c |= 0;
    return t >>> 0;
  }

  /** @returns {number} 0 ≤ x < 1 */
  unit() {
    return this.u32() / 4294967296;
  }

  /** @param {number} below @returns {number} integer 0 ≤ x < below */
  integer(below) {
    return Math.floor(this.unit() * below);
  }

  /** Normally distributed, mean 0, deviation 1 (Box and Muller 1958). */
  gaussian() {
    if (this.#spare !== undefined) {
      const spare = this.#spare;
      this.#spare = undefined;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.unit()));
    const angle = 2 * Math.PI * this.unit();
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
}
