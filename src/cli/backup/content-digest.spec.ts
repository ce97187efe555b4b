import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Document } from '../../client/index.js';
import { ContentDigest } from './content-digest.js';

function digestOf(documents: readonly Omit<Document, 'version'>[], collection = 'default'): string {
  const digest = new ContentDigest();
  for (const document of documents) digest.add(collection, document);
  return digest.hex;
}

describe('ContentDigest', () => {
  it('does not depend on the order of documents, nor on how they are split', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string(), { maxLength: 12 }), fc.nat(12), (ids, cut) => {
        const documents = ids.map((id) => ({ id, title: id }));
        expect(digestOf([...documents].reverse())).toBe(digestOf(documents));
        const [a, b] = [new ContentDigest(), new ContentDigest()];
        for (const document of documents.slice(0, cut)) a.add('default', document);
        for (const document of documents.slice(cut)) b.add('default', document);
        a.merge(b);
        expect(a.hex).toBe(digestOf(documents));
      }),
    );
  });

  it('does not depend on the order of keys, nor on digits beyond float32', () => {
    expect(digestOf([{ id: 'a', metadata: { x: 1, y: { b: [1, 2], a: null } } }])).toBe(
      digestOf([{ id: 'a', metadata: { y: { a: null, b: [1, 2] }, x: 1 } }]),
    );
    expect(digestOf([{ id: 'a', vector: [0.1] }])).toBe(digestOf([{ id: 'a', vector: [Math.fround(0.1)] }]));
  });

  it('sees every difference', () => {
    const variants = [
      digestOf([]),
      digestOf([{ id: 'a', title: 'x' }]),
      digestOf([{ id: 'b', title: 'x' }]),
      digestOf([{ id: 'a', content: 'x' }]),
      digestOf([{ id: 'a', title: '' }]),
      digestOf([{ id: 'a', title: 'x' }], 'other'),
      digestOf([{ id: 'a', title: 'x', metadata: {} }]),
      digestOf([{ id: 'a', title: 'x', metadata: { a: [1, 2] } }]),
      digestOf([{ id: 'a', title: 'x', metadata: { a: [2, 1] } }]),
      digestOf([{ id: 'a', title: 'x', metadata: { a: '1' } }]),
      digestOf([{ id: 'a', title: 'x', vector: [1, 0] }]),
      digestOf([{ id: 'a', title: 'x', vector: [0, 1] }]),
      digestOf([
        { id: 'a', title: 'x' },
        { id: 'a', title: 'x' },
      ]),
    ];
    expect(new Set(variants).size).toBe(variants.length);
    for (const variant of variants) expect(variant).toMatch(/^[0-9a-f]{32}$/);
  });
});
