import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { concatBytes } from '../../../kernel/bytes.js';
import type { JsonObject, JsonValue } from '../../../kernel/json.js';
import { AttributeIndex } from './attribute-index.js';
import { Bitmap } from './bitmap.js';
import { matches } from './filter-eval.js';
import type { Filter, FilterClause } from './filter.js';
import { IndexDamagedError } from './index-damaged-error.js';
import { metadataKeys } from './metadata-attributes.js';

const LABELS = 12;
const none: Filter = { must: [], should: [], mustNot: [] };
const must = (...clauses: FilterClause[]): Filter => ({ ...none, must: clauses });

/** Few names and values, so that they meet; names with dots and empty ones among them. */
const name = fc.constantFrom('a', 'b', 'c', 'a.b', '', 'b.');
const scalar = fc.oneof(
  fc.constantFrom<JsonValue[]>('x', 'y', '1', '2024-01-01', '\ud800', '', true, false, null, 1, 0, -0, 2.5, -7),
  fc.integer({ min: 0, max: 400 }),
);
const metadata: fc.Arbitrary<JsonObject> = fc.letrec<{ value: JsonValue; object: JsonObject }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 3 }),
    tie('object'),
  ),
  object: fc.dictionary(name, tie('value'), { maxKeys: 4, noNullPrototype: true }),
})).object;

const key = fc.constantFrom('a', 'b', 'c', 'a.b', 'a.a', 'b.c', 'a.b.c', 'a.b.a', '', 'b.', 'b..a', '.a', 'missing');
const bound = fc.oneof(fc.integer({ min: -8, max: 300 }), fc.constantFrom('', 'x', '2', '2025'));
const clause = fc.letrec<{ clause: FilterClause; filter: Filter }>((tie) => ({
  clause: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.record({
      kind: fc.constant('match' as const),
      key,
      any: fc.array(scalar as fc.Arbitrary<string>, { maxLength: 3 }),
    }),
    fc.record({ kind: fc.constant('exists' as const), key, exists: fc.boolean() }),
    fc
      .record({ gt: bound, gte: bound, lt: bound, lte: bound }, { requiredKeys: [] })
      .chain((bounds) => key.map((one) => ({ kind: 'range' as const, key: one, ...bounds }))),
    fc.record({ kind: fc.constant('ids' as const), ids: fc.array(fc.nat(LABELS + 2).map(String), { maxLength: 4 }) }),
    fc.record({ kind: fc.constant('nested' as const), filter: tie('filter') }),
  ),
  filter: fc.record({
    must: fc.array(tie('clause'), { maxLength: 2 }),
    should: fc.array(tie('clause'), { maxLength: 2 }),
    mustNot: fc.array(tie('clause'), { maxLength: 2 }),
  }),
}));

/** An index with the live documents it is about; the id of a label is its number in words. */
class Documents {
  index = new AttributeIndex();
  readonly live = new Map<number, JsonObject | undefined>();

  set(label: number, value: JsonObject | undefined): void {
    this.index.add(label, value);
    this.live.set(label, value);
  }

  remove(label: number): void {
    this.index.remove(label);
    this.live.delete(label);
  }

  found(filter: Filter): number[] {
    const live = Bitmap.of(this.live.keys());
    const resolve = (ids: readonly string[]): number[] => ids.map(Number).filter((label) => this.live.has(label));
    return [...this.index.evaluate(filter, resolve, live)];
  }

  expected(filter: Filter): number[] {
    return [...this.live]
      .filter(([label, value]) => matches(filter, String(label), value))
      .map(([label]) => label)
      .sort((a, b) => a - b);
  }

  reload(): void {
    this.index = AttributeIndex.deserialize(concatBytes([...this.index.serialize()]));
  }
}

