/** Labels are below this: slots of at most 67 million documents of one collection in one shard, reused after death. */
export const LABELS_MAX = 2 ** 26;

/**
 * A set of labels as bits. Grows on `set`; labels beyond its words are absent. Operations with another bitmap change this
 * one and return it; the sizes need not agree.
 */
export class Bitmap {
  #words: Uint32Array;

  /** @param labels room to start with, in labels */
  constructor(labels = 0) {
    this.#words = new Uint32Array((labels + 31) >>> 5);
  }

  /** The labels 0 … `labels` − 1. */
  static full(labels: number): Bitmap {
    const bitmap = new Bitmap(labels);
    bitmap.#words.fill(0xffff_ffff);
    if ((labels & 31) !== 0) bitmap.#words[bitmap.#words.length - 1] = 2 ** (labels & 31) - 1;
    return bitmap;
  }

  static of(labels: Iterable<number>): Bitmap {
    const bitmap = new Bitmap();
    for (const label of labels) bitmap.set(label);
    return bitmap;
  }

  /** Labels there is room for without growing. */
  get capacity(): number {
    return this.#words.length * 32;
  }

  get bytes(): number {
    return this.#words.byteLength;
  }

  /** The set as bits, the lowest label in the lowest bit of the first word: a view, valid until the next change, not to be written. */
  get words(): Uint32Array {
    return this.#words;
  }

  /** Makes room for the labels 0 … `labels` − 1. */
  grow(labels: number): void {
    const words = (labels + 31) >>> 5;
    if (words <= this.#words.length) return;
    const next = new Uint32Array(Math.max(words, this.#words.length + (this.#words.length >>> 1)));
    next.set(this.#words);
    this.#words = next;
  }

  has(label: number): boolean {
    return ((this.#words[label >>> 5] ?? 0) & (1 << (label & 31))) !== 0;
  }

  set(label: number): void {
    const word = label >>> 5;
    if (word >= this.#words.length) this.grow(label + 1);
    this.#words[word] |= 1 << (label & 31);
  }

  clear(label: number): void {
    const word = label >>> 5;
    if (word < this.#words.length) this.#words[word] &= ~(1 << (label & 31));
  }

  /** Removes every label; keeps the room. */
  reset(): void {
    this.#words.fill(0);
  }

  /** Labels in the set; reads every word. */
  count(): number {
    const words = this.#words;
    let count = 0;
    for (let i = 0; i < words.length; i++) {
      let word = words[i];
      if (word === 0) continue;
      word -= (word >>> 1) & 0x5555_5555;
      word = (word & 0x3333_3333) + ((word >>> 2) & 0x3333_3333);
      count += Math.imul((word + (word >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
    }
    return count;
  }

  isEmpty(): boolean {
    return this.next(0) < 0;
  }

  clone(): Bitmap {
    const copy = new Bitmap();
    copy.#words = this.#words.slice();
    return copy;
  }

  and(other: Bitmap): this {
    const mine = this.#words;
    const theirs = other.#words;
    const shared = Math.min(mine.length, theirs.length);
    for (let i = 0; i < shared; i++) mine[i] &= theirs[i];
    mine.fill(0, shared);
    return this;
  }

  or(other: Bitmap): this {
    this.grow(other.capacity);
    const mine = this.#words;
    const theirs = other.#words;
    for (let i = 0; i < theirs.length; i++) mine[i] |= theirs[i];
    return this;
  }

  andNot(other: Bitmap): this {
    const mine = this.#words;
    const theirs = other.#words;
    const shared = Math.min(mine.length, theirs.length);
    for (let i = 0; i < shared; i++) mine[i] &= ~theirs[i];
    return this;
  }

  /** The lowest label that is `from` or above, or −1: `for (let l = b.next(0); l >= 0; l = b.next(l + 1))`. */
  next(from: number): number {
    const words = this.#words;
    let index = from >>> 5;
    if (index >= words.length) return -1;
    let word = words[index] & (0xffff_ffff << (from & 31));
    while (word === 0) {
      if (++index >= words.length) return -1;
      word = words[index];
    }
    return index * 32 + 31 - Math.clz32(word & -word);
  }

  /** Calls `visit` with every label, ascending. The set must not change meanwhile. */
  forEach(visit: (label: number) => void): void {
    const words = this.#words;
    for (let i = 0; i < words.length; i++) {
      for (let word = words[i]; word !== 0; word &= word - 1) visit(i * 32 + 31 - Math.clz32(word & -word));
    }
  }

  *[Symbol.iterator](): IterableIterator<number> {
    for (let label = this.next(0); label >= 0; label = this.next(label + 1)) yield label;
  }

  /** All labels, ascending. */
  toArray(): Uint32Array {
    const labels = new Uint32Array(this.count());
    let at = 0;
    this.forEach((label) => {
      labels[at++] = label;
    });
    return labels;
  }
}
