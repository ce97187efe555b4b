import { describe, expect, it } from '@jest/globals';
import { META_SHARD } from '../../../kernel/ids.js';
import { after, exampleMap, grown, refusal, uuidOf } from '../testing/example-map.js';
import { shardSetOf } from './shard-set.js';

const [one, two, three] = [1, 2, 3].map(uuidOf);

describe('applySetOperation', () => {
  it('brings a copy in as a learner that counts nowhere, then into the set under a new set epoch', () => {
    const map = exampleMap(2, 3);
    const learning = after(map, { kind: 'addLearner', shard: 1, node: two });
    expect(learning.placement[1]).toEqual({ members: [one], learners: [two], epoch: 1 });
    expect(shardSetOf(learning, 1)).toEqual({ mapEpoch: 1, members: [one] });
    const settled = after(learning, { kind: 'promoteLearner', shard: 1, node: two, after: 1 });
    expect(shardSetOf(settled, 1)).toEqual({ mapEpoch: settled.epoch, members: [one, two] });
    expect(settled.placement[0]).toBe(map.placement[0]);
  });

  it('makes one change at a time: no second learner, no change on top of a set nobody counts by yet', () => {
    const learning = after(exampleMap(1, 3), { kind: 'addLearner', shard: 0, node: two });
    expect(refusal(learning, { kind: 'addLearner', shard: 0, node: three })).toBe('OPERATION_CONFLICT');
    expect(refusal(learning, { kind: 'promoteLearner', shard: 0, node: two, after: 0 })).toBe('OPERATION_CONFLICT');
    const map = grown(exampleMap(1, 3), 0, 2);
    expect(refusal(map, { kind: 'removeMember', shard: 0, node: one, after: 1 })).toBe('OPERATION_CONFLICT');
    expect(refusal(map, { kind: 'removeMember', shard: 0, node: one, after: map.placement[0].epoch })).toBe('changed');
  });

  it('never puts two copies on a node and never takes the last one', () => {
    const map = exampleMap(1, 2);
    expect(refusal(map, { kind: 'addLearner', shard: 0, node: one })).toBe('OPERATION_CONFLICT');
    expect(refusal(map, { kind: 'removeMember', shard: 0, node: one, after: 1 })).toBe('OPERATION_CONFLICT');
    expect(refusal(map, { kind: 'addLearner', shard: 0, node: 'ff' })).toBe('NODE_NOT_FOUND');
    expect(refusal(map, { kind: 'addLearner', shard: 1, node: two })).toBe('SHARD_NOT_FOUND');
    expect(refusal(map, { kind: 'addLearner', shard: META_SHARD, node: two })).toBe('SHARD_NOT_FOUND');
    expect(refusal(map, { kind: 'promoteLearner', shard: 0, node: two, after: 1 })).toBe('NODE_NOT_FOUND');
    expect(refusal(map, { kind: 'removeLearner', shard: 0, node: two })).toBe('NODE_NOT_FOUND');
    expect(refusal(map, { kind: 'removeMember', shard: 0, node: two, after: 1 })).toBe('NODE_NOT_FOUND');
  });

  it('reorders members without making another set', () => {
    const map = grown(exampleMap(1, 3), 0, 2);
    const preferred = after(map, { kind: 'preferPrimary', shard: 0, node: two });
    expect(shardSetOf(preferred, 0)).toEqual({ mapEpoch: map.placement[0].epoch, members: [two, one] });
    expect(refusal(map, { kind: 'preferPrimary', shard: 0, node: three })).toBe('NODE_NOT_FOUND');
  });

  it('forgets the choice of an operator when the chosen member leaves', () => {
    const task = { kind: 'movePrimary', shard: 0, node: two } as const;
    const map = after(
      grown(exampleMap(1, 2), 0, 2),
      { kind: 'startOperation', id: 'a', task, startedMs: 1 },
      { kind: 'finishOperation', id: 'a', end: 'done', endedMs: 2 },
    );
    expect(map.placement[0]).toMatchObject({ members: [two, one], pinned: true });
    const settled = map.placement[0].epoch;
    expect(after(map, { kind: 'removeMember', shard: 0, node: one, after: settled }).placement[0].pinned).toBe(true);
    const left = after(map, { kind: 'removeMember', shard: 0, node: two, after: settled });
    expect(left.placement[0]).not.toHaveProperty('pinned');
  });

  it('changes the voters of the map one by one', () => {
    const map = grown(exampleMap(1, 3), META_SHARD, 2);
    expect(shardSetOf(map, META_SHARD)).toEqual({ mapEpoch: map.epoch, members: [one, two] });
    expect(refusal(map, { kind: 'addVoter', node: three, after: 1 })).toBe('OPERATION_CONFLICT');
    expect(refusal(map, { kind: 'addVoter', node: two, after: map.epoch })).toBe('OPERATION_CONFLICT');
    expect(refusal(map, { kind: 'removeVoter', node: three, after: map.epoch })).toBe('NODE_NOT_FOUND');
    const back = after(map, { kind: 'removeVoter', node: one, after: map.epoch });
    expect(back.meta.members).toEqual([two]);
    expect(refusal(back, { kind: 'removeVoter', node: two, after: back.epoch })).toBe('OPERATION_CONFLICT');
  });
});
