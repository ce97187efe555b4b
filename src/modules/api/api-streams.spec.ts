import { describe, expect, it } from '@jest/globals';
import { refused, RestCalls, until } from '../../../test/contract/rest-calls.js';

const rest = new RestCalls();
const { call, ingest } = rest;

describe('streams', () => {
  it('tells changes line by line, and follows', async () => {
    await ingest({ id: 'a', title: 'x', vector: [1] });
    const whole = await call('GET', '/api/v1/changes');
    expect(whole.headers.get('content-type')).toContain('application/x-ndjson');
    expect(JSON.parse(whole.text)).toMatchObject({
      cursor: '1',
      op: 'upsert',
      id: 'a',
      document: { title: 'x', vector: [1] },
    });
    const leave = new AbortController();
    const answer = await fetch(`${rest.edge.url}/api/v1/changes?cursor=1&follow=true`, { signal: leave.signal });
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
    await ingest({ id: 'b', title: 'y' });
    expect(JSON.parse(Buffer.from((await reader.read()).value ?? []).toString())).toMatchObject({
      cursor: '2',
      id: 'b',
    });
    leave.abort();
  });

  it('tells in the head where a reader of what comes from now on begins', async () => {
    await ingest({ id: 'a', title: 'x' });
    const leave = new AbortController();
    const latest = `${rest.edge.url}/api/v1/changes?cursor=latest&follow=true`;
    expect((await fetch(latest, { signal: leave.signal })).headers.get('spector-cursor')).toBe('1');
    leave.abort();
    const none = await call('GET', '/api/v1/changes?cursor=latest');
    expect({ text: none.text, cursor: none.headers.get('spector-cursor') }).toEqual({ text: '', cursor: '1' });
    expect((await call('GET', '/api/v1/changes?cursor=1')).headers.get('spector-cursor')).toBeNull();
  });

  it('answers errors before the first line by status, later ones in a last line', async () => {
    await refused(call('GET', '/api/v1/changes?cursor=old'), 410, 'OFFSET_COMPACTED');
    await refused(call('GET', '/api/v1/changes?cursor=old&follow=1'), 410, 'OFFSET_COMPACTED');
    await refused(call('GET', '/api/v1/changes?folow=1'), 400, 'INVALID_REQUEST', /follow/);
    await ingest({ id: 'a', title: 'x' });
    await ingest({ id: 'broken', title: 'x' });
    const lines = (await call('GET', '/api/v1/changes')).text.trim().split('\n');
    expect(lines).toHaveLength(2);
    expect(JSON.parse(lines[1] ?? '')).toEqual({
      error: { code: 'LOG_CORRUPT', detail: 'entry 2 is damaged', retryable: true },
    });
    expect((await call('GET', '/api/v1/shards/0/log?from=2')).text.trim().split('\n')).toHaveLength(2);
    expect((await call('GET', '/api/v1/shards/0/log?from=1&limit=1')).text.trim().split('\n')).toHaveLength(1);
    await refused(call('GET', '/api/v1/shards/9/log'), 404, 'SHARD_NOT_FOUND');
    await refused(call('GET', '/api/v1/shards/0/log?from=-1'), 400, 'INVALID_REQUEST', /from/);
  });

  it('tells events that were asked for, and stops listening when the client goes', async () => {
    const leave = new AbortController();
    const answer = await fetch(`${rest.edge.url}/api/v1/events?filter=cluster,document.bulk_progress`, {
      signal: leave.signal,
      headers: { 'last-event-id': '7' },
    });
    expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    await until(() => rest.edge.node.listeners.size === 1);
    rest.edge.node.publish({ type: 'search.slow', data: {} });
    rest.edge.node.publish({ type: 'document.bulk_progress', data: { total: 5 } });
    rest.edge.node.publish({ type: 'cluster.node_joined', data: { node: 'node-2' } });
    let text = '';
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
    while (!text.includes('node-2')) text += Buffer.from((await reader.read()).value ?? []).toString();
    expect(text.split('\n\n').slice(0, 3)).toEqual([
      expect.stringMatching(/^id: 1\nevent: heartbeat\ndata: \{/),
      'id: 2\nevent: document.bulk_progress\ndata: {"total":5}',
      'id: 3\nevent: cluster.node_joined\ndata: {"node":"node-2"}',
    ]);
    leave.abort();
    await until(() => rest.edge.node.listeners.size === 0);
    await refused(call('GET', '/api/v1/events?filter=weather'), 400, 'INVALID_REQUEST', /cluster/);
  });

  it('says that heartbeats come whatever a filter names', async () => {
    const { paths } = JSON.parse((await call('GET', '/openapi.json')).text) as {
      paths: Record<string, { get: { parameters: unknown; responses: Record<string, unknown> } }>;
    };
    const { parameters, responses } = paths['/api/v1/events'].get;
    expect(JSON.stringify(parameters)).toMatch(/heartbeats come whatever it names/i);
    expect(JSON.stringify(responses['200'])).toMatch(/`heartbeat` every 15 s .* whatever it names/);
  });
});
