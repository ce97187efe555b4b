import { describe, expect, it } from '@jest/globals';
import { after, exampleMap, exampleNode, grown, refusal, register, uuidOf } from '../testing/example-map.js';
import { NODES_MAX, nodeById, nodeByUuid, wantedCopies } from './map.js';
import { mustRegister } from './node-operations.js';

describe('applyNodeOperation', () => {
  it('registers a node by name, and again with what changed', () => {
    const map = exampleMap(1, 2);
    expect(map.nodes.map(({ nodeId }) => nodeId)).toEqual(['node-01', 'node-02']);
    expect(mustRegister(map, exampleNode(2))).toBe(false);
    const moved = { ...exampleNode(2), address: 'elsewhere:1' };
    expect(mustRegister(map, moved)).toBe(true);
    const next = after(map, { kind: 'register', node: moved });
    expect(nodeById(next, 'node-02')).toEqual({ ...moved, duty: 'serving', since: 2 });
    expect(next.nodes).toHaveLength(2);
  });

  it('lets a wiped disk take over a name only from the uuid it was told of', () => {
    const map = grown(exampleMap(1, 2), 0, 2);
    const wiped = { ...exampleNode(2), nodeUuid: 'aa' };
    expect(refusal(map, { kind: 'register', node: wiped })).toBe('OPERATION_CONFLICT');
    expect(refusal(map, { kind: 'register', node: wiped, replaces: '07' })).toBe('OPERATION_CONFLICT');
    const next = after(map, { kind: 'register', node: wiped, replaces: '02' });
    expect(nodeByUuid(next, '02')).toBeUndefined();
    expect(nodeById(next, 'node-02')?.nodeUuid).toBe('aa');
    // The lost copy counts until it is replaced: a majority of the old set is still needed.
    expect(next.placement[0].members).toEqual(['01', '02']);
  });

  it('refuses a node whose protocol somebody does not speak', () => {
    const map = exampleMap(1, 1);
    const newer = { ...exampleNode(2), protocolMin: 2, protocolMax: 3 };
    expect(refusal(map, { kind: 'register', node: newer })).toBe('OPERATION_CONFLICT');
    const both = after(map, { kind: 'register', node: { ...newer, protocolMin: 1 } });
    expect(nodeById(both, newer.nodeId)?.protocolMax).toBe(3);
  });

  it('holds a bounded number of nodes', () => {
    expect(refusal(exampleMap(1, NODES_MAX), register(NODES_MAX + 1))).toBe('LIMIT_EXCEEDED');
  });

  it('lets a node leave when it holds nothing', () => {
    const map = grown(exampleMap(1, 3), 0, 2);
    expect(refusal(map, { kind: 'unregister', node: uuidOf(2) })).toBe('OPERATION_CONFLICT');
    expect(refusal(map, { kind: 'unregister', node: 'ff' })).toBe('NODE_NOT_FOUND');
    const next = after(map, { kind: 'unregister', node: uuidOf(3) });
    expect(next.nodes).toHaveLength(2);
    const voter = after(map, { kind: 'removeMember', shard: 0, node: '01', after: map.placement[0].epoch });
    expect(refusal(voter, { kind: 'unregister', node: '01' })).toBe('OPERATION_CONFLICT');
  });

  it('wants as many copies as asked for and as there are nodes to hold them', () => {
    expect(wantedCopies(exampleMap(1, 1, 2))).toBe(1);
    expect(wantedCopies(exampleMap(1, 2, 2))).toBe(2);
    expect(wantedCopies(exampleMap(1, 5, 2))).toBe(3);
    expect(wantedCopies(exampleMap(1, 5, 0))).toBe(1);
  });
});
