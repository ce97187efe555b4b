import { grown } from './grown.js';

/** Order among items of equal score: negative when `a` goes before `b`; 0 only for an item and itself. */
export type TieOrder = (a: number, b: number) => number;

/** Columns of equal length, best first. */
export interface Ranked {
  readonly items: Uint32Array;
  readonly scores: Float64Array;
}

/**
 * The k best of a stream of (item, score) by score descending, then tie order: exactly what sorting them all and keeping
 * the first k gives. A binary heap in two parallel arrays with the worst kept item at its root: an item that does not
 * make it costs one comparison. Reusable through `reset`. Scores must not be NaN.
 */
export class TopK {
  #items = new Uint32Array(0);
  #scores = new Float64Array(0);
  #size = 0;
  #k = 0;
  #before: TieOrder;

  /** @param k how many to keep, ≥ 0 */
  constructor(k: number, before: TieOrder) {
    this.#k = k;
    this.#before = before;
  }

  /** Empties it for another use. */
  reset(k: number, before: TieOrder): void {
    this.#size = 0;
    this.#k = k;
    this.#before = before;
  }

  get size(): number {
    return this.#size;
  }

  /** Scores below this cannot get in: the worst kept score once k are kept, −∞ before. */
  get threshold(): number {
    if (this.#size < this.#k) return -Infinity;
    return this.#k === 0 ? Infinity : this.#scores[0];
  }

  /** Offers an item (u32); true when it is kept, for now. */
  push(item: number, score: number): boolean {
    if (this.#size < this.#k) {
      const at = this.#size++;
      if (at === this.#items.length) this.#grow();
      this.#up(at, item, score);
      return true;
    }
    if (this.#k === 0) return false;
    if (this.#worse(item, score, this.#items[0], this.#scores[0])) return false;
    this.#down(this.#size, item, score);
    return true;
  }

  /** Takes everything out, best first; views, valid until the next `push`. */
  drain(): Ranked {
    const items = this.#items;
    const scores = this.#scores;
    const size = this.#size;
    // Heapsort: the worst goes to the end, and the last takes its place in the heap before it.
    for (let end = size - 1; end > 0; end--) {
      const item = items[end];
      const score = scores[end];
      items[end] = items[0];
      scores[end] = scores[0];
      this.#down(end, item, score);
    }
    this.#size = 0;
    return { items: items.subarray(0, size), scores: scores.subarray(0, size) };
  }

  #grow(): void {
    this.#items = grown(this.#items, this.#size);
    this.#scores = grown(this.#scores, this.#size);
  }

  /** Whether the first pair ranks after the second. */
  #worse(item: number, score: number, otherItem: number, otherScore: number): boolean {
    return score < otherScore || (score === otherScore && this.#before(item, otherItem) > 0);
  }

  /** Puts an item at `at` or nearer to the root, so that no parent is better than its child. */
  #up(at: number, item: number, score: number): void {
    const items = this.#items;
    const scores = this.#scores;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!this.#worse(item, score, items[parent], scores[parent])) break;
      items[at] = items[parent];
      scores[at] = scores[parent];
      at = parent;
    }
    items[at] = item;
    scores[at] = score;
  }

  /** Puts an item at the root of the first `size` or further down. */
  #down(size: number, item: number, score: number): void {
    const items = this.#items;
    const scores = this.#scores;
    let at = 0;
    for (let child = 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && this.#worse(items[child + 1], scores[child + 1], items[child], scores[child])) child++;
      if (!this.#worse(items[child], scores[child], item, score)) break;
      items[at] = items[child];
      scores[at] = scores[child];
      at = child;
    }
    items[at] = item;
    scores[at] = score;
  }
}
