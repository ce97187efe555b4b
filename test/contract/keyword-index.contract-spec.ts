import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { concatBytes } from '../../src/kernel/bytes.js';
import { Bitmap } from '../../src/modules/shard/core/bitmap.js';
import { bm25 } from '../../src/modules/shard/core/bm25.js';
import { KeywordDocuments } from '../../src/modules/shard/core/keyword-documents.js';
import { PostingLists } from '../../src/modules/shard/core/posting-lists.js';
import { SumsOfLists } from '../../src/modules/shard/core/sums-of-lists.js';
import { KeywordIndex } from '../../src/modules/shard/core/keyword-index.js';
import type { LabelTies } from '../../src/modules/shard/core/id-columns.js';
import type { KeywordSearchOptions } from '../../src/modules/shard/core/keyword-index.js';
import { BruteForceKeywordIndex } from './brute-force-keyword-index.js';
import { keywordIndexSuite } from './keyword-index.suite.js';
import { compiledAddon } from './native-addon.js';

const native = compiledAddon().postingSums;

keywordIndexSuite('KeywordIndex', () => new KeywordIndex());
keywordIndexSuite('KeywordIndex, natively', () => new KeywordIndex(native()));
keywordIndexSuite('BruteForceKeywordIndex', () => new BruteForceKeywordIndex());
keywordIndexSuite('KeywordIndex, read back', () =>
  KeywordIndex.deserialize(concatBytes([...new KeywordIndex().serialize()])),
);

/** As many as the largest index here has. */
const LABELS = 40_000;
const WORDS = Array.from({ length: 12 }, (_, i) => `w${String(i).padStart(2, '0')}`);

/** A stream of numbers below `bound`, the same for the same seed; the low ones more often, as words are. */
function seeded(seed: number): (bound: number, skew?: number) => number {
  let state = seed | 1;
  return (bound, skew = 1) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(((state >>> 8) / 2 ** 24) ** skew * bound);
  };
}

/** Labels ordered by a number each has, as ids would order them: with the columns that native code reads. */
function tiesBy(rank: (label: number) => number): LabelTies {
  const keys = Float64Array.from({ length: LABELS }, (_, label) => rank(label));
  const records = { words: new Uint32Array(8 * LABELS), texts: new Uint8Array(0) };
  return { compare: (a, b) => rank(a) - rank(b), ids: { keys, records } };
}

const ascending = tiesBy((label) => label);
const descending = tiesBy((label) => -label);
const shuffled = tiesBy((label) => (label * 7_919) % 10_007);

function expectSame(
  index: KeywordIndex,
  oracle: BruteForceKeywordIndex,
  terms: string[],
  k: number,
  options: KeywordSearchOptions,
): void {
  const sorted = [...new Set(terms)].sort();
  const found = index.search(sorted, k, options);
  const expected = oracle.search(sorted, k, options);
  expect([...found.labels]).toEqual([...expected.labels]);
  // To the bit: the coordinator adds the same numbers up again.
  expect([...found.scores]).toEqual([...expected.scores]);
  expect([...found.frequencies]).toEqual([...expected.frequencies]);
  expect([...found.lengths]).toEqual([...expected.lengths]);
  expect(found.leftOut).toBe(expected.leftOut);
  expect(found.statistics).toEqual(expected.statistics);
  if (options.least !== undefined || expected.scores.length === 0) return;
  const middle = expected.scores[expected.scores.length >> 1];
  expectSame(index, oracle, terms, k, { ...options, least: middle });
}

const kinds = [['KeywordIndex', undefined] as const, ['natively', native] as const];

