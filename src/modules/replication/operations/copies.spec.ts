import { describe, expect, it } from '@jest/globals';
import { META_SHARD } from '../../../kernel/ids.js';
import { after, exampleMap, grown } from '../../ring/testing/example-map.js';
import { ManualTime } from '../testing/manual-time.js';
import { COPY_KEPT_MS, CopyKeeper, hostedCopies } from './copies.js';

describe('hostedCopies', () => {
  it('names what a node must hold, as member or as learner; every registered node reads the map', () => {
    const map = after(grown(exampleMap(3, 3), 0, 2), { kind: 'addLearner', shard: 2, node: '02' });
    expect(hostedCopies(map, '02')).toEqual([
      { shard: META_SHARD, duty: 'learner' },
      { shard: 0, duty: 'member' },
      { shard: 2, duty: 'learner' },
    ]);
    expect(hostedCopies(map, '01').map(({ duty }) => duty)).toEqual(['member', 'member', 'member', 'member']);
    expect(hostedCopies(map, '03')).toEqual([{ shard: META_SHARD, duty: 'learner' }]);
    expect(hostedCopies(map, 'ff')).toEqual([]);
  });
});

describe('CopyKeeper', () => {
  it('drops a copy ten minutes after it moved away, when nothing is in it alone', async () => {
    const time = new ManualTime();
    const held = new Set([0, 1, META_SHARD]);
    let own = true;
    let map = grown(exampleMap(2, 2), 0, 2);
    const keeper = new CopyKeeper({
      clock: time,
      self: '02',
      map: () => map,
      held: () => [...held],
      nothingOfItsOwn: async () => !own,
      drop: async (shard) => {
        held.delete(shard);
      },
    });
    expect(await keeper.round()).toEqual([]);
    await time.pass(COPY_KEPT_MS - 1);
    own = false;
    expect(await keeper.round()).toEqual([]);
    own = true;
    await time.pass(1);
    expect(await keeper.round()).toEqual([]);
    own = false;
    expect(await keeper.round()).toEqual([1]);
    expect([...held]).toEqual([0, META_SHARD]);

    // What comes back meanwhile begins anew when it leaves again.
    map = after(map, { kind: 'removeMember', shard: 0, node: '02', after: map.placement[0].epoch });
    expect(await keeper.round()).toEqual([]);
    await time.pass(COPY_KEPT_MS);
    map = after(map, { kind: 'addLearner', shard: 0, node: '02' });
    expect(await keeper.round()).toEqual([]);
    map = after(map, { kind: 'removeLearner', shard: 0, node: '02' });
    expect(await keeper.round()).toEqual([]);
    await time.pass(COPY_KEPT_MS);
    expect(await keeper.round()).toEqual([0]);
  });

  it('keeps a copy that the map gave back while the primary was asked', async () => {
    const time = new ManualTime();
    let map = exampleMap(1, 2);
    const dropped: number[] = [];
    const keeper = new CopyKeeper({
      clock: time,
      self: '02',
      map: () => map,
      held: () => [0],
      nothingOfItsOwn: async () => {
        map = after(map, { kind: 'addLearner', shard: 0, node: '02' });
        return true;
      },
      drop: async (shard) => {
        dropped.push(shard);
      },
    });
    await keeper.round();
    await time.pass(COPY_KEPT_MS);
    expect(await keeper.round()).toEqual([]);
    expect(dropped).toEqual([]);
  });
});
