import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { uuidOf } from '../testing/example-map.js';
import type { ShardPlacement } from './map.js';
import { Placer, type PlacementInput, type PlacementTarget } from './placement.js';

const NOTHING: ShardPlacement = { members: [], learners: [], epoch: 1 };

function settled(target: PlacementTarget): readonly ShardPlacement[] {
  return target.map((members) => ({ members, learners: [], epoch: 1 }));
}

function place(input: Partial<PlacementInput> & Pick<PlacementInput, 'shards' | 'hosts'>): PlacementTarget {
  return new Placer(nodeHasher).place({ away: [], copies: 2, ...input });
}

function empty(shards: number): readonly ShardPlacement[] {
  return Array.from({ length: shards }, () => NOTHING);
}

function hosts(count: number): string[] {
  return Array.from({ length: count }, (_, i) => uuidOf(i + 1));
}

function counts(target: PlacementTarget, of: readonly string[]): number[] {
  return of.map((host) => target.filter((nodes) => nodes.includes(host)).length);
}

function firsts(target: PlacementTarget, of: readonly string[]): number[] {
  return of.map((host) => target.filter((nodes) => nodes[0] === host).length);
}

function newCopies(before: readonly ShardPlacement[], target: PlacementTarget): number {
  return target.reduce(
    (sum, nodes, shard) => sum + nodes.filter((node) => !before[shard].members.includes(node)).length,
    0,
  );
}

const sizes = fc.record({
  shards: fc.integer({ min: 1, max: 24 }),
  nodes: fc.integer({ min: 1, max: 10 }),
  copies: fc.integer({ min: 1, max: 4 }),
});

function checkBounds(target: PlacementTarget, of: readonly string[], copies: number): void {
  const total = target.length * Math.min(copies, of.length);
  for (const nodes of target) {
    expect(new Set(nodes).size).toBe(nodes.length);
    expect(nodes).toHaveLength(Math.min(copies, of.length));
  }
  for (const count of counts(target, of)) {
    expect(count).toBeGreaterThanOrEqual(Math.floor(total / of.length));
    expect(count).toBeLessThanOrEqual(Math.ceil(total / of.length));
  }
  for (const count of firsts(target, of)) expect(count).toBeLessThanOrEqual(Math.ceil(target.length / of.length));
}

describe('Placer', () => {
  it('keeps copies and preferred primaries within their bounds, never two copies on a node', () => {
    fc.assert(
      fc.property(sizes, ({ shards, nodes, copies }) => {
        checkBounds(place({ shards: empty(shards), hosts: hosts(nodes), copies }), hosts(nodes), copies);
      }),
      { numRuns: 60 },
    );
  });

  it('gives a joining node its share and moves nothing else', () => {
    fc.assert(
      fc.property(sizes, ({ shards, nodes, copies }) => {
        const before = settled(place({ shards: empty(shards), hosts: hosts(nodes), copies }));
        const after = place({ shards: before, hosts: hosts(nodes + 1), copies });
        checkBounds(after, hosts(nodes + 1), copies);
        if (copies > nodes) return;
        const moved = newCopies(before, after);
        expect(moved).toBe(counts(after, [uuidOf(nodes + 1)])[0]);
        expect(moved).toBeLessThanOrEqual(Math.ceil((shards * copies) / (nodes + 1)));
      }),
      { numRuns: 60 },
    );
  });

  it('moves what a leaving node had, and at most one copy more where its shards are on all others already', () => {
    fc.assert(
      fc.property(sizes, fc.nat(), ({ shards, nodes, copies }, leaving) => {
        fc.pre(nodes > copies);
        const before = settled(place({ shards: empty(shards), hosts: hosts(nodes), copies }));
        const left = hosts(nodes)[leaving % nodes];
        const rest = hosts(nodes).filter((host) => host !== left);
        const after = place({ shards: before, hosts: rest, copies });
        checkBounds(after, rest, copies);
        const lost = before.filter(({ members }) => members.includes(left)).length;
        const moved = newCopies(before, after);
        expect(moved).toBeGreaterThanOrEqual(lost);
        expect(moved).toBeLessThanOrEqual(rest.length > 2 * copies ? lost : lost + 1);
      }),
      { numRuns: 60 },
    );
  });

  it('stays where it is, whatever the order of the hosts', () => {
    fc.assert(
      fc.property(sizes, ({ shards, nodes, copies }) => {
        const target = place({ shards: empty(shards), hosts: hosts(nodes), copies });
        const again = place({ shards: settled(target), hosts: hosts(nodes).reverse(), copies });
        expect(again.map(([first]) => first)).toEqual(target.map(([first]) => first));
        expect(again.map((all) => [...all].sort())).toEqual(target.map((all) => [...all].sort()));
        expect(place({ shards: empty(shards), hosts: hosts(nodes).reverse(), copies })).toEqual(target);
      }),
      { numRuns: 40 },
    );
  });

  it('gives nothing new to a node that is away, and takes nothing from it', () => {
    const before = settled(place({ shards: empty(9), hosts: hosts(3) }));
    expect(newCopies(before, place({ shards: before, hosts: hosts(3), away: ['02'] }))).toBe(0);
    const fresh = place({ shards: before, hosts: hosts(4), away: ['04'] });
    expect(counts(fresh, ['04'])).toEqual([0]);
    expect(newCopies(before, fresh)).toBe(0);
    // One host and one that is away: the shard has fewer copies for now.
    expect(place({ shards: [{ ...NOTHING, members: ['01'] }], hosts: ['01', '02'], away: ['02'] })).toEqual([['01']]);
  });

  it('takes a copy on its way for a copy', () => {
    const moving = [
      { ...NOTHING, members: ['01'], learners: ['02'] },
      { ...NOTHING, members: ['01'] },
    ];
    expect(place({ shards: moving, hosts: hosts(2), copies: 1 })).toEqual([['02'], ['01']]);
  });

  it('leaves a primary that an operator chose, and balances the others around it', () => {
    const chosen = Array.from({ length: 4 }, (): ShardPlacement => ({ ...NOTHING, members: ['01', '02'] }));
    const pinned = chosen.map((placement): ShardPlacement => ({ ...placement, pinned: true }));
    expect(firsts(place({ shards: chosen, hosts: hosts(2) }), hosts(2))).toEqual([2, 2]);
    expect(firsts(place({ shards: pinned, hosts: hosts(2) }), hosts(2))).toEqual([4, 0]);
    expect(firsts(place({ shards: [pinned[0], pinned[1], chosen[2], chosen[3]], hosts: hosts(2) }), hosts(2))).toEqual([
      2, 2,
    ]);
  });

  it('places 256 shards on 64 nodes, and has no answer without hosts', () => {
    const target = place({ shards: empty(256), hosts: hosts(64), copies: 3 });
    checkBounds(target, hosts(64), 3);
    expect(place({ shards: empty(2), hosts: [] })).toEqual([[], []]);
  });
});
