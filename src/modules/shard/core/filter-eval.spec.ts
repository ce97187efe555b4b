import { describe, expect, it } from '@jest/globals';
import type { JsonObject, JsonValue } from '../../../kernel/json.js';
import { matches } from './filter-eval.js';
import type { Filter, FilterClause } from './filter.js';

const none: Filter = { must: [], should: [], mustNot: [] };
const passes = (clause: FilterClause, metadata: JsonObject | undefined, id = 'id'): boolean =>
  matches({ ...none, must: [clause] }, id, metadata);
const match = (key: string, ...any: (string | number | boolean | null)[]): FilterClause => ({
  kind: 'match',
  key,
  any,
});
const exists = (key: string): FilterClause => ({ kind: 'exists', key, exists: true });

describe('matches', () => {
  it('combines must, should and must_not', () => {
    const a = match('k', 'a');
    const b = match('k', 'b');
    expect(matches(none, 'id', undefined)).toBe(true);
    expect(matches({ ...none, should: [a, b] }, 'id', { k: 'b' })).toBe(true);
    expect(matches({ ...none, should: [a, b] }, 'id', { k: 'c' })).toBe(false);
    expect(matches({ ...none, must: [a], should: [b] }, 'id', { k: 'a' })).toBe(true);
    expect(matches({ ...none, mustNot: [a] }, 'id', { k: 'a' })).toBe(false);
    expect(matches({ ...none, mustNot: [a] }, 'id', undefined)).toBe(true);
    expect(matches({ must: [a], should: [], mustNot: [b] }, 'id', { k: ['a', 'b'] })).toBe(false);
    expect(passes({ kind: 'nested', filter: { ...none, should: [a, b] } }, { k: 'b' })).toBe(true);
  });

  it('tells types apart', () => {
    expect(passes(match('k', 1), { k: '1' })).toBe(false);
    expect(passes(match('k', '1'), { k: 1 })).toBe(false);
    expect(passes(match('k', 1), { k: true })).toBe(false);
    expect(passes(match('k', null), { k: null })).toBe(true);
    expect(passes(match('k', null), {})).toBe(false);
    expect(passes(match('k', 0), { k: -0 })).toBe(true);
    expect(passes(match('k', 'x', 2), { k: 2 })).toBe(true);
  });

  it('reaches through dots, arrays and both', () => {
    const metadata = {
      a: { b: 1, 'c.d': 2 },
      'e.f': 3,
      list: [[1, 2], [{ b: 'deep' }]],
      objects: [{ n: 1 }, { n: 5 }],
    };
    expect(passes(match('a.b', 1), metadata)).toBe(true);
    expect(passes(match('a.c.d', 2), metadata)).toBe(true);
    expect(passes(match('e.f', 3), metadata)).toBe(true);
    expect(passes(match('list', 2), metadata)).toBe(true);
    expect(passes(match('list.b', 'deep'), metadata)).toBe(true);
    expect(passes(match('objects.n', 5), metadata)).toBe(true);
    expect(passes(match('a', 1), metadata)).toBe(false);
    expect(passes(match('a.b.c', 1), metadata)).toBe(false);
  });

  it('asks one element for all bounds of a range', () => {
    expect(passes({ kind: 'range', key: 'k', gt: 1, lt: 5 }, { k: [0, 9] })).toBe(false);
    expect(passes({ kind: 'range', key: 'k', gt: 1, lt: 5 }, { k: [0, 3] })).toBe(true);
    expect(passes({ kind: 'range', key: 'k', gte: 1, lte: 1 }, { k: 1 })).toBe(true);
    expect(passes({ kind: 'range', key: 'k', gt: 1 }, { k: '2' })).toBe(false);
    expect(passes({ kind: 'range', key: 'k', gte: '2024' }, { k: '2024-05-01' })).toBe(true);
    expect(passes({ kind: 'range', key: 'k', gte: '2024', lt: 5 }, { k: '2024-05-01' })).toBe(false);
    expect(passes({ kind: 'range', key: 'k' }, { k: 0 })).toBe(true);
    expect(passes({ kind: 'range', key: 'k' }, { k: true })).toBe(false);
  });

  it('finds a key whatever its value', () => {
    const values: JsonValue[] = [null, false, 0, '', [], {}, { x: 1 }, [{}], [[]]];
    for (const value of values) expect(passes(exists('k'), { k: value })).toBe(true);
    expect(passes(exists('k'), { kk: 1, 'x.k': 1 })).toBe(false);
    expect(passes(exists('a'), { 'a.b': 1 })).toBe(true);
    expect(passes(exists('a.b'), { a: [{ b: {} }] })).toBe(true);
    expect(passes(exists('k'), undefined)).toBe(false);
    expect(passes({ kind: 'exists', key: 'k', exists: false }, undefined)).toBe(true);
  });

  it('knows the id', () => {
    expect(passes({ kind: 'ids', ids: ['x', 'id'] }, undefined)).toBe(true);
    expect(passes({ kind: 'ids', ids: ['x'] }, undefined)).toBe(false);
  });
});
