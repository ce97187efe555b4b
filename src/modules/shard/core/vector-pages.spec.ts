import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Similarity } from '../../../kernel/collection.js';
import { PAGE_VECTORS, VectorPages } from './vector-pages.js';

const SIMILARITIES: readonly Similarity[] = ['cosine', 'dot', 'euclidean'];
const component = fc.float({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100 });

function pairOf(dimensions: number): fc.Arbitrary<[Float32Array, Float32Array]> {
  const vector = fc
    .array(component, { minLength: dimensions, maxLength: dimensions })
    .map((values) => Float32Array.from(values));
  return fc.tuple(vector, vector);
}

/** The definition, in the most obvious order. */
function similarity(kind: Similarity, a: Float32Array, b: Float32Array): number {
  let dot = 0;
  let aa = 0;
  let bb = 0;
  let distance = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
    distance += (a[i] - b[i]) ** 2;
  }
  if (kind === 'dot') return dot;
  if (kind === 'euclidean') return 1 / (1 + Math.sqrt(distance));
  return aa > 0 && bb > 0 ? dot / (Math.sqrt(aa) * Math.sqrt(bb)) : 0;
}

describe('VectorPages', () => {
  it.each(SIMILARITIES)('scores by %s in double precision, for any dimension', (kind) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 19 }).chain(pairOf), fc.nat(3_000), ([query, vector], label) => {
        const pages = new VectorPages(vector.length, kind);
        pages.set(label, vector);
        expect(pages.scorer(query)(label)).toBeCloseTo(similarity(kind, query, vector), 8);
      }),
    );
  });

  it.each(SIMILARITIES)('gives the same number by %s wherever the vector lies', (kind) => {
    fc.assert(
      fc.property(pairOf(7), fc.nat(4_000), fc.nat(4_000), ([query, vector], a, b) => {
        const pages = new VectorPages(7, kind);
        pages.set(a, vector);
        pages.set(b, vector);
        expect(pages.scorer(query)(a)).toBe(pages.scorer(query)(b));
      }),
    );
  });

  it('calls two zero vectors unlike, not undefined', () => {
    const pages = new VectorPages(2, 'cosine');
    pages.set(0, new Float32Array(2));
    pages.set(1, Float32Array.of(1, 0));
    expect(pages.scorer(new Float32Array(2))(1)).toBe(0);
    expect(pages.scorer(Float32Array.of(1, 0))(0)).toBe(0);
  });

  it('copies what it is given', () => {
    const pages = new VectorPages(2, 'dot');
    const vector = Float32Array.of(3, 4);
    expect(pages.set(5, vector)).toBe(5);
    vector.fill(0);
    expect([...pages.vector(5)]).toEqual([3, 4]);
    expect(pages.norm(5)).toBe(5);
  });

  it('comes back from its parts', () => {
    const pages = new VectorPages(3, 'dot');
    const high = PAGE_VECTORS + 10;
    for (let label = 0; label < high; label++) pages.set(label, Float32Array.of(label, 1, -label));
    const copy = new VectorPages(3, 'dot');
    let floats = 0;
    for (const part of pages.parts(high)) {
      floats += part.length;
      const page = new Float32Array(PAGE_VECTORS * 3);
      page.set(part);
      copy.load(page);
    }
    expect(floats).toBe(high * 3);
    for (const label of [0, 1, PAGE_VECTORS - 1, PAGE_VECTORS, high - 1]) {
      expect(copy.vector(label)).toEqual(pages.vector(label));
      expect(copy.norm(label)).toBe(pages.norm(label));
    }
  });

  it('refuses another dimension', () => {
    const pages = new VectorPages(2, 'dot');
    expect(() => pages.set(0, new Float32Array(3))).toThrow('2 dimensions');
    expect(() => pages.scorer(new Float32Array(1))).toThrow('2 dimensions');
  });
});
