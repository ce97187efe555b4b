import { describe, expect, it } from '@jest/globals';
import { utf8 } from '../../../kernel/bytes.js';
import { reignTag, type Epoch, type EpochStart } from '../../../kernel/epoch.js';
import {
  afterCut,
  afterMerged,
  afterReplaced,
  BRANCH_EPOCHS_MAX,
  branchBeyond,
  decodeBranch,
  decodeBranches,
  encodeBranch,
  encodeBranches,
  forkOfPosition,
  MERGED_EPOCHS_MAX,
  NO_BRANCHES,
  offsetOfPosition,
  type BranchEpoch,
} from './branch-epochs.js';
import type { Branch } from './fork.js';

const epoch = (num: number, node = 1): Epoch => ({ num, uuid: new Uint8Array(16).fill(node) });
const reign = (num: number, start: number, node = 1): EpochStart => ({ epoch: epoch(num, node), start });
const log = (lastOffset: number, ...history: EpochStart[]): Branch => ({ lastOffset, history });

/** It went on to 100 in epoch 1 and to 120 in one of its own; the base left it at 90. */
const BRANCH = log(120, reign(1, 1), reign(2, 101, 2));
const CUT = branchBeyond(BRANCH, 90);
const BASE = log(130, reign(1, 1), reign(3, 91, 3));
const MERGED = afterMerged(NO_BRANCHES, BASE, CUT, 130);

