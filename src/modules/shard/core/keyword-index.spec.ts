import { describe, expect, it } from '@jest/globals';
import { concatBytes } from '../../../kernel/bytes.js';
import { IndexDamagedError } from './index-damaged-error.js';
import { KeywordIndex } from './keyword-index.js';
import { tokenize } from './tokenizer.js';

const byNumber = (a: number, b: number): number => a - b;
const found = (index: KeywordIndex, ...terms: string[]): number[] => [
  ...index.search(terms.sort(), 100, { ties: { compare: byNumber } }).labels,
];

describe('KeywordIndex', () => {
  it('takes and gives back memory: churn leaves postings and terms of the living alone', () => {
    const index = new KeywordIndex();
    const text = (i: number): string[] => [`unique${i}`, `shared${i % 50}`, 'all'];
    for (let label = 0; label < 2_000; label++) index.add(label, text(label));
    const before = index.statistics();
    for (let i = 2_000; i < 60_000; i++) index.add(i % 2_000, text(i));
    const after = index.statistics();
    expect(after.documents).toBe(2_000);
    expect(after.postings).toBeLessThan(3 * 2 * before.postings);
    expect(after.terms).toBeLessThan(3 * before.terms);
    expect(after.bytes).toBeLessThan(4 * before.bytes);
    concatBytes([...index.serialize()]);
    expect(index.statistics()).toMatchObject({ documents: 2_000, postings: 6_000, terms: 2_051 });
    expect(index.documentFrequencies(['all', 'shared7', 'unique58000', 'unique3'])).toEqual([2_000, 40, 1, 0]);
  });

  it('is written in pieces with a breath after each, the taking out of the dead included', () => {
    const index = new KeywordIndex();
    for (let label = 0; label < 20_000; label++)
      index.add(
        label,
        Array.from({ length: 20 }, (_, i) => `t${(label * 7 + i) % 900}`),
      );
    for (let label = 0; label < 5_000; label++) index.remove(label);
    const parts = [...index.serialize()];
    const breaths = parts.filter((part) => part.length === 0).length;
    expect(breaths).toBeGreaterThan((20_000 * 20) / 50_000 + (15_000 * 20) / 65_536 - 1);
    expect(Math.max(...parts.map((part) => part.length))).toBeLessThanOrEqual(4 * 65_536);
    const again = KeywordIndex.deserialize(concatBytes(parts));
    expect(again.statistics()).toMatchObject({ documents: 15_000, postings: 300_000, terms: 900 });
    const terms = ['t0', 't451', 't899'];
    expect(again.documentFrequencies(terms)).toEqual(index.documentFrequencies(terms));
  });

  it('spreads the cost of taking out the dead over many changes', () => {
    const index = new KeywordIndex();
    for (let label = 0; label < 5_000; label++)
      index.add(
        label,
        Array.from({ length: 20 }, (_, i) => `t${(label * 7 + i) % 900}`),
      );
    for (let label = 0; label < 1_024; label++) index.remove(label);
    // The sweep has begun, but has not gone through all lists.
    const begun = index.statistics().postings;
    expect(begun).toBeGreaterThan((5_000 - 1_024) * 20);
    for (let label = 1_024; label < 2_000; label++) index.remove(label);
    expect(index.statistics().postings).toBeLessThan(begun - 10_000);
    expect(index.documentFrequencies(['t0'])).toEqual([
      Array.from({ length: 3_000 }, (_, i) => i + 2_000).filter((label) =>
        Array.from({ length: 20 }, (_, i) => (label * 7 + i) % 900).includes(0),
      ).length,
    ]);
  });

  it('does not keep the texts its terms were cut from', () => {
    const index = new KeywordIndex();
    index.add(0, tokenize('extraordinarily long words internationalization'));
    expect(found(index, 'internationalization')).toEqual([0]);
  });

  it('is read back as it was, frequencies of any size and any letters included', () => {
    const index = new KeywordIndex();
    index.add(5, tokenize('Ärger über ÉCOLE, Привет 日本語 '.repeat(3)));
    index.add(900, new Array<string>(70_000).fill('again'));
    index.add(2, ['again', 'école']);
    const again = KeywordIndex.deserialize(concatBytes([...index.serialize()]));
    expect(again.statistics()).toMatchObject({ documents: 3, terms: 6, postings: 8 });
    expect(again.totalLength).toBe(index.totalLength);
    expect(again.search(['again', 'école'], 9, { ties: { compare: byNumber } })).toEqual(
      index.search(['again', 'école'], 9, { ties: { compare: byNumber } }),
    );
    again.remove(900);
    again.add(900, ['école']);
    expect(found(again, 'école')).toEqual([900, 2, 5]);
  });

  it('refuses bytes it did not write: every cut and every changed byte that changes a meaning', () => {
    const index = new KeywordIndex();
    for (let label = 0; label < 30; label++) index.add(label, [`a${label % 7}`, `b${label % 3}`, 'c']);
    const bytes = concatBytes([...index.serialize()]);
    for (let length = 0; length < bytes.length; length += 3) {
      expect(() => KeywordIndex.deserialize(bytes.slice(0, length))).toThrow(IndexDamagedError);
    }
    let refused = 0;
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at] ^= 0x81;
      try {
        KeywordIndex.deserialize(changed);
      } catch (error) {
        expect(error).toBeInstanceOf(IndexDamagedError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(bytes.length / 2);
  });
});
