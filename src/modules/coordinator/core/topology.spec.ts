import { describe, expect, it } from '@jest/globals';
import type { CopyRoute, ShardRoute } from './route.js';
import { isDegraded, mapDegradation, topologyOf } from './topology.js';

const copy = (node: string, role: CopyRoute['role'], changes: Partial<CopyRoute> = {}): CopyRoute => ({
  node,
  nodeId: node,
  self: node === 'a',
  role,
  inSync: role !== 'learner',
  status: 'ACTIVE',
  lagMs: 0,
  offset: 1,
  durable: 1,
  faulted: false,
  held: false,
  ...changes,
});

const route = (shard: number, primary: string | undefined, copies: readonly CopyRoute[], wanted = 2): ShardRoute => ({
  shard,
  epoch: 1,
  lastEpoch: 1,
  primary,
  copies,
  documents: 0,
  wanted,
});

describe('topologyOf', () => {
  it('lists primaries as numbers and replicas by name, in number order, and no learners', () => {
    const members = ['b', 'a', 'c'].map((name) => ({ nodeId: `node-${name}`, nodeUuid: name, status: 'ACTIVE' }));
    const routes = [
      route(0, 'a', [copy('a', 'primary'), copy('b', 'replica')]),
      route(1, 'b', [copy('b', 'primary'), copy('a', 'replica'), copy('c', 'learner')]),
      route(2, 'a', [copy('a', 'primary'), copy('b', 'replica', { faulted: true })]),
    ];
    expect(topologyOf(members, routes)).toEqual({
      'node-a': { status: 'ACTIVE', shards: [0, '1-replica', 2] },
      'node-b': { status: 'ACTIVE', shards: ['0-replica', 1] },
      'node-c': { status: 'ACTIVE', shards: [] },
    });
    expect(Object.keys(topologyOf(members, routes))).toEqual(['node-a', 'node-b', 'node-c']);
  });
});

describe('isDegraded', () => {
  it('is a shard without a primary or with fewer in-sync copies than the map gives it', () => {
    const both = [copy('a', 'primary'), copy('b', 'replica')];
    expect(isDegraded(route(0, 'a', both))).toBe(false);
    expect(isDegraded(route(0, undefined, both))).toBe(true);
    expect(isDegraded(route(0, 'a', both, 3))).toBe(true);
    expect(isDegraded(route(0, 'a', [copy('a', 'primary'), copy('b', 'replica', { inSync: false })]))).toBe(true);
    // What a node that does not answer said last does not count.
    for (const status of ['SUSPECT', 'UNAVAILABLE'] as const) {
      expect(isDegraded(route(0, 'a', [copy('a', 'primary', { status }), copy('b', 'replica')], 1))).toBe(true);
      expect(isDegraded(route(0, 'a', [copy('a', 'primary'), copy('b', 'replica', { status })]))).toBe(true);
    }
  });
});

describe('mapDegradation', () => {
  it('is a map without a majority, or one that went astray here', () => {
    const voters = [copy('a', 'primary'), copy('b', 'replica'), copy('c', 'replica', { status: 'UNAVAILABLE' })];
    expect(mapDegradation(route(0, 'a', voters, 3), false)).toBeUndefined();
    expect(mapDegradation(route(0, 'a', voters, 4), false)).toContain('no majority');
    expect(mapDegradation(route(0, 'a', voters, 3), true)).toContain('move its data directory away');
  });
});
