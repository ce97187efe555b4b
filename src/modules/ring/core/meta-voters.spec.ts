import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { META_SHARD } from '../../../kernel/ids.js';
import { after, exampleMap, grown, uuidOf } from '../testing/example-map.js';
import type { ClusterMap } from './map.js';
import { metaVoters, votersWanted } from './meta-voters.js';

const ALL = Array.from({ length: 9 }, (_, i) => uuidOf(i + 1));

function next(map: ClusterMap, change: { live?: readonly string[]; lost?: readonly string[]; primary?: string } = {}) {
  const { live = ALL, lost = [], primary = map.meta.members[0] } = change;
  return metaVoters(map, { live: new Set(live), lost: new Set(lost), primary });
}

function voters(nodes: number, ...votes: readonly number[]): ClusterMap {
  return votes.reduce((map, n) => grown(map, META_SHARD, n), exampleMap(1, nodes));
}

describe('metaVoters', () => {
  it('wants the largest odd number up to five', () => {
    expect([1, 2, 3, 4, 5, 6, 7].map((nodes) => votersWanted(exampleMap(1, nodes)))).toEqual([1, 1, 3, 3, 5, 5, 5]);
  });

  it('adds the nodes that have been there longest, when they are in sync', () => {
    expect(next(exampleMap(1, 2))).toEqual(['01']);
    expect(next(exampleMap(1, 3))).toEqual(['01', '02']);
    expect(next(exampleMap(1, 3), { live: ['01', '03'] })).toEqual(['01', '03']);
    expect(next(exampleMap(1, 3), { live: ['01'] })).toEqual(['01']);
    expect(next(voters(4, 2, 3))).toEqual(['01', '02', '03']);
  });

  it('replaces a voter that is lost or leaves, its successor first', () => {
    const map = voters(4, 2, 3);
    const live = ['01', '03', '04'];
    expect(next(map, { live })).toEqual(['01', '02', '03']);
    expect(next(map, { live, lost: ['02'] })).toEqual(['01', '02', '03', '04']);
    expect(next(voters(4, 2, 3, 4), { live, lost: ['02'] })).toEqual(['01', '03', '04']);
    const draining = after(map, { kind: 'startOperation', id: 'd', task: { kind: 'drain', node: '01' }, startedMs: 1 });
    expect(next(draining)).toEqual(['01', '02', '03', '04']);
    // The primary keeps its vote until it has handed over.
    const both = after(draining, { kind: 'addVoter', node: '04', after: draining.meta.epoch });
    expect(next(both, { primary: '01' })).toEqual(['01', '02', '03', '04']);
    expect(next(both, { primary: '02' })).toEqual(['02', '03', '04']);
  });

  it('never steps to a set whose majority is not alive', () => {
    expect(next(voters(3, 2), { live: ['01'] })).toEqual(['01', '02']);
    expect(next(voters(3, 2), { live: ['01', '03'] })).toEqual(['01', '02', '03']);
  });

  it('comes to rest with as many as wanted, one change at a time', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.subarray(ALL), (nodes, lost) => {
        let map = exampleMap(1, nodes);
        const there = map.nodes.map(({ nodeUuid }) => nodeUuid);
        const live = there.filter((uuid) => uuid === '01' || !lost.includes(uuid));
        for (let steps = 0; steps < 12; steps++) {
          const members = metaVoters(map, { live: new Set(live), lost: new Set(lost), primary: '01' });
          if (members === map.meta.members) break;
          expect(Math.abs(members.length - map.meta.members.length)).toBe(1);
          expect(2 * members.filter((uuid) => live.includes(uuid)).length).toBeGreaterThan(members.length);
          expect(members).toContain('01');
          map = { ...map, meta: { ...map.meta, members } };
        }
        expect(map.meta.members.length).toBeGreaterThanOrEqual(Math.min(votersWanted(map), live.length));
        expect(map.meta.members.length).toBeLessThanOrEqual(votersWanted(map) + 1);
      }),
    );
  });
});
