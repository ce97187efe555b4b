import { describe, expect, it } from '@jest/globals';
import { LIMITS } from '../../kernel/limits.js';
import { refused, RestCalls } from '../../../test/contract/rest-calls.js';

const rest = new RestCalls();
const { call, search } = rest;

describe('the catalogue and the cluster', () => {
  it('makes, shows and drops collections and aliases', async () => {
    expect(await call('PUT', '/api/v1/collections/books', { dimensions: 3 })).toMatchObject({
      status: 201,
      body: { name: 'books', dimensions: 3 },
    });
    expect(await call('PUT', '/api/v1/collections/books', { dimensions: 3 })).toMatchObject({ status: 200 });
    await refused(call('PUT', '/api/v1/collections/books', { dimensions: 4 }), 409, 'COLLECTION_CONFLICT');
    await refused(call('PUT', '/api/v1/collections/-x'), 400, 'INVALID_REQUEST', /name/);
    await refused(call('PUT', '/api/v1/collections/x', { hnsw: { m: 65 } }), 400, 'INVALID_REQUEST', /at most 64/);
    expect((await call('GET', '/api/v1/collections')).body).toMatchObject({
      collections: [{ name: 'default' }, { name: 'books' }],
    });
    expect(await call('PUT', '/api/v1/aliases/b', { collection: 'books' })).toMatchObject({ status: 201 });
    expect(await call('PUT', '/api/v1/aliases/b', { collection: 'books' })).toMatchObject({
      status: 200,
      body: { name: 'b', collection: 'books' },
    });
    expect(await call('DELETE', '/api/v1/aliases/b')).toMatchObject({ status: 200, body: { deleted: true } });
    await refused(call('GET', '/api/v1/aliases/b'), 404, 'ALIAS_NOT_FOUND');
    expect(await call('DELETE', '/api/v1/collections/books')).toMatchObject({ status: 200 });
    await refused(call('GET', '/api/v1/collections/books'), 404, 'COLLECTION_NOT_FOUND');
    await refused(
      call('POST', '/api/v1/ingest?collection=books', { id: 'a', title: 'x' }),
      404,
      'COLLECTION_NOT_FOUND',
    );
  });

  it('answers operators', async () => {
    expect((await call('GET', '/api/v1/status')).body).toMatchObject({
      status: 'RUNNING',
      topology: { 'node-1': { status: 'ACTIVE', shards: [0] } },
    });
    expect((await call('GET', '/api/v1/cluster')).body).toMatchObject({ settings: { rebalanceGrace: '10m' } });
    expect((await call('PATCH', '/api/v1/cluster/config', { rebalanceGrace: '90s', replicaCount: 2 })).body).toEqual({
      replicaCount: 2,
      writeConsistency: 'one',
      partitionMode: 'available',
      rebalanceGrace: '90s',
    });
    await refused(call('PATCH', '/api/v1/cluster/config', { rebalanceGrace: '25h' }), 400, 'INVALID_REQUEST', /24h/);
    const accepted = await call('POST', '/api/v1/cluster/shards', { shardCount: 4 });
    expect(accepted).toMatchObject({ status: 202, body: { operation: 'op-1' } });
    expect((await call('GET', accepted.headers.get('location') ?? '')).body).toMatchObject({ state: 'DONE' });
    expect(await call('POST', '/api/v1/cluster/nodes/node-1/drain')).toMatchObject({ status: 202 });
    await refused(call('DELETE', '/api/v1/cluster/nodes/node-9'), 404, 'NODE_NOT_FOUND');
    expect(await call('POST', '/api/v1/cluster/shards/0/primary', { node: 'node-1' })).toMatchObject({ status: 202 });
    await refused(call('GET', '/api/v1/cluster/operations/none'), 404, 'OPERATION_NOT_FOUND');
    expect((await call('GET', '/api/v1/shards/0/digest')).body).toMatchObject({ offset: 1, replicas: [] });
    await refused(call('GET', '/api/v1/shards/7/digest'), 404, 'SHARD_NOT_FOUND');
    await refused(call('GET', '/api/v1/shards/x/digest'), 404, 'SHARD_NOT_FOUND');
    expect((await call('GET', '/api/v1/shards/0/conflicts')).body).toEqual({ conflicts: [] });
  });
});

