/** A seeded generator (mulberry32): the same numbers in every run, so that a failure can be repeated. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer in [from, to]. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.integer(0, items.length - 1)];
  }

  /** Normally distributed, mean 0, deviation 1. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }

  /** A float32 vector, so that what is sent as JSON is what is stored. */
  vector(dimensions: number): number[] {
    return Array.from({ length: dimensions }, () => Math.fround(this.normal()));
  }
}

const WORDS =
  'river mountain forest harbour lantern copper silver garden winter summer engine signal window bridge market ' +
  'island thunder velvet marble orchard falcon anchor meadow canyon glacier compass beacon harvest pepper saffron';

/** Words that are no stop words. */
export const VOCABULARY: readonly string[] = WORDS.split(' ');

/** A text of some words, common ones more often, so that terms have different weights. */
export function words(random: Random, count: number): string {
  return Array.from({ length: count }, () => {
    const skewed = Math.floor(random.next() ** 2 * VOCABULARY.length);
    return VOCABULARY[skewed];
  }).join(' ');
}
