import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { Bitmap } from '../../src/modules/shard/core/bitmap.js';
import type { Near, VectorIndex, VectorIndexes, VectorShape } from '../../src/modules/shard/core/vector-index.js';
import { VectorPages } from '../../src/modules/shard/core/vector-pages.js';

interface Saved {
  readonly dead: readonly number[];
  readonly vectors: readonly (readonly [number, readonly number[]])[];
}

/** A VectorIndex that looks at every vector: what a graph is measured by. */
export class ExactVectorIndex implements VectorIndex {
  readonly #shape: VectorShape;
  readonly #pages: VectorPages;
  readonly #labels = new Set<number>();
  readonly #dead = new Set<number>();

  constructor(shape: VectorShape, saved: Saved = { dead: [], vectors: [] }) {
    this.#shape = shape;
    this.#pages = new VectorPages(shape.dimensions, shape.similarity);
    for (const [label, vector] of saved.vectors) this.add(label, Float32Array.from(vector));
    for (const label of saved.dead) this.markDead(label);
  }

  get size(): number {
    return this.#labels.size;
  }

  get dead(): number {
    return this.#dead.size;
  }

  add(label: number, vector: Float32Array): void {
    if (vector.length !== this.#shape.dimensions) throw new Error('another dimension');
    if (this.#labels.has(label)) throw new Error('added twice');
    this.#labels.add(label);
    this.#pages.set(label, vector);
  }

  markDead(label: number): void {
    if (!this.#labels.has(label)) throw new Error('not here');
    this.#dead.add(label);
  }

  search(query: Float32Array, k: number, _ef: number, allowed?: Bitmap): Near {
    const score = this.#pages.scorer(query);
    const near = [...this.#labels]
      .filter((label) => !this.#dead.has(label) && (allowed === undefined || allowed.has(label)))
      .map((label) => ({ label, score: score(label) }))
      .sort((a, b) => b.score - a.score)
      .slice(0, k);
    return {
      labels: Uint32Array.from(near, ({ label }) => label),
      distances: Float32Array.from(near, ({ score }) => -score),
    };
  }

  async save(file: string): Promise<void> {
    const vectors = [...this.#labels].map((label) => [label, [...this.#pages.vector(label)]] as const);
    await writeFile(file, JSON.stringify({ dead: [...this.#dead], vectors } satisfies Saved), { flag: 'wx' });
  }

  dispose(): void {
    this.#labels.clear();
  }
}

export const exactVectorIndexes: VectorIndexes = {
  name: 'exact',
  scanPerCandidate: 10,
  create: (shape) => new ExactVectorIndex(shape),
  load: (shape, file, size, dead) => {
    const index = new ExactVectorIndex(shape, JSON.parse(readFileSync(file, 'utf8')) as Saved);
    if (index.size !== size || index.dead !== dead) throw new Error(`${file} holds something else`);
    return index;
  },
};
