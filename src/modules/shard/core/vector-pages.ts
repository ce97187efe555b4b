import { assert } from '../../../kernel/assert.js';
import type { Similarity } from '../../../kernel/collection.js';
import type { IdColumns } from './id-columns.js';
import type { Ranked } from './top-k.js';
import type { PageScores } from './vector-index.js';

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
  readonly #faster: PageScores | undefined;
  /** The query, for `#faster`. */
  readonly #query: Float64Array;

  /** @param faster gives the same scores sooner */
  constructor(dimensions: number, similarity: Similarity, faster?: PageScores) {
    this.dimensions = dimensions;
    this.#similarity = similarity;
    this.#faster = faster;
    this.#query = new Float64Array(dimensions);
  }

  /** Copies a vector in and returns its Euclidean length. */
  set(label: number, vector: Float32Array): number {
    assert(vector.length === this.dimensions, `a vector here has ${this.dimensions} dimensions, not ${vector.length}`);
    const page = Math.floor(label / PAGE_VECTORS);
    while (this.#pages.length <= page) {
      this.#add(new Float32Array(PAGE_VECTORS * this.dimensions), new Float64Array(PAGE_VECTORS));
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

  /** Scores of the first `count` of `labels`, all of which were set, into `into`. */
  scores(query: Float32Array, labels: Uint32Array, count: number, into: Float64Array): void {
    if (this.#faster === undefined) {
      const score = this.scorer(query);
      for (let i = 0; i < count; i++) into[i] = score(labels[i]);
      return;
    }
    this.#faster.score(this.#query, this.#ask(query), labels, count, into);
  }

  /**
   * The `k` best of `labels`, all of which were set, by score, ties by id, into columns that have room for them, best first.
   * @returns how many there are; undefined when nothing does it faster than scoring and sorting them
   */
  best(query: Float32Array, labels: Uint32Array, k: number, ids: IdColumns, into: Ranked): number | undefined {
    return this.#faster?.best(this.#query, this.#ask(query), labels, k, ids, into);
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
    this.#add(page, norms);
  }

  /** Lays a query ready for `#faster`. @returns its length */
  #ask(query: Float32Array): number {
    assert(query.length === this.dimensions, `a vector here has ${this.dimensions} dimensions, not ${query.length}`);
    this.#query.set(query);
    return Math.sqrt(squaredLength(this.#query, 0, query.length));
  }

  #add(vectors: Float32Array, norms: Float64Array): void {
    this.#pages.push(vectors);
    this.#norms.push(norms);
    this.#faster?.addPage(vectors, norms);
  }

  // Eight sums that do not wait for each other, and what is left over in the first; the order of additions is fixed by
  // the dimension alone. native/scores.cc does the same.

  #dot(query: Float64Array, label: number): number {
    const page = this.#pages[Math.floor(label / PAGE_VECTORS)];
    const { dimensions } = this;
    let at = (label % PAGE_VECTORS) * dimensions;
    let sum0 = 0;
    let sum1 = 0;
    let sum2 = 0;
    let sum3 = 0;
    let sum4 = 0;
    let sum5 = 0;
    let sum6 = 0;
    let sum7 = 0;
    let i = 0;
    for (; i + 7 < dimensions; i += 8, at += 8) {
      sum0 += query[i] * page[at];
      sum1 += query[i + 1] * page[at + 1];
      sum2 += query[i + 2] * page[at + 2];
      sum3 += query[i + 3] * page[at + 3];
      sum4 += query[i + 4] * page[at + 4];
      sum5 += query[i + 5] * page[at + 5];
      sum6 += query[i + 6] * page[at + 6];
      sum7 += query[i + 7] * page[at + 7];
    }
    for (; i < dimensions; i++, at++) sum0 += query[i] * page[at];
    return sum0 + sum4 + (sum1 + sum5) + (sum2 + sum6 + (sum3 + sum7));
  }

  #squaredDistance(query: Float64Array, label: number): number {
    const page = this.#pages[Math.floor(label / PAGE_VECTORS)];
    const { dimensions } = this;
    const from = (label % PAGE_VECTORS) * dimensions;
    const sums = [0, 0, 0, 0, 0, 0, 0, 0];
    const whole = dimensions - (dimensions % 8);
    for (let i = 0; i < dimensions; i++) {
      const difference = query[i] - page[from + i];
      sums[i < whole ? i % 8 : 0] += difference * difference;
    }
    return sums[0] + sums[4] + (sums[1] + sums[5]) + (sums[2] + sums[6] + (sums[3] + sums[7]));
  }
}

/** Similarity of the query to a label's vector; higher is closer. */
export type Scorer = (label: number) => number;

function squaredLength(values: Float32Array | Float64Array, start: number, length: number): number {
  let sum = 0;
  for (let i = start; i < start + length; i++) sum += values[i] * values[i];
  return sum;
}
