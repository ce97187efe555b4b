import { connect } from 'node:net';
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { LIMITS } from '../../kernel/limits.js';
import type { MemoryEdge } from './testing/memory-edge.js';
import { startMemoryEdge } from './testing/memory-edge.js';
import { MemoryNode } from './testing/memory-node.js';

let edge: MemoryEdge;

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
  readonly text: string;
}

async function call(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const raw = typeof body === 'string' || body instanceof Uint8Array;
  const answer = await fetch(edge.url + path, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: raw ? (body as string) : JSON.stringify(body) }),
  });
  const text = await answer.text();
  const json = (answer.headers.get('content-type') ?? '').includes('json') && text !== '' && !text.includes('\n');
  return {
    status: answer.status,
    headers: answer.headers,
    body: json ? (JSON.parse(text) as Record<string, unknown>) : {},
    text,
  };
}

async function refused(answer: Promise<Answer>, status: number, code: string, detail?: RegExp): Promise<Answer> {
  const found = await answer;
  expect({ status: found.status, code: found.body.code, detail: found.body.detail }).toEqual({
    status,
    code,
    detail: detail === undefined ? expect.any(String) : expect.stringMatching(detail),
  });
  expect(found.headers.get('content-type')).toBe('application/problem+json');
  expect(found.body).toMatchObject({
    type: `urn:spector:error:${code}`,
    status,
    instance: expect.stringMatching(/^urn:uuid:/),
  });
  return found;
}

const search = (body: unknown) => call('POST', '/api/v1/search', body);
const ingest = (body: unknown) => call('POST', '/api/v1/ingest', body);

beforeAll(async () => {
  edge = await startMemoryEdge();
});
afterAll(async () => {
  await edge[Symbol.asyncDispose]();
});
beforeEach(() => {
  const { node } = edge;
  node.documents.clear();
  node.log.length = 0;
  node.writes.length = 0;
  node.searches.length = 0;
  node.failWith = undefined;
  node.beforeItem = new MemoryNode().beforeItem;
});

