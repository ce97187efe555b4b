import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { startMemoryEdge, type MemoryEdge } from './testing/memory-edge.js';
import { refused, RestCalls, until } from '../../../test/contract/rest-calls.js';

const rest = new RestCalls();
const { call, search } = rest;

describe('API keys and the state of the node', () => {
  const sha256 = (key: string) => createHash('sha256').update(key).digest('hex');
  const apiKeys = [
    { name: 'r', scope: 'read' as const, sha256: sha256('reader') },
    { name: 'w', scope: 'write' as const, sha256: sha256('writer') },
    { name: 'a', scope: 'admin' as const, sha256: sha256('boss') },
  ];
  let open: MemoryEdge;

  beforeEach(() => {
    open = rest.edge;
  });
  afterEach(async () => {
    await rest.edge[Symbol.asyncDispose]();
    rest.edge = open;
  });

  it('lets each key do what its scope says, before a body is read', async () => {
    rest.edge = await startMemoryEdge({ apiKeys });
    const as = (key: string) => ({ 'x-api-key': key });
    const unknown = await refused(call('POST', '/api/v1/search', 'not even JSON'), 401, 'UNAUTHENTICATED');
    expect(unknown.headers.get('www-authenticate')).toMatch(/^Bearer/);
    await refused(call('GET', '/metrics', undefined, as('nobody')), 401, 'UNAUTHENTICATED');
    expect(await call('POST', '/api/v1/search', { text: 'a' }, as('reader'))).toMatchObject({ status: 200 });
    expect(await call('POST', '/api/v1/search', { text: 'a' }, { authorization: 'Bearer reader' })).toMatchObject({
      status: 200,
    });
    await refused(
      call('POST', '/api/v1/ingest', { id: 'a', title: 'x' }, as('reader')),
      403,
      'FORBIDDEN',
      /scope write/,
    );
    expect(await call('POST', '/api/v1/ingest', { id: 'a', title: 'x' }, as('writer'))).toMatchObject({ status: 201 });
    await refused(call('PUT', '/api/v1/collections/x', {}, as('writer')), 403, 'FORBIDDEN');
    expect(await call('PUT', '/api/v1/collections/x', {}, as('boss'))).toMatchObject({ status: 201 });
    for (const path of ['/livez', '/readyz', '/health']) expect(await call('GET', path)).toMatchObject({ status: 200 });
    await refused(call('GET', '/docs'), 401, 'UNAUTHENTICATED');
  });

  it('refuses data calls while it starts and while it stops, and says so', async () => {
    rest.edge = await startMemoryEdge({ ready: false });
    const early = await refused(search({ text: 'a' }), 503, 'STARTING');
    expect(early.headers.get('retry-after')).toBe('1');
    expect(await call('GET', '/readyz')).toMatchObject({
      status: 503,
      body: { ready: false, conditions: [{ waitsFor: 'opening the log' }] },
    });
    expect(await call('GET', '/health')).toMatchObject({ status: 503, body: { status: 'DOWN' } });
    expect(await call('GET', '/api/v1/status')).toMatchObject({ status: 200 });
    rest.edge.readiness.settle('log');
    expect(await search({ text: 'a' })).toMatchObject({ status: 200 });
    rest.edge.readiness.stop();
    await refused(search({ text: 'a' }), 503, 'DRAINING');
  });

  it('tells what comes in while its port closes that it drains, and ends the connection', async () => {
    rest.edge = await startMemoryEdge();
    const { app, node, readiness, url } = rest.edge;
    const server = app.getHttpServer();
    let requests = 0;
    server.on('request', () => requests++);
    let finish: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (finish = resolve));
    node.beforeItem = () => held;
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    const ended = once(socket, 'close');
    let told = '';
    socket.on('data', (chunk: Buffer) => (told += chunk.toString()));
    socket.write(
      'POST /api/v1/ingest/bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: 22\r\n\r\n{"id":"a","title":"x"}',
    );
    await until(() => requests === 1);
    readiness.stop();
    const closed = app.close();
    await until(() => !server.listening);
    socket.write('GET /api/v1/documents/a HTTP/1.1\r\nhost: x\r\n\r\n');
    await until(() => requests === 2);
    finish();
    await Promise.all([closed, ended]);
    const [, first, second] = told.split('HTTP/1.1 ');
    expect(first).toMatch(/^201 /);
    expect(second).toMatch(/^503 [^]*content-type: application\/problem\+json/i);
    expect(second).toMatch(/connection: close/i);
    expect(second).toContain('"code":"DRAINING"');
  });

  it('ends its streams when it stops', async () => {
    rest.edge = await startMemoryEdge();
    const streams = await Promise.all(
      ['/api/v1/events', '/api/v1/changes?follow=true'].map((path) => fetch(rest.edge.url + path)),
    );
    await rest.edge.app.close();
    const [events, changes] = await Promise.all(streams.map((stream) => stream.text()));
    expect(events).toContain('event: heartbeat');
    expect(JSON.parse(changes)).toMatchObject({ error: { code: 'DRAINING', retryable: true } });
  });
});
