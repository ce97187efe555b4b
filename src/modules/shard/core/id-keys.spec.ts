import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from '../../../kernel/bytes.js';
import { compareIds } from '../../../kernel/ids.js';
import { IdKeys } from './id-keys.js';
import { LabelRecords } from './label-records.js';

const id = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'b', '0', 'þ', 'ÿ', 'Ā', '語', '\u{1f600}'), minLength: 1, maxLength: 12 }),
  fc.nat(99_999).map((n) => `doc-${n}`),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 4 }).map((end) => `https://example.org/${end}`),
);

/** Gives a label an id. */
function name(records: LabelRecords, label: number, text: string): void {
  const bytes = utf8(text);
  if (records.isLive(label)) records.end(label);
  records.put(label, bytes, bytes.length, 0, { ms: 1, counter: 0 }, 1);
}

describe('IdKeys', () => {
  it('orders labels as their ids, whatever came before', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(8), id), { minLength: 2, maxLength: 30 }), (given) => {
        const ids: string[] = new Array<string>(9).fill('');
        const records = new LabelRecords();
        const keys = new IdKeys(records);
        for (const [label, text] of given) {
          ids[label] = text;
          name(records, label, text);
          keys.set(label);
        }
        const live = ids.flatMap((text, label) => (text === '' ? [] : [label]));
        for (const a of live) {
          for (const b of live) expect(Math.sign(keys.compare(a, b))).toBe(compareIds(ids[a], ids[b]));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('leaves few pairs to the ids themselves', () => {
    const records = new LabelRecords();
    const keys = new IdKeys(records);
    const labels = Array.from({ length: 2_000 }, (_, label) => label);
    for (const label of labels) {
      name(records, label, `document-${String(label * 3).padStart(8, '0')}`);
      keys.set(label);
    }
    // Texts the keys have seen are no longer needed to tell labels apart.
    for (const label of labels) name(records, label, 'gone');
    const order = labels.sort((a, b) => keys.compare(b, a));
    expect(order.slice(0, 3)).toEqual([1_999, 1_998, 1_997]);
  });
});
