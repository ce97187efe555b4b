import { create, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { status as grpcStatus } from '@grpc/grpc-js';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Health, HealthCheckResponse_ServingStatus } from '../../src/gen/grpc/health/v1/health_pb.js';
import type { DocumentSchema } from '../../src/gen/spector/v1/spector_pb.js';
import {
  ChangeOp,
  IngestStreamRequestSchema,
  NodeStatus,
  ReadConsistency,
  SearchMode,
  SearchRequestSchema,
  Similarity,
  SpectorService,
  WriteConsistency,
} from '../../src/gen/spector/v1/spector_pb.js';
import { corpus, count, store } from './support/documents.js';
import { failureOf, GrpcClient, vectorBytes, vectorOf } from './support/grpc-client.js';
import { LoopWatch, withoutBlocking } from './support/loop-watch.js';
import type { TestNode } from './support/node.js';
import { startNode } from './support/node.js';
import { expectStatus } from './support/problem.js';
import { Random } from './support/random.js';

const {
  changes,
  countDocuments,
  deleteDocument,
  getDocument,
  getStatus,
  ingest,
  ingestStream,
  listCollections,
  patchDocument,
  putCollection,
  scrollDocuments,
  search,
} = SpectorService.method;

const DOCUMENTS = corpus(21, 300, 8);
const QUERY = new Random(3).vector(8);

let node: TestNode;
let client: GrpcClient;

beforeAll(async () => {
  node = await startNode();
  client = new GrpcClient(node.grpcAddress);
  expectStatus(await node.rest.put('/api/v1/collections/corpus', {}), 201);
  await store(node.rest, DOCUMENTS, '?collection=corpus');
});
afterAll(async () => {
  client.close();
  await node.dispose();
});

