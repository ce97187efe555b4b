import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { ClientReadableStream, ClientWritableStream, Metadata as MetadataType, ServiceError } from '@grpc/grpc-js';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import * as pb from '../../../gen/spector/v1/spector_pb.js';
import { bytesOfVector } from '../core/vector.js';
import type { MemoryEdge } from '../testing/memory-edge.js';
import { startMemoryEdge } from '../testing/memory-edge.js';

const services = [pb.SpectorService];
let edge: MemoryEdge;
let client: Client;

const path = (method: string) => `/spector.v1.SpectorService/${method}`;
const serialize = (schema: DescMessage) => (message: unknown) =>
  Buffer.from(toBinary(schema, message as MessageShape<DescMessage>));
const deserialize =
  <O extends DescMessage>(schema: O) =>
  (bytes: Buffer) =>
    fromBinary(schema, bytes);

function call<I extends DescMessage, O extends DescMessage>(
  method: string,
  input: I,
  output: O,
  request: MessageInitShape<I>,
  options: { metadata?: MetadataType; deadline?: number } = {},
): Promise<MessageShape<O>> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path(method),
      serialize(input),
      deserialize(output),
      create(input, request),
      options.metadata ?? new Metadata(),
      options.deadline === undefined ? {} : { deadline: Date.now() + options.deadline },
      (error, answer) => {
        if (error === null && answer !== undefined) resolve(answer);
        else reject(error ?? new Error('no answer'));
      },
    );
  });
}

const ingest = (request: MessageInitShape<typeof pb.IngestRequestSchema>) =>
  call('Ingest', pb.IngestRequestSchema, pb.IngestResponseSchema, request);
const search = (request: MessageInitShape<typeof pb.SearchRequestSchema>, options = {}) =>
  call('Search', pb.SearchRequestSchema, pb.SearchResponseSchema, request, options);
const count = (request: MessageInitShape<typeof pb.CountDocumentsRequestSchema>) =>
  call('CountDocuments', pb.CountDocumentsRequestSchema, pb.CountDocumentsResponseSchema, request);

/** The gRPC code and the sentence of a refusal. */
async function refused(answer: Promise<unknown>, code: number, details: RegExp): Promise<void> {
  const error = (await answer.then(
    () => new Error('it was accepted'),
    (reason: unknown) => reason,
  )) as ServiceError;
  expect({ code: error.code, details: error.details }).toEqual({ code, details: expect.stringMatching(details) });
}

function ingestStream(
  requests: readonly MessageInitShape<typeof pb.IngestStreamRequestSchema>[],
): Promise<pb.IngestStreamResponse> {
  return new Promise((resolve, reject) => {
    const stream: ClientWritableStream<pb.IngestStreamRequest> = client.makeClientStreamRequest(
      path('IngestStream'),
      serialize(pb.IngestStreamRequestSchema),
      deserialize(pb.IngestStreamResponseSchema),
      (error: ServiceError | null, answer?: pb.IngestStreamResponse) => {
        if (error === null && answer !== undefined) resolve(answer);
        else reject(error ?? new Error('no answer'));
      },
    );
    for (const request of requests) stream.write(create(pb.IngestStreamRequestSchema, request));
    stream.end();
  });
}

async function changesAfter(cursor: string): Promise<pb.ChangesResponse[]> {
  const stream: ClientReadableStream<pb.ChangesResponse> = client.makeServerStreamRequest(
    path('Changes'),
    serialize(pb.ChangesRequestSchema),
    deserialize(pb.ChangesResponseSchema),
    create(pb.ChangesRequestSchema, { cursor }),
  );
  const changes: pb.ChangesResponse[] = [];
  for await (const change of stream) changes.push(change as pb.ChangesResponse);
  return changes;
}

