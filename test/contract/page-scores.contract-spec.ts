import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { LabelTable } from '../../src/modules/shard/core/label-table.js';
import { TopK } from '../../src/modules/shard/core/top-k.js';
import { PAGE_VECTORS, VectorPages } from '../../src/modules/shard/core/vector-pages.js';
import type { Similarity } from '../../src/kernel/collection.js';
import { idText, tableOf } from './label-tables.js';
import { compiledAddon } from './native-addon.js';
import { Clusters } from './vector-index.suite.js';

const SIMILARITIES: readonly Similarity[] = ['cosine', 'dot', 'euclidean'];
const DIMENSIONS = [1, 7, 8, 13, 64, 128, 301];

const addon = compiledAddon();

describe('native PageScores', () => {
  it.each(SIMILARITIES.flatMap((similarity) => DIMENSIONS.map((dimensions) => [similarity, dimensions] as const)))(
    'gives the very bits VectorPages does by %s in %i dimensions',
    (similarity, dimensions) => {
      const clusters = new Clusters(dimensions, dimensions, 9);
      const faster = addon.scores({ similarity, dimensions }, PAGE_VECTORS);
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
    const faster = addon.scores({ similarity: 'dot', dimensions: 2 }, PAGE_VECTORS);
    const pages = new VectorPages(2, 'dot', faster);
    pages.set(0, Float32Array.of(1, 2));
    expect(() => pages.scores(Float32Array.of(1, 1), Uint32Array.of(PAGE_VECTORS), 1, new Float64Array(1))).toThrow();
    const into = { items: new Uint32Array(1), scores: new Float64Array(1) };
    const ids = LabelTable.empty();
    expect(() => pages.best(Float32Array.of(1, 1), Uint32Array.of(PAGE_VECTORS), 1, ids, into)).toThrow(/page/);
    const two = Uint32Array.of(0, 0);
    expect(() => pages.best(Float32Array.of(1, 1), two, 2, ids, into)).toThrow(/room/);
    expect(() => pages.best(Float32Array.of(1, 1), two, 1, ids, into)).toThrow(/key/);
  });

  it('ranks as sorting by score and id does, however long and however like ids are', () => {
    fc.assert(
      fc.property(fc.uniqueArray(idText, { minLength: 1, maxLength: 40 }), fc.nat(50), fc.nat(3), (ids, k, seed) => {
        const table = tableOf(ids);
        const faster = addon.scores({ similarity: 'dot', dimensions: 1 }, PAGE_VECTORS);
        const pages = new VectorPages(1, 'dot', faster);
        // Few scores, so that most are equal.
        ids.forEach((_, label) => pages.set(label, Float32Array.of((label * (seed + 1)) % 3)));
        const labels = Uint32Array.from(ids, (_, label) => label);
        const [items, scores] = [new Uint32Array(ids.length), new Float64Array(ids.length)];
        const found = pages.best(Float32Array.of(1), labels, k, table, { items, scores });
        const plain = new TopK(k, table.compare);
        for (const label of labels) plain.push(label, (label * (seed + 1)) % 3);
        const expected = plain.drain();
        expect([...items.subarray(0, found)]).toEqual([...expected.items]);
        expect([...scores.subarray(0, found)]).toEqual([...expected.scores]);
      }),
      { numRuns: 500 },
    );
  });
});
