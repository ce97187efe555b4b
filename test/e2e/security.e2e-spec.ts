import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SpectorService } from '../../src/gen/spector/v1/spector_pb.js';
import { failureOf, GrpcClient } from './support/grpc-client.js';
import type { TestNode } from './support/node.js';
import { startNode, withNode } from './support/node.js';
import { expectProblem, expectStatus } from './support/problem.js';
import type { Answer } from './support/rest.js';

const KEYS = { read: 'key-of-the-reader', write: 'key-of-the-writer', admin: 'key-of-the-admin' } as const;
type Scope = keyof typeof KEYS;
const SCOPES: readonly Scope[] = ['read', 'write', 'admin'];
/** Both ways to show a key. */
const headersOf = (key: string): Record<string, string>[] => [{ 'x-api-key': key }, { authorization: `Bearer ${key}` }];
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

let node: TestNode;

beforeAll(async () => {
  const keys = SCOPES.map((scope) => `${scope}er:${scope}:${sha256(KEYS[scope])}`);
  node = await startNode({ env: { SPECTOR_API_KEYS: keys.join(',') } });
});
afterAll(() => node.dispose());

const DOCUMENT = { id: 'doc', title: 'title' };

/** One call of every group, and the least scope it needs (api.md, Security). */
const CALLS: readonly (readonly [string, string, unknown, Scope])[] = [
  ['POST', '/api/v1/search', { text: 'title' }, 'read'],
  ['GET', '/api/v1/documents/doc', undefined, 'read'],
  ['POST', '/api/v1/documents/get', { ids: ['doc'] }, 'read'],
  ['POST', '/api/v1/documents/count', {}, 'read'],
  ['POST', '/api/v1/documents/scroll', {}, 'read'],
  ['GET', '/api/v1/status', undefined, 'read'],
  ['GET', '/metrics', undefined, 'read'],
  ['GET', '/openapi.json', undefined, 'read'],
  ['GET', '/docs', undefined, 'read'],
  ['POST', '/api/v1/ingest', DOCUMENT, 'write'],
  ['POST', '/api/v1/ingest/bulk', { documents: [DOCUMENT] }, 'write'],
  ['PUT', '/api/v1/documents/doc', { title: 't' }, 'write'],
  ['PATCH', '/api/v1/documents/doc', { title: 't' }, 'write'],
  ['POST', '/api/v1/documents/delete', { ids: ['none'] }, 'write'],
  ['DELETE', '/api/v1/documents/none', undefined, 'write'],
  ['GET', '/api/v1/changes', undefined, 'read'],
  ['GET', '/api/v1/collections', undefined, 'admin'],
  ['GET', '/api/v1/collections/default', undefined, 'admin'],
  ['PUT', '/api/v1/collections/made', {}, 'admin'],
  ['DELETE', '/api/v1/collections/none', undefined, 'admin'],
  ['GET', '/api/v1/aliases/none', undefined, 'admin'],
  ['PUT', '/api/v1/aliases/alias', { collection: 'default' }, 'admin'],
  ['DELETE', '/api/v1/aliases/none', undefined, 'admin'],
  ['GET', '/api/v1/cluster', undefined, 'admin'],
  ['GET', '/api/v1/cluster/operations/none', undefined, 'admin'],
  ['PATCH', '/api/v1/cluster/config', {}, 'admin'],
  ['POST', '/api/v1/cluster/shards', { shardCount: 4 }, 'admin'],
  ['POST', '/api/v1/cluster/nodes/none/drain', undefined, 'admin'],
  ['DELETE', '/api/v1/cluster/nodes/none', undefined, 'admin'],
  ['GET', '/api/v1/shards/0/log?limit=1', undefined, 'admin'],
];

function call(method: string, path: string, json: unknown, headers: Record<string, string>): Promise<Answer> {
  return node.rest.send(method, path, json === undefined ? { headers } : { json, headers });
}

