import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { CandidateColumns, ShardSearchAnswer } from './search.js';
import { SearchPacker, SearchUnpacker } from './search-columns.js';

const number = fc.double({ noNaN: true });
const id = fc.string({ minLength: 1, maxLength: 8, unit: fc.constantFrom('a', ' ', 'é', '😀', ',') });

function columnsOf(count: number): fc.Arbitrary<CandidateColumns> {
  const column = fc.array(number, { minLength: count, maxLength: count }).map((values) => Float64Array.from(values));
  return fc.record({
    ids: fc.array(id, { minLength: count, maxLength: count }),
    offsets: column,
    versionMs: column,
    versionCounter: column,
    scores: column,
  });
}

const counts = (length: number): fc.Arbitrary<Float64Array> =>
  fc.array(fc.nat(), { minLength: length, maxLength: length }).map((values) => Float64Array.from(values));

const count = fc.integer({ min: 0, max: 4 });
const vector = count.chain(columnsOf);
const keyword = fc.tuple(count, fc.integer({ min: 1, max: 3 })).chain(([candidates, terms]) =>
  fc
    .tuple(
      columnsOf(candidates),
      counts(candidates * terms),
      counts(candidates),
      fc.boolean(),
      fc.record({
        documents: fc.nat(),
        totalLength: fc.nat(),
        documentFrequencies: fc.array(fc.nat(), { minLength: terms, maxLength: terms }),
      }),
    )
    .map(([columns, frequencies, lengths, complete, statistics]) => ({
      ...columns,
      frequencies,
      lengths,
      complete,
      statistics,
    })),
);
const answer: fc.Arbitrary<ShardSearchAnswer> = fc.oneof(
  fc.record({ shard: fc.nat(), documents: fc.nat() }),
  fc.record({ shard: fc.nat(), documents: fc.nat(), vector }),
  fc.record({ shard: fc.nat(), documents: fc.nat(), keyword }),
  fc.record({ shard: fc.nat(), documents: fc.nat(), vector, keyword }),
  fc.record({
    shard: fc.nat(),
    documents: fc.constant(0),
    failed: fc.constantFrom('NOT_READY' as const, 'FAULTED' as const),
  }),
);

describe('SearchPacker', () => {
  it('gives back what was put in, any number of times', () => {
    const packer = new SearchPacker();
    fc.assert(
      fc.property(fc.array(fc.array(answer, { maxLength: 4 }), { maxLength: 4 }), (searches) => {
        for (const answers of searches) packer.add(answers);
        const unpacker = new SearchUnpacker(packer.take());
        for (const answers of searches) expect(unpacker.next()).toEqual(answers);
      }),
    );
  });

  it('refuses to read past the end', () => {
    const packer = new SearchPacker();
    packer.add([{ shard: 1, documents: 2 }]);
    const unpacker = new SearchUnpacker(packer.take());
    unpacker.next();
    expect(() => unpacker.next()).toThrow('end early');
  });
});
