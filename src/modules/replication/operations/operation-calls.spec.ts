import { describe, expect, it } from '@jest/globals';
import { NodeError } from '../../../kernel/errors.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { applyMapOperation } from '../../ring/core/map-operations.js';
import { PlannedWorld } from '../../ring/testing/planned-world.js';
import { ManualTime } from '../testing/manual-time.js';
import { OperationCalls, type OperationCallPorts } from './operation-calls.js';

function cluster(nodes: number, replicaCount: number): { world: PlannedWorld; calls: OperationCalls } {
  const world = new PlannedWorld(4, replicaCount);
  for (let n = 2; n <= nodes; n++) world.join(n);
  expect(world.settle(1_000)).toBe(true);
  return { world, calls: new OperationCalls(portsOf(world)) };
}

let ids = 0;

function portsOf(world: PlannedWorld): OperationCallPorts {
  return {
    clock: new ManualTime(),
    hasher: nodeHasher,
    newId: () => `op-${++ids}`,
    map: () => world.map,
    facts: () => world.facts(),
    knownEpoch: () => 7,
    change: async (operation) => {
      const result = applyMapOperation(world.map, operation);
      if (result.kind === 'refused') throw new NodeError(result.code, result.detail);
      world.ask(operation);
      return world.map;
    },
  };
}

describe('OperationCalls', () => {
  it('drains a node and tells how it goes', async () => {
    const { world, calls } = cluster(3, 1);
    const id = await calls.drain('node-02');
    expect(calls.operation(id)).toMatchObject({ kind: 'drain', state: 'running', node: 'node-02' });
    expect(world.settle(1_000)).toBe(true);
    const { state, progress, endedMs } = calls.operation(id);
    expect({ state, done: progress.done }).toEqual({ state: 'done', done: progress.total });
    expect(endedMs).toBeGreaterThan(0);
  });

  it('takes an operation back', async () => {
    const { world, calls } = cluster(3, 1);
    const id = await calls.drain('node-02');
    await calls.abort(id);
    expect(calls.operation(id).state).toBe('aborted');
    expect(world.map.nodes.every(({ duty }) => duty === 'serving')).toBe(true);
    await expect(calls.abort('none')).rejects.toMatchObject({ code: 'OPERATION_NOT_FOUND' });
    expect(() => calls.operation('none')).toThrow(NodeError);
  });

  it('refuses to remove a dead node with the last copy of a shard, and the only node', async () => {
    const { world, calls } = cluster(2, 0);
    world.die('02');
    await expect(calls.removeNode('node-02')).rejects.toMatchObject({
      code: 'OPERATION_CONFLICT',
      message: expect.stringMatching(/would lose documents: it has the only copy of shard/),
    });
    world.comeBack('02');
    const id = await calls.removeNode('node-02');
    expect(world.settle(1_000)).toBe(true);
    expect(calls.operation(id).state).toBe('done');
    await expect(calls.removeNode('node-01')).rejects.toMatchObject({ code: 'OPERATION_CONFLICT' });
    await expect(calls.removeNode('node-02')).rejects.toMatchObject({ code: 'NODE_NOT_FOUND' });
  });

  it('forces a shard whose only copy is on a dead node, and no other', async () => {
    const { world, calls } = cluster(3, 0);
    const shard = world.map.placement.findIndex(({ members }) => members[0] === '02');
    const forced = (nodeId: string, empty: boolean, of = shard) => calls.force(of, nodeId, empty);
    await expect(forced('node-03', true)).rejects.toMatchObject({
      code: 'OPERATION_CONFLICT',
      message: expect.stringMatching(/"node-02" has a copy of shard \d and answers/),
    });
    world.die('02');
    await expect(forced('node-03', false)).rejects.toMatchObject({ message: expect.stringMatching(/has no copy/) });
    await expect(forced('node-02', true)).rejects.toMatchObject({ message: expect.stringMatching(/does not answer/) });
    await expect(forced('node-03', true, 9)).rejects.toMatchObject({ code: 'SHARD_NOT_FOUND' });
    await expect(forced('node-09', true)).rejects.toMatchObject({ code: 'NODE_NOT_FOUND' });
    const id = await forced('node-03', true);
    expect(calls.operation(id)).toMatchObject({ kind: 'force', state: 'done', node: 'node-03', shard });
    expect(world.map.placement[shard]).toMatchObject({ members: ['03'], learners: [], epoch: world.map.epoch });
    expect(world.map.placement[shard].epochFloor).toBeGreaterThan(7);
    await expect(calls.abort(id)).rejects.toMatchObject({ code: 'OPERATION_CONFLICT' });
    await expect(forced('node-03', true)).rejects.toMatchObject({ code: 'OPERATION_CONFLICT' });
  });

  it('forces a shard to one of two nodes that are asked for at once', async () => {
    const { world, calls } = cluster(4, 0);
    const shard = world.map.placement.findIndex(({ members }) => members[0] === '02');
    world.die('02');
    // A node that has not heard of the first one yet.
    const behind = new OperationCalls({
      ...portsOf(world),
      map: (
        (map) => () =>
          map
      )(world.map),
    });
    await calls.force(shard, 'node-03', true);
    await expect(behind.force(shard, 'node-04', true)).rejects.toMatchObject({
      code: 'OPERATION_CONFLICT',
      message: expect.stringMatching(/has changed meanwhile, and is "node-03" now/),
    });
    expect(world.map.placement[shard].members).toEqual(['03']);
  });

  it('moves a primary, but not to where it is', async () => {
    const { world, calls } = cluster(2, 1);
    const shard = world.map.placement.findIndex(({ members }) => members[0] === '01');
    await expect(calls.movePrimary(shard, 'node-01')).rejects.toMatchObject({ code: 'OPERATION_CONFLICT' });
    await expect(calls.movePrimary(9, 'node-01')).rejects.toMatchObject({ code: 'SHARD_NOT_FOUND' });
    const id = await calls.movePrimary(shard, 'node-02');
    expect(world.settle(1_000)).toBe(true);
    expect(calls.operation(id)).toMatchObject({ kind: 'movePrimary', state: 'done', node: 'node-02', shard });
    expect(world.primary(shard)).toBe('02');
  });
});