describe('documents', () => {
  it('are ingested, read, patched and deleted, the same as through REST', async () => {
    const written = await client.unary(ingest, {
      id: 'g1',
      title: 'title',
      content: 'content',
      vector: vectorBytes([1, 2, 3]),
      metadata: { a: 1, list: ['x', true, null], deep: { b: 'é' } },
    });
    expect(written).toEqual(
      expect.objectContaining({
        id: 'g1',
        indexed: true,
        created: true,
        durable: 1,
        fsync: 'always',
        version: expect.any(String),
      }),
    );
    expect(written.epoch).toBeGreaterThanOrEqual(1n);
    expect(written.offset).toBeGreaterThanOrEqual(1n);
    expect(written.session).toMatch(/^[A-Za-z0-9_-]+$/);

    const read = await client.unary(getDocument, { id: 'g1', withVector: true });
    expect(read.document).toEqual(
      expect.objectContaining({
        id: 'g1',
        title: 'title',
        content: 'content',
        version: written.version,
        metadata: { a: 1, list: ['x', true, null], deep: { b: 'é' } },
      }),
    );
    expect(vectorOf(read.document?.vector)).toEqual([1, 2, 3]);
    expect((await client.unary(getDocument, { id: 'g1' })).document?.vector).toBeUndefined();
    const rest = await node.rest.get('/api/v1/documents/g1?withVector=true');
    expect(expectStatus(rest, 200)).toEqual(
      expect.objectContaining({ title: 'title', vector: [1, 2, 3], version: written.version }),
    );

    const patched = await client.unary(patchDocument, {
      id: 'g1',
      patch: { title: 'other', metadata: { a: null, c: 2 }, remove: [2] },
    });
    expect(patched.version > written.version).toBe(true);
    const after = (await client.unary(getDocument, { id: 'g1' })).document;
    expect(after).toEqual(
      expect.objectContaining({ title: 'other', metadata: { list: ['x', true, null], deep: { b: 'é' }, c: 2 } }),
    );
    expect(after?.content).toBeUndefined();

    const deleted = await client.unary(deleteDocument, { id: 'g1' });
    expect(deleted).toEqual(expect.objectContaining({ id: 'g1', deleted: true }));
    const gone = await failureOf(client.unary(getDocument, { id: 'g1' }));
    expect(gone).toEqual(expect.objectContaining({ status: 'NOT_FOUND', reason: 'DOCUMENT_NOT_FOUND' }));
  });

  it('take conditions, idempotency keys, sessions and consistency', async () => {
    const first = await client.unary(ingest, {
      id: 'c1',
      title: 'one',
      condition: { condition: { case: 'absent', value: true } },
    });
    const again = await failureOf(
      client.unary(ingest, { id: 'c1', title: 'two', condition: { condition: { case: 'absent', value: true } } }),
    );
    expect(again).toEqual(expect.objectContaining({ status: 'ABORTED', reason: 'VERSION_CONFLICT' }));
    const second = await client.unary(ingest, {
      id: 'c1',
      title: 'two',
      condition: { condition: { case: 'version', value: first.version } },
      consistency: WriteConsistency.ALL,
      session: first.session,
    });
    expect(second.created).toBe(false);

    const once1 = await client.unary(ingest, { id: 'c2', title: 'x', idempotencyKey: 'grpc-key' });
    const once2 = await client.unary(ingest, { id: 'c2', title: 'x', idempotencyKey: 'grpc-key' });
    expect(once2.version).toBe(once1.version);
    const other = await failureOf(client.unary(ingest, { id: 'c2', title: 'y', idempotencyKey: 'grpc-key' }));
    expect(other).toEqual(expect.objectContaining({ status: 'ALREADY_EXISTS', reason: 'IDEMPOTENCY_CONFLICT' }));

    const read = await client.unary(getDocument, {
      id: 'c1',
      consistency: ReadConsistency.SESSION,
      session: second.session,
    });
    expect(read.document?.title).toBe('two');
  });

  it('scroll and count with a filter', async () => {
    const filter = {
      must: [
        {
          clause: {
            case: 'range' as const,
            value: { key: 'number', lt: { value: { case: 'number' as const, value: 100 } } },
          },
        },
      ],
    };
    const counted = await client.unary(countDocuments, { collection: 'corpus', filter });
    expect(counted.count).toBe(100n);
    expect(counted.shards).toEqual(expect.objectContaining({ total: 2, ok: 2 }));
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await client.unary(scrollDocuments, {
        collection: 'corpus',
        filter,
        limit: 30,
        ...(cursor === undefined ? {} : { cursor }),
      });
      seen.push(...page.documents.map(({ id }) => id));
      cursor = page.cursor;
    } while (cursor !== undefined);
    expect(seen).toHaveLength(100);
    expect(new Set(seen).size).toBe(100);
  });

  it('scroll in pages that a client takes whose own bound is the usual one', async () => {
    const name = 'large';
    expectStatus(await node.rest.put(`/api/v1/collections/${name}`, {}), 201);
    // 20 KB in UTF-8, and a list that takes five times as much in a message as in JSON.
    const content = '漢'.repeat(6_600);
    const documents = Array.from({ length: 300 }, (_, i) => ({
      id: `large-${i}`,
      content,
      ...(i % 3 === 0 ? { metadata: { list: Array.from({ length: 10_000 }, () => 1) } } : {}),
    }));
    await store(node.rest, documents, `?collection=${name}`);
    const usual = new GrpcClient(node.grpcAddress, {}, 4 * 1024 * 1024);
    const seen: string[] = [];
    let pages = 0;
    let cursor: string | undefined;
    do {
      const page = await usual.unary(scrollDocuments, {
        collection: name,
        limit: 1_000,
        withContent: true,
        ...(cursor === undefined ? {} : { cursor }),
      });
      for (const document of page.documents) expect(document.content).toBe(content);
      seen.push(...page.documents.map(({ id }) => id));
      cursor = page.cursor;
      pages++;
    } while (cursor !== undefined);
    usual.close();
    expect(seen.sort()).toEqual(documents.map(({ id }) => id).sort());
    // 17 MB in all: pages are nearly full.
    expect(pages).toBeLessThan(7);
  }, 60_000);
});

