import type { Random } from '../../../src/kernel/random.js';

/**
 * The one source of chance of a run: sfc32. `fork` gives every part of the world its own stream, so that one more draw
 * in one part does not change what the others see.
 */
export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, label = '') {
    let hash = 0x811c9dc5 ^ seed;
    for (let i = 0; i < label.length; i++) hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193);
    this.#a = hash >>> 0;
    this.#b = Math.imul(seed, 0x9e3779b1) >>> 0;
    this.#c = (hash ^ 0x85ebca6b) >>> 0;
    for (let i = 0; i < 12; i++) this.u32();
  }

  fork(label: string): SeededRandom {
    return new SeededRandom(this.u32(), label);
  }

  u32(): number {
    const sum = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  /** From 0 on, below 1. */
  unit(): number {
    return this.u32() / 2 ** 32;
  }

  /** An integer from 0 on, below `bound`. */
  below(bound: number): number {
    return Math.floor(this.unit() * bound);
  }

  /** From `low` on, below `high`. */
  between(low: number, high: number): number {
    return low + this.unit() * (high - low);
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  /** One of `items`, which must not be empty. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  /** `items` in another order. */
  shuffled<T>(items: readonly T[]): T[] {
    const list = [...items];
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.u32() >>> 24;
    return bytes;
  }
}
