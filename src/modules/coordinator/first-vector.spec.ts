import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { exactVectorIndexes } from '../../../test/contract/exact-vector-index.js';
import { turnTime } from '../../../test/contract/turn-time.js';
import type { DocumentFields } from '../shard/core/document.js';
import type { CallContext } from './core/requests.js';
import { MemoryCluster, type ClusterNode } from './testing/memory-cluster.js';

const call = (extra: Partial<CallContext> = {}): CallContext => ({ signal: new AbortController().signal, ...extra });
const vector = Float32Array.of(1, 2, 3);
const other = Float32Array.of(1, 2, 3, 4, 5);
const VERSION = '1'.repeat(48);
const LARGE = 'x'.repeat(600_000);

describe('the first vector of a collection', () => {
  let cluster: MemoryCluster;
  let realTime: () => void;
  let made = 0;

  beforeAll(async () => {
    realTime = turnTime();
    cluster = await MemoryCluster.start(2, 4, exactVectorIndexes, 4);
    // Each node here has a map of its own.
    for (const { changes, replication } of cluster.nodes)
      jest.spyOn(changes, 'change').mockImplementation(async (operation) => {
        for (const each of cluster.nodes) await each.replication.map.changeHere(operation);
        return replication.map.current();
      });
  }, 30_000);

  afterEach(() => {
    for (const node of cluster.nodes) node.full = undefined;
  });

  afterAll(async () => {
    await cluster.stop();
    realTime();
  });

  /** Puts a collection without a dimension. */
  async function collectionOf(): Promise<string> {
    const name = `collection-${made++}`;
    const { similarity, hnsw } = cluster.nodes[0].replication.map.current().collections[0];
    await cluster.nodes[0].changes.change({ kind: 'putCollection', name, similarity, hnsw });
    return name;
  }

  const dimensionsOf = (name: string): (number | undefined)[] =>
    cluster.nodes.map(
      ({ replication }) => replication.map.current().collections.find((found) => found.name === name)?.dimensions,
    );

  /** Documents of the tests: `there` with a title, and `away`; of a node each. */
  function idsAt(index: number): { readonly there: string; readonly away: string } {
    const ring = cluster.nodes[0].replication.map.ring();
    const ids = Array.from({ length: 50 }, (_, i) => `id-${i}`).filter(
      (id) => cluster.primaries[ring.shardOf(id)] === index,
    );
    return { there: ids[0], away: ids[1] };
  }

  type Write = (
    node: ClusterNode,
    ids: { readonly there: string; readonly away: string },
    asked: { readonly collection: string; readonly consistency: 'auto' },
  ) => Promise<unknown>;
  const put =
    (
      to: 'there' | 'away',
      fields: DocumentFields,
      condition?: { kind: 'version'; version: string } | { kind: 'absent' },
    ): Write =>
    (node, ids, asked) =>
      node.documents.ingest(
        { id: ids[to], fields: { vector, ...fields } },
        condition,
        asked,
        call({ timeoutMs: 2_000 }),
      );
  const keyed =
    (write: Write, idempotencyKey: string): Write =>
    (node, ids, asked) =>
      write(node, ids, { ...asked, ...{ idempotencyKey: `${idempotencyKey} ${asked.collection}` } });

  const REFUSED: [what: string, code: string, write: Write][] = [
    [
      'a patch of a document that is not there',
      'DOCUMENT_NOT_FOUND',
      (node, { away }, asked) => node.documents.patch(away, { vector }, undefined, asked, call()),
    ],
    [
      'a patch of one that is not there under a key',
      'DOCUMENT_NOT_FOUND',
      keyed((node, { away }, asked) => node.documents.patch(away, { vector }, undefined, asked, call()), 'new'),
    ],
    [
      'a patch of another version',
      'VERSION_CONFLICT',
      (node, { there }, asked) =>
        node.documents.patch(there, { vector }, { kind: 'version', version: VERSION }, asked, call()),
    ],
    [
      'a patch that makes the document too large',
      'PAYLOAD_TOO_LARGE',
      (node, { there }, asked) =>
        node.documents.patch(there, { vector, title: LARGE, content: LARGE }, undefined, asked, call()),
    ],
    ['a document too large', 'PAYLOAD_TOO_LARGE', put('away', { title: LARGE, content: LARGE })],
    ['one that is there, if it is not', 'VERSION_CONFLICT', put('there', {}, { kind: 'absent' })],
    [
      'one that is there, in another version',
      'VERSION_CONFLICT',
      put('there', {}, { kind: 'version', version: VERSION }),
    ],
    ['one that is not there, in a version', 'VERSION_CONFLICT', put('away', {}, { kind: 'version', version: VERSION })],
    ['one under the key of another request', 'IDEMPOTENCY_CONFLICT', keyed(put('there', {}), 'used')],
    [
      'a patch under the key of another request',
      'IDEMPOTENCY_CONFLICT',
      keyed((node, { there }, asked) => node.documents.patch(there, { vector }, undefined, asked, call()), 'used'),
    ],
    [
      'one for which there is no room',
      'INSUFFICIENT_STORAGE',
      (node, ids, asked) => {
        for (const each of cluster.nodes) each.full = 'upsert';
        return put('away', {})(node, ids, asked);
      },
    ],
    [
      'a patch for which there is no room',
      'INSUFFICIENT_STORAGE',
      (node, { there }, asked) => {
        for (const each of cluster.nodes) each.full = 'upsert';
        return node.documents.patch(there, { vector }, undefined, asked, call());
      },
    ],
  ];

  describe.each([
    ['here', 0],
    ['on another node', 1],
  ])('whose primary is %s', (_where, home) => {
    it.each(REFUSED)('fixes no dimension when it is refused: %s', async (_what, code, write) => {
      const collection = await collectionOf();
      const asked = { collection, consistency: 'auto' } as const;
      const [node] = cluster.nodes;
      const ids = idsAt(home);
      const used = { ...asked, idempotencyKey: `used ${collection}` };
      await node.documents.ingest({ id: ids.there, fields: { title: 't' } }, undefined, used, call());
      await expect(write(node, ids, asked)).rejects.toMatchObject({ code });
      expect(dimensionsOf(collection)).toEqual([undefined, undefined]);
      for (const each of cluster.nodes) each.full = undefined;
      // So the next one can have any.
      const next = { id: ids.there, fields: { title: 'u', vector: other } };
      const { created } = await node.documents.ingest(next, undefined, asked, call());
      expect([created, dimensionsOf(collection)[0]]).toEqual([false, other.length]);
    });

    it('fixes it under a condition that holds, and by a patch', async () => {
      const [node] = cluster.nodes;
      const ids = idsAt(home);
      const writes: Write[] = [
        put('away', {}, { kind: 'absent' }),
        async (on, { there }, asked) => {
          const { version } = await on.documents.get(there, false, { ...asked, consistency: 'primary' }, call());
          return put('there', {}, { kind: 'version', version })(on, ids, asked);
        },
        (on, { there }, asked) => on.documents.patch(there, { vector }, undefined, asked, call()),
        keyed((on, { there }, asked) => on.documents.patch(there, { vector }, undefined, asked, call()), 'new'),
      ];
      for (const write of writes) {
        const collection = await collectionOf();
        const asked = { collection, consistency: 'auto' } as const;
        await node.documents.ingest({ id: ids.there, fields: { title: 't' } }, undefined, asked, call());
        expect(await write(node, ids, asked)).toMatchObject({ indexed: true });
        expect(dimensionsOf(collection)[0]).toBe(vector.length);
      }
    });

    it('is answered what its key was answered by before, where the map here is behind', async () => {
      const [node] = cluster.nodes;
      const collection = await collectionOf();
      const ids = idsAt(home);
      const asked = { collection, consistency: 'auto' } as const;
      const write = keyed(put('away', {}), 'first');
      const before = node.replication.map.current();
      const first = (await write(node, ids, asked)) as { version: string };
      const current = jest.spyOn(node.replication.map, 'current').mockReturnValue(before);
      const proposed = jest.mocked(node.changes.change).mock.calls.length;
      try {
        expect(await write(node, ids, asked)).toMatchObject({ version: first.version });
        expect(node.changes.change).toHaveBeenCalledTimes(proposed);
      } finally {
        current.mockRestore();
      }
    });
  });
});
