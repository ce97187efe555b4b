import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { CopyRoute, ShardRoute } from './route.js';
import { HOP_LOAD, planRoutes, type ShardWish } from './route-plan.js';

const copy = (node: string, changes: Partial<CopyRoute> = {}): CopyRoute => ({
  node,
  nodeId: `node-${node}`,
  self: false,
  role: 'replica',
  inSync: true,
  status: 'ACTIVE',
  lagMs: 0,
  offset: 10,
  durable: 10,
  faulted: false,
  held: false,
  ...changes,
});

const routeOf = (shard: number, copies: readonly CopyRoute[], primary: string | null = 'a'): ShardRoute => ({
  shard,
  epoch: 3,
  lastEpoch: 3,
  primary: primary ?? undefined,
  copies,
  documents: 1,
  wanted: copies.length,
});

const wish = (route: ShardRoute, changes: Partial<ShardWish> = {}): ShardWish => ({
  route,
  primary: false,
  tried: [],
  behind: [],
  inSyncOnly: false,
  ...changes,
});

const chosen = (wishes: readonly ShardWish[], load: (node: string) => number = () => 0): Record<number, string> =>
  Object.fromEntries(
    planRoutes(
      wishes,
      ({ node }) => load(node),
      () => 0.5,
    ).requests.flatMap(({ node, choices }) =>
      choices.map(({ shard, stale }) => [shard, stale ? `${node} stale` : node] as const),
    ),
  );

describe('planRoutes', () => {
  it('asks one node for all the shards it can answer, this one unless it is more than twice as busy and by more than a hop', () => {
    const copies = [copy('a'), copy('b', { self: true }), copy('c')];
    const wishes = [0, 1, 2].map((shard) => wish(routeOf(shard, copies)));
    expect(chosen(wishes)).toEqual({ 0: 'b', 1: 'b', 2: 'b' });
    const busy = (self: number, others: number) => chosen(wishes, (node) => (node === 'b' ? self : others));
    expect(busy(HOP_LOAD, 0)).toEqual({ 0: 'b', 1: 'b', 2: 'b' });
    expect(busy(HOP_LOAD + 1, 0)).toEqual({ 0: 'a', 1: 'a', 2: 'a' });
    expect(busy(HOP_LOAD + 20, 10)).toEqual({ 0: 'b', 1: 'b', 2: 'b' });
    expect(busy(HOP_LOAD + 21, 10)).toEqual({ 0: 'a', 1: 'a', 2: 'a' });
  });

  it('takes a suspect copy only when no other is in sync, a stale one only when none is, and never one that is gone', () => {
    const suspect = copy('a', { status: 'SUSPECT' });
    const behind = copy('b', { inSync: false, offset: 4 });
    const fresher = copy('c', { inSync: false, offset: 7 });
    const gone = copy('d', { status: 'UNAVAILABLE', offset: 99 });
    const learner = copy('e', { role: 'learner', inSync: false, offset: 99 });
    const faulted = copy('f', { faulted: true, offset: 99 });
    const all = [suspect, behind, fresher, gone, learner, faulted];
    expect(chosen([wish(routeOf(0, [...all, copy('g')]))])).toEqual({ 0: 'g' });
    expect(chosen([wish(routeOf(0, all))])).toEqual({ 0: 'a' });
    expect(chosen([wish(routeOf(0, all), { tried: ['a'] })])).toEqual({ 0: 'c stale' });
    expect(chosen([wish(routeOf(0, all), { behind: ['a'] })])).toEqual({ 0: 'c stale' });
    expect(chosen([wish(routeOf(0, all), { tried: ['a'], inSyncOnly: true })])).toEqual({});
    const none = planRoutes(
      [wish(routeOf(0, [gone, learner])), wish(routeOf(1, [faulted], null)), wish(routeOf(2, [], null))],
      () => 0,
      () => 0,
    );
    expect(none.failed).toEqual([
      { shard: 0, node: 'node-d', reason: 'UNREACHABLE' },
      { shard: 1, node: 'node-f', reason: 'FAULTED' },
      { shard: 2, reason: 'UNREACHABLE' },
    ]);
  });

  it('asks nobody but the primary when only that will do', () => {
    const copies = [copy('a'), copy('b', { self: true })];
    expect(chosen([wish(routeOf(0, copies), { primary: true })])).toEqual({ 0: 'a' });
    expect(chosen([wish(routeOf(0, copies), { primary: true, tried: ['a'] })])).toEqual({});
    expect(chosen([wish(routeOf(0, copies, null), { primary: true })])).toEqual({});
  });

  it('puts every shard into exactly one request or among the failed, whatever the copies are', () => {
    const copies = fc.uniqueArray(
      fc.record({
        node: fc.constantFrom('a', 'b', 'c', 'd'),
        self: fc.constant(false),
        role: fc.constantFrom('primary' as const, 'replica' as const, 'learner' as const),
        inSync: fc.boolean(),
        status: fc.constantFrom('ACTIVE' as const, 'SUSPECT' as const, 'UNAVAILABLE' as const),
        faulted: fc.boolean(),
        offset: fc.nat(20),
      }),
      { selector: ({ node }) => node, maxLength: 4 },
    );
    fc.assert(
      fc.property(
        fc.array(copies, { maxLength: 6 }),
        fc.boolean(),
        fc.array(fc.nat(40)),
        fc.nat(),
        (shards, primary, loads, turn) => {
          const wishes = shards.map((some, shard) =>
            wish(
              routeOf(
                shard,
                some.map(({ node, ...rest }) => copy(node, rest)),
              ),
              { primary },
            ),
          );
          const first = turn % (wishes.length + 1);
          const plan = planRoutes(
            [...wishes.slice(first), ...wishes.slice(0, first)],
            ({ node }) => loads[node.charCodeAt(0) - 97] ?? 0,
            () => 0.3,
          );
          const seen = [
            ...plan.requests.flatMap(({ choices }) => choices.map(({ shard }) => shard)),
            ...plan.failed.map(({ shard }) => shard),
          ].sort((a, b) => a - b);
          expect(seen).toEqual(shards.map((_, shard) => shard));
          expect(new Set(plan.requests.map(({ node }) => node)).size).toBe(plan.requests.length);
          for (const { choices } of plan.requests) {
            const numbers = choices.map(({ shard }) => shard);
            expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
            for (const { shard, copy: taken, stale } of choices) {
              expect(taken.status).not.toBe('UNAVAILABLE');
              expect(taken.faulted).toBe(false);
              if (!primary) {
                expect(taken.role).not.toBe('learner');
                expect(stale).toBe(!taken.inSync);
                const better = shards[shard].some(
                  (other) => other.inSync && other.status === 'ACTIVE' && !other.faulted && other.role !== 'learner',
                );
                if (better) expect([taken.inSync, taken.status]).toEqual([true, 'ACTIVE']);
              }
            }
          }
        },
      ),
    );
  });
});