describe('documents over REST', () => {
  it('stores, reads, replaces, merges and deletes one', async () => {
    const stored = await ingest({ id: 'a/ü', title: 'one', vector: [0.5, 1], metadata: { n: 1 } });
    expect(stored).toMatchObject({
      status: 201,
      body: { id: 'a/ü', created: true, indexed: true, durable: 1, fsync: 'always' },
    });
    expect(stored.headers.get('etag')).toBe(`"${String(stored.body.version)}"`);
    expect(stored.headers.get('spector-session')).toBe(stored.body.session);
    const location = stored.headers.get('location') ?? '';
    expect(await call('GET', `${location}?withVector=on`)).toMatchObject({
      status: 200,
      body: { id: 'a/ü', title: 'one', vector: [0.5, 1], metadata: { n: 1 } },
    });
    expect((await call('GET', location)).body).not.toHaveProperty('vector');
    expect(await call('PUT', location, { content: 'two' })).toMatchObject({ status: 200, body: { created: false } });
    expect(await call('PUT', '/api/v1/documents/new', { content: 'two' })).toMatchObject({
      status: 201,
      body: { created: true },
    });
    expect(
      await call(
        'PATCH',
        location,
        { content: null, title: 'three' },
        { 'content-type': 'application/merge-patch+json' },
      ),
    ).toMatchObject({ status: 200 });
    expect((await call('GET', location)).body).toMatchObject({ title: 'three' });
    expect(await call('DELETE', location)).toMatchObject({
      status: 200,
      body: { id: 'a/ü', deleted: true, version: expect.any(String) },
    });
    await refused(call('GET', location), 404, 'DOCUMENT_NOT_FOUND');
    await refused(call('PATCH', location, { title: 'x' }), 404, 'DOCUMENT_NOT_FOUND');
  });

  it('honours conditions, keys, sessions and consistency', async () => {
    await refused(call('PUT', '/api/v1/documents/a', { title: 'x' }, { 'if-match': '"00"' }), 409, 'VERSION_CONFLICT');
    const { body } = await call('PUT', '/api/v1/documents/a', { title: 'x' }, { 'if-none-match': '*' });
    await refused(
      call('PUT', '/api/v1/documents/a', { title: 'x' }, { 'if-none-match': '*' }),
      409,
      'VERSION_CONFLICT',
    );
    expect(
      await call('PUT', '/api/v1/documents/a', { title: 'y' }, { 'if-match': `"${String(body.version)}"` }),
    ).toMatchObject({ status: 200 });
    await refused(
      call('PUT', '/api/v1/documents/a', { title: 'y' }, { 'if-match': 'unquoted' }),
      400,
      'INVALID_REQUEST',
      /double quotes/,
    );
    await refused(
      call('PUT', '/api/v1/documents/a', { title: 'y' }, { 'idempotency-key': 'k'.repeat(257) }),
      400,
      'INVALID_REQUEST',
      /Idempotency-Key/,
    );
    await call(
      'PUT',
      '/api/v1/documents/a?consistency=quorum',
      { title: 'y' },
      { 'idempotency-key': 'k1', 'spector-session': 'abc' },
    );
    expect(edge.node.writes.at(-1)).toEqual({ collection: 'default', consistency: 'quorum', idempotencyKey: 'k1' });
    expect(edge.node.calls.at(-1)).toMatchObject({ session: 'abc' });
    await ingest({ id: 'b', title: 'y' });
    expect(edge.node.writes.at(-1)).toEqual({ collection: 'default', consistency: 'one' });
    await refused(
      call('POST', '/api/v1/ingest?collection=x', { id: 'b', title: 'y', collection: 'z' }),
      400,
      'INVALID_REQUEST',
      /given twice/,
    );
    await refused(
      call('POST', '/api/v1/ingest', { id: 'b', title: 'y', session: 'abc' }, { 'spector-session': 'xyz' }),
      400,
      'INVALID_REQUEST',
      /given twice/,
    );
  });

  it('reads, deletes, scrolls and counts many', async () => {
    for (const id of ['a', 'b', 'c']) await ingest({ id, title: id });
    expect((await call('POST', '/api/v1/documents/get', { ids: ['a', 'x'] })).body).toMatchObject({
      documents: [{ id: 'a' }],
      missing: ['x'],
    });
    const page = await call('POST', '/api/v1/documents/scroll', { limit: 2 });
    expect(page.body).toMatchObject({
      documents: [{ id: 'a' }, { id: 'b' }],
      cursor: '2',
      shards: { total: 1, ok: 1 },
    });
    expect((await call('POST', '/api/v1/documents/scroll', { limit: 2, cursor: '2' })).body).toMatchObject({
      documents: [{ id: 'c' }],
      cursor: null,
    });
    expect((await call('POST', '/api/v1/documents/count')).body).toMatchObject({ count: 3 });
    await call('POST', '/api/v1/documents/count', { filter: { must: [{ key: 'a.b', match: { value: 1 } }] } });
    expect(edge.node.filters.at(-1)).toEqual({
      must: [{ kind: 'match', key: 'a.b', any: [1] }],
      should: [],
      mustNot: [],
    });
    expect((await call('POST', '/api/v1/documents/delete', { ids: ['a', 'b'] })).body).toMatchObject({
      deleted: 2,
      failed: 0,
      errors: [],
    });
    await refused(call('POST', '/api/v1/documents/delete', {}), 400, 'INVALID_REQUEST', /either/);
    await refused(
      call('POST', '/api/v1/documents/get', { ids: Array.from({ length: 1_001 }, String) }),
      400,
      'LIMIT_EXCEEDED',
    );
    await refused(call('POST', '/api/v1/documents/scroll', { limit: 1_001 }), 400, 'LIMIT_EXCEEDED');
  });

  it.each([
    ['no id', { title: 'x' }, 'INVALID_REQUEST', /`id` is missing/],
    ['an empty id', { id: '', title: 'x' }, 'INVALID_REQUEST', /empty/],
    ['a long id', { id: 'x'.repeat(513), title: 'x' }, 'INVALID_REQUEST', /512/],
    ['a lone surrogate', '{"id":"\\ud800","title":"x"}', 'INVALID_REQUEST', /surrogate/],
    ['a control character', { id: 'a\u0000', title: 'x' }, 'INVALID_REQUEST', /control/],
    ['a number as id', { id: 1, title: 'x' }, 'INVALID_REQUEST', /`id` must be a string, not 1/],
    ['nothing but an id', { id: 'a' }, 'INVALID_REQUEST', /at least one/],
    [
      'an unknown field',
      { id: 'a', titel: 'x' },
      'INVALID_REQUEST',
      /`titel` is not a known field; did you mean `title`/,
    ],
    ['two wrongs', { id: 1, titel: 'x' }, 'INVALID_REQUEST', /`titel`.*`id`|`id`.*`titel`/],
    ['a null title', { id: 'a', title: null }, 'INVALID_REQUEST', /title/],
    ['null metadata', { id: 'a', metadata: null }, 'INVALID_REQUEST', /metadata/],
    ['an empty vector', { id: 'a', vector: [] }, 'INVALID_REQUEST', /empty/],
    ['a text in a vector', { id: 'a', vector: [1, '2'] }, 'INVALID_REQUEST', /`vector\[1\]`/],
    ['null in a vector', { id: 'a', vector: [null] }, 'INVALID_REQUEST', /`vector\[0\]`/],
    ['1e999 in a vector', '{"id":"a","vector":[1e999]}', 'INVALID_REQUEST', /32-bit/],
    ['1e39 in a vector', { id: 'a', vector: [1e39] }, 'INVALID_REQUEST', /32-bit/],
    ['a long vector', { id: 'a', vector: new Array(4_097).fill(1) }, 'LIMIT_EXCEEDED', /4096/],
    ['1e999 in metadata', '{"id":"a","metadata":{"n":1e999}}', 'INVALID_REQUEST', /finite/],
    ['a prototype key', '{"id":"a","metadata":{"x":{"__proto__":{"y":1}}}}', 'INVALID_REQUEST', /__proto__/],
    ['an escaped prototype key', '{"id":"a","metadata":{"\\u005f_proto__":1}}', 'INVALID_REQUEST', /__proto__/],
    ['a constructor key', '{"id":"a","metadata":{"constructor":1}}', 'INVALID_REQUEST', /constructor/],
    ['large metadata', { id: 'a', metadata: { x: 'y'.repeat(65_536) } }, 'LIMIT_EXCEEDED', /65536/],
    ['deep metadata', { id: 'a', metadata: nested(17) }, 'LIMIT_EXCEEDED', /16/],
    ['malformed JSON', '{"id":"a",\n "title":tru}', 'INVALID_REQUEST', /line 2, column 10, position 20/],
    ['an array', '[]', 'INVALID_REQUEST', /JSON object/],
    ['nothing', '', 'INVALID_REQUEST', /missing/],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'INVALID_REQUEST', /UTF-8/],
  ])('refuses %s', async (_name, body, code, detail) => {
    await refused(ingest(body), 400, code, detail);
    expect(edge.node.documents.size).toBe(0);
  });

  it('refuses a document above 1 MiB, and a body above 8 MiB while it is being sent', async () => {
    await refused(ingest({ id: 'a', content: 'x'.repeat(LIMITS.documentBytesMax + 1) }), 413, 'PAYLOAD_TOO_LARGE');
    await refused(ingest(`{"id":"a","content":"${'x'.repeat(LIMITS.bodyBytesMax)}"}`), 413, 'PAYLOAD_TOO_LARGE');
    await refused(
      call('POST', '/api/v1/ingest', gzipSync(Buffer.alloc(LIMITS.bodyBytesMax + 1, ' ')), {
        'content-encoding': 'gzip',
      }),
      413,
      'PAYLOAD_TOO_LARGE',
    );
  });

  it('understands gzip, and names what it does not', async () => {
    const body = gzipSync('{"id":"a","title":"x"}');
    expect(await call('POST', '/api/v1/ingest', body, { 'content-encoding': 'gzip' })).toMatchObject({ status: 201 });
    await refused(call('POST', '/api/v1/ingest', body, { 'content-encoding': 'br' }), 415, 'UNSUPPORTED_MEDIA_TYPE');
    await refused(
      call('POST', '/api/v1/ingest', 'no gzip', { 'content-encoding': 'gzip' }),
      400,
      'INVALID_REQUEST',
      /gzip/,
    );
    await refused(
      call('POST', '/api/v1/ingest', 'id=a', { 'content-type': 'application/x-www-form-urlencoded' }),
      415,
      'UNSUPPORTED_MEDIA_TYPE',
    );
    await refused(
      call('POST', '/api/v1/ingest', '{}', { 'content-type': 'text/plain' }),
      415,
      'UNSUPPORTED_MEDIA_TYPE',
    );
    await refused(
      call('POST', '/api/v1/ingest', '{}', { 'content-type': 'application/x-ndjson' }),
      415,
      'UNSUPPORTED_MEDIA_TYPE',
      /bulk/,
    );
  });
});

