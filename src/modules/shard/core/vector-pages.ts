import { assert } from '../../../kernel/assert.js';
import type { Similarity } from '../../../kernel/collection.js';

/** Vectors a page. A page is taken whole but touched vector by vector, so that an unused rest takes no memory. */
export const PAGE_VECTORS = 1_024;

/**
 * The vectors of a collection by label, in pages, with their lengths: what exact searches, filtered scans, rescoring
 * and rebuilds read (architecture, index of a shard). Similarity is computed in double precision, one vector at a time
 * and in one order, so that it does not depend on how documents are spread over shards.
 */
export class VectorPages {
  readonly dimensions: number;
  readonly #similarity: Similarity;
  readonly #pages: Float32Array[] = [];
  readonly #norms: Float64Array[] = [];

  constructor(dimensions: number, similarity: Similarity) {
    this.dimensions = dimensions;
    this.#similarity = similarity;
  }

  /** Copies a vector in and returns its Euclidean length. */
  set(label: number, vector: Float32Array): number {
    assert(vector.length === this.dimensions, `a vector here has ${this.dimensions} dimensions, not ${vector.length}`);
    const page = Math.floor(label / PAGE_VECTORS);
    while (this.#pages.length <= page) {
      this.#pages.push(new Float32Array(PAGE_VECTORS * this.dimensions));
      this.#norms.push(new Float64Array(PAGE_VECTORS));
    }
    const slot = label % PAGE_VECTORS;
    this.#pages[page].set(vector, slot * this.dimensions);
    const norm = Math.sqrt(squaredLength(vector, 0, this.dimensions));
    this.#norms[page][slot] = norm;
    return norm;
  }

  /** A view of the vector; only for a label that was set. */
  vector(label: number): Float32Array {
    const start = (label % PAGE_VECTORS) * this.dimensions;
    return this.#pages[Math.floor(label / PAGE_VECTORS)].subarray(start, start + this.dimensions);
  }

  /** Euclidean length of a vector. */
  norm(label: number): number {
    return this.#norms[Math.floor(label / PAGE_VECTORS)][label % PAGE_VECTORS];
  }

  /** Ready to be compared: the scorer is to be called with labels that were set. */
  scorer(query: Float32Array): Scorer {
    assert(query.length === this.dimensions, `a vector here has ${this.dimensions} dimensions, not ${query.length}`);
    const exact = new Float64Array(query);
    switch (this.#similarity) {
      case 'dot':
        return (label) => this.#dot(exact, label);
      case 'cosine': {
        const length = Math.sqrt(squaredLength(exact, 0, exact.length));
        return (label) => {
          const scale = length * this.norm(label);
          return scale > 0 ? this.#dot(exact, label) / scale : 0;
        };
      }
      case 'euclidean':
        return (label) => 1 / (1 + Math.sqrt(this.#squaredDistance(exact, label)));
    }
  }

  /** The pages up to and without label `high`, for a checkpoint: views, not copies. */
  *parts(high: number): Generator<Float32Array> {
    for (let page = 0; page * PAGE_VECTORS < high && page < this.#pages.length; page++) {
      yield this.#pages[page].subarray(0, Math.min(PAGE_VECTORS, high - page * PAGE_VECTORS) * this.dimensions);
    }
  }

  /** Takes the pages of a checkpoint back, in order; lengths are computed again. */
  load(page: Float32Array): void {
    assert(page.length === PAGE_VECTORS * this.dimensions, 'a page is loaded whole');
    const norms = new Float64Array(PAGE_VECTORS);
    for (let slot = 0; slot < PAGE_VECTORS; slot++) {
      norms[slot] = Math.sqrt(squaredLength(page, slot * this.dimensions, this.dimensions));
    }
    this.#pages.push(page);
    this.#norms.push(norms);
  }

  #dot(query: Float64Array, label: number): number {
    const page = this.#pages[Math.floor(label / PAGE_VECTORS)];
    const { dimensions } = this;
    let at = (label % PAGE_VECTORS) * dimensions;
    // Four sums that do not wait for each other; the order of additions is fixed by the dimension alone.
    let sum0 = 0;
    let sum1 = 0;
    let sum2 = 0;
    let sum3 = 0;
    let i = 0;
    for (; i + 3 < dimensions; i += 4, at += 4) {
      sum0 += query[i] * page[at];
      sum1 += query[i + 1] * page[at + 1];
      sum2 += query[i + 2] * page[at + 2];
      sum3 += query[i + 3] * page[at + 3];
    }
    for (; i < dimensions; i++, at++) sum0 += query[i] * page[at];
    return sum0 + sum1 + (sum2 + sum3);
  }

  #squaredDistance(query: Float64Array, label: number): number {
    const page = this.#pages[Math.floor(label / PAGE_VECTORS)];
    const { dimensions } = this;
    let at = (label % PAGE_VECTORS) * dimensions;
    let sum0 = 0;
    let sum1 = 0;
    let i = 0;
    for (; i + 1 < dimensions; i += 2, at += 2) {
      const a = query[i] - page[at];
      const b = query[i + 1] - page[at + 1];
      sum0 += a * a;
      sum1 += b * b;
    }
    if (i < dimensions) sum0 += (query[i] - page[at]) ** 2;
    return sum0 + sum1;
  }
}

/** Similarity of the query to a label's vector; higher is closer. */
export type Scorer = (label: number) => number;

function squaredLength(values: Float32Array | Float64Array, start: number, length: number): number {
  let sum = 0;
  for (let i = start; i < start + length; i++) sum += values[i] * values[i];
  return sum;
}
