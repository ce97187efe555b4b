import { describe, expect, it } from '@jest/globals';
import { ClusterWatch, type ClusterSight, type SeenShard } from './cluster-watch.js';

const name = (node: string): string => `node-${node}`;
const member = (nodeUuid: string, status = 'ACTIVE') => ({ nodeUuid, nodeId: name(nodeUuid), status });
const shard = (change: Partial<SeenShard> = {}): SeenShard => ({
  shard: 0,
  epoch: 1,
  primary: 'a',
  inSync: ['a', 'b'],
  members: ['a', 'b'],
  ...change,
});

/** A watch that saw nodes a and b with one shard, and how it tells the next sight. */
function watching(): (sight: Partial<ClusterSight>) => readonly object[] {
  const watch = new ClusterWatch();
  const before = { members: [member('a'), member('b')], shards: [shard()] };
  expect(watch.see(before, name)).toEqual([]);
  return (sight) => watch.see({ ...before, ...sight }, name);
}

describe('ClusterWatch', () => {
  it('tells nothing while nothing changes', () => {
    const see = watching();
    expect(see({})).toEqual([]);
  });

  it('tells who joined and who left, and how', () => {
    const see = watching();
    const joining = [member('a'), member('b', 'SUSPECT'), member('c', 'JOINING')];
    expect(see({ members: joining })).toEqual([]);
    expect(see({ members: [member('a'), member('b', 'UNAVAILABLE'), member('c')] })).toEqual([
      { type: 'cluster.node_left', data: { node: 'node-b', nodeUuid: 'b', status: 'UNAVAILABLE' } },
      { type: 'cluster.node_joined', data: { node: 'node-c', nodeUuid: 'c', status: 'ACTIVE' } },
    ]);
    expect(see({ members: [member('a'), member('b')] })).toEqual([
      { type: 'cluster.node_left', data: { node: 'node-c', nodeUuid: 'c', status: 'LEFT' } },
      { type: 'cluster.node_joined', data: { node: 'node-b', nodeUuid: 'b', status: 'ACTIVE' } },
    ]);
  });

  it('tells a new primary with the one before, also when there was none in between', () => {
    const see = watching();
    expect(see({ shards: [shard({ primary: undefined, inSync: ['b'] })] })).toEqual([]);
    const changed = {
      type: 'cluster.primary_changed',
      data: { shard: 0, epoch: 3, node: 'node-b', previous: 'node-a' },
    };
    expect(see({ shards: [shard({ primary: 'b', epoch: 3, inSync: ['b'] })] })).toEqual([changed]);
    // What is heard late of an older reign is no change.
    expect(see({ shards: [shard({ primary: 'a', epoch: 2, inSync: ['b'] })] })).toEqual([]);
    expect(see({ shards: [shard({ primary: 'b', epoch: 3, inSync: ['b'] })] })).toEqual([]);
  });

  it('tells a replica that is in sync again, and no primary as one', () => {
    const see = watching();
    expect(see({ shards: [shard({ inSync: ['a'] })] })).toEqual([]);
    expect(see({ shards: [shard()] })).toEqual([
      { type: 'cluster.replica_synced', data: { shard: 0, node: 'node-b' } },
    ]);
  });

  it('tells where the copies of a shard are after they moved', () => {
    const see = watching();
    expect(see({ shards: [shard({ members: ['a', 'c'] })] })).toEqual([
      {
        type: 'cluster.shard_rebalanced',
        data: { shard: 0, nodes: ['node-a', 'node-c'], added: ['node-c'], removed: ['node-b'] },
      },
    ]);
  });
});
