import { describe, expect, it } from '@jest/globals';
import { after, exampleMap, uuidOf } from '../../ring/testing/example-map.js';
import type { MapOperation } from '../../ring/core/map-operations.js';
import { cutAgreedMap } from './map-codec.js';
import { MapState } from './map-state.js';

const alias = (name: string): MapOperation => ({ kind: 'putAlias', name, collection: 'default' });
const BASE = exampleMap(2, 3);
const force: MapOperation = {
  kind: 'forceMap',
  id: 'f',
  node: uuidOf(1),
  base: after(BASE, alias('mine')),
  startedMs: 5,
};

/** Agreed to offset 12 with two aliases the forced copy never had, then cut to 10. */
function astray(): MapState {
  const state = new MapState({ map: BASE, offset: 10 }, []);
  state.logged(11, alias('theirs'));
  state.logged(12, alias('also'));
  expect(
    state
      .agree(12)
      ?.aliases.map(({ name }) => name)
      .sort(),
  ).toEqual(['also', 'theirs']);
  state.cut(10);
  return state;
}

describe('MapState', () => {
  it('takes an operation in force when it is agreed, and forgets what is cut off before', () => {
    const state = new MapState({ map: BASE, offset: 10 }, []);
    state.logged(11, alias('a'));
    state.logged(12, alias('b'));
    expect(state.tentative?.aliases).toHaveLength(2);
    expect(state.agree(11)?.aliases).toHaveLength(1);
    state.cut(11);
    expect(state.astray).toBe(false);
    expect(state.tentative).toBe(state.agreed);
    expect(state.agreed?.aliases).toEqual([{ name: 'a', collection: 'default' }]);
    expect(state.agree(11)).toBeUndefined();
  });

  it('keeps its map when agreed entries are cut off, and changes it by nothing but a force, to what that holds', () => {
    const state = astray();
    const before = state.agreed;
    expect(state.astray).toBe(true);
    expect(state.evaluate(alias('c'))).toMatchObject({ kind: 'refused', code: 'SHARD_UNAVAILABLE' });
    expect(state.evaluate(force)).toMatchObject({ kind: 'refused', code: 'OPERATION_CONFLICT' });
    state.logged(11, alias('mine'));
    expect(state.agree(11)).toBeUndefined();
    state.logged(12, force);
    state.logged(13, alias('last'));
    expect(state.astray).toBe(false);
    const map = state.agree(13);
    expect(map).toEqual(after(BASE, alias('mine'), force, alias('last')));
    expect(map?.epoch).toBeGreaterThan(before?.epoch ?? Infinity);
    expect(map?.meta.members).toEqual([uuidOf(1)]);
    // What the lost voters decided of sets and gave to collections is over.
    expect(map?.placement.map(({ epoch }) => epoch)).toEqual(BASE.placement.map(() => map?.meta.epoch));
    expect(map?.nextCollectionId).toBeGreaterThan(BASE.nextCollectionId + 100);
  });

  it('takes what a force holds, also when it is not astray', () => {
    const state = new MapState({ map: after(BASE, alias('other')), offset: 10 }, []);
    state.logged(11, force);
    expect(state.agree(11)).toEqual(after(BASE, alias('mine'), force));
  });

  it('is not astray when what is cut off is agreed, but was no change of the map', () => {
    const state = new MapState({ map: BASE, offset: 10 }, []);
    state.logged(11, alias('a'));
    state.agree(11);
    state.agree(13);
    state.cut(12);
    expect([state.astray, state.agreedOffset]).toEqual([false, 12]);
  });

  it('is astray again while a force that was not agreed is cut off', () => {
    const state = astray();
    state.logged(11, force);
    state.cut(10);
    expect(state.astray).toBe(true);
  });

  it('comes back from its row as it was', () => {
    const stored = cutAgreedMap({ map: BASE, offset: 12 }, 10);
    expect(cutAgreedMap({ map: BASE, offset: 10 }, 10)).toBeUndefined();
    expect(new MapState(stored, []).astray).toBe(true);
    const state = new MapState(stored, [
      { offset: 11, operation: alias('mine') },
      { offset: 12, operation: force },
    ]);
    expect(state.agree(12)).toEqual(after(BASE, alias('mine'), force));
  });
});
