import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { compareIds } from '../../../kernel/ids.js';
import { write, written, type Written, type WrittenCandidate } from '../testing/written-answer.js';
import { SearchAnswerWriter } from './search-answer-writer.js';
import { ShardSearchAnswer, type Candidates, type KeywordCandidates } from './search-answer.js';

const u32 = fc.nat(0xffff_ffff);
const id = fc.string({ minLength: 1, maxLength: 8, unit: fc.constantFrom('a', 'b', ' ', 'é', '語', '\uffee', '😀') });
const candidate = {
  id,
  score: fc.double({ noNaN: true, noDefaultInfinity: true }),
  offset: fc.maxSafeNat(),
  versionMs: fc.maxSafeNat(),
  versionCounter: fc.nat(0xffff),
};
const vector = fc.array(fc.record(candidate), { maxLength: 4 });
const keyword = fc.integer({ min: 0, max: 3 }).chain((terms) => {
  const perTerm = fc.array(u32, { minLength: terms, maxLength: terms });
  return fc.record({
    candidates: fc.array(fc.record({ ...candidate, frequencies: perTerm, length: u32 }), { maxLength: 4 }),
    statistics: fc.record({ documents: fc.maxSafeNat(), totalLength: fc.maxSafeNat(), documentFrequencies: perTerm }),
    complete: fc.boolean(),
  });
});
const answer: fc.Arbitrary<Written> = fc.record(
  { shard: u32, documents: u32, vector, keyword },
  { requiredKeys: ['shard', 'documents'] },
);

function rowsOf(leg: Candidates): Required<WrittenCandidate>[] {
  return Array.from({ length: leg.count }, (_, row) => ({
    id: leg.id(row),
    score: leg.score(row),
    offset: leg.offset(row),
    versionMs: leg.versionMs(row),
    versionCounter: leg.versionCounter(row),
  }));
}

function readBack(given: ShardSearchAnswer): Written {
  const ofVector = given.vector();
  const ofKeyword = given.keyword();
  return {
    shard: given.shard,
    documents: given.documents,
    ...(ofVector === undefined ? {} : { vector: rowsOf(ofVector) }),
    ...(ofKeyword === undefined ? {} : { keyword: textsOf(ofKeyword) }),
  };
}

function textsOf(leg: KeywordCandidates): Written['keyword'] {
  const { statistics, bestLeftOut } = leg;
  const candidates = rowsOf(leg).map((row, i) => ({
    ...row,
    frequencies: statistics.documentFrequencies.map((_, term) => leg.frequency(i, term)),
    length: leg.length(i),
  }));
  return { candidates, statistics, complete: bestLeftOut === -Infinity };
}

describe('ShardSearchAnswer', () => {
  it('reads what was written, one answer after the other, and over the wire', () => {
    const writer = new SearchAnswerWriter();
    fc.assert(
      fc.property(fc.array(answer, { maxLength: 4 }), (all) => {
        for (const one of all) write(writer, one);
        const answers = writer.answers();
        expect(answers.map(readBack)).toEqual(all);
        for (const [i, { bytes }] of answers.entries()) {
          const received = ShardSearchAnswer.received(Uint8Array.from([9, ...bytes]).subarray(1));
          expect(received && readBack(received)).toEqual(all[i]);
        }
      }),
    );
  });

  it('says what the best text it leaves out scores', () => {
    const text = (one: string, score: number) => ({ id: one, score, frequencies: [1], length: 1 });
    const statistics = { documents: 9, totalLength: 9, documentFrequencies: [3] };
    const leftOut = (complete: boolean, least: number, ...scores: number[]) => {
      const candidates = scores.map((score, i) => text(`d${i}`, score));
      const leg = written({ keyword: { candidates, statistics, complete, least } }).keyword();
      return [leg?.count, leg?.bestLeftOut];
    };
    expect(leftOut(true, -Infinity, 3, 2, 1)).toEqual([3, -Infinity]);
    expect(leftOut(false, -Infinity, 3, 2, 1)).toEqual([3, 1]);
    expect(leftOut(true, 2, 3, 2, 1)).toEqual([2, 1]);
    expect(leftOut(false, 9, 3, 2, 1)).toEqual([0, 3]);
    expect(leftOut(false, 0)).toEqual([0, Infinity]);
  });

  it('says why a shard cannot answer', () => {
    const writer = new SearchAnswerWriter();
    writer.fail(3, 'FAULTED');
    writer.fail(4, 'NOT_READY');
    const answers = [...writer.answers(), ShardSearchAnswer.failed(5, 'FAULTED')];
    expect(answers.map(({ shard, documents, failed }) => [shard, documents, failed])).toEqual([
      [3, 0, 'FAULTED'],
      [4, 0, 'NOT_READY'],
      [5, 0, 'FAULTED'],
    ]);
    expect(answers.map((one) => [one.vector(), one.keyword()])).toEqual(answers.map(() => [undefined, undefined]));
  });

  it('forgets what was written beyond a place', () => {
    const writer = new SearchAnswerWriter();
    write(writer, { shard: 1, vector: [{ id: 'a', score: 1 }] });
    const { length } = writer;
    writer.begin(2, 7);
    writer.backTo(length);
    write(writer, { shard: 3 });
    expect(writer.answers().map(({ shard }) => shard)).toEqual([1, 3]);
  });

  it('orders ids as they are ordered everywhere, and gives equal ones one hash', () => {
    fc.assert(
      fc.property(fc.array(id, { minLength: 1, maxLength: 20 }), (ids) => {
        const leg = written({ vector: ids.map((one) => ({ id: one, score: 0 })) }).vector();
        if (leg === undefined) throw new Error('there is a leg');
        for (let a = 0; a < ids.length; a++) {
          for (let b = 0; b < ids.length; b++) {
            expect(Math.sign(leg.compareId(a, leg, b))).toBe(compareIds(ids[a], ids[b]));
            if (ids[a] === ids[b]) expect(leg.hash(a)).toBe(leg.hash(b));
          }
        }
      }),
    );
  });

  it('takes no bytes from another node that are not an answer, and never reads beside those it takes', () => {
    fc.assert(
      fc.property(
        answer,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
        fc.nat(),
        (one, changes, cut) => {
          const bytes = written(one).bytes.slice();
          for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
          const received = ShardSearchAnswer.received(cut % 4 === 0 ? bytes.subarray(0, cut % bytes.length) : bytes);
          if (received !== undefined) expect(() => readBack(received)).not.toThrow();
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('refuses scores that are no numbers, and ids that are no texts', () => {
    const damaged = (bytes: Uint8Array, at: number, byte: number): ShardSearchAnswer | undefined => {
      const copy = bytes.slice();
      copy[at] = byte;
      return ShardSearchAnswer.received(copy);
    };
    const { bytes } = written({ vector: [{ id: 'a', score: 1 }] });
    expect(ShardSearchAnswer.received(bytes)).toBeDefined();
    // 3f f0 … 00 is 1; 7f f0 … 00 is infinite.
    expect(damaged(bytes, 16 + 8 + 7, 0x7f)).toBeUndefined();
    expect(damaged(bytes, bytes.length - 1, 0xff)).toBeUndefined();
    expect(ShardSearchAnswer.received(new Uint8Array(0))).toBeUndefined();
  });
});
