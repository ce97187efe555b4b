import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compareIds } from '../../../kernel/ids.js';
import { IdKeys } from './id-keys.js';

const id = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'b', '0', 'þ', 'ÿ', 'Ā', '語', '\u{1f600}'), minLength: 1, maxLength: 12 }),
  fc.nat(99_999).map((n) => `doc-${n}`),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 4 }).map((end) => `https://example.org/${end}`),
);

describe('IdKeys', () => {
  it('orders labels as their ids, whatever came before', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(8), id), { minLength: 2, maxLength: 30 }), (given) => {
        const ids: string[] = new Array<string>(9).fill('');
        const keys = new IdKeys(ids);
        for (const [label, name] of given) {
          ids[label] = name;
          keys.set(label);
        }
        const live = ids.flatMap((name, label) => (name === '' ? [] : [label]));
        for (const a of live) {
          for (const b of live) expect(Math.sign(keys.compare(a, b))).toBe(compareIds(ids[a], ids[b]));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('leaves few pairs to the ids themselves', () => {
    const ids = Array.from({ length: 2_000 }, (_, i) => `document-${String(i * 3).padStart(8, '0')}`);
    const keys = new IdKeys(ids);
    ids.forEach((_, label) => keys.set(label));
    // Texts the keys have seen are no longer needed to tell labels apart.
    ids.fill('gone');
    const order = ids.map((_, label) => label).sort((a, b) => keys.compare(b, a));
    expect(order.slice(0, 3)).toEqual([1_999, 1_998, 1_997]);
  });
});
