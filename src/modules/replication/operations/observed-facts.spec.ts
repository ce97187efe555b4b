import { describe, expect, it } from '@jest/globals';
import { NO_EPOCH, type Epoch } from '../../../kernel/epoch.js';
import type { NodeRecord, NodeStatus } from '../../membership/core/node-record.js';
import { exampleMap } from '../../ring/testing/example-map.js';
import type { ShardPosition } from '../core/protocol.js';
import { ObservedFacts, type Observation } from './observed-facts.js';

const map = exampleMap(1, 3);

function record(nodeUuid: string, status: NodeStatus): NodeRecord {
  return {
    nodeId: `node-${nodeUuid}`,
    nodeUuid,
    incarnation: 1,
    status,
    grpcAddress: 'localhost:1',
    httpAddress: 'localhost:2',
    version: '0.0.0',
    protocolMin: 1,
    protocolMax: 1,
  };
}

function epoch(num: number, owner: number): Epoch {
  return { num, uuid: new Uint8Array(16).fill(owner) };
}

function position(role: ShardPosition['role'], of: Epoch, change: Partial<ShardPosition> = {}): ShardPosition {
  return {
    shard: 0,
    role,
    epoch: of,
    leader: '01',
    setEpoch: 7,
    settled: 7,
    lastEpoch: NO_EPOCH,
    lastStart: 0,
    lastOffset: 1,
    agreedEpoch: NO_EPOCH,
    agreed: 0,
    durable: 1,
    applied: 1,
    inSync: true,
    faulted: false,
    held: false,
    loose: 0,
    documents: 0,
    lagMs: 0,
    ...change,
  };
}

function seen(nowMs: number, statuses: readonly NodeStatus[], positions: Observation['positions']): Observation {
  const records = statuses.map((status, i) => record(`0${i + 1}`, status));
  return { nowMs, wallMs: 5, map, records, positions, transfers: [], room: () => 'ample' };
}

describe('ObservedFacts', () => {
  it('remembers since when a node answers or does not, one that nobody ever heard of too', () => {
    const facts = new ObservedFacts();
    facts.observe(seen(100, ['ACTIVE', 'ACTIVE'], new Map()));
    facts.observe(seen(200, ['ACTIVE', 'SUSPECT'], new Map()));
    const { nodes } = facts.observe(seen(300, ['ACTIVE', 'UNAVAILABLE'], new Map()));
    expect(nodes.get('01')).toEqual({ status: 'ACTIVE', sinceMs: 100 });
    const filled = { ...seen(300, ['ACTIVE', 'UNAVAILABLE'], new Map()), room: () => 'full' as const };
    expect(facts.observe(filled).nodes.get('01')).toEqual({ status: 'ACTIVE', sinceMs: 100, disk: 'full' });
    expect(nodes.get('02')).toEqual({ status: 'UNAVAILABLE', sinceMs: 300 });
    expect(nodes.get('03')).toEqual({ status: 'UNAVAILABLE', sinceMs: 100 });
    expect(facts.observe(seen(400, ['ACTIVE', 'LEFT'], new Map())).nodes.get('02')?.sinceMs).toBe(300);
    expect(facts.observe(seen(500, ['ACTIVE', 'ACTIVE'], new Map())).nodes.get('02')?.sinceMs).toBe(500);
  });

  it('believes the primary of the highest epoch, and copies that follow it', () => {
    const positions = new Map([
      ['01', [position('primary', epoch(3, 1), { settled: 2 })]],
      ['02', [position('primary', epoch(4, 2), { inSync: false })]],
      ['03', [position('replica', epoch(3, 1))]],
    ]);
    const shard = new ObservedFacts().observe(seen(1, ['ACTIVE', 'ACTIVE', 'ACTIVE'], positions)).shards.get(0);
    expect(shard).toMatchObject({ primary: '02', settled: 7 });
    expect([...(shard?.copies ?? [])].map(([node, { inSync }]) => [node, inSync])).toEqual([
      ['01', false],
      ['02', true],
      ['03', false],
    ]);
  });

  it('forgets what a silent node said, and what a damaged copy claims', () => {
    const positions = new Map([
      ['01', [position('primary', epoch(3, 1))]],
      ['02', [position('replica', epoch(3, 1), { faulted: true })]],
    ]);
    const facts = new ObservedFacts();
    expect(
      facts
        .observe(seen(1, ['ACTIVE', 'ACTIVE'], positions))
        .shards.get(0)
        ?.copies.get('02'),
    ).toMatchObject({
      inSync: false,
      faulted: true,
    });
    const silent = facts.observe(seen(2, ['UNAVAILABLE', 'ACTIVE'], positions)).shards.get(0);
    expect(silent).toMatchObject({ primary: undefined, settled: 0 });
  });

  it('counts the time in sync without a break', () => {
    const facts = new ObservedFacts();
    const at = (nowMs: number, inSync: boolean) =>
      facts
        .observe(
          seen(
            nowMs,
            ['ACTIVE', 'ACTIVE'],
            new Map([
              ['01', [position('primary', epoch(3, 1))]],
              ['02', [position('learner', epoch(3, 1), { inSync })]],
            ]),
          ),
        )
        .shards.get(0)
        ?.copies.get('02');
    at(10, true);
    expect(at(20, true)).toEqual({ inSync: true, inSyncSinceMs: 10, faulted: false });
    expect(at(30, false)?.inSync).toBe(false);
    expect(at(40, true)?.inSyncSinceMs).toBe(40);
  });
});