beforeAll(async () => {
  edge = await startMemoryEdge({ services });
  client = new Client(`127.0.0.1:${edge.grpcPort}`, credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await edge[Symbol.asyncDispose]();
});
beforeEach(() => {
  edge.node.documents.clear();
  edge.node.log.length = 0;
  edge.node.held = undefined;
});

describe('SpectorService', () => {
  it('stores, reads, merges and deletes a document', async () => {
    const stored = await ingest({
      id: 'a',
      title: 'one',
      vector: bytesOfVector(Float32Array.of(0.5, -1)),
      metadata: { n: 1 },
    });
    expect(stored).toMatchObject({ id: 'a', created: true, offset: 1n, epoch: 1n, durable: 1 });
    expect(edge.node.documents.get('a')).toMatchObject({ vector: Float32Array.of(0.5, -1), metadata: { n: 1 } });
    const patch = { content: 'two', remove: [pb.DocumentField.TITLE] };
    await call('PatchDocument', pb.PatchDocumentRequestSchema, pb.PatchDocumentResponseSchema, { id: 'a', patch });
    const found = await call('GetDocument', pb.GetDocumentRequestSchema, pb.GetDocumentResponseSchema, {
      id: 'a',
      withVector: true,
      session: 'abc',
    });
    expect(found.document).toMatchObject({ id: 'a', content: 'two', metadata: { n: 1 } });
    expect(found.document?.title).toBeUndefined();
    expect(found.session).toBe('abc');
    expect(Buffer.from(found.document?.vector ?? []).readFloatLE(4)).toBe(-1);
    const condition = { condition: { case: 'version', value: 'other' } } as const;
    await refused(
      call('DeleteDocument', pb.DeleteDocumentRequestSchema, pb.DeleteDocumentResponseSchema, { id: 'a', condition }),
      10,
      /version/,
    );
    expect(
      await call('DeleteDocument', pb.DeleteDocumentRequestSchema, pb.DeleteDocumentResponseSchema, { id: 'a' }),
    ).toMatchObject({ deleted: true });
    await refused(
      call('GetDocument', pb.GetDocumentRequestSchema, pb.GetDocumentResponseSchema, { id: 'a' }),
      5,
      /no a/,
    );
  });

  it('keeps the vector it was given, wherever it lay in the frame', async () => {
    for (let length = 1; length < 8; length++) {
      await ingest({ id: 'x'.repeat(length), vector: bytesOfVector(Float32Array.of(1, 2, 3)) });
      expect(edge.node.documents.get('x'.repeat(length))?.vector).toEqual(Float32Array.of(1, 2, 3));
    }
  });

  it('searches with the defaults and limits of the HTTP contract', async () => {
    await ingest({ id: 'a', title: 'red fox', metadata: { n: 1 } });
    const answer = await search({ text: 'fox', vector: bytesOfVector(Float32Array.of(1)) });
    expect(answer).toMatchObject({
      totalHits: 1,
      mode: pb.SearchMode.HYBRID,
      coverage: 1,
      fusion: { method: { case: 'rrf', value: { k: 60 } } },
    });
    expect(answer.results[0]).toMatchObject({
      id: 'a',
      score: 1,
      title: 'red fox',
      metadata: { n: 1 },
      ranks: { keyword: 1 },
    });
    expect(edge.node.searches.at(-1)).toMatchObject({
      topK: 10,
      offset: 0,
      collection: 'default',
      consistency: 'any',
      fields: { title: true, vector: false },
    });
    const filter = {
      must: [{ clause: { case: 'range', value: { key: 'n', gte: { value: { case: 'number', value: 1 } } } } }],
    } as const;
    await search({
      text: 'fox',
      filter: filter as never,
      topK: 3,
      params: { ef: 50, exact: true },
      fusion: { method: { case: 'relative', value: { alpha: 0.2 } } },
    });
    expect(edge.node.searches.at(-1)).toMatchObject({
      topK: 3,
      ef: 50,
      exact: true,
      fusion: { method: 'relative', alpha: 0.2 },
      filter: { must: [{ kind: 'range', key: 'n', gte: 1 }], should: [], mustNot: [] },
    });
    await refused(search({}), 3, /neither/);
    await refused(search({ text: 'a', topK: 0 }), 3, /at least 1/);
    await refused(search({ text: 'a', topK: 10_001 }), 3, /10000/);
    await refused(search({ text: 'a', mode: pb.SearchMode.VECTOR }), 3, /needs `vector`/);
    await refused(search({ text: 'a', mode: JSON.parse('9') as pb.SearchMode }), 3, /`mode`/);
    await refused(search({ vector: new Uint8Array(6) }), 3, /multiple of 4/);
    await refused(search({ vector: bytesOfVector(Float32Array.of(Number.NaN)) }), 3, /finite/);
    await refused(search({ text: 'a', collection: '-' }), 3, /collection/);
    await refused(search({ text: 'a', collection: 'none' }), 5, /no collection/);
    await refused(search({ text: 'bug' }), 13, /unexpected/);
  });

  it('bounds the nesting of filters', async () => {
    const nest = (depth: number): MessageInitShape<typeof pb.FilterSchema> =>
      depth === 0 ? {} : { must: [{ clause: { case: 'nested', value: create(pb.FilterSchema, nest(depth - 1)) } }] };
    expect(await count({ filter: create(pb.FilterSchema, nest(7)) })).toMatchObject({ count: 0n });
    await refused(count({ filter: create(pb.FilterSchema, nest(8)) }), 3, /8 levels/);
    await refused(count({ filter: create(pb.FilterSchema, nest(20)) }), 3, /8 levels/);
  });

  it('passes the deadline on, and the end of the call', async () => {
    await refused(search({ text: 'wait', timeoutMs: 60_000 }, { deadline: 150 }), 4, /./);
    const { timeoutMs, signal } = edge.node.calls.at(-1) ?? {};
    expect(timeoutMs).toBeGreaterThan(0);
    // An answer has to be back by then.
    expect(timeoutMs).toBeLessThanOrEqual(135);
    await new Promise<void>((resolve) => {
      if (signal?.aborted === true) resolve();
      signal?.addEventListener('abort', () => resolve());
    });
  });

  it('stores a stream: the good items, and lists the bad ones', async () => {
    const upsert = (id: string, title?: string) =>
      ({
        item: { case: 'upsert', value: create(pb.DocumentSchema, { id, ...(title === undefined ? {} : { title }) }) },
      }) as const;
    const options = create(pb.IngestStreamOptionsSchema, { consistency: pb.WriteConsistency.ALL, idempotencyKey: 'k' });
    const answer = await ingestStream([
      { options },
      upsert('a', 'x'),
      upsert('b'),
      {},
      { item: { case: 'patch', value: create(pb.PatchItemSchema, { id: 'a', patch: { title: 'y' } }) } },
      { item: { case: 'delete', value: create(pb.DeleteItemSchema, { id: '' }) } },
      { ...upsert('c', 'z'), options: create(pb.IngestStreamOptionsSchema, { collection: 'other' }) },
    ]);
    expect(answer).toMatchObject({ total: 6n, success: 2n, failed: 4n, session: 's-bulk' });
    expect(answer.errors.map(({ index, id, code }) => [index, id, code])).toEqual([
      [1n, 'b', 'INVALID_REQUEST'],
      [2n, undefined, 'INVALID_REQUEST'],
      [4n, '', 'INVALID_REQUEST'],
      [5n, undefined, 'INVALID_REQUEST'],
    ]);
    expect(edge.node.writes.at(-1)).toEqual({ collection: 'default', consistency: 'all', idempotencyKey: 'k' });
    await refused(ingestStream([]), 3, /no items/);
  });

  it('scrolls, counts, tells collections, status and changes', async () => {
    for (const id of ['a', 'b', 'c']) await ingest({ id, title: id });
    const page = await call('ScrollDocuments', pb.ScrollDocumentsRequestSchema, pb.ScrollDocumentsResponseSchema, {
      limit: 2,
    });
    expect([page.documents.map(({ id }) => id), page.cursor]).toEqual([['a', 'b'], '2']);
    await refused(
      call('ScrollDocuments', pb.ScrollDocumentsRequestSchema, pb.ScrollDocumentsResponseSchema, { limit: 1_001 }),
      3,
      /1000/,
    );
    expect(await count({})).toMatchObject({ count: 3n, shards: { total: 1, ok: 1 } });
    const put = await call('PutCollection', pb.PutCollectionRequestSchema, pb.PutCollectionResponseSchema, {
      name: 'c1',
      similarity: pb.Similarity.DOT,
      dimensions: 3,
    });
    expect(put).toMatchObject({
      created: true,
      collection: { name: 'c1', dimensions: 3, similarity: pb.Similarity.DOT, hnsw: { m: 16 } },
    });
    await refused(
      call('PutCollection', pb.PutCollectionRequestSchema, pb.PutCollectionResponseSchema, {
        name: 'c2',
        hnsw: { m: 2 },
      }),
      3,
      /hnsw.m/,
    );
    const list = await call('ListCollections', pb.ListCollectionsRequestSchema, pb.ListCollectionsResponseSchema, {});
    expect(list.collections.map(({ name }) => name)).toEqual(['default', 'c1']);
    const status = await call('GetStatus', pb.GetStatusRequestSchema, pb.GetStatusResponseSchema, {});
    expect(status).toMatchObject({
      status: pb.NodeStatus.RUNNING,
      topology: { 'node-1': { shards: ['0'] } },
      shards: [{ primary: 'node-1', replicas: [{ role: pb.ReplicaRole.PRIMARY }] }],
    });
    expect((await changesAfter('1')).map(({ id, cursor, document }) => [id, cursor, document?.title])).toEqual([
      ['b', '2', 'b'],
      ['c', '3', 'c'],
    ]);
    const latest: ClientReadableStream<pb.ChangesResponse> = client.makeServerStreamRequest(
      path('Changes'),
      serialize(pb.ChangesRequestSchema),
      deserialize(pb.ChangesResponseSchema),
      create(pb.ChangesRequestSchema, { cursor: 'latest', follow: true }),
    );
    const [head] = (await once(latest, 'metadata')) as [Metadata];
    expect(head.get('spector-cursor')).toEqual(['3']);
    latest.on('error', () => undefined).cancel();
  });

  it('says that a change stream started over, and why a copy takes no entries', async () => {
    for (const id of ['a', 'b']) await ingest({ id, title: id });
    const { log } = edge.node;
    log[1] = { ...log[1], restarted: { shard: 0, offset: 7 } };
    const [before, after] = await changesAfter('');
    expect(before.restarted).toBeUndefined();
    expect(after.restarted).toMatchObject({ shard: 0, offset: 7n });
    const held = async () => {
      const status = await call('GetStatus', pb.GetStatusRequestSchema, pb.GetStatusResponseSchema, {});
      return status.shards[0].replicas[0].held;
    };
    expect(await held()).toBeUndefined();
    edge.node.held = 'DISK_FULL';
    expect(await held()).toBe('DISK_FULL');
  });

  it('asks for the same keys as HTTP', async () => {
    const sha256 = (key: string) => createHash('sha256').update(key).digest('hex');
    await using secured = await startMemoryEdge({
      services,
      apiKeys: [{ name: 'r', scope: 'read', sha256: sha256('reader') }],
    });
    const open = client;
    client = new Client(`127.0.0.1:${secured.grpcPort}`, credentials.createInsecure());
    try {
      const metadata = new Metadata();
      await refused(search({ text: 'a' }), 16, /API key/);
      metadata.set('authorization', 'Bearer reader');
      expect(await search({ text: 'a' }, { metadata })).toMatchObject({ totalHits: 0 });
      await refused(
        call('Ingest', pb.IngestRequestSchema, pb.IngestResponseSchema, { id: 'a', title: 'x' }, { metadata }),
        7,
        /scope write/,
      );
      secured.readiness.stop();
      await refused(search({ text: 'a' }, { metadata }), 14, /shutting down/);
    } finally {
      client.close();
      client = open;
    }
  });
});
