import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { uuidOf } from '../testing/example-map.js';
import { GRACE_MS, PlannedWorld } from '../testing/planned-world.js';
import { wantedCopies } from './map.js';
import { votersWanted } from './meta-voters.js';
import type { OperationTask } from './operation-record.js';
import { PREFERRED_AFTER_MS, type PlannedAction } from './plan-shard.js';

function cluster(shards: number, nodes: number, replicaCount: number): PlannedWorld {
  const world = new PlannedWorld(shards, replicaCount);
  for (let n = 2; n <= nodes; n++) world.join(n);
  expect(world.settle(2_000)).toBe(true);
  return world;
}

function start(world: PlannedWorld, id: string, task: OperationTask): boolean {
  return world.ask({ kind: 'startOperation', id, task, startedMs: world.nowMs });
}

function operation(world: PlannedWorld, id: string) {
  return world.map.operations.find((record) => record.id === id);
}

function kinds(actions: readonly PlannedAction[]): readonly string[] {
  return actions.map((action) => (action.kind === 'change' ? action.operation.kind : action.kind));
}

/** Copies and primaries are where the target has them, and nothing is under way. */
function checkConverged(world: PlannedWorld): void {
  const { target } = world.situation();
  const wanted = wantedCopies(world.map);
  for (const [shard, { members, learners }] of world.map.placement.entries()) {
    expect(learners).toEqual([]);
    expect([...members].sort()).toEqual([...target[shard]].sort());
    expect(members).toHaveLength(wanted);
    expect(members[0]).toBe(target[shard][0]);
    expect(world.primary(shard)).toBe(members[0]);
  }
  expect(world.map.meta.members).toHaveLength(votersWanted(world.map));
  expect(world.map.operations.filter(({ state }) => state === 'running')).toEqual([]);
}

