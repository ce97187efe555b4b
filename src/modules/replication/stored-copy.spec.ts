import { describe, expect, it } from '@jest/globals';
import { META_SHARD } from '../../kernel/ids.js';
import { HLC_ZERO } from '../../kernel/version.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { shardKey } from '../log/core/keys.js';
import type { MapOperation } from '../ring/core/map-operations.js';
import { after, exampleMap, uuidOf } from '../ring/testing/example-map.js';
import { encodeAgreedMap, encodeMapOperation } from './core/map-codec.js';
import { MAP_ROW } from './core/replica.js';
import { ReplicaLog } from './core/replica-log.js';
import { LooseStore } from './loose-store.js';
import { rowsOfCut, storedEnd, storedMap } from './stored-copy.js';

const BASE = exampleMap(2, 3);
const alias = (name: string): MapOperation => ({ kind: 'putAlias', name, collection: 'default' });

/** A copy of the map with one entry for each operation; the row says that all of them are agreed. */
async function mapCopy(operations: readonly MapOperation[]): Promise<MemoryLogStore> {
  const store = await MemoryLogStore.open({ hasher: nodeHasher });
  await append(store, operations);
  const value = encodeAgreedMap({ map: after(BASE, ...operations), offset: operations.length });
  await store.append({ shard: META_SHARD, entries: [], rows: [{ key: shardKey(META_SHARD, MAP_ROW), value }] });
  return store;
}

async function append(store: MemoryLogStore, operations: readonly MapOperation[]): Promise<void> {
  for (const operation of operations) {
    const end = storedEnd(store, META_SHARD);
    const log = new ReplicaLog({ shard: META_SHARD, hasher: nodeHasher, lastHlc: HLC_ZERO, ...end });
    const version = { hlc: { ms: 1, counter: end.tail }, opId: new Uint8Array(16) };
    const payload = encodeMapOperation(operation);
    const epoch = { num: 1, uuid: new Uint8Array(16) };
    const entry = log.append(epoch, { op: 'MAP', collectionId: 0, id: '', version, payload });
    await store.append(log.batch([entry], []));
  }
}

async function cut(store: MemoryLogStore, to: number): Promise<void> {
  await new LooseStore(store, nodeHasher).cutBranch(META_SHARD, to, rowsOfCut(store, META_SHARD, to));
}

describe('the map of a copy whose log is cut', () => {
  it('stays what it is while nothing that was agreed is cut off', async () => {
    const store = await mapCopy([alias('a')]);
    await append(store, [alias('b')]);
    await cut(store, 1);
    const state = await storedMap(store, 1);
    expect([state.astray, state.agreedOffset, state.tentative]).toEqual([false, 1, after(BASE, alias('a'))]);
  });

  it('is known, after a start too, to be none that the log makes, until a forced one is logged', async () => {
    const store = await mapCopy([alias('a'), alias('b'), alias('c')]);
    await cut(store, 1);
    const state = await storedMap(store, 1);
    expect([state.astray, state.agreedOffset]).toEqual([true, 1]);
    const base = after(BASE, alias('a'), alias('mine'));
    const force: MapOperation = { kind: 'forceMap', id: 'f', node: uuidOf(1), base, startedMs: 5 };
    await append(store, [alias('mine'), force, alias('last')]);
    expect((await storedMap(store, 4)).tentative).toEqual(after(base, force, alias('last')));
  });
});
