import { describe, expect, it } from '@jest/globals';
import { after, exampleMap, grown, refusal, register, uuidOf } from '../testing/example-map.js';
import type { ClusterMap } from './map.js';
import { nodeByUuid } from './map.js';
import { applyMapOperation, type MapOperation } from './map-operations.js';
import { wasRemoved } from './node-operations.js';
import { OPERATIONS_KEPT_MAX, OPERATIONS_RUNNING_MAX, REMOVALS_KEPT, type OperationTask } from './operation-record.js';

const [one, two] = [1, 2].map(uuidOf);

function start(id: string, task: OperationTask): MapOperation {
  return { kind: 'startOperation', id, task, startedMs: 5 };
}

function finish(id: string): MapOperation {
  return { kind: 'finishOperation', id, end: 'done', endedMs: 9 };
}

function abort(id: string): MapOperation {
  return { kind: 'abortOperation', id, endedMs: 9 };
}

function record(map: ClusterMap, id: string) {
  return map.operations.find((operation) => operation.id === id);
}

describe('applyOperationChange', () => {
  it('forces the set of a shard to a node outside of it, and remembers that as done', () => {
    const map = exampleMap(2, 2);
    const force = (node: string, shard = 1): OperationTask => ({
      kind: 'force',
      shard,
      node,
      empty: true,
      epochFloor: 9,
    });
    const forced = after(map, { kind: 'addLearner', shard: 1, node: two }, start('f', force(two)));
    expect(forced.placement[1]).toEqual({ members: [two], learners: [], epoch: forced.epoch, epochFloor: 9 });
    expect(forced.placement[0]).toBe(map.placement[0]);
    expect(record(forced, 'f')).toMatchObject({ state: 'done', nodeId: 'node-02', startedMs: 5, endedMs: 5 });
    expect(refusal(map, start('f', force(one)))).toBe('OPERATION_CONFLICT');
    expect(refusal(map, start('f', force(two, 2)))).toBe('OPERATION_CONFLICT');
    expect(refusal(map, start('f', force(uuidOf(3))))).toBe('OPERATION_CONFLICT');
    const drained = after(map, start('d', { kind: 'drain', node: two }));
    expect(refusal(drained, start('f', force(two)))).toBe('OPERATION_CONFLICT');
  });

  it('forces a set once: not over what another one was forced to meanwhile', () => {
    const before = exampleMap(2, 3);
    const force = (node: string, seen?: number, id = `f-${node}`): MapOperation => {
      const task = { kind: 'force', shard: 1, node, empty: true, epochFloor: 9 } as const;
      return start(id, seen === undefined ? task : { ...task, after: seen });
    };
    const planned = before.placement[1].epoch;
    const forced = after(before, force(two, planned));
    expect(forced.placement[1].members).toEqual([two]);
    expect(applyMapOperation(forced, force(uuidOf(3), planned))).toMatchObject({
      code: 'OPERATION_CONFLICT',
      detail: expect.stringMatching(/set of shard 1 has changed meanwhile, and is "node-02" now/),
    });
    // The same one again changes nothing, and says that it was made.
    expect(applyMapOperation(forced, force(two, planned, 'again'))).toMatchObject({
      code: 'OPERATION_CONFLICT',
      detail: expect.stringMatching(/"node-02" is in the set of shard 1 already/),
    });
    // Who has seen it may go on; so does what was logged before it was said.
    expect(after(forced, force(uuidOf(3), forced.placement[1].epoch)).placement[1].members).toEqual([uuidOf(3)]);
    expect(after(forced, force(uuidOf(3))).placement[1].members).toEqual([uuidOf(3)]);
    // A member that came or went is such a change, too.
    expect(refusal(grown(before, 1, 2), force(uuidOf(3), planned))).toBe('OPERATION_CONFLICT');
  });

  it('drains a node: nothing new comes to it, done only when nothing is left', () => {
    const map = after(grown(exampleMap(2, 3), 0, 2), start('d', { kind: 'drain', node: two }));
    expect(nodeByUuid(map, two)?.duty).toBe('draining');
    expect(record(map, 'd')).toMatchObject({ state: 'running', progress: { done: 0, total: 1 }, startedMs: 5 });
    expect(refusal(map, { kind: 'addLearner', shard: 1, node: two })).toBe('NODE_NOT_FOUND');
    expect(refusal(map, start('e', { kind: 'remove', node: two }))).toBe('OPERATION_CONFLICT');
    expect(refusal(map, finish('d'))).toBe('OPERATION_CONFLICT');
    const empty = after(map, { kind: 'removeMember', shard: 0, node: two, after: map.placement[0].epoch }, finish('d'));
    expect(nodeByUuid(empty, two)?.duty).toBe('drained');
    expect(record(empty, 'd')).toMatchObject({ state: 'done', progress: { done: 1, total: 1 }, endedMs: 9 });
    expect(refusal(empty, start('e', { kind: 'drain', node: two }))).toBe('OPERATION_CONFLICT');
    expect(nodeByUuid(after(empty, register(2)), two)?.duty).toBe('serving');
  });

  it('takes an operation back: the node serves again', () => {
    const map = after(exampleMap(1, 2), start('d', { kind: 'drain', node: two }), abort('d'));
    expect(nodeByUuid(map, two)?.duty).toBe('serving');
    expect(record(map, 'd')?.state).toBe('aborted');
    expect(refusal(map, abort('d'))).toBe('OPERATION_CONFLICT');
    expect(refusal(map, abort('x'))).toBe('OPERATION_NOT_FOUND');
    expect(refusal(map, start('d', { kind: 'drain', node: two }))).toBe('OPERATION_CONFLICT');
  });

  it('removes a node from the map before the operation is done', () => {
    const map = after(exampleMap(1, 2), start('r', { kind: 'remove', node: two }));
    expect(refusal(map, finish('r'))).toBe('OPERATION_CONFLICT');
    const gone = after(map, { kind: 'unregister', node: two }, finish('r'));
    expect(gone.nodes.map(({ nodeUuid }) => nodeUuid)).toEqual([one]);
  });

  it('keeps one node that takes copies', () => {
    expect(refusal(exampleMap(1, 1), start('d', { kind: 'drain', node: one }))).toBe('OPERATION_CONFLICT');
    const map = after(exampleMap(1, 2), start('d', { kind: 'drain', node: two }));
    expect(refusal(map, start('e', { kind: 'remove', node: one }))).toBe('OPERATION_CONFLICT');
    expect(refusal(map, start('e', { kind: 'remove', node: 'ff' }))).toBe('NODE_NOT_FOUND');
  });

  it('moves a primary only to a member, once at a time', () => {
    const map = grown(exampleMap(2, 3), 0, 2);
    const move = (id: string, shard: number, n: number) => start(id, { kind: 'movePrimary', shard, node: uuidOf(n) });
    expect(refusal(map, move('m', 0, 3))).toBe('OPERATION_CONFLICT');
    expect(refusal(map, move('m', 0, 9))).toBe('NODE_NOT_FOUND');
    expect(refusal(map, move('m', 7, 2))).toBe('SHARD_NOT_FOUND');
    const moving = after(map, move('m', 0, 2));
    expect(refusal(moving, move('n', 0, 1))).toBe('OPERATION_CONFLICT');
    expect(refusal(after(moving, finish('m')), move('n', 0, 1))).toBe('changed');
  });

  it('prefers the primary an operator chose once it is there; taken back or failed, a move leaves the order alone', () => {
    const map = grown(grown(exampleMap(1, 3), 0, 2), 0, 3);
    const move = (id: string, node: string) => start(id, { kind: 'movePrimary', shard: 0, node });
    const failed: MapOperation = { kind: 'finishOperation', id: 'm', end: 'failed', endedMs: 9 };
    const moving = after(map, move('m', two));
    expect(moving.placement).toEqual(map.placement);
    for (const ended of [abort('m'), failed]) expect(after(moving, ended).placement).toEqual(map.placement);
    const done = after(moving, finish('m'));
    expect(done.placement[0]).toEqual({ ...map.placement[0], members: [two, one, uuidOf(3)], pinned: true });
    // What an operator chose before stays chosen.
    expect(after(done, move('n', one), abort('n')).placement).toEqual(done.placement);
    // A copy that was given away meanwhile is first of nothing.
    const left = after(moving, { kind: 'removeMember', shard: 0, node: two, after: map.placement[0].epoch });
    expect(after(left, finish('m')).placement).toEqual(left.placement);
  });

  it('shows progress that only grows, and what it waits for', () => {
    const map = after(
      grown(grown(exampleMap(2, 2), 0, 2), 1, 2),
      start('d', { kind: 'drain', node: two }),
      { kind: 'updateOperation', id: 'd', done: 1, detail: 'waits' },
      { kind: 'updateOperation', id: 'd', done: 0 },
    );
    expect(record(map, 'd')?.progress).toEqual({ done: 1, total: 2 });
    expect(record(map, 'd')).not.toHaveProperty('detail');
  });

  it('does not let anybody abort what the cluster would start again', () => {
    const map = after(exampleMap(1, 2), {
      kind: 'startOperation',
      id: 'b',
      task: { kind: 'rebalance' },
      startedMs: 1,
      copies: 3,
    });
    expect(record(map, 'b')?.progress.total).toBe(3);
    expect(refusal(map, abort('b'))).toBe('OPERATION_CONFLICT');
    expect(refusal(map, start('c', { kind: 'rebalance' }))).toBe('OPERATION_CONFLICT');
  });

  it('keeps a bounded number, the running ones first', () => {
    let map = after(grown(exampleMap(1, 3), 0, 2), start('first', { kind: 'drain', node: two }));
    for (let i = 0; i < 2 * OPERATIONS_KEPT_MAX; i++)
      map = after(map, start(`m${i}`, { kind: 'movePrimary', shard: 0, node: one }), abort(`m${i}`));
    expect(map.operations).toHaveLength(OPERATIONS_KEPT_MAX);
    expect(record(map, 'first')?.state).toBe('running');
    expect(record(map, `m${2 * OPERATIONS_KEPT_MAX - 1}`)?.state).toBe('aborted');
    // The last nodes that were removed are known for longer than other operations.
    const removed = Array.from({ length: REMOVALS_KEPT + 2 }, (_, i) => uuidOf(40 + i));
    for (const [i, node] of removed.entries()) {
      map = after(
        map,
        register(40 + i),
        start(`r${i}`, { kind: 'remove', node }),
        { kind: 'unregister', node },
        finish(`r${i}`),
      );
    }
    for (let i = 0; i < OPERATIONS_KEPT_MAX; i++)
      map = after(map, start(`n${i}`, { kind: 'movePrimary', shard: 0, node: one }), abort(`n${i}`));
    expect(map.operations).toHaveLength(OPERATIONS_KEPT_MAX);
    expect(removed.map((node) => wasRemoved(map, node))).toEqual(removed.map((_, i) => i >= 2));
    let busy = exampleMap(OPERATIONS_RUNNING_MAX + 1, 1);
    for (let shard = 0; shard < OPERATIONS_RUNNING_MAX; shard++)
      busy = after(busy, start(`m${shard}`, { kind: 'movePrimary', shard, node: one }));
    expect(refusal(busy, start('more', { kind: 'movePrimary', shard: OPERATIONS_RUNNING_MAX, node: one }))).toBe(
      'LIMIT_EXCEEDED',
    );
  });
});
