import { describe, expect, it } from '@jest/globals';
import type { ClusterOperations } from './cluster-operations.js';
import { ClusterService } from './cluster.service.js';
import type { CopyRoute, ShardRoute } from './core/route.js';
import type { Member, Members } from './members.js';
import type { Routes } from './routes.js';

const unused = undefined as never;

function copy(node: string, role: CopyRoute['role'], changes: Partial<CopyRoute> = {}): CopyRoute {
  const standing = { lagMs: 0, offset: 1, durable: 1, faulted: false, held: false };
  const inSync = role !== 'learner';
  return { node, nodeId: `node-${node}`, self: node === 'a', role, inSync, status: 'ACTIVE', ...standing, ...changes };
}

/** What the operator of a cluster does with one shard of node "a", of which these are the other copies. */
function operatorOf(others: readonly CopyRoute[]): { readonly operator: ClusterService; readonly moved: string[] } {
  const copies = [copy('a', 'primary'), ...others];
  const route: ShardRoute = { shard: 0, epoch: 1, lastEpoch: 1, primary: 'a', copies, documents: 0, wanted: 2 };
  const routes: Pick<Routes, 'refresh' | 'shards'> = { refresh: () => undefined, shards: () => [route] };
  const all = copies.map(({ node, nodeId }) => ({ nodeId, nodeUuid: node }) as Member);
  const members: Pick<Members, 'all'> = { all: () => all };
  const moved: string[] = [];
  const operations: Pick<ClusterOperations, 'movePrimary'> = {
    movePrimary: (shard, to) => Promise.resolve({ operation: `op-${moved.push(`${shard} to ${to}`)}` }),
  };
  const parts = [routes, unused, members, operations, unused] as unknown as [Routes, never, Members, never, never];
  return { operator: new ClusterService(unused, unused, ...parts), moved };
}

describe('ClusterService', () => {
  it('moves a primary to a copy that the status shows in sync, and to no other', async () => {
    const others = [
      copy('b', 'replica'),
      copy('c', 'replica', { inSync: false }),
      copy('d', 'replica', { status: 'UNAVAILABLE' }),
      copy('e', 'replica', { status: 'SUSPECT' }),
      copy('f', 'replica', { faulted: true }),
      copy('g', 'learner'),
    ];
    const { operator, moved } = operatorOf(others);
    for (const { nodeId } of others.slice(1))
      await expect(operator.movePrimary(0, nodeId)).rejects.toMatchObject({ code: 'OPERATION_CONFLICT' });
    expect(moved).toEqual([]);
    expect(await operator.movePrimary(0, 'node-b')).toEqual({ operation: 'op-1' });
    expect(moved).toEqual(['0 to b']);
  });
});