describe('planNext', () => {
  it('spreads the shards of the first node over those that join, at once', () => {
    const world = new PlannedWorld(9, 1);
    world.join(2);
    expect(kinds(world.step())).toEqual(['addLearner', 'addLearner', 'startOperation']);
    world.join(3);
    expect(world.settle(500)).toBe(true);
    checkConverged(world);
    for (const n of [1, 2, 3]) {
      expect(world.map.placement.filter(({ members }) => members.includes(uuidOf(n)))).toHaveLength(6);
      expect(world.map.placement.filter(({ members }) => members[0] === uuidOf(n))).toHaveLength(3);
    }
    expect(world.map.operations.every(({ task, state }) => task.kind === 'rebalance' && state === 'done')).toBe(true);
  });

  it('moves nothing when a node dies, until the grace period is over; then builds the lost copies elsewhere', () => {
    const world = cluster(6, 4, 1);
    const before = world.map.placement;
    world.die('02');
    for (let i = 0; i < GRACE_MS / 500; i++) {
      const actions = kinds(world.step());
      expect(actions.filter((kind) => kind !== 'transfer')).toEqual([]);
    }
    expect(world.map.placement).toBe(before);
    expect(world.settle(2_000)).toBe(true);
    checkConverged(world);
    expect(world.map.placement.some(({ members }) => members.includes('02'))).toBe(false);
  });

  it('keeps a dead member when no other node can take its place', () => {
    const world = cluster(4, 2, 1);
    world.die('02');
    expect(world.settle(500)).toBe(true);
    for (const { members } of world.map.placement) expect([...members].sort()).toEqual(['01', '02']);
  });

  it('hands the reign back to a preferred primary that has been in sync for 30 s, one shard at a time', () => {
    const world = cluster(6, 3, 1);
    const led = world.map.placement.flatMap(({ members }, shard) => (members[0] === '02' ? [shard] : []));
    world.die('02');
    world.step();
    world.step();
    world.comeBack('02');
    const transfers: number[] = [];
    for (let i = 0; i < 100; i++) {
      const handed = world.step().filter(({ kind }) => kind === 'transfer');
      expect(handed.length).toBeLessThanOrEqual(1);
      if (handed.length > 0) transfers.push(i);
    }
    expect(transfers).toHaveLength(led.length);
    expect(transfers[0]).toBeGreaterThan(58);
    for (const shard of led) expect(world.primary(shard)).toBe('02');
  });

  it('hands over what a node with a nearly full disk leads, to copies with room, and back when there is room again', () => {
    const world = cluster(6, 3, 1);
    const shards = [...world.map.placement.keys()];
    const led = (uuid: string): readonly number[] => shards.filter((shard) => world.primary(shard) === uuid);
    const before = led('02');
    expect(before.length).toBeGreaterThan(0);
    // Little room is room enough to stay, and too little to be given more.
    world.fill('02', 'little');
    for (let i = 0; i < 100; i++) world.step();
    expect(led('02')).toEqual(before);
    world.fill('02', 'full');
    for (let i = 0; i < 10; i++) world.step();
    expect(led('02')).toEqual([]);
    world.fill('02', 'little');
    for (let i = 0; i < 200; i++) world.step();
    expect(led('02')).toEqual([]);
    world.fill('02', undefined);
    for (let i = 0; i < 200; i++) world.step();
    expect(led('02')).toEqual(before);
  });

  it('leaves a full node its reigns while no other copy has room', () => {
    const world = cluster(6, 3, 1);
    for (const uuid of ['01', '03']) world.fill(uuid, 'little');
    world.fill('02', 'full');
    const before = [...world.map.placement.keys()].map((shard) => world.primary(shard));
    for (let i = 0; i < 50; i++) expect(world.step().filter(({ kind }) => kind === 'transfer')).toEqual([]);
    expect([...world.map.placement.keys()].map((shard) => world.primary(shard))).toEqual(before);
  });

  it('drains a node: its copies and reigns leave it, its vote too, then it is drained', () => {
    const world = cluster(6, 4, 2);
    expect(start(world, 'd', { kind: 'drain', node: '01' })).toBe(true);
    expect(world.settle(1_000)).toBe(true);
    checkConverged(world);
    expect(operation(world, 'd')).toMatchObject({ state: 'done', nodeId: 'node-01' });
    expect(world.map.nodes[0].duty).toBe('drained');
    expect(world.map.meta.members).not.toContain('01');
  });

  it('drains one of two nodes down to what is left', () => {
    const world = cluster(4, 2, 1);
    start(world, 'd', { kind: 'drain', node: '02' });
    expect(world.settle(1_000)).toBe(true);
    checkConverged(world);
    expect(operation(world, 'd')?.state).toBe('done');
  });

  it('does not take a copy that has everything away while another is missing, and says what it waits for', () => {
    const world = cluster(3, 3, 2);
    world.die('02');
    start(world, 'd', { kind: 'drain', node: '03' });
    for (let i = 0; i < 10; i++) world.step();
    expect(world.map.placement.every(({ members }) => members.length === 3)).toBe(true);
    expect(operation(world, 'd')?.detail).toMatch(/too few other copies in sync/);
    expect(world.settle(1_000)).toBe(true);
    expect(operation(world, 'd')?.detail).toMatch(/no other node can take shard/);
    world.comeBack('02');
    expect(world.settle(1_000)).toBe(true);
    expect(operation(world, 'd')?.state).toBe('done');
  });

  it('removes a dead node at once, and refuses when a shard would be lost with it', () => {
    const world = cluster(4, 3, 1);
    world.die('03');
    expect(start(world, 'r', { kind: 'remove', node: '03' })).toBe(true);
    expect(world.settle(1_000)).toBe(true);
    checkConverged(world);
    expect(world.map.nodes).toHaveLength(2);
    expect(operation(world, 'r')?.state).toBe('done');

    const single = cluster(4, 2, 0);
    single.die('02');
    start(single, 'r', { kind: 'remove', node: '02' });
    expect(single.settle(2_000)).toBe(true);
    expect(operation(single, 'r')).toMatchObject({ state: 'failed' });
    expect(operation(single, 'r')?.detail).toMatch(/only copy of shard/);
    expect(single.map.nodes.every(({ duty }) => duty === 'serving')).toBe(true);
  });

  it('moves a primary at once and leaves it where the operator put it', () => {
    const world = cluster(4, 2, 1);
    const shard = world.map.placement.findIndex(({ members }) => members[0] === '01');
    expect(start(world, 'm', { kind: 'movePrimary', shard, node: '02' })).toBe(true);
    expect(kinds(world.step())[0]).toBe('transfer');
    expect(world.settle(1_000)).toBe(true);
    expect(world.primary(shard)).toBe('02');
    expect(operation(world, 'm')?.state).toBe('done');
    checkConverged(world);
  });

  it('gives a move of a primary up that was taken back: nothing comes of it later', () => {
    const world = cluster(4, 2, 1);
    const shard = world.map.placement.findIndex(({ members }) => members[0] === '01');
    world.die('02');
    start(world, 'm', { kind: 'movePrimary', shard, node: '02' });
    world.step();
    expect(operation(world, 'm')?.detail).toBe('the copy is not in sync');
    expect(world.ask({ kind: 'abortOperation', id: 'm', endedMs: world.nowMs })).toBe(true);
    world.comeBack('02');
    expect(world.settle(1_000)).toBe(true);
    expect(world.primary(shard)).toBe('01');
    expect(world.map.placement[shard].pinned).toBeUndefined();
    checkConverged(world);
  });

  it('hands a primary that was moved not back before the map knows, whichever primary the map has by then', () => {
    const world = cluster(4, 2, 1);
    const shard = world.map.placement.findIndex(({ members }) => members[0] === '01');
    world.pass(2 * PREFERRED_AFTER_MS);
    start(world, 'm', { kind: 'movePrimary', shard, node: '02' });
    expect(kinds(world.step())).toEqual(['transfer']);
    expect(world.primary(shard)).toBe('02');
    const lost = world.step(() => true);
    expect(kinds(lost)).toEqual(['finishOperation']);
    world.forget();
    expect(kinds(world.step())).toEqual(['finishOperation']);
    expect(world.map.placement[shard]).toMatchObject({ members: ['02', '01'], pinned: true });
    expect(operation(world, 'm')?.state).toBe('done');
  });

  it('replaces the copies of a wiped disk by copies on the node that came with it', () => {
    const world = cluster(6, 3, 1);
    world.joinAs('aa', 3);
    expect(world.settle(2_000)).toBe(true);
    checkConverged(world);
    expect(world.map.placement.some(({ members }) => members.includes('03'))).toBe(false);
    expect(world.map.placement.filter(({ members }) => members.includes('aa'))).toHaveLength(4);
    expect(world.map.meta.members).not.toContain('03');
  });

  it('takes no copy away that the majority of the rest hangs on, when fewer are wanted while one is dead', () => {
    const world = cluster(1, 3, 2);
    world.joinAs('aa', 1);
    expect(world.ask({ kind: 'settings', settings: { replicaCount: 0 } })).toBe(true);
    // The world itself refuses a step that leaves no majority in sync.
    expect(world.settle(4_000)).toBe(true);
    checkConverged(world);
  });

  it('builds at most two copies into a node and two out of one at a time', () => {
    const world = new PlannedWorld(16, 2);
    world.catchUpSteps = 6;
    for (const n of [2, 3, 4]) world.join(n);
    for (let i = 0; i < 400; i++) {
      world.step();
      for (const n of [1, 2, 3, 4]) {
        const learning = world.map.placement.filter(({ learners }) => learners.includes(uuidOf(n)));
        expect(learning.length).toBeLessThanOrEqual(2);
      }
    }
    expect(world.settle(2_000)).toBe(true);
    checkConverged(world);
  });

  it('ends where it shall from any history, and never gives up copies on the way', () => {
    const event = fc.oneof(
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('step' as const), n: fc.integer({ min: 1, max: 40 }) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('join' as const), n: fc.nat({ max: 7 }) }) },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constantFrom(
            'join',
            'die',
            'back',
            'drain',
            'remove',
            'move',
            'abort',
            'forget',
            'wipe',
            'copies' as const,
          ),
          n: fc.nat({ max: 7 }),
        }),
      },
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 0, max: 2 }),
        fc.array(event, { maxLength: 40 }),
        fc.nat({ max: 3 }),
        (shards, replicaCount, events, lossy) => {
          const world = new PlannedWorld(shards, replicaCount);
          let calls = 0;
          for (const [at, { kind, n }] of events.entries()) {
            const node = uuidOf(1 + n);
            const id = `${kind}-${at}`;
            if (kind === 'step') for (let i = 0; i < n; i++) world.step(() => lossy > 0 && calls++ % (1 + lossy) === 0);
            else if (kind === 'join' && !world.map.nodes.some(({ nodeUuid }) => nodeUuid === node)) world.join(1 + n);
            else if (kind === 'die') world.die(node);
            else if (kind === 'back') world.comeBack(node);
            else if (kind === 'forget') world.forget();
            else if (kind === 'drain' || kind === 'remove') start(world, id, { kind, node });
            else if (kind === 'move')
              start(world, id, { kind: 'movePrimary', shard: n % shards, node: uuidOf(1 + (at % 5)) });
            else if (kind === 'abort') {
              const running = world.map.operations.find(({ state }) => state === 'running');
              if (running !== undefined) world.ask({ kind: 'abortOperation', id: running.id, endedMs: world.nowMs });
            } else if (kind === 'copies') world.ask({ kind: 'settings', settings: { replicaCount: n % 3 } });
            else if (kind === 'wipe' && replicaCount > 0) {
              const old = world.map.nodes[n % world.map.nodes.length];
              // A disk is lost only while all else is well, or there may be nothing left to heal from.
              const whole = world.map.placement.every(
                ({ members }, shard) => world.inSync(shard).length === members.length && members.length > 2,
              );
              if (whole && world.map.meta.members.length > 2)
                world.joinAs(`w${at}`, Number(old.nodeId.slice('node-'.length)));
            }
          }
          for (const { nodeUuid } of world.map.nodes) world.comeBack(nodeUuid);
          const placed = world.settle(4_000);
          expect(placed).toBe(true);
          checkConverged(world);
          expect(world.refusals).toEqual([]);
        },
      ),
      { numRuns: 80 },
    );
  });
});
