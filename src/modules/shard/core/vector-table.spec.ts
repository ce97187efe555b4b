import { describe, expect, it } from '@jest/globals';
import { exactVectorIndexes, ExactVectorIndex } from '../../../../test/contract/exact-vector-index.js';
import { Clusters, shapeOf } from '../../../../test/contract/vector-index.suite.js';
import { Bitmap } from './bitmap.js';
import type { Ranked } from './top-k.js';
import type { VectorIndexes } from './vector-index.js';
import { VectorRefusedError, VectorTable } from './vector-table.js';

const DIMENSIONS = 6;

/** Graphs that count what is asked of them, and may lose their way. */
class WatchedIndexes implements VectorIndexes {
  readonly name = 'watched';
  readonly scanPerCandidate = 10;
  searches = 0;
  created = 0;
  disposed = 0;
  finds: number | undefined;
  readonly #watch = (index: ExactVectorIndex): ExactVectorIndex => {
    const search = index.search.bind(index);
    const dispose = index.dispose.bind(index);
    index.search = (query, k, ef, allowed) => {
      this.searches++;
      return search(query, Math.min(k, this.finds ?? k), ef, allowed);
    };
    index.dispose = () => {
      this.disposed++;
      dispose();
    };
    return index;
  };

  create: VectorIndexes['create'] = (shape) => {
    this.created++;
    return this.#watch(new ExactVectorIndex(shape));
  };

  load = exactVectorIndexes.load;
}

function tableOf(indexes: VectorIndexes, released: number[] = []): VectorTable {
  return new VectorTable(shapeOf(DIMENSIONS), indexes, { compare: (a, b) => a - b }, (label) => released.push(label));
}

function filled(count: number): {
  table: VectorTable;
  indexes: WatchedIndexes;
  clusters: Clusters;
  released: number[];
} {
  const indexes = new WatchedIndexes();
  const released: number[] = [];
  const table = tableOf(indexes, released);
  const clusters = new Clusters(29, DIMENSIONS, 8);
  for (let label = 0; label < count; label++) table.add(label, clusters.next());
  return { table, indexes, clusters, released };
}

function search(
  table: VectorTable,
  query: Float32Array,
  k: number,
  ef: number,
  allowed: Bitmap | undefined,
  exact: boolean,
): Ranked {
  return table.rank(query, k, table.find(query, k, ef, allowed, exact));
}

describe('VectorTable', () => {
  it('scans a small set and walks a large one, with the same answer', () => {
    const { table, indexes, clusters } = filled(3_000);
    const query = clusters.next();
    const walked = search(table, query, 10, 20, undefined, false);
    expect(indexes.searches).toBe(1);
    expect(search(table, query, 10, 20, undefined, true)).toEqual(walked);
    expect(indexes.searches).toBe(1);
    const few = Bitmap.of(Array.from({ length: 500 }, (_, i) => i * 5));
    expect(search(table, query, 10, 20, few, false).items).toHaveLength(10);
    expect(indexes.searches).toBe(1);
    const many = Bitmap.of(Array.from({ length: 2_500 }, (_, i) => i));
    const filtered = search(table, query, 10, 20, many, false);
    expect(indexes.searches).toBe(2);
    expect(search(table, query, 10, 20, many, true)).toEqual(filtered);
  });

  it('scans what the graph did not find', () => {
    const { table, indexes, clusters } = filled(2_000);
    indexes.finds = 3;
    const query = clusters.next();
    const found = search(table, query, 10, 20, undefined, false);
    expect(indexes.searches).toBe(1);
    expect(found).toEqual(search(table, query, 10, 20, undefined, true));
  });

  it('orders by score, then by the order of labels', () => {
    const table = tableOf(exactVectorIndexes);
    const vector = new Float32Array(DIMENSIONS).fill(1);
    for (const label of [5, 3, 8]) table.add(label, vector);
    table.add(
      1,
      vector.map((value, i) => (i === 0 ? -1 : value)),
    );
    const { items, scores } = search(table, vector, 10, 10, undefined, false);
    expect([...items]).toEqual([3, 5, 8, 1]);
    expect(scores[0]).toBeCloseTo(1, 12);
  });

  it('never finds a removed label, and keeps its number until the graph is rebuilt', () => {
    const { table, clusters, released, indexes } = filled(6_000);
    for (let label = 0; label < 2_000; label++) expect(table.remove(label)).toBe(false);
    expect(table.remove(2)).toBe(false);
    expect([table.size, table.deadLabels]).toEqual([4_000, 2_000]);
    for (let i = 0; i < 20; i++)
      expect(Math.min(...search(table, clusters.next(), 50, 60, undefined, false).items)).toBeGreaterThanOrEqual(2_000);
    expect(table.needsWork).toBe(true);
    expect(released).toEqual([]);
    table.work(() => false);
    expect(table.needsWork).toBe(false);
    expect(released).toEqual(Array.from({ length: 2_000 }, (_, i) => i));
    expect([table.size, table.deadLabels, indexes.created, indexes.disposed]).toEqual([4_000, 0, 2, 1]);
  });

  it('answers from the old graph while the new one is made, and loses nothing that came or went meanwhile', () => {
    const { table, clusters, released } = filled(6_000);
    for (let label = 0; label < 2_000; label++) table.remove(label);
    let next = 6_000;
    let rounds = 0;
    while (table.needsWork) {
      let steps = 0;
      table.work(() => ++steps === 100);
      const vector = clusters.next();
      table.add(next, vector);
      expect(search(table, vector, 1, 20, undefined, false).items[0]).toBe(next);
      // Some that are in the new graph already, and some that are not.
      table.remove(2_000 + rounds);
      table.remove(5_999 - rounds);
      next++;
      rounds++;
    }
    expect(rounds).toBeGreaterThan(20);
    expect(table.size).toBe(4_000 - rounds);
    for (let i = 0; i < 20; i++) {
      const query = clusters.next();
      const walked = search(table, query, 20, 30, undefined, false);
      expect(walked).toEqual(search(table, query, 20, 30, undefined, true));
    }
    expect(new Set(released).size).toBe(released.length);
    expect(released.filter((label) => table.present.has(label))).toEqual([]);
    expect(released.length + table.deadLabels).toBe(2_000 + 2 * rounds);
  });

  it('frees the number of a label that was never here at once', () => {
    const { table } = filled(3);
    expect(table.remove(77)).toBe(true);
    expect(table.size).toBe(3);
  });

  it('refuses vectors it cannot compare, unchanged', () => {
    const { table } = filled(2);
    expect(() => table.add(2, new Float32Array(DIMENSIONS + 1))).toThrow(VectorRefusedError);
    expect(() => table.add(2, new Float32Array(DIMENSIONS).fill(Infinity))).toThrow(VectorRefusedError);
    expect(() => table.add(2, new Float32Array(DIMENSIONS).fill(NaN))).toThrow(VectorRefusedError);
    expect(table.size).toBe(2);
    expect(table.remove(2)).toBe(true);
  });
});