describe.each(kinds)('%s and the brute-force oracle', (_, sums) => {
  const create = (): KeywordIndex => new KeywordIndex(sums?.());
  const readBack = (index: KeywordIndex): KeywordIndex =>
    KeywordIndex.deserialize(concatBytes([...index.serialize()]), sums?.());

  it('agree after any adds, removes, reuse of labels and reading back', () => {
    const tokens = fc.array(fc.constantFrom(...WORDS), { maxLength: 8 });
    const change = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('add' as const), label: fc.nat(15), tokens }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), label: fc.nat(15) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('reload' as const) }) },
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('search' as const),
          terms: fc.array(fc.constantFrom(...WORDS, 'unknown'), { maxLength: 5 }),
          k: fc.nat(10),
          allowed: fc.option(fc.array(fc.nat(15)), { nil: undefined }),
          backwards: fc.boolean(),
        }),
      },
    );
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
        let index = create();
        const oracle = new BruteForceKeywordIndex();
        for (const one of changes) {
          if (one.kind === 'add') {
            index.add(one.label, one.tokens);
            oracle.add(one.label, one.tokens);
          } else if (one.kind === 'remove') expect(index.remove(one.label)).toBe(oracle.remove(one.label));
          else if (one.kind === 'reload') index = readBack(index);
          else {
            expectSame(index, oracle, one.terms, one.k, {
              ties: one.backwards ? descending : ascending,
              ...(one.allowed === undefined ? {} : { allowed: Bitmap.of(one.allowed) }),
            });
          }
          expect(index.documents).toBe(oracle.documents);
          expect(index.totalLength).toBe(oracle.totalLength);
        }
        expect(index.documentFrequencies(WORDS)).toEqual(oracle.documentFrequencies(WORDS));
      }),
      { numRuns: 300 },
    );
  });

  it.each([1, 2, 3])('agree when lists are long, documents die by the thousand (seed %i)', (seed) => {
    const next = seeded(seed);
    const index = create();
    const oracle = new BruteForceKeywordIndex();
    const vocabulary = Array.from({ length: 600 }, (_, i) => `t${String((i * 389) % 600).padStart(3, '0')}`);
    const text = (): string[] =>
      Array.from({ length: 2 + next(14) }, () => vocabulary[next(600, 3)]).concat(
        next(200) === 0 ? new Array<string>(60 + next(10)).fill(vocabulary[next(3)]) : [],
      );
    const add = (label: number): void => {
      const tokens = text();
      index.add(label, tokens);
      oracle.add(label, tokens);
    };
    const search = (): void => {
      const terms = Array.from({ length: 1 + next(5) }, () => vocabulary[next(600, 2)]);
      const options = next(3) > 0 ? {} : { allowed: Bitmap.of(Array.from({ length: next(2_500) }, () => next(2_500))) };
      const sums = next(4) > 0 ? {} : { statistics: otherSums(index, [...new Set(terms)].sort()) };
      const k = [1, 5, 50, 400][next(4)];
      expectSame(index, oracle, terms, k, {
        ties: shuffled,
        ...options,
        ...sums,
      });
    };
    for (let label = 0; label < 2_500; label++) add(label);
    for (let i = 0; i < 12; i++) search();
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 900; i++) {
        const label = next(2_500);
        if (next(3) === 0) expect(index.remove(label)).toBe(oracle.remove(label));
        else add(label);
        if (i % 150 === 0) search();
      }
      expect(index.documentFrequencies(vocabulary)).toEqual(oracle.documentFrequencies(vocabulary));
    }
    const again = readBack(index);
    for (let i = 0; i < 8; i++) {
      const terms = [vocabulary[next(600, 3)], vocabulary[next(600, 3)]];
      expectSame(again, oracle, terms, 20, { ties: ascending });
    }
    expect(again.documentFrequencies(vocabulary)).toEqual(oracle.documentFrequencies(vocabulary));
  });

  it.each([4, 5, 6])('agree when long lists are looked up instead of read (seed %i)', (seed) => {
    const next = seeded(seed);
    const index = create();
    const oracle = new BruteForceKeywordIndex();
    // How many documents in 1 000 have each word: from nearly all to a handful, in no alphabetic order.
    const shares: Record<string, number> = { dd: 900, gg: 700, aa: 450, ff: 200, bb: 60, ee: 15, cc: 4 };
    const words = Object.keys(shares);
    for (let label = 0; label < 6_000; label++) {
      const tokens = words.flatMap((word) =>
        next(1_000) < shares[word] ? new Array<string>(next(20) === 0 ? 1 + next(4) : 1).fill(word) : [],
      );
      tokens.push(...Array.from({ length: 1 + next(6, 2) }, () => 'filler'));
      index.add(label, tokens);
      oracle.add(label, tokens);
      if (next(9) === 0) {
        const gone = next(label + 1);
        expect(index.remove(gone)).toBe(oracle.remove(gone));
      }
    }
    const half = Bitmap.of(Array.from({ length: 3_000 }, (_, i) => 2 * i + (i % 2)));
    for (let i = 0; i < 40; i++) {
      const terms = Array.from({ length: 2 + next(5) }, () => words[next(words.length)]);
      const k = [1, 3, 10, 50, 300][next(5)];
      const options = { ties: i % 2 === 0 ? ascending : descending };
      expectSame(index, oracle, terms, k, next(4) === 0 ? { ...options, allowed: half } : options);
    }
  });

  /** Texts of one term, `frequency` times, filled up to `length`. */
  const texts = (count: number, term: string, frequency: number, length: number): string[][] =>
    Array.from({ length: count }, () => [
      ...new Array<string>(frequency).fill(term),
      ...new Array<string>(length - frequency).fill('filler'),
    ]);

  it.each([
    // The bounds of what was read promise more than its k-th best holds, and the rest, in sum, is better.
    [
      'terms that together beat a rarer one',
      ['aa', 'bb', 'cc', 'rare'],
      [
        ...texts(100, 'rare', 1, 10),
        ...texts(1, 'rare', 1, 1),
        ...Array.from({ length: 400 }, () => ['aa', 'bb', 'cc', ...texts(1, 'x', 0, 7)[0]]),
        ...texts(1_100, 'aa', 1, 10),
        ...texts(1_100, 'bb', 1, 10),
        ...texts(1_100, 'cc', 1, 10),
        ...texts(2_200, 'dd', 1, 10),
      ],
    ],
    // Bounds must hold for the best document of a list, not the last one.
    [
      'short texts early in a long list',
      ['aa', 'rare'],
      [
        ...texts(20, 'aa', 1, 1),
        ...texts(1, 'rare', 1, 1),
        ...texts(500, 'rare', 1, 60),
        ...texts(3_900, 'dd', 1, 10),
        ...texts(4_000, 'aa', 1, 60),
        ...texts(1, 'aa', 1, 400),
        ...texts(12_000, 'dd', 1, 4),
      ],
    ],
    [
      'repeated terms early in a long list',
      ['aa', 'rare'],
      [
        ...texts(20, 'aa', 50, 60),
        ...texts(1, 'rare', 1, 1),
        ...texts(500, 'rare', 1, 60),
        ...texts(3_900, 'dd', 1, 10),
        ...texts(4_000, 'aa', 1, 60),
        ...texts(12_000, 'dd', 1, 4),
      ],
    ],
  ])('agree on %s', (_what, terms, documents) => {
    const index = create();
    const oracle = new BruteForceKeywordIndex();
    documents.forEach((tokens, label) => {
      index.add(label, tokens);
      oracle.add(label, tokens);
    });
    for (const k of [1, 10, 50, 200]) expectSame(index, oracle, terms, k, { ties: ascending });
  });

  it('agree when lists are so long that none is read whole', () => {
    const index = create();
    const oracle = new BruteForceKeywordIndex();
    for (let label = 0; label < 40_000; label++) {
      const tokens = ['all', ...(label % 10 === 3 ? [] : ['most']), ...(label % 97 === 0 ? ['few'] : [])];
      tokens.push(...new Array<string>(label % 7).fill('filler'));
      index.add(label, tokens);
      oracle.add(label, tokens);
    }
    for (const k of [1, 50]) expectSame(index, oracle, ['all', 'few', 'most'], k, { ties: descending });
  });

  it('agree when few are allowed and fewer match', () => {
    const index = create();
    const oracle = new BruteForceKeywordIndex();
    for (let label = 0; label < 3_000; label++) {
      const tokens = label % 3 === 0 ? ['other'] : ['word', ...new Array<string>(label % 5).fill('more')];
      index.add(label, tokens);
      oracle.add(label, tokens);
    }
    const allowed = Bitmap.of([2_999, 3, 4, 5, 6, 1_000, 5_000]);
    for (const k of [2, 5, 50]) expectSame(index, oracle, ['more', 'word'], k, { ties: ascending, allowed });
  });

  it('agree when the index is written in the middle of a sweep', () => {
    const index = create();
    const oracle = new BruteForceKeywordIndex();
    for (let label = 0; label < 4_000; label++) {
      const tokens = [`t${label % 500}`, `u${label % 7}`, 'all'];
      index.add(label, tokens);
      oracle.add(label, tokens);
    }
    // The 1 024th death starts a sweep; the ones after it are dead in lists of both numberings.
    for (let label = 0; label < 1_027; label++) {
      index.remove(label);
      oracle.remove(label);
    }
    const again = readBack(index);
    for (const one of [index, again]) {
      expectSame(one, oracle, ['t3', 't499', 'u1'], 100, { ties: ascending });
      expect(one.documentFrequencies(['all', 't0', 'u0'])).toEqual(oracle.documentFrequencies(['all', 't0', 'u0']));
      expect(one.statistics().postings).toBe(3 * oracle.documents);
    }
  });
});

