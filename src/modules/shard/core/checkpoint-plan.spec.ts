import { describe, expect, it } from '@jest/globals';
import { checkpointsDue, type CheckpointPolicy, type UnsavedIndex } from './checkpoint-plan.js';

const policy: CheckpointPolicy = { logBytes: 1_000_000, ageMs: 60_000, entries: 100, rewrite: 8 };
const indexOf = (shard: number, entries: number, more: Partial<UnsavedIndex> = {}): UnsavedIndex => ({
  shard,
  entries,
  logBytes: entries * 10,
  ageMs: 1_000,
  savedBytes: 0,
  ...more,
});

describe('checkpointsDue', () => {
  it('names shards with much log or an old change of their own', () => {
    const much = indexOf(2, 5, { logBytes: 1_000_000, savedBytes: 1e12 });
    const old = indexOf(0, 0, { ageMs: 60_000, savedBytes: 1e12 });
    expect(checkpointsDue([much, indexOf(1, 5), old], policy)).toEqual([2, 0]);
  });

  it('names none while the node has little to replay, however it is spread', () => {
    expect(checkpointsDue([indexOf(0, 60), indexOf(1, 40)], policy)).toEqual([]);
    expect(checkpointsDue([], policy)).toEqual([]);
  });

  it('names those with the most until the rest is little', () => {
    const unsaved = [indexOf(0, 30), indexOf(1, 90), indexOf(2, 30), indexOf(3, 40)];
    expect(checkpointsDue(unsaved, policy)).toEqual([1]);
    expect(checkpointsDue([...unsaved, indexOf(4, 60)], policy)).toEqual([1, 4]);
    expect(checkpointsDue([...unsaved, indexOf(4, 1)], policy)).toEqual([1, 3]);
  });

  it('counts what is saved for another reason as saved', () => {
    expect(checkpointsDue([indexOf(0, 90, { ageMs: 60_000 }), indexOf(1, 50), indexOf(2, 50)], policy)).toEqual([0]);
  });

  it('passes over a shard whose index is too large to be written for so little', () => {
    const large = indexOf(0, 500, { savedBytes: 8 * 5_000 + 1 });
    expect(checkpointsDue([large, indexOf(1, 20)], policy)).toEqual([1]);
    expect(checkpointsDue([{ ...large, savedBytes: 8 * 5_000 }, indexOf(1, 20)], policy)).toEqual([0]);
  });
});
