import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { NO_EPOCH, sameEpoch, type EpochStart } from '../../../kernel/epoch.js';
import {
  baseOf,
  compareAgreed,
  compareEnds,
  compareTold,
  containsAgreed,
  epochAt,
  forkOf,
  type Branch,
} from './fork.js';

const uuid = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);
const branch = (
  lastOffset: number,
  ...reigns: readonly (readonly [num: number, by: number, start: number])[]
): Branch => ({
  lastOffset,
  history: reigns.map(([num, by, start]): EpochStart => ({ epoch: { num, uuid: uuid(by) }, start })),
});

describe('forkOf', () => {
  it.each<readonly [string, Branch, Branch, number]>([
    ['two empty logs', branch(0), branch(0), 0],
    ['an empty log', branch(0), branch(5, [1, 1, 1]), 0],
    ['a prefix', branch(3, [1, 1, 1]), branch(5, [1, 1, 1]), 3],
    ['a new reign after the common part', branch(5, [1, 1, 1]), branch(7, [1, 1, 1], [2, 2, 4]), 3],
    ['two reigns after the same one', branch(9, [1, 1, 1], [2, 1, 5]), branch(8, [1, 1, 1], [2, 2, 7]), 4],
    ['nothing in common', branch(4, [1, 1, 1]), branch(4, [1, 2, 1]), 0],
  ])('finds the fork of %s', (_, a, b, fork) => {
    expect(forkOf(a, b)).toBe(fork);
    expect(forkOf(b, a)).toBe(fork);
  });

  it('is the last offset with the same epoch on both, for any two histories that share a prefix', () => {
    const reigns = fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 4 })), { maxLength: 5 });
    fc.assert(
      fc.property(reigns, reigns, reigns, (shared, left, right) => {
        const build = (rest: typeof left, side: number): Branch => {
          let [num, offset] = [0, 0];
          const history: EpochStart[] = [];
          for (const [i, [leap, length]] of [...shared, ...rest].entries()) {
            num += leap;
            history.push({ epoch: { num, uuid: uuid(i < shared.length ? 9 : side) }, start: offset + 1 });
            offset += length;
          }
          return { lastOffset: offset, history };
        };
        const [a, b] = [build(left, 1), build(right, 2)];
        let expected = Math.min(a.lastOffset, b.lastOffset);
        while (expected > 0 && !sameEpoch(epochAt(a.history, expected), epochAt(b.history, expected))) expected--;
        expect(forkOf(a, b)).toBe(expected);
      }),
    );
  });
});

it('orders ends by epoch, then by offset', () => {
  const end = (num: number, lastOffset: number) => ({ lastEpoch: { num, uuid: uuid(1) }, lastOffset });
  expect(compareEnds(end(2, 1), end(1, 9))).toBeGreaterThan(0);
  expect(compareEnds(end(2, 1), end(2, 3))).toBeLessThan(0);
  expect(compareEnds(end(2, 3), end(2, 3))).toBe(0);
  expect(epochAt([], 4)).toBe(NO_EPOCH);
});

describe('the base of some logs', () => {
  const known = (agreed: number, log: Branch) => ({ ...log, agreed, lastEpoch: epochAt(log.history, log.lastOffset) });
  const lone = branch(9, [1, 1, 1], [2, 2, 6]);
  const others = branch(8, [1, 1, 1]);

  it.each<readonly [string, number, ReturnType<typeof known>[]]>([
    ['ends furthest', 1, [known(0, others), known(0, lone)]],
    ['ends furthest of those with all that any knows to be agreed', 0, [known(5, others), known(5, lone)].reverse()],
    ['has what one knows to be agreed and the higher epoch has not', 1, [known(5, lone), known(7, others)]],
    ['ends furthest of several that have it', 2, [known(5, lone), known(7, branch(7, [1, 1, 1])), known(6, others)]],
    ['has what was agreed last', 1, [known(8, others), known(6, lone)]],
    ['is the first of equal ones', 0, [known(2, others), known(3, others)]],
  ])('%s', (_, base, logs) => expect(baseOf(logs)).toBe(base));

  it('orders what is agreed by its epoch, then by offset', () => {
    expect(compareAgreed(known(6, lone), known(8, others))).toBeGreaterThan(0);
    expect(compareAgreed(known(5, lone), known(8, others))).toBeLessThan(0);
    expect(compareAgreed(known(0, branch(0)), known(0, lone))).toBe(0);
    expect(containsAgreed(lone, known(5, others))).toBe(true);
    expect(containsAgreed(lone, known(6, others))).toBe(false);
    expect(containsAgreed(branch(0), known(0, others))).toBe(true);
  });
});

describe('the order of nomination', () => {
  const known = (agreed: number, log: Branch) => ({ ...log, agreed, lastEpoch: epochAt(log.history, log.lastOffset) });
  const told = (agreed: number, log: Branch) => {
    const { epoch: lastEpoch, start: lastStart } = log.history[log.history.length - 1];
    return { lastEpoch, lastStart, lastOffset: log.lastOffset, agreedEpoch: epochAt(log.history, agreed), agreed };
  };
  const lone = branch(9, [1, 1, 1], [2, 2, 6]);
  const others = branch(8, [1, 1, 1]);
  const successor = branch(9, [1, 1, 1], [3, 3, 9]);

  it.each<readonly [string, Branch, number, Branch, number, number]>([
    ['who has what is agreed before who lacks it', others, 7, lone, 5, 1],
    ['the same, seen from there', lone, 5, others, 7, -1],
    ['the further one of two that have it', successor, 5, others, 7, 1],
    ['the same, seen from there', others, 7, successor, 5, -1],
    ['the further one when nothing is agreed', lone, 0, others, 0, 1],
    ['nobody of equals', others, 3, others, 5, 0],
  ])('has first %s', (_, theirs, agreed, ours, agreedHere, order) => {
    expect(Math.sign(compareTold(told(agreed, theirs), known(agreedHere, ours)))).toBe(order);
  });
});