/** Sums as a cluster would have them: more of everything. */
function otherSums(
  index: KeywordIndex,
  terms: string[],
): { documents: number; totalLength: number; documentFrequencies: number[] } {
  const own = index.statisticsOf(terms);
  return {
    documents: own.documents * 3,
    totalLength: own.totalLength * 4,
    documentFrequencies: own.documentFrequencies.map((frequency, i) => frequency * (1 + (i % 3))),
  };
}

describe('native PostingSums', () => {
  const posting = (ordinal: number): number => ordinal * 64 + 1;
  const gathered = (page: Uint32Array, head: number, count: number, documents: number): number[] => {
    const sums = native();
    sums.setPage(0, page);
    const outcome = new Uint32Array(2);
    const ordinals = new Uint32Array(8);
    sums.gather(
      {
        chains: Uint32Array.of(head, count),
        weights: Float64Array.of(1),
        lists: 1,
        averageLength: 1,
        lengths: new Uint32Array(documents).fill(1),
        labels: Uint32Array.from({ length: documents }, (_, i) => i),
        documents,
        allowed: undefined,
        k: 8,
      },
      0,
      ordinals,
      new Float64Array(8),
      outcome,
    );
    return [...ordinals.subarray(0, outcome[0])];
  };

  it('is what an index ranks by, but for frequencies its postings do not say', () => {
    let ranked = 0;
    const sums = native();
    const watched = sums && {
      setPage: sums.setPage.bind(sums),
      gather: sums.gather.bind(sums),
      frequencies: sums.frequencies.bind(sums),
      rank: (...given: Parameters<typeof sums.rank>) => {
        ranked++;
        return sums.rank(...given);
      },
    };
    const index = new KeywordIndex(watched);
    index.add(0, ['few', 'many']);
    index.add(1, ['few', ...new Array<string>(63).fill('many')]);
    expect([...index.search(['few'], 5, { ties: ascending }).labels]).toEqual([0, 1]);
    expect(ranked).toBe(1);
    expect([...index.search(['few', 'many'], 5, { ties: ascending }).frequencies].sort()).toEqual([1, 1, 1, 63]);
    expect(ranked).toBe(1);
  });

  it('keeps every sum within `rest` of the k-th best, however many windows it drops others in', () => {
    const documents = new KeywordDocuments();
    const next = seeded(7);
    const lists = new PostingLists();
    const expected = new Map<number, number>();
    for (const list of [0, 1, 2]) lists.create(list);
    for (let ordinal = 0; ordinal < 30_000; ordinal++) documents.add(ordinal, 1 + next(40));
    for (let ordinal = 0; ordinal < 30_000; ordinal++) {
      for (const list of [0, 1, 2]) {
        if (next(2 + list) > 0) continue;
        const frequency = 1 + next(3);
        lists.append(list, ordinal, frequency, documents.lengths[ordinal]);
        const score = bm25(1 + list, frequency, documents.lengths[ordinal], 20);
        expected.set(ordinal, (expected.get(ordinal) ?? 0) + score);
      }
    }
    const sums = native();
    if (sums === undefined) throw new Error('there is an addon');
    const gathering = new SumsOfLists(sums, lists, documents);
    expect(gathering.take([0, 1, 2].map((list) => ({ list, weight: 1 + list, at: list })))).toBe(true);
    for (const [k, rest] of [
      [1, 0],
      [10, 0.5],
      [50, 0],
      [50, 2],
      [700, 0.1],
      [40_000, 0],
    ]) {
      const [ordinals, found] = [new Uint32Array(30_000), new Float64Array(30_000)];
      expect(gathering.gather({ averageLength: 20, k, allowed: undefined }, rest, ordinals, found)).toBe(true);
      const best = [...expected.values()].sort((a, b) => b - a);
      const least = (best.at(k - 1) ?? -Infinity) - rest;
      const kept = [...ordinals.subarray(0, gathering.kept)].sort((a, b) => a - b);
      expect(kept).toEqual([...expected].flatMap(([ordinal, sum]) => (sum >= least ? [ordinal] : [])));
      expect(gathering.matched).toBe(expected.size);
    }
  });

  it('refuses lists without a weight, whose documents would be met again and again', () => {
    const sums = native();
    sums.setPage(0, Uint32Array.of(0, 0, posting(1), posting(4)));
    const documents = { lengths: new Uint32Array(5).fill(1), labels: new Uint32Array(5), documents: 5 };
    const lists = { chains: Uint32Array.of(1, 2), weights: Float64Array.of(0), lists: 1, averageLength: 1, k: 8 };
    const outcome = new Uint32Array(2);
    expect(() =>
      sums.gather({ ...lists, ...documents, allowed: undefined }, 0, new Uint32Array(8), new Float64Array(8), outcome),
    ).toThrow(/weight/);
  });

  it('ranks into the room there is, or refuses', () => {
    const ranked = (room: number, records: number): number[] => {
      const sums = native();
      sums.setPage(0, Uint32Array.of(0, 0, posting(1), posting(4)));
      const columns = {
        labels: new Uint32Array(room),
        scores: new Float64Array(room),
        lengths: new Uint32Array(room),
        frequencies: new Uint32Array(2 * room),
        terms: 2,
        termOf: Uint32Array.of(1),
      };
      const count = new Uint32Array(1);
      const lists = { chains: Uint32Array.of(1, 2), weights: Float64Array.of(1), lists: 1, averageLength: 1 };
      const lengths = new Uint32Array(5).fill(1);
      const documents = { lengths, labels: Uint32Array.of(9, 8, 7, 6, 5), documents: 5, allowed: undefined };
      const words = new Uint32Array(8 * records);
      const ids = { keys: new Float64Array(records), records: { words, texts: new Uint8Array(0) } };
      expect(sums.rank({ ...lists, ...documents, k: 8 }, -Infinity, ids, columns, count)).toBe(-Infinity);
      expect(count).toEqual(Uint32Array.of(2));
      expect([...columns.frequencies]).toEqual([0, 1, 0, 1]);
      return [...columns.labels].sort();
    };
    expect(ranked(2, 10)).toEqual([5, 8]);
    expect(() => ranked(1, 10)).toThrow(/room/);
    // Two of equal score, and nothing to tell them apart by.
    expect(() => ranked(2, 3)).toThrow(/key/);
  });

  it('reads a list', () => {
    expect(gathered(Uint32Array.of(0, 0, posting(1), posting(4)), 1, 2, 5)).toEqual([1, 4]);
  });

  it.each([
    ['leaves its pages', Uint32Array.of(0, 0, posting(1)), 1, 2, 5],
    ['begins nowhere', Uint32Array.of(0, 0, posting(1)), 0, 1, 5],
    ['begins on a page that is not there', Uint32Array.of(0, 0, posting(1)), 1 << 16, 1, 5],
    ['goes on nowhere', Uint32Array.of(0, 0, posting(1), posting(2), posting(3)), 1, 4, 5],
    ['names a document there is not', Uint32Array.of(0, 0, posting(1), posting(5)), 1, 2, 5],
    ['is out of order', Uint32Array.of(0, 0, posting(4), posting(1)), 1, 2, 5],
  ])('refuses a list that %s, and touches no memory but its own', (_what, page, head, count, documents) => {
    expect(() => gathered(page, head, count, documents)).toThrow(/posting/);
  });
});
