import { describe, expect, it } from '@jest/globals';
import { filterOf } from './filter.js';

const exists = { key: 'a', exists: true };

function nest(depth: number): object {
  return depth === 1 ? { must: [exists] } : { must: [nest(depth - 1)] };
}

function refusalOf(filter: unknown): unknown {
  try {
    return filterOf(filter);
  } catch (error) {
    return error;
  }
}

describe('filterOf', () => {
  it('reads every kind of clause', () => {
    expect(
      filterOf({
        must: [
          { key: 'a.b', match: { value: null } },
          { key: 'c', match: { any: ['x', 1, true] } },
          { key: 'd', range: { gte: 1, lt: 2 } },
        ],
        should: [{ ids: ['1', '2'] }, { key: 'e', exists: true }, { key: 'e', exists: false }],
        must_not: [{ should: [{ key: 'f', range: { gt: '2024-01-01' } }] }],
      }),
    ).toEqual({
      must: [
        { kind: 'match', key: 'a.b', any: [null] },
        { kind: 'match', key: 'c', any: ['x', 1, true] },
        { kind: 'range', key: 'd', gte: 1, lt: 2 },
      ],
      should: [
        { kind: 'ids', ids: ['1', '2'] },
        { kind: 'exists', key: 'e', exists: true },
        { kind: 'exists', key: 'e', exists: false },
      ],
      mustNot: [
        { kind: 'nested', filter: { must: [], should: [{ kind: 'range', key: 'f', gt: '2024-01-01' }], mustNot: [] } },
      ],
    });
    expect(filterOf({})).toEqual({ must: [], should: [], mustNot: [] });
  });

  it.each([
    ['no object', [], /must be an object, not an array/],
    ['an unknown group', { mustNot: [] }, /did you mean `must_not`/],
    ['a single clause', { must: exists }, /array of clauses/],
    ['an unknown condition', { must: [{ key: 'a', equals: 1 }] }, /`filter.must\[0\]` has the unknown field `equals`/],
    ['no condition', { must: [{ key: 'a' }] }, /exactly one/],
    ['two conditions', { must: [{ key: 'a', exists: true, match: { value: 1 } }] }, /exactly one/],
    ['no key', { must: [{ exists: true }] }, /key/],
    ['an empty key', { must: [{ key: '', exists: true }] }, /key/],
    ['a key beside ids', { must: [{ key: 'a', ids: [] }] }, /`key`/],
    ['a key beside a nested filter', { must: [{ key: 'a', must: [] }] }, /`key`/],
    ['a bad id', { must: [{ ids: [''] }] }, /ids\[0\]/],
    ['value and any', { must: [{ key: 'a', match: { value: 1, any: [1] } }] }, /either/],
    ['an object as value', { must: [{ key: 'a', match: { value: {} } }] }, /an object/],
    ['an infinite value', { must: [{ key: 'a', match: { value: Infinity } }] }, /finite/],
    ['an empty range', { must: [{ key: 'a', range: {} }] }, /at least one/],
    ['a mixed range', { must: [{ key: 'a', range: { gt: 1, lt: 'x' } }] }, /one type/],
    ['a boolean bound', { must: [{ key: 'a', range: { gt: true } }] }, /number or a string/],
    ['a clause that is null', { must: [null] }, /null/],
  ])('refuses %s', (_name, filter, message) => {
    expect(refusalOf(filter)).toMatchObject({ code: 'INVALID_REQUEST', message: expect.stringMatching(message) });
  });

  it('counts clauses and levels before it goes deeper', () => {
    expect(filterOf({ must: new Array(64).fill(exists) }).must).toHaveLength(64);
    expect(() => filterOf({ must: new Array(32).fill(exists), should: new Array(33).fill(exists) })).toThrow(
      /64 clauses/,
    );
    expect(filterOf(nest(8))).toBeDefined();
    expect(refusalOf(nest(9))).toMatchObject({ code: 'LIMIT_EXCEEDED' });
    expect(() => filterOf(nest(5_000))).toThrow(/8 levels/);
    expect(() => filterOf({ must: [{ key: 'a', match: { any: new Array(1_001).fill(1) } }] })).toThrow(/1000/);
  });
});
