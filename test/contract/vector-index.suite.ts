import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Similarity } from '../../src/kernel/collection.js';
import { Bitmap } from '../../src/modules/shard/core/bitmap.js';
import type { VectorIndex, VectorIndexes, VectorShape } from '../../src/modules/shard/core/vector-index.js';
import { ExactVectorIndex } from './exact-vector-index.js';

/** Vectors in clusters, as real embeddings are; the same for the same seed. */
export class Clusters {
  #state: number;
  readonly #centres: Float32Array[];

  constructor(
    seed: number,
    readonly dimensions: number,
    clusters: number,
  ) {
    this.#state = seed | 1;
    this.#centres = Array.from({ length: clusters }, () =>
      Float32Array.from({ length: dimensions }, () => this.#normal()),
    );
  }

  next(): Float32Array {
    const centre = this.#centres[Math.floor(this.#uniform() * this.#centres.length)];
    return centre.map((value) => value + 0.4 * this.#normal());
  }

  #uniform(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return (this.#state >>> 8) / 2 ** 24;
  }

  #normal(): number {
    let sum = 0;
    for (let i = 0; i < 6; i++) sum += this.#uniform();
    return sum - 3;
  }
}

export function shapeOf(dimensions: number, similarity: Similarity = 'cosine'): VectorShape {
  return { dimensions, similarity, hnsw: { m: 16, efConstruction: 100, efSearch: 100 } };
}

function norm(vector: Float32Array): number {
  return Math.hypot(...vector);
}

