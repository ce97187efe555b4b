import { describe, expect, it } from '@jest/globals';
import { nativeVectorIndexes } from '../../src/modules/shard/adapters/native-vector-index.js';
import { PAGE_VECTORS, VectorPages } from '../../src/modules/shard/core/vector-pages.js';
import type { Similarity } from '../../src/kernel/collection.js';
import { Clusters } from './vector-index.suite.js';

const SIMILARITIES: readonly Similarity[] = ['cosine', 'dot', 'euclidean'];
const DIMENSIONS = [1, 7, 8, 13, 64, 128, 301];

// Where the addon could not be compiled there is nothing to compare.
(nativeVectorIndexes === undefined ? describe.skip : describe)('native PageScores', () => {
  it.each(SIMILARITIES.flatMap((similarity) => DIMENSIONS.map((dimensions) => [similarity, dimensions] as const)))(
    'gives the very bits VectorPages does by %s in %i dimensions',
    (similarity, dimensions) => {
      const clusters = new Clusters(dimensions, dimensions, 9);
      const faster = nativeVectorIndexes?.scores?.({ similarity, dimensions }, PAGE_VECTORS);
      const native = new VectorPages(dimensions, similarity, faster);
      const plain = new VectorPages(dimensions, similarity);
      const labels = Uint32Array.from({ length: 300 }, (_, i) => (i * 97) % (3 * PAGE_VECTORS));
      for (const [i, label] of labels.entries()) {
        const vector = i === 5 ? new Float32Array(dimensions) : clusters.next();
        native.set(label, vector);
        plain.set(label, vector);
      }
      for (const query of [clusters.next(), clusters.next(), new Float32Array(dimensions)]) {
        const [a, b] = [new Float64Array(labels.length), new Float64Array(labels.length)];
        native.scores(query, labels, labels.length, a);
        plain.scores(query, labels, labels.length, b);
        expect(a).toEqual(b);
      }
    },
  );

  it('refuses labels it has no page for', () => {
    const faster = nativeVectorIndexes?.scores?.({ similarity: 'dot', dimensions: 2 }, PAGE_VECTORS);
    const pages = new VectorPages(2, 'dot', faster);
    pages.set(0, Float32Array.of(1, 2));
    expect(() => pages.scores(Float32Array.of(1, 1), Uint32Array.of(PAGE_VECTORS), 1, new Float64Array(1))).toThrow();
  });
});
