import type { Bug, BugToCome } from './bug.js';
import {
  acknowledgeBeforeSync,
  dedupeMergeByOperation,
  dropTombstonesByTime,
  flipEarly,
  noLooseRows,
  storedResultAtOnce,
  truncateToHighWaterMark,
} from './durability.js';
import {
  acceptLowerEpoch,
  baseByEndAlone,
  countLearner,
  majorityOfTheLiving,
  mergeMetaSuffix,
  noBarrier,
  noCheckAfterAdoption,
  noSetEntry,
  reuseEpoch,
  shrinkSet,
  skipChainCheck,
} from './reigns.js';
import type { Undo } from './override.js';

/** The list of testing.md ("The harness is tested too"): each must be found. */
export const BUGS: readonly Bug[] = [
  {
    name: 'acknowledge-before-sync',
    about: 'what is appended counts as durable',
    break: acknowledgeBeforeSync,
    found: { seed: 1, rules: ['S1'] },
  },
  { name: 'sync-lies', about: 'the disk says that it synced, and did not', found: { seed: 14, rules: ['S1'] } },
  {
    name: 'reuse-epoch',
    about: 'a primary that restarts reigns in its old epoch',
    break: reuseEpoch,
    found: { seed: 8, rules: ['S4'] },
  },
  {
    name: 'truncate-to-hwm',
    about: 'a log is cut to the high-water mark at a restart',
    break: truncateToHighWaterMark,
    found: { seed: 5, rules: ['S1'] },
  },
  { name: 'promise-not-kept', about: 'the promise is left out of every batch', found: { seed: 10, rules: ['S4'] } },
  {
    name: 'majority-of-the-living',
    about: 'only members that answer are counted',
    break: majorityOfTheLiving,
    found: { seed: 1, rules: ['S8'] },
  },
  {
    name: 'count-learner',
    about: 'a learner stands for a member',
    break: countLearner,
    found: { seed: 1, rules: ['S8'] },
  },
  {
    name: 'shrink-set',
    about: 'a primary takes silent members out of its set',
    break: shrinkSet,
    found: { seed: 1, rules: ['S8'] },
  },
  {
    name: 'dedupe-by-operation',
    about: 'a merge knows rows by their operation',
    break: dedupeMergeByOperation,
    scenario: 'one-key-on-both-sides',
    found: { seed: 1, rules: ['L4', 'S6', 'S1'] },
  },
  {
    name: 'tombstones-by-time',
    about: 'every copy drops old tombstones by itself',
    break: dropTombstonesByTime,
    found: { seed: 1, rules: ['L4', 'S6', 'S1'] },
  },
  {
    name: 'lower-epoch',
    about: 'a fence below the promise is granted',
    break: acceptLowerEpoch,
    found: { seed: 22, rules: ['S4'] },
  },
  {
    name: 'no-barrier',
    about: 'a reign begins without an entry of its own',
    break: noBarrier,
    found: { seed: 1, rules: ['L3', 'L4'] },
  },
  {
    name: 'no-chain-check',
    about: 'logs of one length and epoch are taken for equal',
    break: skipChainCheck,
    scenario: 'rewritten-log',
    found: { seed: 7, rules: ['S2'] },
  },
  {
    name: 'flip-early',
    about: 'a snapshot takes the place of the log before it is whole',
    break: flipEarly,
    found: { seed: 3, rules: ['L4'] },
  },
  {
    name: 'replay-by-the-table',
    about: 'an index is replayed by the versions of the table',
    found: { seed: 6, rules: ['L3'] },
  },
  {
    name: 'rf-of-the-living',
    about: 'copies are wanted by the number of nodes that answer',
    scenario: 'three-nodes',
    found: { seed: 1, rules: ['PLACEMENT'] },
  },
  {
    name: 'meta-suffix-merged',
    about: 'changes of the map that were cut off are logged again',
    break: mergeMetaSuffix,
    found: { seed: 10, rules: ['S5'] },
  },
  {
    name: 'stored-result-at-once',
    about: 'a repeated key is answered before its entry has the level',
    break: storedResultAtOnce,
    found: { seed: 9, rules: ['S1'] },
  },
  {
    name: 'no-loose-rows',
    about: 'rows beyond a fork are deleted',
    break: noLooseRows,
    found: { seed: 50, rules: ['L4', 'S6', 'S1'] },
  },
  {
    name: 'no-set-entry',
    about: 'a set is in force without its entry',
    break: noSetEntry,
    found: { seed: 141, rules: ['S8'] },
  },
  {
    name: 'base-by-end-alone',
    about: 'the branch of the higher epoch is the base, whatever a majority had',
    break: baseByEndAlone,
    scenario: 'lone-follower-after-a-partition',
    found: { seed: 1, rules: ['INVARIANT'] },
  },
  {
    name: 'no-check-after-adoption',
    about: 'a candidate reigns by what it knew before it adopted',
    break: noCheckAfterAdoption,
    scenario: 'adopts-its-own-removal',
    found: { seed: 1, rules: ['S8'] },
  },
];

export const BUGS_TO_COME: readonly BugToCome[] = [
  { name: 'purge above a checkpoint', because: 'there is no PURGE yet, and indexes here keep no checkpoints' },
  { name: 'no ownership filter', because: 'the number of shards cannot be changed yet' },
  { name: 'an error as an empty shard', because: 'searches are not simulated: coordinator/fan-out.spec.ts' },
];

/** Breaks rules in this process until the returned function is called; names it does not know are the world's. */
export function breakRules(names: ReadonlySet<string>): Undo {
  const undos = BUGS.filter(({ name }) => names.has(name)).map((bug) => bug.break?.());
  return () => undos.reverse().forEach((undo) => undo?.());
}
