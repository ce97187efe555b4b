import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { written, type WrittenCandidate } from '../../shard/testing/written-answer.js';
import { mergeLeg, type ShardLeg } from './merge.js';

function legOf(shard: number, vector: readonly WrittenCandidate[]): ShardLeg {
  const leg = written({ shard, vector }).vector();
  if (leg === undefined) throw new Error('it was written');
  return { shard, leg };
}

describe('mergeLeg', () => {
  it('keeps the highest version of a document that two shards return', () => {
    const merged = mergeLeg(
      [legOf(3, [{ id: 'x', score: 3, versionMs: 5 }]), legOf(7, [{ id: 'x', score: 1, versionMs: 6 }])],
      5,
    );
    expect([merged.length, merged.id(0), merged.shard(0), merged.scores[0]]).toEqual([1, 'x', 7, 1]);
  });

  it('finds a document that is there twice among many that end alike', () => {
    const ids = Array.from({ length: 500 }, (_, i) => `${i} of the same ending`);
    const candidates = (of: readonly string[]) => of.map((id, row) => ({ id, score: -row }));
    const merged = mergeLeg(
      [legOf(0, candidates(ids)), legOf(1, candidates(['b of the same ending', ids[499]]))],
      1_000,
    );
    expect(merged.length).toBe(501);
    expect([...merged.scores.keys()].filter((place) => merged.id(place) === ids[499])).toHaveLength(1);
  });

  it('brings rows into order that new scores put out of it', () => {
    const leg = legOf(
      0,
      ['a', 'b', 'c', 'd'].map((id, row) => ({ id, score: -row })),
    );
    const merged = mergeLeg([leg], 3, {
      of: (_, row) => [1, 3, 2, 3][row],
      all: (_, scores, at) => scores.set([1, 3, 2, 3], at),
    });
    expect([...merged.scores].map((score, place) => [merged.id(place), score])).toEqual([
      ['b', 3],
      ['d', 3],
      ['c', 2],
    ]);
  });

  const candidate = fc.record({ id: fc.integer({ min: 0, max: 30 }), score: fc.nat(6), ms: fc.nat(3) });
  const shard = fc.uniqueArray(candidate, { selector: ({ id }) => id, maxLength: 20 });

  it('is a sort of everything, cut to size, of each document its newest version', () => {
    fc.assert(
      fc.property(fc.array(shard, { maxLength: 70 }), fc.integer({ min: 1, max: 40 }), (shards, size) => {
        const all = shards.flatMap((list, from) => list.map((one) => ({ ...one, from, id: `d${one.id}` })));
        const sorted = all.sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
        const newest = new Map<string, (typeof sorted)[number]>();
        for (const one of sorted) if (one.ms > (newest.get(one.id)?.ms ?? -1)) newest.set(one.id, one);
        const expected = sorted.filter((one) => newest.get(one.id) === one).slice(0, size);
        const merged = mergeLeg(
          shards.map((list, i) =>
            legOf(
              i,
              list.map(({ id, score, ms }) => ({ id: `d${id}`, score, versionMs: ms })),
            ),
          ),
          size,
        );
        expect(
          [...merged.scores].map((score, place) => ({ id: merged.id(place), score, from: merged.shard(place) })),
        ).toEqual(expected.map(({ id, score, from }) => ({ id, score, from })));
        for (let place = 0; place < merged.length; place++)
          expect(merged.leg(place).id(merged.row(place))).toBe(merged.id(place));
      }),
      { numRuns: 500 },
    );
  });
});