describe('search over REST', () => {
  it('answers in the published shape', async () => {
    await ingest({ id: 'a', title: 'red fox', metadata: { n: 1 } });
    const answer = await search({ text: 'fox' });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(answer.body).toEqual({
      results: [
        { id: 'a', score: 1, title: 'red fox', metadata: { n: 1 }, version: expect.any(String), ranks: { keyword: 1 } },
      ],
      totalHits: 1,
      queryTimeMs: 0.5,
      mode: 'KEYWORD',
      fusion: null,
      partial: false,
      shards: { total: 1, ok: 1, stale: [], failed: [] },
      coverage: 1,
      mapEpoch: 1,
      session: 's-search',
    });
  });

  it('fills in every default, and takes every field', async () => {
    await search({ text: 'a', vector: [1, 2] });
    expect(edge.node.searches.at(-1)).toEqual({
      collection: 'default',
      mode: 'HYBRID',
      text: 'a',
      vector: Float32Array.of(1, 2),
      topK: 10,
      offset: 0,
      fields: { title: true, content: false, metadata: true, vector: false },
      exact: false,
      fusion: { method: 'rrf', k: 60, weights: { vector: 1, keyword: 1 } },
      consistency: 'any',
      explain: false,
    });
    const fusion = { method: 'relative', alpha: 0.3 };
    const params = { ef: 300, exact: true, legSize: 70 };
    await search({
      vector: [1],
      k: 3,
      offset: 5,
      params,
      fusion,
      session: 'abc',
      minCoverage: 0.5,
      explain: true,
      withContent: true,
      timeoutMs: 50,
    });
    expect(edge.node.searches.at(-1)).toMatchObject({
      mode: 'VECTOR',
      topK: 3,
      offset: 5,
      ef: 300,
      exact: true,
      legSize: 70,
      fusion,
      consistency: 'session',
    });
    expect(edge.node.calls.at(-1)).toMatchObject({ timeoutMs: 50, session: 'abc' });
  });

  it.each([
    ['nothing to search', {}, 'INVALID_REQUEST', /neither/],
    ['a mode without its input', { mode: 'HYBRID', text: 'a' }, 'INVALID_REQUEST', /needs `vector`/],
    ['a mode without its input', { mode: 'KEYWORD', vector: [1] }, 'INVALID_REQUEST', /needs `text`/],
    ['an input its mode ignores', { mode: 'VECTOR', text: 'a', vector: [1] }, 'INVALID_REQUEST', /ignores `text`/],
    ['an unknown mode', { mode: 'vector', vector: [1] }, 'INVALID_REQUEST', /KEYWORD/],
    ['two names of topK', { text: 'a', topK: 3, k: 3 }, 'INVALID_REQUEST', /only one/],
    ['topK 0', { text: 'a', topK: 0 }, 'INVALID_REQUEST', /at least 1/],
    ['topK 1.5', { text: 'a', topK: 1.5 }, 'INVALID_REQUEST', /whole number/],
    ['topK 10 001', { text: 'a', topK: 10_001 }, 'LIMIT_EXCEEDED', /10000/],
    ['topK as text', { text: 'a', topK: '3' }, 'INVALID_REQUEST', /whole number, not "3"/],
    ['a page too far', { text: 'a', topK: 10, offset: 9_991 }, 'LIMIT_EXCEEDED', /10001/],
    ['ef 4 097', { vector: [1], params: { ef: 4_097 } }, 'LIMIT_EXCEEDED', /4096/],
    ['a long text', { text: 'ä'.repeat(16_385) }, 'LIMIT_EXCEEDED', /32770/],
    ['an empty text', { text: '' }, 'INVALID_REQUEST', /empty/],
    ['an unknown field', { text: 'a', topk: 3 }, 'INVALID_REQUEST', /did you mean `topK`/],
    ['an unknown inner field', { text: 'a', params: { Ef: 3 } }, 'INVALID_REQUEST', /`params.Ef`.*`ef`/],
    ['a wrong fusion', { text: 'a', vector: [1], fusion: { method: 'rrf', alpha: 1 } }, 'INVALID_REQUEST', /alpha/],
    [
      'a filter that is no array',
      { text: 'a', filter: { must: { key: 'a', match: { value: 1 } } } },
      'INVALID_REQUEST',
      /array/,
    ],
    [
      'too many clauses',
      { text: 'a', filter: { must: new Array(65).fill({ key: 'a', exists: true }) } },
      'LIMIT_EXCEEDED',
      /64/,
    ],
  ])('refuses %s', async (_name, body, code, detail) => {
    await refused(search(body), 400, code, detail);
  });

  it('refuses unknown and repeated query parameters', async () => {
    await refused(call('POST', '/api/v1/search?collection=a', { text: 'a' }), 400, 'INVALID_REQUEST', /`collection`/);
    await refused(call('GET', '/api/v1/documents/a?withVector=yes'), 400, 'INVALID_REQUEST', /withVector/);
    await refused(
      call('GET', '/api/v1/documents/a?consistency=any&consistency=any'),
      400,
      'INVALID_REQUEST',
      /more than once/,
    );
    await refused(call('GET', '/api/v1/documents/a?consistency=most'), 400, 'INVALID_REQUEST', /"any"/);
  });

  it('tells an unexpected error only where to look, and logs it there', async () => {
    const { body, text } = await refused(search({ text: 'bug' }), 500, 'INTERNAL');
    expect(text).not.toContain('secret');
    expect(edge.logged.some((line) => line.includes(String(body.instance)) && line.includes('secret'))).toBe(true);
  });

  it('aborts when the client goes away', async () => {
    const leave = new AbortController();
    const calls = edge.node.calls.length;
    const answer = fetch(`${edge.url}/api/v1/search`, {
      method: 'POST',
      signal: leave.signal,
      headers: { 'content-type': 'application/json' },
      body: '{"text":"wait"}',
    });
    answer.catch(() => undefined);
    await until(() => edge.node.calls.length > calls);
    const { signal } = edge.node.calls.at(-1) ?? { signal: AbortSignal.abort() };
    expect(signal.aborted).toBe(false);
    leave.abort();
    await until(() => signal.aborted);
  });
});