describe('IngestStream', () => {
  type Item = MessageInitShape<typeof IngestStreamRequestSchema>;
  const encoded = (item: Item): Uint8Array =>
    toBinary(IngestStreamRequestSchema, create(IngestStreamRequestSchema, item));

  async function sendAll(items: Iterable<Item>) {
    const { stream, answer } = client.clientStream(ingestStream);
    const settled = answer.catch(() => undefined);
    for (const item of items) {
      if (stream.write(encoded(item))) continue;
      await Promise.race([once(stream, 'drain'), settled]);
    }
    stream.end();
    return answer;
  }

  it('stores upserts, patches and deletions in order, and lists what is bad with its index', async () => {
    expectStatus(await node.rest.put('/api/v1/collections/streamed', { dimensions: 2 }), 201);
    const upsert = (value: MessageInitShape<typeof DocumentSchema>) => ({ item: { case: 'upsert' as const, value } });
    const answer = await sendAll([
      { options: { collection: 'streamed' }, ...upsert({ id: 'a', title: 'one' }) },
      upsert({ id: '', title: 'no id' }),
      upsert({ id: 'b', vector: vectorBytes([1, 2]) }),
      upsert({ id: 'c', vector: vectorBytes([1, 2, 3]) }),
      upsert({ id: 'd' }),
      { item: { case: 'patch', value: { id: 'a', patch: { title: 'two' } } } },
      { item: { case: 'delete', value: { id: 'b' } } },
      upsert({ id: 'e', vector: vectorBytes([Number.NaN, 1]) }),
      upsert({ id: 'f', title: 'last' }),
    ]);
    expect([answer.total, answer.success, answer.failed]).toEqual([9n, 5n, 4n]);
    expect(answer.errors.map(({ index, code }) => ({ index, code }))).toEqual([
      { index: 1n, code: 'INVALID_REQUEST' },
      { index: 3n, code: 'DIMENSION_MISMATCH' },
      { index: 4n, code: 'INVALID_REQUEST' },
      { index: 7n, code: 'INVALID_REQUEST' },
    ]);
    const page = await client.unary(scrollDocuments, { collection: 'streamed' });
    expect(page.documents.map(({ id, title }) => [id, title]).sort()).toEqual([
      ['a', 'two'],
      ['f', 'last'],
    ]);
  });

  it('takes a stream of any length', async () => {
    expectStatus(await node.rest.put('/api/v1/collections/streamed-long', {}), 201);
    const total = 6_000;
    function* items(): Generator<Item> {
      for (let i = 0; i < total; i++) {
        yield {
          ...(i === 0 ? { options: { collection: 'streamed-long' } } : {}),
          item: { case: 'upsert', value: { id: `l${i}`, content: 'lorem ipsum '.repeat(150) } },
        };
      }
    }
    const answer = await sendAll(items());
    expect(answer.success).toBe(BigInt(total));
    expect(await count(node.rest, undefined, 'streamed-long')).toBe(total);
  }, 60_000);

  it('that is cancelled leaves whole documents or none', async () => {
    expectStatus(await node.rest.put('/api/v1/collections/cancelled', {}), 201);
    const { stream, answer } = client.clientStream(ingestStream);
    const failed = failureOf(answer);
    stream.write(
      encoded({ options: { collection: 'cancelled' }, item: { case: 'upsert', value: { id: 'x', title: 'whole' } } }),
    );
    stream.cancel();
    expect((await failed).status).toBe('CANCELLED');
    const page = await client.unary(scrollDocuments, { collection: 'cancelled' });
    for (const document of page.documents) expect([document.id, document.title]).toEqual(['x', 'whole']);
    expect((await client.unary(getStatus, {})).status).toBe(NodeStatus.RUNNING);
  });
});

