import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { exactVectorIndexes } from '../../../test/contract/exact-vector-index.js';
import { turnTime } from '../../../test/contract/turn-time.js';
import { CatalogService } from './catalog.service.js';
import type { CallContext, SearchRequest } from './core/requests.js';
import { ForwardedMapChanges, type MapChanges } from './map-changes.js';
import { MemoryCluster } from './testing/memory-cluster.js';

const call = (extra: Partial<CallContext> = {}): CallContext => ({ signal: new AbortController().signal, ...extra });
const options = { collection: 'default', consistency: 'auto' } as const;
const any = { collection: 'default', consistency: 'any' } as const;
const query = Float32Array.of(1, 2, 3, 4);
const HNSW = { m: 16, efConstruction: 200, efSearch: 100 };
const search: SearchRequest = {
  collection: 'default',
  mode: 'VECTOR',
  vector: query,
  topK: 10,
  offset: 0,
  fields: { title: true, content: false, metadata: false, vector: false },
  exact: true,
  fusion: { method: 'rrf', k: 60, weights: { vector: 1, keyword: 1 } },
  consistency: 'any',
  explain: false,
};

describe('a coordinator whose map is behind', () => {
  let three: MemoryCluster;
  let one: MemoryCluster;
  let realTime: () => void;

  beforeAll(async () => {
    realTime = turnTime();
    three = await MemoryCluster.start(3, 6, exactVectorIndexes, query.length);
    one = await MemoryCluster.start(1, 1, exactVectorIndexes, query.length);
  }, 30_000);

  afterAll(async () => {
    await three.stop();
    await one.stop();
    realTime();
  });

  it.each(['still', 'silent'] as const)(
    'ends a write by its deadline whose first vector waits for a map that stands %s',
    async (map) => {
      const [node] = one.nodes;
      const collection = `map-${map}`;
      const { similarity, hnsw } = node.replication.map.current().collections[0];
      await node.replication.map.changeHere({ kind: 'putCollection', name: collection, similarity, hnsw });
      const change = jest.spyOn(ForwardedMapChanges.prototype, 'change').mockImplementation(async () => {
        await new Promise((resolve) => setTimeout(resolve, map === 'still' ? 20 : 2_000));
        return node.replication.map.current();
      });
      const asked = { ...options, collection };
      const id = 'first';
      await node.documents.ingest({ id, fields: { title: 't' } }, undefined, asked, call());
      const writes = [
        () => node.documents.ingest({ id, fields: { vector: query } }, undefined, asked, call({ timeoutMs: 200 })),
        () => node.documents.patch(id, { vector: query }, undefined, asked, call({ timeoutMs: 200 })),
      ];
      for (const write of writes) {
        const startedMs = performance.now();
        await expect(write()).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE' });
        expect(performance.now() - startedMs).toBeLessThan(600);
      }
      change.mockRestore();
    },
  );

  it('decides by the newest map whether an alias or a collection is as it should be', async () => {
    const [node] = one.nodes;
    const map = node.replication.map.current();
    const target = map.collections[0].name;
    const old = { ...map, aliases: [{ name: 'tt', collection: target }] };
    const current = jest.spyOn(node.replication.map, 'current').mockReturnValue(old);
    const changed: string[] = [];
    const changes: MapChanges = {
      newest: () => Promise.resolve({ ...map, collections: [] }),
      lookUp: (find) => Promise.resolve(find(old)),
      change: ({ kind }) => {
        changed.push(kind);
        return Promise.resolve(map);
      },
    };
    const none = undefined as never;
    const fanOut = { ask: () => Promise.resolve({ values: new Map(), failed: new Map() }) } as never;
    const config = { similarity: 'cosine', hnswM: 16, hnswEfConstruction: 200, hnswEfSearch: 100 } as never;
    const catalog = new CatalogService(config, node.replication, fanOut, none, changes);
    expect(await catalog.putAlias('tt', target)).toMatchObject({ created: true });
    expect(await catalog.putCollection(target, {})).toMatchObject({ created: true });
    await expect(catalog.deleteCollection(target)).rejects.toMatchObject({ code: 'COLLECTION_NOT_FOUND' });
    expect(changed).toEqual(['putAlias', 'putCollection']);
    current.mockRestore();
  });

  it('looks for a collection that it does not know no longer than the caller gives', async () => {
    const [node, home] = three.nodes;
    const meta = jest.spyOn(node.routes, 'meta').mockReturnValue({ ...node.routes.meta(), primary: home.uuid });
    home.health = 'silent';
    const unknown = { ...any, collection: 'nowhere' };
    const missing = { code: 'COLLECTION_NOT_FOUND' };
    for (const asked of [
      () => node.search.search({ ...search, ...unknown }, call({ timeoutMs: 200 })),
      () => node.documents.count(undefined, unknown, call({ timeoutMs: 200 })),
    ]) {
      const startedMs = performance.now();
      await expect(asked()).rejects.toMatchObject(missing);
      expect(performance.now() - startedMs).toBeLessThan(300);
    }
    // Who gives more time is told after a second.
    await expect(node.documents.count(undefined, unknown, call())).rejects.toMatchObject(missing);
    home.health = 'well';
    meta.mockRestore();
  });

  it.each(['well', 'silent'] as const)(
    'tells of a change once the other nodes have it: one that is %s',
    async (health) => {
      const [node, other] = three.nodes;
      const route = node.routes.meta();
      const copies = [...route.copies, { ...route.copies[0], node: other.uuid, self: false }];
      const meta = jest.spyOn(node.routes, 'meta').mockReturnValue({ ...route, copies });
      other.health = health;
      const order: string[] = [];
      const alias = { kind: 'putAlias', name: `alias-${health}`, collection: 'default' } as const;
      const startedMs = performance.now();
      const changed = node.changes.change(alias).then(() => order.push('told'));
      for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
      await other.replication.map.changeHere(alias);
      order.push('there');
      await changed;
      expect(order).toEqual(['there', 'told']);
      // A node that says nothing is not waited for long.
      if (health === 'silent') expect(performance.now() - startedMs).toBeLessThan(1_000);
      other.health = 'well';
      meta.mockRestore();
    },
  );

  it.each(['ingest', 'patch', 'delete'] as const)(
    'does a write to a collection that was dropped and made anew a moment ago: %s',
    async (kind) => {
      const [node] = one.nodes;
      const { map } = node.replication;
      const collection = `remade-${kind}`;
      const put = { kind: 'putCollection', name: collection, similarity: 'cosine', hnsw: HNSW } as const;
      const asked = { ...options, collection };
      const ingest = (title: string) =>
        node.documents.ingest({ id: 'a', fields: { title } }, undefined, asked, call({ timeoutMs: 2_000 }));
      await node.changes.change(put);
      await ingest('of the dropped one');
      const old = map.current();
      await node.changes.change({ kind: 'dropCollection', name: collection });
      const { id: collectionId } = old.collections.find(({ name }) => name === collection) ?? { id: 0 };
      const purge = { shard: 0, op: 'COLLECTION_PURGE', collectionId, id: '', payload: new Uint8Array(0) } as const;
      const opId = new Uint8Array(16);
      await node.local.call('write', { mapEpoch: 0, writes: [{ ...purge, opId, level: 'one' }] }, { timeoutMs: 2_000 });
      await node.changes.change(put);
      await ingest('of the new one');
      const current = jest.spyOn(map, 'current').mockReturnValue(old);
      const newest = jest.spyOn(node.changes, 'newest').mockImplementation(() => {
        current.mockRestore();
        return Promise.resolve(map.current());
      });
      const within = call({ timeoutMs: 2_000 });
      const write = {
        ingest: () => ingest('replaced'),
        patch: () => node.documents.patch('a', { title: 'patched' }, undefined, asked, within),
        delete: () => node.documents.delete('a', undefined, asked, within),
      };
      try {
        await write[kind]();
        expect(await node.documents.count(undefined, { ...any, collection }, call())).toMatchObject({
          count: kind === 'delete' ? 0 : 1,
        });
      } finally {
        current.mockRestore();
        newest.mockRestore();
      }
    },
  );

  it('does not find a collection that was dropped, and not made anew', async () => {
    const [node] = one.nodes;
    const refusal = jest
      .spyOn(node.local, 'write')
      .mockResolvedValue({ kind: 'refused', code: 'COLLECTION_NOT_FOUND', detail: 'the collection was dropped' });
    const write = node.documents.ingest({ id: 'a', fields: { title: 't' } }, undefined, options, call());
    await expect(write).rejects.toMatchObject({ code: 'COLLECTION_NOT_FOUND' });
    expect(refusal).toHaveBeenCalledTimes(1);
    refusal.mockRestore();
  });
});
