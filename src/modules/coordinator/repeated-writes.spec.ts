import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { exactVectorIndexes } from '../../../test/contract/exact-vector-index.js';
import { turnTime } from '../../../test/contract/turn-time.js';
import type { DocumentFields } from '../shard/core/document.js';
import type { BulkItem, CallContext, DocumentPatch } from './core/requests.js';
import { MemoryCluster, type ClusterNode } from './testing/memory-cluster.js';

const call = (extra: Partial<CallContext> = {}): CallContext => ({ signal: new AbortController().signal, ...extra });
const options = { collection: 'default', consistency: 'auto' } as const;
const any = { collection: 'default', consistency: 'any' } as const;
const CONFLICT = { code: 'IDEMPOTENCY_CONFLICT' };

async function* just(item: BulkItem): AsyncGenerator<BulkItem> {
  yield await Promise.resolve(item);
}

/** What cannot be any more once the document is another one. */
const PATCHES: [
  what: string,
  stored: DocumentFields,
  patch: DocumentPatch,
  since: DocumentFields,
  other: DocumentPatch,
  code: string,
][] = [
  [
    'would leave nothing of it',
    { title: 't', content: 'c' },
    { content: null },
    { content: 'n' },
    { content: null, title: null },
    'INVALID_REQUEST',
  ],
  [
    'would make its metadata too large',
    { title: 't' },
    { metadata: { a: 'a'.repeat(40_000) } },
    { metadata: { b: 'b'.repeat(40_000) } },
    { metadata: { c: 'c'.repeat(40_000) } },
    'LIMIT_EXCEEDED',
  ],
  [
    'would make it too large',
    { title: 't' },
    { content: 'c'.repeat(600_000) },
    { title: 't'.repeat(600_000) },
    { content: 'd'.repeat(600_000) },
    'PAYLOAD_TOO_LARGE',
  ],
];