describe('Search', () => {
  it('answers as REST does', async () => {
    const filter = {
      must: [
        {
          clause: {
            case: 'match' as const,
            value: { key: 'group', any: [{ value: { case: 'text' as const, value: 'fizz' } }] },
          },
        },
      ],
    };
    const restFilter = { must: [{ key: 'group', match: { value: 'fizz' } }] };
    const cases = [
      [{ text: 'river copper' }, { text: 'river copper' }, SearchMode.KEYWORD],
      [{ vector: vectorBytes(QUERY) }, { vector: QUERY }, SearchMode.VECTOR],
      [
        { text: 'river copper', vector: vectorBytes(QUERY), filter, topK: 25, offset: 5 },
        { text: 'river copper', vector: QUERY, filter: restFilter, topK: 25, offset: 5 },
        SearchMode.HYBRID,
      ],
    ] as const;
    for (const [byGrpc, byRest, mode] of cases) {
      const answer = await client.unary(search, { ...byGrpc, collection: 'corpus', params: { exact: true } });
      const body = expectStatus<{ results: { id: string; score: number; version: string; title?: string }[] }>(
        await node.rest.post('/api/v1/search', { ...byRest, collection: 'corpus', params: { exact: true } }),
        200,
      );
      expect(answer.mode).toBe(mode);
      expect(answer.results.map(({ id, score, version, title }) => ({ id, score, version, title }))).toEqual(
        body.results.map(({ id, score, version, title }) => ({ id, score, version, title })),
      );
      expect([answer.partial, answer.coverage, answer.totalHits]).toEqual([false, 1, body.results.length]);
      expect(answer.shards).toEqual(expect.objectContaining({ total: 2, ok: 2, failed: [], stale: [] }));
    }
  });

  it('gives what is asked for', async () => {
    const answer = await client.unary(search, {
      vector: vectorBytes(QUERY),
      collection: 'corpus',
      topK: 3,
      withVector: true,
      withContent: true,
      withTitle: false,
      withMetadata: false,
      explain: true,
    });
    expect(answer.results).toHaveLength(3);
    for (const hit of answer.results) {
      const original = DOCUMENTS.find(({ id }) => id === hit.id);
      expect(vectorOf(hit.vector)).toEqual(original?.vector);
      expect(hit.content).toBe(original?.content);
      expect([hit.title, hit.metadata]).toEqual([undefined, undefined]);
      expect(hit.ranks?.vector).toBeGreaterThanOrEqual(1);
      expect(hit.explanation).toBeDefined();
    }
  });

  it('keeps to the deadline of the call', async () => {
    const failure = await failureOf(
      client.unary(
        search,
        { text: 'river', vector: vectorBytes(QUERY), collection: 'corpus', topK: 300 },
        { deadline: Date.now() - 1 },
      ),
    );
    expect(failure.status).toBe('DEADLINE_EXCEEDED');
    expect((await client.unary(search, { text: 'river', collection: 'corpus' })).results.length).toBeGreaterThan(0);
  });
});

describe('collections, status and changes', () => {
  it('collections are put and listed', async () => {
    const made = await client.unary(putCollection, {
      name: 'by-grpc',
      dimensions: 5,
      similarity: Similarity.DOT,
      hnsw: { m: 12 },
    });
    expect(made.created).toBe(true);
    expect(made.collection).toEqual(
      expect.objectContaining({ name: 'by-grpc', dimensions: 5, similarity: Similarity.DOT, documents: 0n }),
    );
    expect(
      (
        await client.unary(putCollection, {
          name: 'by-grpc',
          dimensions: 5,
          similarity: Similarity.DOT,
          hnsw: { m: 12 },
        })
      ).created,
    ).toBe(false);
    const conflict = await failureOf(client.unary(putCollection, { name: 'by-grpc', dimensions: 6 }));
    expect(conflict).toEqual(expect.objectContaining({ status: 'ALREADY_EXISTS', reason: 'COLLECTION_CONFLICT' }));
    const { collections } = await client.unary(listCollections, {});
    expect(collections.map(({ name }) => name)).toEqual(expect.arrayContaining(['default', 'corpus', 'by-grpc']));
    expect(collections.find(({ name }) => name === 'corpus')?.documents).toBe(300n);
  });

  it('the status is that of REST', async () => {
    const byRest = expectStatus<Record<string, unknown>>(await node.rest.get('/api/v1/status'), 200);
    const byGrpc = await client.unary(getStatus, {});
    expect(byGrpc).toEqual(
      expect.objectContaining({
        status: NodeStatus.RUNNING,
        clusterMode: byRest.clusterMode,
        activeNodes: 1,
        shardCount: 2,
        replicaCount: 1,
        nodeId: byRest.nodeId,
        clusterId: byRest.clusterId,
        viewDigest: byRest.viewDigest,
        insecure: byRest.insecure,
      }),
    );
    expect(byGrpc.shards.map(({ shard }) => shard)).toEqual([0, 1]);
    expect(byGrpc.topology['node-1']).toEqual(expect.objectContaining({ status: 'ACTIVE', shards: ['0', '1'] }));
  });

  it('changes are streamed and followed', async () => {
    const stream = client.serverStream(changes, { collection: 'corpus', follow: true });
    stream.on('error', () => undefined); // cancelled below
    const iterator = stream[Symbol.asyncIterator]() as AsyncIterator<{
      id: string;
      op: ChangeOp;
      cursor: string;
      document?: { title?: string };
    }>;
    const ids = new Set<string>();
    while (ids.size < 300) {
      const { value } = (await iterator.next()) as { value: { id: string; op: ChangeOp } };
      expect(value.op).toBe(ChangeOp.UPSERT);
      ids.add(value.id);
    }
    await client.unary(ingest, { id: 'followed', title: 'seen', collection: 'corpus' });
    const { value } = (await iterator.next()) as { value: { id: string; document?: { title?: string } } };
    expect([value.id, value.document?.title]).toEqual(['followed', 'seen']);
    stream.cancel();
  });
});