describe('what a log knows of branches (replication 6.4, 7.2)', () => {
  it('is what was cut off, up to where it went in each epoch, and from where', () => {
    expect(CUT).toEqual([
      { epoch: epoch(1), end: 100, fork: 90 },
      { epoch: epoch(2, 2), end: 120, fork: 90 },
    ]);
    expect(branchBeyond(BRANCH, 105)).toEqual([{ epoch: epoch(2, 2), end: 120, fork: 105 }]);
    expect(branchBeyond(BRANCH, 120)).toEqual([]);
  });

  it('contains the positions of a merged branch, up to its end, once the MERGED is there', () => {
    const at = (num: number, offset: number, merged = MERGED.merged): number | undefined =>
      offsetOfPosition(BASE, merged, { epoch: num, reign: 0, offset });
    expect([at(1, 90), at(3, 91), at(3, 130)]).toEqual([90, 91, 130]);
    expect([at(1, 95), at(1, 100), at(2, 101), at(2, 120)]).toEqual([130, 130, 130, 130]);
    expect([at(1, 101), at(2, 121), at(3, 131), at(4, 5)]).toEqual([undefined, undefined, undefined, undefined]);
    expect([at(1, 95, []), at(2, 101, [])]).toEqual([undefined, undefined]);
  });

  it('tells a reader of a branch where that left the log', () => {
    const fork = (num: number, offset: number, merged = MERGED.merged): number | undefined =>
      forkOfPosition(BASE, merged, { epoch: num, reign: 0, offset });
    expect([fork(1, 90), fork(3, 100), fork(0, 7)]).toEqual([undefined, undefined, undefined]);
    expect([fork(1, 95), fork(1, 95, []), fork(2, 110)]).toEqual([90, 90, 90]);
    // A reign of which nothing is known may have begun anywhere; a later one than any here may only not be heard of yet.
    expect([fork(2, 110, []), fork(4, 140), fork(4, 120)]).toEqual([0, 130, 120]);
    // The end of a log that is behind.
    expect(fork(3, 140)).toBe(130);
  });

  it('tells the two reigns of one number apart', () => {
    // Two sides in epoch 2, of nodes 2 and 3; the side of node 3 won, and the other one is merged, or not yet.
    const won = log(130, reign(1, 1), reign(2, 91, 3));
    const lost = branchBeyond(log(120, reign(1, 1), reign(2, 91, 2)), 90);
    const { merged } = afterMerged(NO_BRANCHES, won, lost, 130);
    const at = (node: number, offset: number) => ({ epoch: 2, reign: reignTag(epoch(2, node)), offset });
    expect([offsetOfPosition(won, [], at(3, 100)), offsetOfPosition(won, [], at(2, 100))]).toEqual([100, undefined]);
    expect([offsetOfPosition(won, merged, at(3, 100)), offsetOfPosition(won, merged, at(2, 100))]).toEqual([100, 130]);
    expect([forkOfPosition(won, merged, at(3, 100)), forkOfPosition(won, merged, at(2, 100))]).toEqual([undefined, 90]);
    // Of a lower one that is not merged nothing is known; a higher one may be what this log goes on with.
    expect([forkOfPosition(won, [], at(2, 100)), forkOfPosition(won, [], at(4, 100))]).toEqual([0, 100]);
  });

  it('goes with a MERGED that is cut off, which is part of a branch itself then', () => {
    expect(afterCut(MERGED, BASE, 130)).toEqual(MERGED);
    expect(afterCut(MERGED, BASE, 80)).toEqual({
      merged: [],
      cut: [
        { epoch: epoch(2, 2), end: 120, fork: 80 },
        { epoch: epoch(1), end: 100, fork: 80 },
        { epoch: epoch(3, 3), end: 130, fork: 80 },
      ],
    });
    const { cut } = afterCut(MERGED, BASE, 110);
    expect(cut).toContainEqual({ epoch: epoch(2, 2), end: 120, fork: 90 });
    expect(cut).toContainEqual({ epoch: epoch(3, 3), end: 130, fork: 110 });
  });

  it('no longer waits for what another copy had merged, or the log has itself', () => {
    const before = { merged: [], cut: CUT };
    expect(afterMerged(before, BASE, CUT, 130)).toEqual(MERGED);
    expect(afterMerged(before, BASE, [{ ...CUT[0], end: 95 }], 130).cut).toEqual(CUT);
    expect(afterMerged(NO_BRANCHES, BASE, [{ epoch: epoch(1), end: 90, fork: 0 }], 130)).toEqual(NO_BRANCHES);
    expect(afterMerged(MERGED, BASE, CUT, 131)).toEqual(MERGED);
  });

  it('comes with a snapshot; what that lacks waits', () => {
    const other = { ...log(200, reign(1, 1), reign(5, 61, 5)), merged: [{ ...CUT[1], offset: 180 }] };
    expect(afterReplaced(NO_BRANCHES, BRANCH, 60, other)).toEqual({
      merged: other.merged,
      cut: [{ epoch: epoch(1), end: 100, fork: 60 }],
    });
  });

  it('survives its record, and the payload of an entry, also of one that names no fork', () => {
    expect(decodeBranches(encodeBranches(afterCut(MERGED, BASE, 110)))).toEqual(afterCut(MERGED, BASE, 110));
    expect(decodeBranches(undefined)).toEqual(NO_BRANCHES);
    expect(decodeBranch(encodeBranch(CUT))).toEqual(CUT);
    const older = [{ num: 1, uuid: '01'.repeat(16), end: 95 }];
    expect(decodeBranch(utf8(JSON.stringify(older)))).toEqual([{ epoch: epoch(1), end: 95, fork: 0 }]);
  });

  it.each([
    '',
    'null',
    '{}',
    '[null]',
    '[{"num":1}]',
    '[{"num":1,"uuid":"zz","end":2}]',
    '[{"num":-1,"uuid":"","end":2}]',
  ])('is nothing when the bytes are %j', (text) => {
    expect(decodeBranch(utf8(text))).toEqual([]);
    expect(decodeBranches(utf8(text))).toEqual(NO_BRANCHES);
  });

  it('is bounded: the newest is kept', () => {
    const many = (count: number): BranchEpoch[] =>
      Array.from({ length: count }, (_, i) => ({ epoch: epoch(10 + i, 9), end: 5, fork: 1 }));
    const { merged } = afterMerged(NO_BRANCHES, BASE, many(300), 7);
    expect(merged.map(({ epoch: { num } }) => num)).toEqual(
      Array.from({ length: MERGED_EPOCHS_MAX }, (_, i) => 10 + 300 - MERGED_EPOCHS_MAX + i),
    );
    expect(afterCut({ merged: [], cut: many(300) }, BASE, 130).cut).toHaveLength(BRANCH_EPOCHS_MAX);
    expect(decodeBranch(encodeBranch(many(300)))).toEqual(many(300).slice(-BRANCH_EPOCHS_MAX));
  });
});