describe('API keys', () => {
  it.each(CALLS)('%s %s', async (method, path, json, needed) => {
    expectProblem(await call(method, path, json, {}), 'UNAUTHENTICATED');
    expectProblem(await call(method, path, json, { 'x-api-key': 'not-a-key' }), 'UNAUTHENTICATED');
    for (const scope of SCOPES) {
      for (const headers of headersOf(KEYS[scope])) {
        const answer = await call(method, path, json, headers);
        if (SCOPES.indexOf(scope) >= SCOPES.indexOf(needed)) expect([401, 403]).not.toContain(answer.status);
        else expectProblem(answer, 'FORBIDDEN', new RegExp(needed));
      }
    }
  });

  it('leave no trace of a refused write', async () => {
    const headers = { 'x-api-key': KEYS.read };
    expectProblem(await call('PUT', '/api/v1/documents/forbidden', { title: 't' }, headers), 'FORBIDDEN');
    expectProblem(await call('GET', '/api/v1/documents/forbidden', undefined, headers), 'DOCUMENT_NOT_FOUND');
  });

  it('are asked for before anything of the request is looked at', async () => {
    const answer = await node.rest.send('POST', '/api/v1/ingest', {
      body: '{',
      headers: { 'content-type': 'text/plain' },
    });
    expectProblem(answer, 'UNAUTHENTICATED');
    expectProblem(await node.rest.get('/api/v1/no-such-route'), ['UNAUTHENTICATED', 'ROUTE_NOT_FOUND']);
  });

  it.each(['', 'Basic a2V5', 'Bearer', `bearer-${KEYS.read}`])(
    'are not taken from authorization "%s"',
    async (authorization) => {
      expectProblem(await call('GET', '/api/v1/status', undefined, { authorization }), 'UNAUTHENTICATED');
    },
  );

  it('are not shown, and neither is what they were compared with', async () => {
    const answer = await call('GET', '/api/v1/status', undefined, { 'x-api-key': 'a-guessed-key' });
    expect(answer.text).not.toMatch(/a-guessed-key|[0-9a-f]{64}/);
    expect(node.output()).not.toMatch(/a-guessed-key|key-of-the/);
    for (const scope of SCOPES) expect(node.output()).not.toContain(sha256(KEYS[scope]));
  });

  it.each(['/livez', '/readyz', '/health'])('are not needed for %s', async (path) => {
    expectStatus(await node.rest.get(path), 200);
  });

  it('may be one admin key', async () => {
    await withNode({ env: { SPECTOR_API_KEY: 'the-one-key' } }, async ({ rest }) => {
      expectProblem(await rest.put('/api/v1/collections/c', {}), 'UNAUTHENTICATED');
      expectStatus(await rest.put('/api/v1/collections/c', {}, { 'x-api-key': 'the-one-key' }), 201);
      const status = await rest.get('/api/v1/status', { headers: { authorization: 'Bearer the-one-key' } });
      expect(expectStatus(status, 200)).toHaveProperty('nodeId');
    });
  });
});

describe('gRPC', () => {
  const { getStatus, ingest, listCollections, putCollection, search } = SpectorService.method;

  async function withClient<T>(headers: Record<string, string>, act: (client: GrpcClient) => Promise<T>): Promise<T> {
    const client = new GrpcClient(node.grpcAddress, headers);
    try {
      return await act(client);
    } finally {
      client.close();
    }
  }

  it('takes the same keys as metadata, with the same scopes', async () => {
    for (const headers of [{}, ...headersOf('wrong')]) {
      const failure = await withClient(headers, (client) => failureOf(client.unary(getStatus, {})));
      expect(failure).toEqual(expect.objectContaining({ status: 'UNAUTHENTICATED', reason: 'UNAUTHENTICATED' }));
    }
    for (const headers of headersOf(KEYS.read)) {
      await withClient(headers, async (client) => {
        expect((await client.unary(search, { text: 'title' })).mode).toBeDefined();
        const failure = await failureOf(client.unary(ingest, { id: 'g', title: 't' }));
        expect(failure).toEqual(expect.objectContaining({ status: 'PERMISSION_DENIED', reason: 'FORBIDDEN' }));
      });
    }
    await withClient({ 'x-api-key': KEYS.write }, async (client) => {
      expect((await client.unary(ingest, { id: 'g', title: 't' })).created).toBe(true);
      expect((await failureOf(client.unary(putCollection, { name: 'g' }))).reason).toBe('FORBIDDEN');
      expect((await failureOf(client.unary(listCollections, {}))).reason).toBe('FORBIDDEN');
    });
    await withClient({ 'x-api-key': KEYS.admin }, async (client) => {
      expect((await client.unary(putCollection, { name: 'g' })).created).toBe(true);
    });
  });
});

describe('without keys', () => {
  it('everything is open, and listening beyond loopback warns', async () => {
    await withNode({ env: { SPECTOR_HOST: '0.0.0.0' } }, async (open) => {
      expectStatus(await open.rest.put('/api/v1/collections/c', {}), 201);
      expect(open.output()).toMatch(/"level":\s*(40|"warn")[^\n]*key/i);
    });
  });
});