describe('a write that is sent again under its key', () => {
  let cluster: MemoryCluster;
  let realTime: () => void;
  let made = 0;

  beforeAll(async () => {
    realTime = turnTime();
    cluster = await MemoryCluster.start(2, 4, exactVectorIndexes, 4);
  }, 30_000);

  afterEach(() => {
    for (const node of cluster.nodes) node.full = undefined;
  });

  afterAll(async () => {
    await cluster.stop();
    realTime();
  });

  /** An id that no other test uses, whose primary is that node. */
  function idAt(index: number): string {
    const ring = cluster.nodes[0].replication.map.ring();
    for (;;) {
      const id = `id-${made++}`;
      if (cluster.primaries[ring.shardOf(id)] === index) return id;
    }
  }

  const versionOf = async (node: ClusterNode, id: string): Promise<string> =>
    (await node.documents.get(id, false, any, call())).version;
  const tails = (node: ClusterNode): readonly number[] =>
    cluster.primaries.map((_, shard) => node.log.state(shard).tail);

  describe.each([
    ['here', 0],
    ['on another node', 1],
  ])('whose primary is %s', (_where, home) => {
    it.each(PATCHES)('is answered as at first where now it %s', async (_what, stored, patch, since, other, code) => {
      const [node] = cluster.nodes;
      const id = idAt(home);
      const keyed = { ...options, idempotencyKey: `patch-${id}` };
      const bulk = { ...options, idempotencyKey: `bulk-${id}` };
      const inBulk = (): AsyncIterable<BulkItem> => just({ kind: 'patch', id, patch, bytes: 10 });
      await node.documents.ingest({ id, fields: stored }, undefined, options, call());
      const first = await node.documents.patch(id, patch, undefined, keyed, call());
      await node.documents.ingest({ id, fields: stored }, undefined, options, call());
      expect(await node.documents.bulk(inBulk(), bulk, call())).toMatchObject({ answer: { success: 1 } });
      await node.documents.ingest({ id, fields: since }, undefined, options, call());
      const version = await versionOf(node, id);
      const { version: again, offset } = await node.documents.patch(id, patch, undefined, keyed, call());
      expect([again, offset]).toEqual([first.version, first.offset]);
      expect(await node.documents.bulk(inBulk(), bulk, call())).toMatchObject({ answer: { success: 1, errors: [] } });
      // The key stands for nothing else, and what is sent for the first time is what is wrong with it.
      await expect(node.documents.patch(id, other, undefined, keyed, call())).rejects.toMatchObject(CONFLICT);
      for (const asked of [options, { ...options, idempotencyKey: `new-${id}` }])
        await expect(node.documents.patch(id, patch, undefined, asked, call())).rejects.toMatchObject({ code });
      expect(await versionOf(node, id)).toBe(version);
    });

    it('is answered as at first where its collection has all the filterable keys it may have', async () => {
      const [, node] = cluster.nodes;
      const collection = `keys-${home}`;
      const { similarity, hnsw } = node.replication.map.current().collections[0];
      for (const { replication } of cluster.nodes)
        await replication.map.changeHere({ kind: 'putCollection', name: collection, similarity, hnsw });
      const asked = { ...options, collection };
      const [id, inBulk, many] = [idAt(home), idAt(home), idAt(home)];
      const fields = { metadata: { special: 1 } };
      const keyed = { ...asked, idempotencyKey: `put-${id}` };
      const bulk = { ...asked, idempotencyKey: `bulk-${id}` };
      const item = (): AsyncIterable<BulkItem> => just({ kind: 'upsert', id: inBulk, fields, bytes: 10 });
      const first = await cluster.nodes[0].documents.ingest({ id, fields }, undefined, keyed, call());
      expect(await cluster.nodes[0].documents.bulk(item(), bulk, call())).toMatchObject({ answer: { success: 1 } });
      for (const gone of [id, inBulk]) await cluster.nodes[0].documents.delete(gone, undefined, asked, call());
      const metadata = Object.fromEntries(Array.from({ length: 256 }, (_, n) => [`key-${n}`, n]));
      await node.documents.ingest({ id: many, fields: { metadata } }, undefined, asked, call());
      const again = await node.documents.ingest({ id, fields }, undefined, keyed, call());
      expect([again.version, again.created]).toEqual([first.version, true]);
      expect(await node.documents.bulk(item(), bulk, call())).toMatchObject({ answer: { success: 1, errors: [] } });
      const other = { metadata: { other: 1 } };
      await expect(node.documents.ingest({ id, fields: other }, undefined, keyed, call())).rejects.toMatchObject(
        CONFLICT,
      );
      const anew = { ...asked, idempotencyKey: `new-${id}` };
      await expect(node.documents.ingest({ id, fields }, undefined, anew, call())).rejects.toMatchObject({
        code: 'LIMIT_EXCEEDED',
      });
      expect(await node.documents.count(undefined, { ...any, collection }, call())).toMatchObject({ count: 1 });
    });

    it('is answered as at first where its node has no room any more', async () => {
      const [node] = cluster.nodes;
      const [id, filtered] = [idAt(home), idAt(home)];
      const [put, patch, remove] = ['put', 'patch', 'remove'].map((kind) => ({
        ...options,
        idempotencyKey: `${kind}-${id}`,
      }));
      const refused = { code: 'INSUFFICIENT_STORAGE' };
      const ingest = (title: string, asked: typeof options) =>
        node.documents.ingest({ id, fields: { title } }, undefined, asked, call());
      const change = (asked: typeof options) => node.documents.patch(id, { content: 'c' }, undefined, asked, call());
      const first = await ingest('t', put);
      const second = await change(patch);
      cluster.nodes[home].full = 'upsert';
      expect(await ingest('t', put)).toMatchObject({ version: first.version, created: true });
      expect((await change(patch)).version).toBe(second.version);
      await expect(ingest('u', put)).rejects.toMatchObject(CONFLICT);
      const anew = { ...options, idempotencyKey: `new-${id}` };
      for (const asked of [options, anew]) {
        await expect(ingest('t', asked)).rejects.toMatchObject({ ...refused, retryAfterMs: 5_000 });
        await expect(change(asked)).rejects.toMatchObject(refused);
      }
      // What is wrong with a write goes before what its node lacks.
      const empty = { title: null, content: null };
      await expect(node.documents.patch(id, empty, undefined, anew, call())).rejects.toMatchObject({
        code: 'INVALID_REQUEST',
      });
      expect(await versionOf(node, id)).toBe(second.version);
      const third = await node.documents.delete(id, undefined, remove, call());
      cluster.nodes[home].full = 'full';
      expect((await node.documents.delete(id, undefined, remove, call())).version).toBe(third.version);
      const filter = { must: [{ kind: 'ids', ids: [filtered] } as const], should: [], mustNot: [] };
      const erase = (asked: typeof options) => node.documents.deleteByFilter(filter, asked, call());
      for (const each of cluster.nodes) each.full = undefined;
      await node.documents.ingest({ id: filtered, fields: { title: 't' } }, undefined, options, call());
      const erased = { ...options, idempotencyKey: `filter-${id}` };
      for (const _ of ['first', 'again']) expect(await erase(erased)).toMatchObject({ deleted: 1, failed: 0 });
      for (const each of cluster.nodes) each.full = 'full';
      const before = cluster.nodes.map(tails);
      expect(await erase(erased)).toMatchObject({ deleted: 1, failed: 0 });
      await expect(erase(anew)).rejects.toMatchObject(refused);
      expect(cluster.nodes.map(tails)).toEqual(before);
    });
  });
});