/** Runs the contract of the VectorIndex port on one technology. */
export function vectorIndexSuite(name: string, indexes: VectorIndexes): void {
  describe(name, () => {
    let directory: string;
    const opened: VectorIndex[] = [];
    const create = (shape: VectorShape, expected = 0): VectorIndex => {
      const index = indexes.create(shape, expected);
      opened.push(index);
      return index;
    };

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'vector-index-'));
    });

    afterEach(async () => {
      for (const index of opened.splice(0)) index.dispose();
      await rm(directory, { recursive: true });
    });

    if (indexes.searchAll !== undefined) {
      it.each(['cosine', 'dot', 'euclidean'] as const)(
        'finds in each of many graphs what it finds in that one alone (%s)',
        (similarity) => {
          const shape = shapeOf(8, similarity);
          const clusters = new Clusters(23, 8, 12);
          // Empty ones, some with dead labels, some that are filtered: rarely enough to be scanned, too.
          const searches = [0, 900, 1, 700, 0, 400, 2_000, 50, 600].map((count, i) => {
            const graph = create(shape);
            fill(graph, clusters, count);
            for (let label = 0; label < count; label += 3 + i) if (i % 2 === 0) graph.markDead(label);
            const among = Array.from({ length: Math.ceil(count / (i === 3 ? 90 : 2)) }, (_, n) => n);
            const allowed = i % 3 === 0 ? Bitmap.of(among) : undefined;
            return { graph, k: [0, 7, 12, 40][i % 4], ef: 20 + i, allowed };
          });
          for (let i = 0; i < 20; i++) {
            const query = clusters.next();
            const alone = searches.map(({ graph, k, ef, allowed }) => {
              const { labels, distances } = graph.search(query, k, ef, allowed);
              return { labels: [...labels], distances: [...distances] };
            });
            const together = indexes.searchAll?.(query, shape, searches);
            expect(
              together?.map(({ labels, distances }) => ({ labels: [...labels], distances: [...distances] })),
            ).toEqual(alone);
            expect(alone[8].labels).toHaveLength(0);
            expect(alone[6].labels).toHaveLength(12);
          }
        },
      );
    }

    const fill = (index: VectorIndex, clusters: Clusters, count: number): Float32Array[] => {
      const vectors = Array.from({ length: count }, () => clusters.next());
      vectors.forEach((vector, label) => index.add(label, vector, norm(vector)));
      return vectors;
    };

    it('is empty at first', () => {
      const index = create(shapeOf(3));
      expect([index.size, index.dead]).toEqual([0, 0]);
      expect([...index.search(Float32Array.of(1, 2, 3), 5, 10).labels]).toEqual([]);
    });

    it.each<Similarity>(['cosine', 'dot', 'euclidean'])('finds the nearest first by %s', (similarity) => {
      const index = create(shapeOf(2, similarity));
      const vectors = [Float32Array.of(1, 0), Float32Array.of(0, 1), Float32Array.of(3, 3), Float32Array.of(0.1, 0.1)];
      vectors.forEach((vector, label) => index.add(label, vector, norm(vector)));
      const query = Float32Array.of(0.3, 0.2);
      const expected = { cosine: [2, 3, 0, 1], dot: [2, 0, 1, 3], euclidean: [3, 0, 1, 2] }[similarity];
      const found = [...index.search(query, 4, 10).labels];
      // Labels 2 and 3 point the same way: by cosine either may come first.
      if (similarity === 'cosine') expect(found.slice(0, 2).sort()).toEqual([2, 3]);
      else expect(found).toEqual(expected);
      expect(found.slice(2)).toEqual(expected.slice(2));
    });

    it('takes labels in any order, and grows without being told how far', () => {
      const clusters = new Clusters(3, 4, 10);
      const index = create(shapeOf(4));
      for (let label = 2_999; label >= 0; label--) {
        const vector = clusters.next();
        index.add(label * 7, vector, norm(vector));
      }
      expect(index.size).toBe(3_000);
      expect(index.search(clusters.next(), 10, 50).labels).toHaveLength(10);
    });

    it('never finds a dead label, however many there are', () => {
      const index = create(shapeOf(8));
      const vectors = fill(index, new Clusters(5, 8, 5), 300);
      for (let label = 0; label < 300; label++) if (label % 10 !== 0) index.markDead(label);
      expect([index.size, index.dead]).toEqual([300, 270]);
      for (const vector of vectors.slice(0, 50)) {
        const found = [...index.search(vector, 20, 100).labels];
        expect(found.filter((label) => label % 10 !== 0)).toEqual([]);
      }
    });

    it('finds nothing once all are dead', () => {
      const index = create(shapeOf(2));
      index.add(4, Float32Array.of(1, 0), 1);
      index.markDead(4);
      expect([...index.search(Float32Array.of(1, 0), 3, 10).labels]).toEqual([]);
    });

    it('finds allowed labels alone', () => {
      const index = create(shapeOf(8));
      const vectors = fill(index, new Clusters(7, 8, 5), 400);
      const allowed = Bitmap.of(Array.from({ length: 100 }, (_, i) => i * 4));
      for (const vector of vectors.slice(0, 20)) {
        const found = [...index.search(vector, 10, 50, allowed).labels];
        expect(found).toHaveLength(10);
        expect(found.filter((label) => label % 4 !== 0)).toEqual([]);
      }
    });

    it('gives at most k, and no more than there are', () => {
      const index = create(shapeOf(8));
      fill(index, new Clusters(9, 8, 5), 50);
      expect(index.search(new Clusters(11, 8, 5).next(), 7, 50).labels).toHaveLength(7);
      expect(new Set(index.search(new Clusters(11, 8, 5).next(), 10_000, 100).labels).size).toBeLessThanOrEqual(50);
    });

    it.each<Similarity>(['cosine', 'dot', 'euclidean'])(
      'finds 99 of 100 nearest in clustered data by %s',
      (similarity) => {
        const clusters = new Clusters(13, 32, 40);
        const shape = shapeOf(32, similarity);
        const index = create(shape);
        const exact = new ExactVectorIndex(shape);
        for (let label = 0; label < 3_000; label++) {
          const vector = clusters.next();
          index.add(label, vector, norm(vector));
          exact.add(label, vector);
        }
        let found = 0;
        for (let i = 0; i < 50; i++) {
          const query = clusters.next();
          const nearest = new Set(exact.search(query, 10, 0).labels);
          for (const label of index.search(query, 10, 100).labels) if (nearest.has(label)) found++;
        }
        expect(found).toBeGreaterThanOrEqual(495);
      },
    );

    it('survives very long and very short vectors', () => {
      const index = create(shapeOf(2));
      const vectors = [Float32Array.of(3e38, 1e38), Float32Array.of(1e-38, 3e-38), Float32Array.of(0, 0)];
      vectors.forEach((vector, label) => index.add(label, vector, norm(vector)));
      expect([...index.search(Float32Array.of(3e38, 1e38), 1, 10).labels]).toEqual([0]);
      expect([...index.search(Float32Array.of(1e-38, 3e-38), 1, 10).labels]).toEqual([1]);
    });

    it.each<Similarity>(['cosine', 'dot', 'euclidean'])(
      'says how far what it found is, the same in every graph, by %s',
      (similarity) => {
        const clusters = new Clusters(29, 16, 10);
        const shape = shapeOf(16, similarity);
        const [one, other, exact] = [create(shape), create(shape), new ExactVectorIndex(shape)];
        for (let label = 0; label < 1_000; label++) {
          const vector = clusters.next();
          (label % 3 === 0 ? one : other).add(label, vector, norm(vector));
          exact.add(label, vector);
        }
        for (let i = 0; i < 20; i++) {
          const query = clusters.next();
          const distances = new Map<number, number>();
          for (const graph of [one, other]) {
            const near = graph.search(query, 50, 100);
            expect([...near.distances]).toEqual([...near.distances].sort((a, b) => a - b));
            near.labels.forEach((label, at) => distances.set(label, near.distances[at]));
          }
          const nearest = exact.search(query, 20, 0).labels;
          const ofNearest = [...nearest].flatMap((label) => distances.get(label) ?? []);
          expect(ofNearest.length).toBeGreaterThanOrEqual(19);
          for (let at = 1; at < ofNearest.length; at++)
            expect(ofNearest[at]).toBeGreaterThanOrEqual(ofNearest[at - 1] - 1e-4 * Math.abs(ofNearest[at - 1]));
        }
      },
    );

    it('comes back from a file as it was, dead labels included, and goes on', async () => {
      const shape = shapeOf(8);
      const clusters = new Clusters(17, 8, 5);
      const index = create(shape);
      fill(index, clusters, 500);
      for (let label = 0; label < 500; label += 3) index.markDead(label);
      const file = join(directory, 'graph');
      await index.save(file);
      const loaded = indexes.load(shape, file, index.size, index.dead);
      opened.push(loaded);
      expect([loaded.size, loaded.dead]).toEqual([index.size, index.dead]);
      for (let i = 0; i < 20; i++) {
        const query = clusters.next();
        expect(loaded.search(query, 10, 100)).toEqual(index.search(query, 10, 100));
      }
      for (let label = 500; label < 2_500; label++) {
        const vector = clusters.next();
        loaded.add(label, vector, norm(vector));
      }
      loaded.markDead(1);
      expect([loaded.size, loaded.dead]).toEqual([2_500, index.dead + 1]);
    });

    it('can be searched while it is saved', async () => {
      const clusters = new Clusters(19, 8, 5);
      const index = create(shapeOf(8));
      fill(index, clusters, 200);
      const saved = index.save(join(directory, 'graph'));
      expect(index.search(clusters.next(), 5, 50).labels).toHaveLength(5);
      await saved;
    });

    it('refuses a file that is cut short, of another size, or not there', async () => {
      const shape = shapeOf(8);
      const index = create(shape);
      fill(index, new Clusters(23, 8, 5), 100);
      const file = join(directory, 'graph');
      await index.save(file);
      expect(() => indexes.load(shape, file, 99, 0)).toThrow();
      const { length } = await readFile(file);
      await truncate(file, length - 3);
      expect(() => indexes.load(shape, file, 100, 0)).toThrow();
      await writeFile(file, '');
      expect(() => indexes.load(shape, file, 100, 0)).toThrow();
      expect(() => indexes.load(shape, join(directory, 'nothing'), 100, 0)).toThrow();
    });

    it('does not save into a directory that is not there', async () => {
      const index = create(shapeOf(2));
      index.add(0, Float32Array.of(1, 0), 1);
      await expect(index.save(join(directory, 'missing', 'graph'))).rejects.toThrow();
    });

    it('refuses a vector of another dimension and a label that is there', () => {
      const index = create(shapeOf(2));
      index.add(1, Float32Array.of(1, 0), 1);
      expect(() => index.add(2, Float32Array.of(1, 0, 0), 1)).toThrow();
      expect(() => index.add(1, Float32Array.of(0, 1), 1)).toThrow();
    });
  });
}
