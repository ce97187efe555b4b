import { describe, expect, it } from '@jest/globals';
import { META_SHARD } from '../../../kernel/ids.js';
import type { ClusterMap } from '../../ring/core/map.js';
import type { MapOperation } from '../../ring/core/map-operations.js';
import { after, exampleMap, grown } from '../../ring/testing/example-map.js';
import { ManualTime } from '../testing/manual-time.js';
import { CopyKeeper, hostedCopies, type CopyPorts } from './copies.js';

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

const KEPT_MS = 600_000;

/** A node that holds copies, and how its map and its primaries answer. */
class Holder implements CopyPorts {
  readonly clock = new ManualTime();
  readonly keptMs = KEPT_MS;
  readonly log: string[] = [];
  readonly keeper = new CopyKeeper(this);
  owned = new Set<number>();
  restless = new Set<number>();

  constructor(
    readonly copies: Set<number>,
    public current: ClusterMap | undefined,
    private readonly asked: (shard: number) => void = () => undefined,
  ) {}

  self(): string {
    return '02';
  }

  map(): ClusterMap | undefined {
    return this.current;
  }

  held(): readonly number[] {
    return [...this.copies];
  }

  covered(shard: number): Promise<boolean> {
    this.log.push(`covered ${shard}?`);
    const covered = !this.owned.has(shard);
    this.asked(shard);
    return Promise.resolve(covered);
  }

  rest(shard: number): Promise<boolean> {
    this.log.push(`rest ${shard}`);
    return Promise.resolve(!this.restless.has(shard));
  }

  wake(shard: number): Promise<void> {
    this.log.push(`wake ${shard}`);
    return Promise.resolve();
  }

  drop(shard: number): Promise<void> {
    this.log.push(`drop ${shard}`);
    this.copies.delete(shard);
    return Promise.resolve();
  }
}

describe('CopyKeeper', () => {
  it('drops a copy ten minutes after it moved away, when nothing is in it alone', async () => {
    const holder = new Holder(new Set([0, 1, META_SHARD]), grown(exampleMap(2, 2), 0, 2));
    const { clock, keeper, owned } = holder;
    expect(await keeper.round()).toEqual([]);
    await clock.pass(KEPT_MS - 1);
    expect(await keeper.round()).toEqual([]);
    expect(holder.log).toEqual([]);
    owned.add(1);
    await clock.pass(1);
    expect(await keeper.round()).toEqual([]);
    expect(holder.log).toEqual(['covered 1?']);
    owned.delete(1);
    expect(await keeper.round()).toEqual([1]);
    expect(holder.log.slice(1)).toEqual(['covered 1?', 'rest 1', 'covered 1?', 'drop 1']);
    expect([...holder.copies]).toEqual([0, META_SHARD]);
  });

  it('begins to count anew when a copy came back into the set in between', async () => {
    let map = grown(exampleMap(2, 2), 0, 2);
    const holder = new Holder(new Set([0]), map);
    const give = (operation: MapOperation): void => {
      holder.current = map = after(map, operation);
    };
    give({ kind: 'removeMember', shard: 0, node: '02', after: map.placement[0].epoch });
    expect(await holder.keeper.round()).toEqual([]);
    await holder.clock.pass(KEPT_MS);
    give({ kind: 'addLearner', shard: 0, node: '02' });
    expect(await holder.keeper.round()).toEqual([]);
    give({ kind: 'removeLearner', shard: 0, node: '02' });
    expect(await holder.keeper.round()).toEqual([]);
    await holder.clock.pass(KEPT_MS);
    expect(await holder.keeper.round()).toEqual([0]);
  });

  it('lets a copy follow again when it grew by something that is its own before it rested', async () => {
    const holder: Holder = new Holder(new Set([0]), exampleMap(1, 2), () => {
      if (holder.log.length === 1) holder.owned.add(0);
    });
    await holder.keeper.round();
    await holder.clock.pass(KEPT_MS);
    expect(await holder.keeper.round()).toEqual([]);
    expect(holder.log).toEqual(['covered 0?', 'rest 0', 'covered 0?', 'wake 0']);
    expect([...holder.copies]).toEqual([0]);
  });

  it('comes again when something is under way in the copy', async () => {
    const holder = new Holder(new Set([0]), exampleMap(1, 2));
    holder.restless.add(0);
    await holder.keeper.round();
    await holder.clock.pass(KEPT_MS);
    expect(await holder.keeper.round()).toEqual([]);
    expect(holder.log).toEqual(['covered 0?', 'rest 0']);
  });

  it('keeps a copy that the map gave back while the primary was asked, whenever that was', async () => {
    for (const when of [1, 3]) {
      let map = exampleMap(1, 2);
      const holder: Holder = new Holder(new Set([0]), map, () => {
        if (holder.log.length === when) holder.current = map = after(map, { kind: 'addLearner', shard: 0, node: '02' });
      });
      await holder.keeper.round();
      await holder.clock.pass(KEPT_MS);
      expect(await holder.keeper.round()).toEqual([]);
      expect(holder.log.at(-1)).toBe(when === 1 ? 'covered 0?' : 'wake 0');
    }
  });

  it('keeps everything on a node that was removed from the map, or knows none', async () => {
    const map = exampleMap(1, 2);
    const removed = { ...map, nodes: map.nodes.filter(({ nodeUuid }) => nodeUuid !== '02') };
    for (const current of [undefined, removed]) {
      const holder = new Holder(new Set([0]), current);
      await holder.keeper.round();
      await holder.clock.pass(KEPT_MS);
      expect(await holder.keeper.round()).toEqual([]);
      expect(holder.log).toEqual([]);
    }
  });

  it('opens a copy again that rests when it cannot be asked about', async () => {
    const holder: Holder = new Holder(new Set([0]), grown(exampleMap(3, 3), 1, 2), () => {
      if (holder.log.includes('rest 0')) throw new Error('the disk cannot be read');
    });
    await holder.keeper.round();
    await holder.clock.pass(KEPT_MS);
    await expect(holder.keeper.round()).rejects.toThrow('the disk cannot be read');
    expect(holder.log).toEqual(['covered 0?', 'rest 0', 'covered 0?', 'wake 0']);
  });
});