describe('what is bad', () => {
  let watch: LoopWatch;
  beforeAll(() => {
    watch = new LoopWatch(node.base);
  });
  afterAll(() => watch.stop());

  it.each([
    ['random bytes', Buffer.from('ffffffffffffffffffff', 'hex')],
    ['a length beyond the end', Buffer.from([0x0a, 0x7f, 0x61])],
    ['a group that does not end', Buffer.from([0x0b])],
    ['an id that is no UTF-8', Buffer.from([0x0a, 0x02, 0xff, 0xfe])],
    ['a field of the wrong wire type', Buffer.from([0x08, 0x01])],
  ])('a message of %s is refused, and the node goes on', async (_, bytes) => {
    const before = await count(node.rest);
    const failure = await withoutBlocking(watch, () => failureOf(client.unaryBytes(ingest, bytes)));
    expect(failure.status).toBe('INVALID_ARGUMENT');
    expect(failure.message).not.toMatch(/\n\s+at /);
    const streamed = client.clientStream(ingestStream);
    const answer = failureOf(streamed.answer);
    streamed.stream.write(bytes);
    streamed.stream.end();
    expect((await answer).status).toBe('INVALID_ARGUMENT');
    expect(await count(node.rest)).toBe(before);
    expect((await client.unary(getStatus, {})).status).toBe(NodeStatus.RUNNING);
  });

  it('a message over 8 MiB is refused', async () => {
    const failure = await withoutBlocking(watch, () =>
      failureOf(
        client.unaryBytes(
          ingest,
          Buffer.concat([Buffer.from([0x0a, 0x80, 0x80, 0x80, 0x05]), Buffer.alloc(9 * 1024 * 1024, 0x61)]),
        ),
      ),
    );
    expect(failure.status).toBe('RESOURCE_EXHAUSTED');
    expect((await client.unary(getStatus, {})).status).toBe(NodeStatus.RUNNING);
  });

  const deep = (depth: number): object =>
    depth === 0 ? { must: [] } : { must: [{ clause: { case: 'nested' as const, value: deep(depth - 1) } }] };

  it.each<readonly [string, object, string]>([
    ['no id', { id: '', title: 't' }, 'INVALID_REQUEST'],
    ['an id of 513 bytes', { id: 'x'.repeat(513), title: 't' }, 'INVALID_REQUEST'],
    ['a control character', { id: 'a\nb', title: 't' }, 'INVALID_REQUEST'],
    ['no field', { id: 'x' }, 'INVALID_REQUEST'],
    ['a vector of 5 bytes', { id: 'x', vector: new Uint8Array(5) }, 'INVALID_REQUEST'],
    ['an empty vector', { id: 'x', vector: new Uint8Array(0) }, 'INVALID_REQUEST'],
    ['NaN', { id: 'x', vector: vectorBytes([Number.NaN, 1]) }, 'INVALID_REQUEST'],
    ['infinity', { id: 'x', vector: vectorBytes([Number.POSITIVE_INFINITY, 1]) }, 'INVALID_REQUEST'],
    [
      'zeros under cosine',
      { id: 'x', vector: vectorBytes([0, 0, 0, 0, 0, 0, 0, 0]), collection: 'corpus' },
      'INVALID_REQUEST',
    ],
    ['another dimension', { id: 'x', vector: vectorBytes([1]), collection: 'corpus' }, 'DIMENSION_MISMATCH'],
    ['4 097 dimensions', { id: 'x', vector: new Uint8Array(4 * 4_097) }, 'LIMIT_EXCEEDED'],
    ['no such collection', { id: 'x', title: 't', collection: 'nowhere' }, 'COLLECTION_NOT_FOUND'],
    ['a document over 1 MiB', { id: 'x', content: 'x'.repeat(1_100_000) }, 'PAYLOAD_TOO_LARGE'],
    ['a session that is none', { id: 'x', title: 't', session: '***' }, 'INVALID_REQUEST'],
    [
      'a __proto__ key in metadata',
      { id: 'x', metadata: JSON.parse('{"a":{"__proto__":{"b":1}}}') as object },
      'INVALID_REQUEST',
    ],
  ])('Ingest with %s', async (_, message, code) => {
    const before = await count(node.rest, undefined, 'corpus');
    const failure = await withoutBlocking(watch, () => failureOf(client.unary(ingest, message)));
    expect(failure.reason === code || (code === 'INVALID_REQUEST' && failure.reason === 'LIMIT_EXCEEDED')).toBe(true);
    const wanted: Record<string, string> = {
      COLLECTION_NOT_FOUND: 'NOT_FOUND',
      PAYLOAD_TOO_LARGE: 'RESOURCE_EXHAUSTED',
    };
    expect(failure.status).toBe(wanted[code] ?? 'INVALID_ARGUMENT');
    expect(failure.message).toMatch(/.{8}/);
    expect(await count(node.rest, undefined, 'corpus')).toBe(before);
    expect((await node.rest.get('/api/v1/documents/x')).status).toBe(404);
  });

  it.each<readonly [string, object, RegExp]>([
    ['nothing', {}, /INVALID_REQUEST/],
    ['topK 0', { text: 'x', topK: 0 }, /INVALID_REQUEST|LIMIT_EXCEEDED/],
    ['topK 10 001', { text: 'x', topK: 10_001 }, /LIMIT_EXCEEDED/],
    ['ef 4 097', { vector: vectorBytes(QUERY), collection: 'corpus', params: { ef: 4_097 } }, /LIMIT_EXCEEDED/],
    ['a mode without its input', { text: 'x', mode: SearchMode.VECTOR }, /INVALID_REQUEST/],
    ['an enum value nobody knows', { text: 'x', mode: 77 as SearchMode }, /INVALID_REQUEST/],
    ['a filter 20 deep', { text: 'x', filter: deep(20) }, /LIMIT_EXCEEDED/],
    ['a clause that says nothing', { text: 'x', filter: { must: [{}] } }, /INVALID_REQUEST/],
    ['minCoverage 2', { text: 'x', minCoverage: 2 }, /INVALID_REQUEST/],
    [
      'a negative weight',
      {
        text: 'x',
        vector: vectorBytes(QUERY),
        collection: 'corpus',
        fusion: { method: { case: 'rrf', value: { weights: { vector: -1 } } } },
      },
      /INVALID_REQUEST/,
    ],
  ])('Search with %s', async (_, message, reason) => {
    const bytes = toBinary(SearchRequestSchema, create(SearchRequestSchema, message));
    const failure = await withoutBlocking(watch, () => failureOf(client.unaryBytes(search, bytes)));
    expect(failure.status).toBe('INVALID_ARGUMENT');
    expect(failure.reason).toMatch(reason);
  });

  it('an unknown method is UNIMPLEMENTED', async () => {
    const failure = await failureOf(client.unary({ ...getStatus, name: 'Missing', parent: getStatus.parent }, {}));
    expect(failure).toMatchObject({ status: 'UNIMPLEMENTED', reason: 'METHOD_NOT_ALLOWED' });
  });

  it('every failure carries one ErrorInfo of the domain, with retryable', async () => {
    const failure = await failureOf(client.unary(getDocument, { id: 'none' }));
    expect(failure).toEqual(expect.objectContaining({ status: 'NOT_FOUND', reason: 'DOCUMENT_NOT_FOUND' }));
    expect(Object.values(grpcStatus)).toContain(failure.status);
  });
});

describe('grpc.health.v1.Health', () => {
  it('serves', async () => {
    const { check } = Health.method;
    expect((await client.unary(check, {})).status).toBe(HealthCheckResponse_ServingStatus.SERVING);
    expect((await client.unary(check, { service: 'spector.v1.SpectorService' })).status).toBe(
      HealthCheckResponse_ServingStatus.SERVING,
    );
    expect((await failureOf(client.unary(check, { service: 'nobody' }))).status).toBe('NOT_FOUND');
  });
});
