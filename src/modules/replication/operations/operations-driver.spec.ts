import { describe, expect, it } from '@jest/globals';
import { NodeError, type ErrorCode } from '../../../kernel/errors.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import type { Transfer } from '../../ring/core/facts.js';
import type { MapOperation } from '../../ring/core/map-operations.js';
import { PlannedWorld } from '../../ring/testing/planned-world.js';
import { ManualTime } from '../testing/manual-time.js';
import { OperationsDriver } from './operations-driver.js';

class Node {
  readonly world: PlannedWorld;
  readonly time = new ManualTime();
  readonly driver: OperationsDriver;
  readonly changes: MapOperation[] = [];
  readonly transfers: Transfer[] = [];
  leads = true;
  /** What the next changes are refused with. */
  refusal: ErrorCode | undefined;
  transferFails = false;
  readonly warnings: string[] = [];

  constructor(world: PlannedWorld) {
    this.world = world;
    this.driver = new OperationsDriver({
      clock: this.time,
      timers: this.time,
      hasher: nodeHasher,
      logger: { info: () => undefined, warn: (_, message) => this.warnings.push(message) },
      map: () => (this.leads ? world.map : undefined),
      facts: (_, transfers) => world.facts(transfers),
      change: async (operation) => {
        this.changes.push(operation);
        if (this.refusal !== undefined) throw new NodeError(this.refusal, 'no');
        if (!world.ask(operation)) throw new NodeError('OPERATION_CONFLICT', 'refused');
        this.driver.nudge();
      },
      transfer: async (transfer) => {
        this.transfers.push(transfer);
        if (this.transferFails || !world.handOver(transfer)) throw new Error('the target does not answer');
      },
    });
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      this.world.pass(100);
      await this.time.pass(100);
    }
  }
}

function joined(): PlannedWorld {
  const world = new PlannedWorld(4, 1);
  world.join(2);
  return world;
}

describe('OperationsDriver', () => {
  it('carries a plan out, each step as soon as the one before is done', async () => {
    const node = new Node(joined());
    node.driver.start();
    await node.pass(3_000);
    expect(
      node.world.map.placement.every(({ members, learners }) => members.length === 2 && learners.length === 0),
    ).toBe(true);
    await node.pass(60_000);
    expect([0, 1, 2, 3].filter((shard) => node.world.primary(shard) === '02')).toHaveLength(2);
    expect(node.driver.transfers).toEqual([]);
    expect(node.warnings).toEqual([]);
    const { length } = node.changes;
    await node.pass(60_000);
    expect(node.changes).toHaveLength(length);
    await node.driver.stop();
  });

  it('does nothing while another node is primary of the map, and goes on when it is', async () => {
    const node = new Node(joined());
    node.leads = false;
    node.driver.start();
    await node.pass(5_000);
    expect(node.changes).toEqual([]);
    node.leads = true;
    await node.pass(600);
    expect(node.changes.length).toBeGreaterThan(0);
    await node.driver.stop();
    const { length } = node.changes;
    node.driver.nudge();
    await node.pass(5_000);
    expect(node.changes).toHaveLength(length);
  });

  it('leaves the rest of a plan when the map cannot change, and tries again', async () => {
    const node = new Node(joined());
    node.refusal = 'NO_QUORUM';
    node.driver.start();
    await node.pass(100);
    expect(node.changes).toHaveLength(1);
    expect(node.warnings).toHaveLength(1);
    await node.pass(1_000);
    expect(node.changes).toHaveLength(3);
    node.refusal = 'OPERATION_CONFLICT';
    await node.pass(500);
    // An outrun operation does not keep the others of the plan waiting.
    expect(node.changes.length).toBeGreaterThan(4);
    node.refusal = undefined;
    await node.pass(3_000);
    expect(node.world.map.placement.every(({ members }) => members.length === 2)).toBe(true);
    await node.driver.stop();
  });

  it('lets a shard rest whose reign could not be handed over', async () => {
    const node = new Node(joined());
    node.driver.start();
    await node.pass(20_000);
    node.transferFails = true;
    const shard = node.world.map.placement.findIndex(({ members }) => members[0] === '01');
    node.world.ask({
      kind: 'startOperation',
      id: 'm',
      task: { kind: 'movePrimary', shard, node: '02' },
      startedMs: 1,
    });
    const asked = () => node.transfers.filter((transfer) => transfer.shard === shard).length;
    await node.pass(4_000);
    expect(asked()).toBe(1);
    await node.pass(5_000);
    expect(asked()).toBe(2);
    node.transferFails = false;
    await node.pass(6_000);
    expect(node.world.primary(shard)).toBe('02');
    expect(node.world.map.operations.find(({ id }) => id === 'm')?.state).toBe('done');
    await node.driver.stop();
  });
});