describe('HTTP itself', () => {
  it('takes no body where there is nothing to say, and no other charset than it reads', async () => {
    const drain = (body: unknown) => call('POST', '/api/v1/cluster/nodes/node-1/drain', body);
    await refused(drain({ force: true }), 400, 'INVALID_REQUEST', /`"force"` is not known|"force"/);
    await refused(drain([1]), 400, 'INVALID_REQUEST', /takes no body/);
    expect(await drain({})).toMatchObject({ status: 202 });
    await refused(call('DELETE', '/api/v1/documents/a', { really: true }), 400, 'INVALID_REQUEST', /really/);
    const typed = (charset: string) => ({ 'content-type': `application/json; charset=${charset}` });
    for (const charset of ['latin1', '"utf-16"', 'iso-8859-1; x=1'])
      await refused(
        call('POST', '/api/v1/search', { text: 'a' }, typed(charset)),
        415,
        'UNSUPPORTED_MEDIA_TYPE',
        /utf-8/,
      );
    for (const charset of ['utf-8', '"UTF-8"', 'us-ascii'])
      expect(await call('POST', '/api/v1/search', { text: 'a' }, typed(charset))).toMatchObject({ status: 200 });
  });

  it('knows its paths and their methods', async () => {
    await refused(call('GET', '/api/v2/status'), 404, 'ROUTE_NOT_FOUND');
    await refused(call('POST', '/nowhere', 'x', { 'content-type': 'text/plain' }), 404, 'ROUTE_NOT_FOUND');
    await refused(call('GET', '/api/v1/documents/'), 404, 'ROUTE_NOT_FOUND');
    const wrong = await refused(call('POST', '/api/v1/documents/a', {}), 405, 'METHOD_NOT_ALLOWED');
    expect(wrong.headers.get('allow')).toBe('DELETE, GET, HEAD, OPTIONS, PATCH, PUT');
    await refused(call('GET', '/api/v1/search'), 405, 'METHOD_NOT_ALLOWED');
    expect(await call('OPTIONS', '/api/v1/search')).toMatchObject({ status: 204 });
    await refused(call('GET', '/api/v1/documents/%ff'), 400, 'INVALID_REQUEST', /percent/);
    await refused(call('GET', `/api/v1/documents/${'x'.repeat(5_000)}`), 400, 'INVALID_REQUEST');
    await refused(call('GET', `/api/v1/documents/${'x'.repeat(600)}`), 400, 'INVALID_REQUEST', /512/);
    for (const path of ['/api/v1/status', '/api/v1/changes?follow=1', '/api/v1/events', '/livez']) {
      expect(await call('HEAD', path)).toMatchObject({ status: 200, text: '' });
    }
  });

  it('answers what is hardly HTTP with a problem', async () => {
    const answers = await Promise.all([
      rest.raw(`GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`),
      rest.raw('NONSENSE\r\n\r\n'),
      rest.raw('GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n'),
      rest.raw('GET /livez HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\nconnection: close\r\n\r\n'),
    ]);
    expect(answers[0]).toMatch(/^HTTP\/1.1 400 .*application\/problem\+json.*"code":"LIMIT_EXCEEDED"/s);
    for (const answer of answers.slice(1))
      expect(answer).toMatch(/^HTTP\/1.1 400 .*application\/problem\+json.*"code":"INVALID_REQUEST"/s);
    const taken = await Promise.all([
      rest.raw('GET /livez HTTP/1.0\r\n\r\n'),
      rest.raw('GET /livez HTTP/1.1\r\nhost: x\r\nexpect: 100-Continue\r\nconnection: close\r\n\r\n'),
    ]);
    for (const answer of taken) expect(answer).toMatch(/^HTTP\/1.1 (?:100 Continue\r\n\r\nHTTP\/1.1 )?200 /);
  });

  it('serves probes, figures and documentation', async () => {
    expect(await call('GET', '/livez')).toMatchObject({ status: 200 });
    expect(await call('GET', '/readyz')).toMatchObject({ status: 200, body: { ready: true } });
    expect(await call('GET', '/health')).toMatchObject({ status: 200, body: { status: 'UP', degraded: [] } });
    rest.edge.node.amiss = ['shard 1 has no primary'];
    const degraded = { status: 'DEGRADED', degraded: ['shard 1 has no primary'] };
    expect(await call('GET', '/health')).toMatchObject({ status: 200, body: degraded });
    rest.edge.node.amiss = [];
    await search({ text: 'a' });
    expect((await call('GET', '/metrics')).text).toMatch(
      /spector_http_requests_total\{.*route="\/api\/v1\/search".*code="200".*\}/,
    );
    expect(await call('GET', '/')).toMatchObject({ status: 200, body: { name: 'spector-node' } });
    const page = await call('GET', '/docs');
    expect(page.headers.get('content-type')).toContain('text/html');
    expect(page.text).not.toMatch(/https?:\/\//);
    const api = (await call('GET', '/openapi.json')).body as { paths: Record<string, Record<string, unknown>> };
    expect(Object.keys(api.paths['/api/v1/documents/{id}'] ?? {}).sort()).toEqual(['delete', 'get', 'patch', 'put']);
    const text = JSON.stringify(api);
    expect(text).not.toContain('x-component');
    const { schemas } = (api as unknown as { components: { schemas: object } }).components;
    const referred = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name);
    expect(Object.keys(schemas)).toEqual(expect.arrayContaining([...new Set(referred)]));
    const operations = [...text.matchAll(/"operationId":"([^"]+)"/g)].map(([, id]) => id);
    expect(operations.length).toBeGreaterThan(35);
    expect(new Set(operations).size).toBe(operations.length);
  });

  it('documents every body by an example that is taken, and every error with one', async () => {
    interface Operation {
      readonly requestBody?: {
        readonly required: boolean;
        readonly content: Readonly<Record<string, { schema: { examples: unknown[] } }>>;
      };
      readonly responses: Readonly<
        Record<string, { content?: Readonly<Record<string, { examples?: Record<string, { value: object }> }>> }>
      >;
    }
    const { paths } = (await call('GET', '/openapi.json')).body as unknown as {
      readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
    };
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, ...operation })),
    );
    let bodies = 0;
    for (const { method, path, requestBody, responses } of operations) {
      expect(responses).toHaveProperty('default');
      if (path.startsWith('/api/')) expect(responses).toHaveProperty('400');
      for (const [status, { content = {} }] of Object.entries(responses))
        for (const [code, { value }] of Object.entries(content['application/problem+json']?.examples ?? {}))
          expect(value).toMatchObject({ status: Number(status), code, type: `urn:spector:error:${code}` });
      for (const [type, { schema }] of Object.entries(requestBody?.content ?? {})) {
        bodies++;
        const [example] = schema.examples;
        const body = typeof example === 'string' ? Buffer.from(example) : (example as object);
        const where = path.replace('{id}', 'doc-1').replace('{name}', 'books').replace('{n}', '0');
        const { status } = await call(method, where, body, { 'content-type': type });
        const without = await call(method, where);
        expect({ method, path, required: requestBody?.required }).toEqual({
          method,
          path,
          required: [400, 415].includes(without.status),
        });
        expect({ method, path, type, refused: [400, 404, 413, 415].includes(status) ? status : undefined }).toEqual({
          method,
          path,
          type,
          refused: undefined,
        });
      }
    }
    expect(bodies).toBe(17);
  });

  it.each([
    ['8 MiB of brackets', () => Buffer.alloc(LIMITS.bodyBytesMax, '[')],
    ['8 MiB of digits', () => Buffer.alloc(LIMITS.bodyBytesMax, '1')],
    ['8 MiB of empty objects', () => Buffer.from(`[${'{},'.repeat(2_700_000)}{}]`)],
    ['8 MiB of a string that never ends', () => Buffer.from(`"${'\\n'.repeat(4_000_000)}`)],
    ['a thousand fields', () => Buffer.from(`{${Array.from({ length: 1_000 }, (_, i) => `"k${i}":1`).join()}}`)],
  ])('refuses %s', async (_name, make) => {
    const body = make();
    for (const path of ['/api/v1/search', '/api/v1/ingest/bulk']) {
      expect(await call('POST', path, body)).toMatchObject({ status: 400, body: { retryable: false } });
    }
  });
});