describe('AttributeIndex', () => {
  it('finds what the definition of a filter says, after any changes', () => {
    const change = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ label: fc.nat(LABELS - 1), value: fc.option(metadata, { nil: undefined }) }),
      },
      { weight: 2, arbitrary: fc.record({ gone: fc.nat(LABELS - 1) }) },
      { weight: 1, arbitrary: fc.constant('reload' as const) },
    );
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 40 }),
        fc.array(clause.filter, { maxLength: 8 }),
        (changes, filters) => {
          const documents = new Documents();
          for (const one of changes) {
            if (one === 'reload') documents.reload();
            else if ('gone' in one) documents.remove(one.gone);
            else documents.set(one.label, one.value);
          }
          for (const filter of filters) expect(documents.found(filter)).toEqual(documents.expected(filter));
          const keys = new Set([...documents.live.values()].flatMap((value) => metadataKeys(value ?? {})));
          expect(documents.index.keys()).toEqual(keys);
        },
      ),
      { numRuns: 600 },
    );
  });

  it('is exact with many documents, values and ranges while they change', () => {
    const documents = new Documents();
    let state = 7;
    const next = (bound: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * bound);
    };
    const value = (): JsonObject => ({
      price: next(5_000) / 4,
      kind: ['noun', 'verb', 'adjective'][next(3)],
      tags: Array.from({ length: next(4) }, () => `tag${next(40)}`),
      day: `2024-${String(1 + next(12)).padStart(2, '0')}-${String(1 + next(28)).padStart(2, '0')}`,
      ...(next(5) === 0 ? { rare: { flag: next(2) === 0 } } : {}),
    });
    const filters = (): Filter[] => {
      const low = next(1_000);
      return [
        must({ kind: 'range', key: 'price', gte: low, lt: low + next(300) }),
        must(
          { kind: 'match', key: 'kind', any: ['verb'] },
          { kind: 'range', key: 'day', gt: '2024-03', lte: '2024-09-15' },
        ),
        {
          must: [],
          should: [
            { kind: 'match', key: 'tags', any: ['tag1', 'tag2'] },
            { kind: 'exists', key: 'rare', exists: true },
          ],
          mustNot: [{ kind: 'match', key: 'kind', any: ['noun'] }],
        },
        must({ kind: 'match', key: 'rare.flag', any: [true] }),
      ];
    };
    for (let label = 0; label < 2_000; label++) documents.set(label, value());
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 1_500; i++) {
        if (next(4) === 0) documents.remove(next(2_000));
        else documents.set(next(2_000), value());
        if (i % 500 === 0)
          for (const filter of filters()) expect(documents.found(filter)).toEqual(documents.expected(filter));
      }
      if (round === 3) documents.reload();
    }
    for (const label of [...documents.live.keys()]) documents.remove(label);
    expect(documents.index.keys().size).toBe(0);
    expect(documents.index.statistics()).toMatchObject({ documents: 0, keys: 0, values: 0 });
  });

  it('forgets values nobody has, in ranges too', () => {
    const documents = new Documents();
    documents.set(0, { stays: 1, stamp: -1, text: 'a' });
    for (let i = 0; i < 5_000; i++) {
      documents.set(1, { stamp: i, text: `t${i}`, stays: i });
      // Every few hundred the recent values are sorted in, and sets of forgotten values belong to others.
      if (i % 400 !== 399) continue;
      documents.set(2, { others: Array.from({ length: 300 }, (_, j) => i + j) });
      for (const clause of [
        { kind: 'range', key: 'stamp', gte: 0 },
        { kind: 'range', key: 'text', gte: 't' },
        { kind: 'range', key: 'text', lt: `t${i}` },
        { kind: 'match', key: 'stamp', any: [i - 1] },
      ] as const) {
        expect(documents.found(must(clause))).toEqual(documents.expected(must(clause)));
      }
    }
    documents.remove(2);
    expect(documents.index.statistics().values).toBeLessThan(1_000);
    documents.remove(1);
    expect(documents.index.keys()).toEqual(new Set(['stays', 'stamp', 'text']));
    expect(documents.index.remove(1)).toBe(false);
  });

  it('answers with a bitmap of its own, of live labels alone', () => {
    const index = new AttributeIndex();
    index.add(0, { k: 1 });
    index.add(1, { k: 1 });
    const live = Bitmap.of([0, 5]);
    const found = index.evaluate(must({ kind: 'match', key: 'k', any: [1] }), () => [], live);
    expect([...found]).toEqual([0]);
    const all = index.evaluate(none, () => [], live);
    all.clear(0);
    expect(live.has(0)).toBe(true);
    expect([...index.evaluate(must({ kind: 'ids', ids: ['a'] }), () => [5, 9], live)]).toEqual([5]);
  });

  it('takes as many values in one document as metadata can hold', () => {
    const documents = new Documents();
    documents.set(3, { many: Array.from({ length: 30_000 }, (_, i) => i) });
    expect(documents.found(must({ kind: 'match', key: 'many', any: [29_999] }))).toEqual([3]);
    documents.remove(3);
    expect(documents.index.statistics().values).toBe(0);
  });

  it('refuses bytes it did not write, every cut among them', () => {
    const index = new AttributeIndex();
    for (let label = 0; label < 40; label++) index.add(label, { a: label % 3, b: { c: [`v${label}`, null] }, d: {} });
    const bytes = concatBytes([...index.serialize()]);
    for (let length = 0; length < bytes.length; length += 7) {
      expect(() => AttributeIndex.deserialize(bytes.slice(0, length))).toThrow(IndexDamagedError);
    }
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at] ^= 0x55;
      try {
        AttributeIndex.deserialize(changed).evaluate(none, () => [], new Bitmap());
      } catch (error) {
        expect(error).toBeInstanceOf(IndexDamagedError);
      }
    }
  });
});

describe('metadataKeys', () => {
  it('are the dotted keys of leaves, each once', () => {
    expect(metadataKeys({ a: 1, b: { c: [1, { d: 2 }], e: {} }, f: [], 'b.c': null })).toEqual([
      'a',
      'b.c',
      'b.c.d',
      'b.e',
      'f',
    ]);
    expect(metadataKeys({})).toEqual([]);
  });
});
