import { gzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import { LIMITS } from '../../kernel/limits.js';
import { refused, RestCalls } from '../../../test/contract/rest-calls.js';

const rest = new RestCalls();
const { call, ingest } = rest;

describe('documents over REST', () => {
  it('stores, reads, replaces, merges and deletes one', async () => {
    const stored = await ingest({
      id: 'a/ü',
      title: 'one',
      vector: [0.5, 1],
      metadata: { n: 1, constructor: 'McLaren' },
    });
    expect(stored).toMatchObject({
      status: 201,
      body: { id: 'a/ü', created: true, indexed: true, durable: 1, fsync: 'always' },
    });
    expect(stored.headers.get('etag')).toBe(`"${String(stored.body.version)}"`);
    expect(stored.headers.get('spector-session')).toBe(stored.body.session);
    const location = stored.headers.get('location') ?? '';
    expect(await call('GET', `${location}?withVector=on`)).toMatchObject({
      status: 200,
      body: { id: 'a/ü', title: 'one', vector: [0.5, 1], metadata: { n: 1, constructor: 'McLaren' } },
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

  it('makes no change whose condition it would not look at', async () => {
    await call('PUT', '/api/v1/documents/kept', { title: 'x' });
    const changes: [string, string, unknown, string][] = [
      ['DELETE', '/api/v1/documents/kept', undefined, 'If-None-Match'],
      ['PATCH', '/api/v1/documents/kept', { title: 'y' }, 'If-None-Match'],
      ['POST', '/api/v1/documents/delete', { ids: ['kept'] }, 'If-Match'],
      ['POST', '/api/v1/ingest/bulk', { documents: [{ id: 'kept', title: 'y' }] }, 'If-None-Match'],
      ['PUT', '/api/v1/collections/fresh', {}, 'If-None-Match'],
      ['DELETE', '/api/v1/collections/default', undefined, 'If-Match'],
    ];
    for (const [method, path, body, name] of changes)
      await refused(call(method, path, body, { [name]: '*' }), 400, 'INVALID_REQUEST', new RegExp(`^${name} is not`));
    // A read is none: caches ask whether what they have is the newest.
    expect(await call('GET', '/api/v1/documents/kept', undefined, { 'if-none-match': '"1"' })).toMatchObject({
      status: 200,
      body: { title: 'x' },
    });
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
    expect(rest.edge.node.writes.at(-1)).toEqual({
      collection: 'default',
      consistency: 'quorum',
      idempotencyKey: 'k1',
    });
    expect(rest.edge.node.calls.at(-1)).toMatchObject({ session: 'abc' });
    await ingest({ id: 'b', title: 'y' });
    expect(rest.edge.node.writes.at(-1)).toEqual({ collection: 'default', consistency: 'one' });
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
    expect(rest.edge.node.filters.at(-1)).toEqual({
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
    ['large metadata', { id: 'a', metadata: { x: 'y'.repeat(65_536) } }, 'LIMIT_EXCEEDED', /65536/],
    ['deep metadata', { id: 'a', metadata: nested(17) }, 'LIMIT_EXCEEDED', /16/],
    ['malformed JSON', '{"id":"a",\n "title":tru}', 'INVALID_REQUEST', /line 2, column 10, position 20/],
    ['an array', '[]', 'INVALID_REQUEST', /JSON object/],
    ['nothing', '', 'INVALID_REQUEST', /missing/],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'INVALID_REQUEST', /UTF-8/],
  ])('refuses %s', async (_name, body, code, detail) => {
    await refused(ingest(body), 400, code, detail);
    expect(rest.edge.node.documents.size).toBe(0);
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

function nested(depth: number): object {
  return depth === 1 ? {} : { x: nested(depth - 1) };
}
