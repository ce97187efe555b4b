import { describe, expect, it } from '@jest/globals';
import { Bitmap } from '../../src/modules/shard/core/bitmap.js';
import type { KeywordIndexContract } from './brute-force-keyword-index.js';

const byNumber = (a: number, b: number): number => a - b;

/** What every keyword index does, whatever it is made of. */
export function keywordIndexSuite(name: string, create: () => KeywordIndexContract): void {
  describe(`${name} as a keyword index`, () => {
    it('is empty at first and finds nothing', () => {
      const index = create();
      expect(index.documents).toBe(0);
      expect(index.totalLength).toBe(0);
      expect(index.has(0)).toBe(false);
      expect(index.remove(0)).toBe(false);
      const found = index.search(['any'], 10, { ties: { compare: byNumber } });
      expect([...found.labels]).toEqual([]);
      expect(found.leftOut).toBe(-Infinity);
      expect(found.statistics).toEqual({ documents: 0, totalLength: 0, documentFrequencies: [0] });
    });

    it('ranks rare terms, frequent ones and short texts higher', () => {
      const index = create();
      index.add(0, ['apple', 'pie', 'crust', 'butter']);
      index.add(1, ['apple', 'tree']);
      index.add(2, ['apple', 'apple', 'pie', 'quince']);
      index.add(3, ['stone']);
      const found = index.search(['apple', 'quince'], 10, { ties: { compare: byNumber } });
      expect([...found.labels]).toEqual([2, 1, 0]);
      expect([...found.frequencies]).toEqual([2, 1, 1, 0, 1, 0]);
      expect([...found.lengths]).toEqual([4, 2, 4]);
      expect(found.leftOut).toBe(-Infinity);
      expect(found.statistics).toEqual({ documents: 4, totalLength: 11, documentFrequencies: [3, 1] });
      expect(found.scores[0]).toBeGreaterThan(found.scores[1]);
    });

    it('breaks ties by the order given, at the k boundary too', () => {
      const index = create();
      for (let label = 0; label < 20; label++) index.add(label, ['same', 'text']);
      const forward = index.search(['same', 'text'], 3, { ties: { compare: byNumber } });
      expect([...forward.labels]).toEqual([0, 1, 2]);
      expect(forward.leftOut).toBe(forward.scores[2]);
      const backward = index.search(['same', 'text'], 3, { ties: { compare: (a, b) => b - a } });
      expect([...backward.labels]).toEqual([19, 18, 17]);
      expect(index.search(['same'], 20, { ties: { compare: byNumber } }).leftOut).toBe(-Infinity);
      expect([...index.search(['same'], 0, { ties: { compare: byNumber } }).labels]).toEqual([]);
      expect(index.search(['same'], 0, { ties: { compare: byNumber } }).leftOut).toBe(Infinity);
    });

    it('forgets a removed text at once, and a reused label is only what it is now', () => {
      const index = create();
      index.add(7, ['old', 'words']);
      index.add(8, ['old']);
      expect(index.remove(7)).toBe(true);
      expect(index.remove(7)).toBe(false);
      expect(index.has(7)).toBe(false);
      expect(index.documentFrequencies(['old', 'words'])).toEqual([1, 0]);
      index.add(7, ['new']);
      expect([...index.search(['old', 'words'], 9, { ties: { compare: byNumber } }).labels]).toEqual([8]);
      expect([...index.search(['new'], 9, { ties: { compare: byNumber } }).labels]).toEqual([7]);
      expect(index.statisticsOf(['new'])).toEqual({ documents: 2, totalLength: 2, documentFrequencies: [1] });
    });

    it('replaces the text of a label that has one; a text without terms is none', () => {
      const index = create();
      index.add(1, ['first', 'text']);
      index.add(1, ['second']);
      expect(index.statisticsOf(['first', 'second'])).toEqual({
        documents: 1,
        totalLength: 1,
        documentFrequencies: [0, 1],
      });
      index.add(1, []);
      expect(index.has(1)).toBe(false);
      expect(index.documents).toBe(0);
    });

    it('finds only what is allowed, and leaves nothing out of that', () => {
      const index = create();
      for (let label = 0; label < 50; label++) index.add(label, label % 2 === 0 ? ['even', 'number'] : ['number']);
      const allowed = Bitmap.of([3, 4, 10, 99]);
      const found = index.search(['even', 'number'], 3, { ties: { compare: byNumber }, allowed });
      expect([...found.labels]).toEqual([4, 10, 3]);
      expect(found.leftOut).toBe(-Infinity);
      expect(found.statistics.documentFrequencies).toEqual([25, 50]);
      const none = index.search(['number'], 3, { ties: { compare: byNumber }, allowed: new Bitmap() });
      expect([...none.labels]).toEqual([]);
      expect(none.leftOut).toBe(-Infinity);
    });

    it('ranks by the sums it is given, and still tells its own', () => {
      const index = create();
      index.add(0, ['rare']);
      index.add(1, ['common']);
      const statistics = { documents: 1_000, totalLength: 9_000, documentFrequencies: [900, 2] };
      const found = index.search(['common', 'rare'], 2, { ties: { compare: byNumber }, statistics });
      expect([...found.labels]).toEqual([0, 1]);
      expect(found.scores[0] / found.scores[1]).toBeGreaterThan(10);
      expect(found.statistics).toEqual({ documents: 2, totalLength: 2, documentFrequencies: [1, 1] });
    });

    it('counts frequencies of any size', () => {
      const index = create();
      const frequencies = [1, 62, 63, 64, 65_536, 100_000];
      frequencies.forEach((frequency, label) =>
        index.add(label, [...new Array<string>(frequency).fill('again'), 'x1']),
      );
      const found = index.search(['again', 'x1'], 10, { ties: { compare: byNumber } });
      const byLabel = new Map([...found.labels].map((label, i) => [label, found.frequencies[2 * i]]));
      expect(frequencies.map((_, label) => byLabel.get(label))).toEqual(frequencies);
      expect([...found.lengths].sort(byNumber)).toEqual(frequencies.map((frequency) => frequency + 1));
    });
  });
}