describe('bulks', () => {
  const bulk = (body: unknown, type = 'application/x-ndjson', headers = {}) =>
    call('POST', '/api/v1/ingest/bulk', body, { 'content-type': type, ...headers });

  it('stores the good lines and lists the bad ones', async () => {
    const lines = [
      '{"id":"a","title":"x"}\r',
      '',
      '  ',
      '{"id":"b"',
      '{"op":"patch","id":"a","title":"y"}',
      '{"op":"drop","id":"c"}',
      '{"id":"d","vector":["x"]}',
      '{"op":"delete","id":"a"}',
      '{"id":"e","title":"last"}',
    ];
    const answer = await bulk(lines.join('\n'));
    expect(answer).toMatchObject({ status: 200, body: { total: 7, success: 4, failed: 3, session: 's-bulk' } });
    expect(answer.body.errors).toEqual([
      { index: 1, id: null, code: 'INVALID_REQUEST', detail: expect.stringMatching(/not valid JSON/) },
      { index: 3, id: 'c', code: 'INVALID_REQUEST', detail: expect.stringMatching(/`op`/) },
      { index: 4, id: 'd', code: 'INVALID_REQUEST', detail: expect.stringMatching(/vector\[0\]/) },
    ]);
    expect([...edge.node.documents.keys()]).toEqual(['e']);
    expect(await bulk('{"id":"a","title":"x"}\n')).toMatchObject({
      status: 201,
      body: { total: 1, success: 1, failed: 0, errors: [] },
    });
    expect(
      await bulk(gzipSync('{"id":"a","title":"x"}\n'), 'application/x-ndjson', { 'content-encoding': 'gzip' }),
    ).toMatchObject({ status: 201 });
  });

  it('takes the same items as JSON', async () => {
    const documents = [
      { id: 'a', title: 'x' },
      5,
      { id: 'b', title: 1 },
      { op: 'delete', id: 'a' },
      { id: 'é', title: 'y', metadata: { s: '],[{"' } },
    ];
    const answer = await bulk({ documents, consistency: 'all' }, 'application/json');
    expect(answer).toMatchObject({
      status: 200,
      body: { total: 5, success: 3, failed: 2, errors: [{ index: 1 }, { index: 2, id: 'b' }] },
    });
    expect(edge.node.writes.at(-1)).toMatchObject({ consistency: 'all' });
    expect(edge.node.documents.get('é')).toMatchObject({ metadata: { s: '],[{"' } });
  });

  it.each([
    ['no object', '[1]', /JSON object/],
    ['no documents', '{}', /`documents` is missing/],
    ['no array', '{"documents":{}}', /must be an array/],
    ['an unknown field', '{"documents":[{"id":"a","title":"x"}],"colection":"a"}', /did you mean `collection`/],
    ['a truncated text', '{"documents":[{"id":"a","title":"x"}', /position 36/],
    ['a malformed document', '{"documents":[{"id":"a","title":"x"},{"id":tru}]}', /position 43/],
    ['a trailing comma', '{"documents":[{"id":"a","title":"x"},]}', /not valid JSON/],
    ['two values in one place', '{"documents":[1 2]}', /not valid JSON/],
    ['nothing', '', /missing/],
    ['something behind', '{"documents":[]} x', /position 17/],
  ])('refuses an envelope with %s whole', async (_name, body, detail) => {
    await refused(bulk(body, 'application/json'), 400, 'INVALID_REQUEST', detail);
    expect(edge.node.documents.size).toBe(0);
  });

  it('answers none stored as a problem that lists the items', async () => {
    const none = await refused(bulk('{"id":1}\n{"x":1}'), 400, 'INVALID_REQUEST');
    expect(none.body).toMatchObject({
      total: 2,
      success: 0,
      failed: 2,
      errors: [{ index: 0 }, { index: 1 }],
      session: 's-bulk',
    });
    await refused(bulk(''), 400, 'INVALID_REQUEST', /no documents/);
    edge.node.failWith = 'INSUFFICIENT_STORAGE';
    await refused(bulk('{"id":"a","title":"x"}'), 507, 'INSUFFICIENT_STORAGE');
    edge.node.failWith = 'NO_QUORUM';
    const shared = await refused(bulk('{"id":"a","title":"x"}\n{"id":"b","title":"x"}'), 503, 'NO_QUORUM');
    expect(shared.body.retryable).toBe(true);
  });

  it('reads a stream no faster than it is stored', async () => {
    const line = `${JSON.stringify({ id: 'a', content: 'x'.repeat(64 * 1024) })}\n`;
    let sent = 0;
    let stored = 0;
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    edge.node.beforeItem = async () => {
      stored++;
      if (stored === 5) await gate;
    };
    const body = new ReadableStream({
      pull(controller) {
        if (sent === 1_000) controller.close();
        else {
          sent++;
          controller.enqueue(Buffer.from(line));
        }
      },
    });
    const answer = fetch(`${edge.url}/api/v1/ingest/bulk`, {
      method: 'POST',
      duplex: 'half',
      headers: { 'content-type': 'application/x-ndjson' },
      body,
    });
    let before = -1;
    await until(() => {
      const still = stored === 5 && sent === before;
      before = sent;
      return still;
    }, 50);
    // 64 MiB in all: what the sockets and streams of both sides hold is far less.
    expect(sent).toBeLessThan(400);
    open();
    expect(await (await answer).json()).toMatchObject({ total: 1_000, success: 1_000 });
  });

  it('keeps what came before a broken connection', async () => {
    const socket = connect(Number(new URL(edge.url).port), '127.0.0.1');
    const first = '{"id":"a","title":"x"}\n';
    socket.write(
      `POST /api/v1/ingest/bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    const cut = `${first}{"id":"b","title":"y"}`;
    socket.write(`${cut.length.toString(16)}\r\n${cut}\r\n`);
    await until(() => edge.node.documents.size === 1);
    socket.destroy();
    await until(() => edge.node.calls.at(-1)?.signal.aborted === true);
    expect([...edge.node.documents.keys()]).toEqual(['a']);
  });

  it('skips a line that is too long without keeping it', async () => {
    const long = `{"id":"b","content":"${'x'.repeat(LIMITS.lineBytesMax)}"}`;
    const answer = await bulk(`{"id":"a","title":"x"}\n${long}\n{"id":"c","title":"x"}`);
    expect(answer.body).toMatchObject({
      total: 3,
      success: 2,
      errors: [{ index: 1, id: null, code: 'PAYLOAD_TOO_LARGE' }],
    });
  });
});

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
    const answer = await fetch(`${edge.url}/api/v1/changes?cursor=1&follow=true`, { signal: leave.signal });
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
    await ingest({ id: 'b', title: 'y' });
    expect(JSON.parse(Buffer.from((await reader.read()).value ?? []).toString())).toMatchObject({
      cursor: '2',
      id: 'b',
    });
    leave.abort();
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
    const answer = await fetch(`${edge.url}/api/v1/events?filter=cluster,document.bulk_progress`, {
      signal: leave.signal,
      headers: { 'last-event-id': '7' },
    });
    expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    await until(() => edge.node.listeners.size === 1);
    edge.node.publish({ type: 'search.slow', data: {} });
    edge.node.publish({ type: 'document.bulk_progress', data: { total: 5 } });
    edge.node.publish({ type: 'cluster.node_joined', data: { node: 'node-2' } });
    let text = '';
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
    while (!text.includes('node-2')) text += Buffer.from((await reader.read()).value ?? []).toString();
    expect(text.split('\n\n').slice(0, 3)).toEqual([
      expect.stringMatching(/^id: 1\nevent: heartbeat\ndata: \{/),
      'id: 2\nevent: document.bulk_progress\ndata: {"total":5}',
      'id: 3\nevent: cluster.node_joined\ndata: {"node":"node-2"}',
    ]);
    leave.abort();
    await until(() => edge.node.listeners.size === 0);
    await refused(call('GET', '/api/v1/events?filter=weather'), 400, 'INVALID_REQUEST', /cluster/);
  });
});

describe('HTTP itself', () => {
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
      raw(`GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`),
      raw('NONSENSE\r\n\r\n'),
    ]);
    expect(answers[0]).toMatch(/^HTTP\/1.1 400 .*application\/problem\+json.*"code":"LIMIT_EXCEEDED"/s);
    expect(answers[1]).toMatch(/^HTTP\/1.1 400 .*application\/problem\+json.*"code":"INVALID_REQUEST"/s);
  });

  it('serves probes, figures and documentation', async () => {
    expect(await call('GET', '/livez')).toMatchObject({ status: 200 });
    expect(await call('GET', '/readyz')).toMatchObject({ status: 200, body: { ready: true } });
    expect(await call('GET', '/health')).toMatchObject({ status: 200, body: { status: 'UP', degraded: [] } });
    edge.node.amiss = ['shard 1 has no primary'];
    const degraded = { status: 'DEGRADED', degraded: ['shard 1 has no primary'] };
    expect(await call('GET', '/health')).toMatchObject({ status: 200, body: degraded });
    edge.node.amiss = [];
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
      readonly requestBody?: { readonly content: Readonly<Record<string, { schema: { examples: unknown[] } }>> };
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

describe('API keys and the state of the node', () => {
  const sha256 = (key: string) => createHash('sha256').update(key).digest('hex');
  const apiKeys = [
    { name: 'r', scope: 'read' as const, sha256: sha256('reader') },
    { name: 'w', scope: 'write' as const, sha256: sha256('writer') },
    { name: 'a', scope: 'admin' as const, sha256: sha256('boss') },
  ];
  let open: MemoryEdge;

  beforeEach(() => {
    open = edge;
  });
  afterEach(async () => {
    await edge[Symbol.asyncDispose]();
    edge = open;
  });

  it('lets each key do what its scope says, before a body is read', async () => {
    edge = await startMemoryEdge({ apiKeys });
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
    edge = await startMemoryEdge({ ready: false });
    const early = await refused(search({ text: 'a' }), 503, 'STARTING');
    expect(early.headers.get('retry-after')).toBe('1');
    expect(await call('GET', '/readyz')).toMatchObject({
      status: 503,
      body: { ready: false, conditions: [{ waitsFor: 'opening the log' }] },
    });
    expect(await call('GET', '/health')).toMatchObject({ status: 503, body: { status: 'DOWN' } });
    expect(await call('GET', '/api/v1/status')).toMatchObject({ status: 200 });
    edge.readiness.settle('log');
    expect(await search({ text: 'a' })).toMatchObject({ status: 200 });
    edge.readiness.stop();
    await refused(search({ text: 'a' }), 503, 'DRAINING');
  });

  it('ends its streams when it stops', async () => {
    edge = await startMemoryEdge();
    const streams = await Promise.all(
      ['/api/v1/events', '/api/v1/changes?follow=true'].map((path) => fetch(edge.url + path)),
    );
    await edge.app.close();
    for (const stream of streams) expect(typeof (await stream.text())).toBe('string');
  });
});

function nested(depth: number): object {
  return depth === 1 ? {} : { x: nested(depth - 1) };
}

/** Polls a condition; fails after 5 s. */
async function until(holds: () => boolean, everyMs = 5): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** Sends bytes and reads the answer until the connection closes. */
function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(edge.url).port), '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}
