import { describe, expect, it } from '@jest/globals';
import { planQuery, type PlanInput } from './plan.js';

const input: PlanInput = { topK: 10, offset: 0, hybrid: true, legSize: undefined, ef: 100, shards: 1, exact: false };

describe('planQuery', () => {
  it('takes max(2·(offset + topK), 50) candidates a leg in a hybrid query, the page alone in a single leg', () => {
    expect(planQuery(input).legSize).toBe(50);
    expect(planQuery({ ...input, topK: 30, offset: 10 }).legSize).toBe(80);
    expect(planQuery({ ...input, hybrid: false, topK: 7, offset: 5 }).legSize).toBe(12);
    expect(planQuery({ ...input, legSize: 200 }).legSize).toBe(200);
  });

  it('never takes fewer than the page', () => {
    expect(planQuery({ ...input, legSize: 3 }).legSize).toBe(10);
  });

  it('asks every shard for the whole leg when exact, for its likely share otherwise', () => {
    expect(planQuery({ ...input, shards: 9, exact: true }).shardSize).toBe(50);
    const { shardSize, ef } = planQuery({ ...input, shards: 9 });
    expect(shardSize).toBeLessThan(20);
    expect(shardSize).toBeGreaterThan(50 / 9);
    expect(ef).toBeLessThan(100);
    expect(ef).toBeGreaterThanOrEqual(shardSize);
  });

  it('divides the search width among the shards, down to one a graph can be walked with', () => {
    const single = { ...input, hybrid: false };
    expect(planQuery({ ...single, shards: 2 }).ef).toBe(60);
    expect(planQuery({ ...single, shards: 64 }).ef).toBe(20);
    expect(planQuery({ ...single, shards: 64, ef: 12 }).ef).toBe(12);
  });

  it('keeps the search width within its bound', () => {
    expect(planQuery({ ...input, topK: 10_000, hybrid: false }).ef).toBe(4_096);
    expect(planQuery({ ...input, ef: 400 }).ef).toBe(400);
  });
});
