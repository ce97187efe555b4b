import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { count } from './support/documents.js';
import { LoopWatch, withoutBlocking } from './support/loop-watch.js';
import type { TestNode } from './support/node.js';
import { startNode } from './support/node.js';
import { expectProblem, expectStatus } from './support/problem.js';
import type { Answer, Rest } from './support/rest.js';

let node: TestNode;
let rest: Rest;
let watch: LoopWatch;

beforeAll(async () => {
  node = await startNode();
  ({ rest } = node);
  for (const [name, similarity] of [
    ['cosine', 'cosine'],
    ['dot', 'dot'],
  ]) {
    expectStatus(await rest.put(`/api/v1/collections/${name}`, { dimensions: 3, similarity }), 201);
  }
  expectStatus(await rest.put('/api/v1/documents/kept', { title: 'kept', vector: [1, 2, 3], metadata: { n: 1 } }), 201);
  watch = new LoopWatch(node.base);
});
afterAll(async () => {
  await watch.stop();
  await node.dispose();
});

/** What a refused request must not change: documents, and the offset of every shard's log. */
async function trace(): Promise<unknown> {
  const status = expectStatus<{ documents: number; shards: { offset: number; documents: number }[] }>(
    await rest.get('/api/v1/status'),
    200,
  );
  return {
    documents: status.documents,
    shards: status.shards.map(({ offset, documents }) => ({ offset, documents })),
    counted: await count(rest),
    kept: (await rest.get('/api/v1/documents/kept?withVector=true')).json<{ version: string }>().version,
  };
}

/** Sends something bad and checks that it is refused in words, quickly, and changes nothing. */
async function refused(send: () => Promise<Answer>, codes: string | readonly string[], detail?: RegExp): Promise<void> {
  const before = await trace();
  const answer = await withoutBlocking(watch, send);
  expectProblem(answer, codes, detail);
  expect(await trace()).toEqual(before);
}

const json = (method: string, path: string, body: string | Uint8Array, type = 'application/json') =>
  rest.send(method, path, { body, headers: { 'content-type': type } });

/** Every call that takes JSON. */
const JSON_CALLS: readonly (readonly [string, string])[] = [
  ['POST', '/api/v1/ingest'],
  ['POST', '/api/v1/ingest/bulk'],
  ['POST', '/api/v1/search'],
  ['PUT', '/api/v1/documents/bad'],
  ['PATCH', '/api/v1/documents/kept'],
  ['POST', '/api/v1/documents/get'],
  ['POST', '/api/v1/documents/delete'],
  ['POST', '/api/v1/documents/scroll'],
  ['POST', '/api/v1/documents/count'],
  ['PUT', '/api/v1/collections/bad'],
  ['PUT', '/api/v1/aliases/bad'],
  ['PATCH', '/api/v1/cluster/config'],
  ['POST', '/api/v1/cluster/shards'],
];

describe.each(JSON_CALLS)('%s %s', (method, path) => {
  it.each([
    ['JSON that ends early', '{"id":"bad","title":'],
    ['no JSON', 'hello'],
    ['JSON with a comma too many', '{"id":"bad","title":"t",}'],
    ['JSON with something after it', '{"id":"bad","title":"t"} {}'],
    ['NaN', '{"id":"bad","vector":[NaN,1,2]}'],
    ['an array', '[1,2,3]'],
    ['a number', '17'],
    ['null', 'null'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
    ['deep nesting', `${'['.repeat(200_000)}${']'.repeat(200_000)}`],
    ['deep nesting of objects', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
    ['a __proto__ key', '{"id":"bad","title":"t","__proto__":{"polluted":true}}'],
    ['an unknown field', '{"id":"bad","title":"t","colour":"red"}'],
  ])('refuses %s', async (_, body) => {
    await refused(() => json(method, path, body), ['INVALID_REQUEST', 'LIMIT_EXCEEDED'], /.{10}/);
  });

  it.each(['text/plain', 'application/xml', 'application/x-www-form-urlencoded', 'multipart/form-data', 'nonsense'])(
    'refuses content type %s',
    async (type) => {
      await refused(() => json(method, path, '{"id":"bad","title":"t"}', type), 'UNSUPPORTED_MEDIA_TYPE', /json/i);
    },
  );

  it('refuses a body over 8 MiB, announced or not', async () => {
    const large = Buffer.alloc(8 * 1024 * 1024 + 1, 0x20);
    await refused(() => json(method, path, large), 'PAYLOAD_TOO_LARGE', /8|split/);
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 130; i++) yield large.subarray(0, 65_536);
    }
    await refused(
      () => rest.send(method, path, { body: chunks(), headers: { 'content-type': 'application/json' } }),
      'PAYLOAD_TOO_LARGE',
    );
  });
});

describe('the unknown is named', () => {
  it.each([
    ['POST', '/api/v1/ingest', { id: 'bad', title: 't', titel: 'x' }, /titel/],
    ['POST', '/api/v1/search', { text: 'x', filter: { must: [], most: [] } }, /most/],
    ['POST', '/api/v1/search', { text: 'x', params: { exakt: true } }, /exakt/],
    ['POST', '/api/v1/documents/scroll', { size: 10 }, /size/],
    ['PUT', '/api/v1/documents/bad', { title: 't', version: 'x' }, /version/],
    ['PATCH', '/api/v1/documents/kept', { name: 't' }, /name/],
  ])('%s %s', async (method, path, body, detail) => {
    await refused(() => rest.send(method, path, { json: body }), 'INVALID_REQUEST', detail);
  });

  it.each([
    ['GET', '/api/v1/documents/kept?withVectors=true', /withVectors/],
    ['PUT', '/api/v1/documents/bad?colection=default', /colection/],
    ['GET', '/api/v1/changes?since=1', /since/],
  ])('in the query of %s %s', async (method, path, detail) => {
    await refused(
      () => rest.send(method, path, method === 'GET' ? {} : { json: { title: 't' } }),
      'INVALID_REQUEST',
      detail,
    );
  });
});

describe('ids', () => {
  const BAD_IDS: readonly (readonly [string, unknown])[] = [
    ['missing', undefined],
    ['null', null],
    ['a number', 7],
    ['an object', { a: 1 }],
    ['empty', ''],
    ['513 bytes', 'x'.repeat(513)],
    ['513 bytes in fewer characters', `${'é'.repeat(256)}x`],
    ['a control character', 'a\u0000b'],
    ['a line feed', 'a\nb'],
    ['delete', 'a\u007f'],
    ['a C1 control', 'a\u0085'],
    ['a lone high surrogate', 'a\ud800'],
    ['a lone low surrogate', '\udc00a'],
  ];

  it.each(BAD_IDS)('%s in the body', async (_, id) => {
    await refused(() => rest.post('/api/v1/ingest', { id, title: 't' }), ['INVALID_REQUEST', 'LIMIT_EXCEEDED'], /id/);
  });

  it.each(BAD_IDS.slice(1))('%s in a list', async (_, id) => {
    for (const call of ['get', 'delete']) {
      await refused(
        () => rest.post(`/api/v1/documents/${call}`, { ids: ['kept-not', id] }),
        ['INVALID_REQUEST', 'LIMIT_EXCEEDED'],
        /ids/,
      );
    }
    const filter = { must: [{ ids: [id] }] };
    await refused(
      () => rest.post('/api/v1/search', { text: 'x', filter }),
      ['INVALID_REQUEST', 'LIMIT_EXCEEDED'],
      /ids/,
    );
  });

  it.each([
    ['513 bytes', 'x'.repeat(513)],
    ['a control character', 'a%00b'],
    ['a line feed', 'a%0Ab'],
    ['a broken escape', 'a%zzb'],
    ['half an escape', 'a%C3'],
    ['an encoded surrogate', 'a%ED%A0%80'],
  ])('%s in the path', async (_, id) => {
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
      const options = method === 'GET' || method === 'DELETE' ? {} : { json: { title: 't' } };
      await refused(
        () => rest.send(method, `/api/v1/documents/${id}`, options),
        ['INVALID_REQUEST', 'LIMIT_EXCEEDED'],
        /id|path|url/i,
      );
    }
  });
});

describe('vectors', () => {
  const BAD_VECTORS: readonly (readonly [string, string, string, RegExp])[] = [
    ['of another dimension', '[1,2]', 'DIMENSION_MISMATCH', /2.*3|3.*2/],
    ['of too many dimensions', '[1,2,3,4]', 'DIMENSION_MISMATCH', /4.*3|3.*4/],
    ['with 1e999', '[1,1e999,3]', 'INVALID_REQUEST', /vector/],
    ['with -1e999', '[1,-1e999,3]', 'INVALID_REQUEST', /vector/],
    ['with what float32 cannot hold', '[1,1e39,3]', 'INVALID_REQUEST', /vector/],
    ['with a string', '[1,"2",3]', 'INVALID_REQUEST', /vector/],
    ['with null', '[1,null,3]', 'INVALID_REQUEST', /vector/],
    ['with a boolean', '[1,true,3]', 'INVALID_REQUEST', /vector/],
    ['with an array', '[1,[2],3]', 'INVALID_REQUEST', /vector/],
    ['empty', '[]', 'INVALID_REQUEST', /vector/],
    ['that is a string', '"1,2,3"', 'INVALID_REQUEST', /vector/],
    ['that is an object', '{"0":1,"1":2,"2":3}', 'INVALID_REQUEST', /vector/],
    ['of zeros under cosine', '[0,0,0]', 'INVALID_REQUEST', /zero|0/i],
    ['of what becomes zero as float32', '[1e-60,0,-1e-60]', 'INVALID_REQUEST', /zero|0/i],
  ];

  it.each(BAD_VECTORS)('%s', async (_, vector, code, detail) => {
    await refused(
      () => json('POST', '/api/v1/ingest?collection=cosine', `{"id":"bad","vector":${vector}}`),
      code,
      detail,
    );
    await refused(() => json('PUT', '/api/v1/documents/bad?collection=cosine', `{"vector":${vector}}`), code, detail);
    await refused(() => json('PATCH', '/api/v1/documents/kept', `{"vector":${vector}}`), code, detail);
    await refused(() => json('POST', '/api/v1/search', `{"collection":"cosine","vector":${vector}}`), code, detail);
    expect(await count(rest, undefined, 'cosine')).toBe(0);
  });

  it('of zeros are fine where length does not matter', async () => {
    expectStatus(await rest.put('/api/v1/documents/zero?collection=dot', { vector: [0, 0, 0] }), 201);
    expectStatus(await rest.post('/api/v1/search', { collection: 'dot', vector: [0, 0, 0] }), 200);
    expectStatus(await rest.delete('/api/v1/documents/zero?collection=dot'), 200);
  });
});

describe('fields of a document', () => {
  it.each([
    ['title that is a number', { title: 7 }, /title/],
    ['content that is an array', { content: ['a'] }, /content/],
    ['title that is null', { title: null }, /title/],
    ['metadata that is an array', { metadata: [1] }, /metadata/],
    ['metadata that is a string', { metadata: 'x' }, /metadata/],
    ['a lone surrogate in the title', { title: 'a\ud800' }, /title/],
    ['a lone surrogate in the content', { content: '\udfff' }, /content/],
    ['a lone surrogate in metadata', { metadata: { a: ['\ud800'] } }, /metadata/],
    ['a lone surrogate in a key', { metadata: { 'a\ud800': 1 } }, /metadata/],
    ['nothing', {}, /title|content|vector|metadata/],
  ])('%s', async (_, fields, detail) => {
    await refused(() => rest.put('/api/v1/documents/bad', fields), 'INVALID_REQUEST', detail);
    await refused(() => rest.post('/api/v1/ingest', { id: 'bad', ...fields }), 'INVALID_REQUEST', detail);
  });

  it.each([
    ['a __proto__ key in metadata', '{"metadata":{"a":{"__proto__":{"x":1}}}}'],
    ['an escaped __proto__ key', '{"metadata":{"\\u005f_proto__":{"x":1}}}'],
    ['infinity in metadata', '{"metadata":{"a":1e999}}'],
  ])('%s', async (_, body) => {
    await refused(() => json('PUT', '/api/v1/documents/bad', body), 'INVALID_REQUEST', /__proto__|metadata/);
    await refused(() => json('PATCH', '/api/v1/documents/kept', body), 'INVALID_REQUEST', /__proto__|metadata/);
  });
});

describe('searches', () => {
  const manyClauses = (n: number) => ({
    must: Array.from({ length: n }, (_, i) => ({ key: 'k', match: { value: i } })),
  });
  const nestedFilter = (depth: number): object => (depth === 1 ? { must: [] } : { must: [nestedFilter(depth - 1)] });

  it.each<readonly [string, object, string | readonly string[], RegExp]>([
    ['topK 0', { topK: 0 }, ['INVALID_REQUEST', 'LIMIT_EXCEEDED'], /topK/],
    ['topK -1', { topK: -1 }, ['INVALID_REQUEST', 'LIMIT_EXCEEDED'], /topK/],
    ['topK 1.5', { topK: 1.5 }, 'INVALID_REQUEST', /topK/],
    ['topK "10"', { topK: '10' }, 'INVALID_REQUEST', /topK/],
    ['topK 10 001', { topK: 10_001 }, 'LIMIT_EXCEEDED', /topK|10.?000/],
    ['limit 10 001', { limit: 10_001 }, 'LIMIT_EXCEEDED', /limit|10.?000/],
    ['a negative offset', { offset: -1 }, ['INVALID_REQUEST', 'LIMIT_EXCEEDED'], /offset/],
    ['offset + topK over 10 000', { offset: 9_991, topK: 10 }, 'LIMIT_EXCEEDED', /10.?000/],
    ['ef 4 097', { params: { ef: 4_097 } }, 'LIMIT_EXCEEDED', /ef/],
    ['ef 0', { params: { ef: 0 } }, ['INVALID_REQUEST', 'LIMIT_EXCEEDED'], /ef/],
    ['exact "yes"', { params: { exact: 'yes' } }, 'INVALID_REQUEST', /exact/],
    ['a text over 32 KiB', { text: 'word '.repeat(6_600) }, 'LIMIT_EXCEEDED', /text/],
    ['a text that is a number', { text: 5 }, 'INVALID_REQUEST', /text/],
    ['a lone surrogate in the text', { text: 'a\ud800' }, 'INVALID_REQUEST', /text/],
    ['65 clauses', { filter: manyClauses(65) }, 'LIMIT_EXCEEDED', /64/],
    ['a filter 9 deep', { filter: nestedFilter(9) }, 'LIMIT_EXCEEDED', /8/],
    ['a filter that is an array', { filter: [] }, 'INVALID_REQUEST', /filter/],
    ['a clause without condition', { filter: { must: [{ key: 'a' }] } }, 'INVALID_REQUEST', /filter|must/],
    [
      'a clause of two conditions',
      { filter: { must: [{ key: 'a', match: { value: 1 }, exists: true }] } },
      'INVALID_REQUEST',
      /filter|must/,
    ],
    ['a match without value', { filter: { must: [{ key: 'a', match: {} }] } }, 'INVALID_REQUEST', /match|value/],
    ['a match of an object', { filter: { must: [{ key: 'a', match: { value: {} } }] } }, 'INVALID_REQUEST', /value/],
    ['an empty range', { filter: { must: [{ key: 'a', range: {} }] } }, 'INVALID_REQUEST', /range/],
    ['a range over null', { filter: { must: [{ key: 'a', range: { gt: null } }] } }, 'INVALID_REQUEST', /range|gt/],
    ['a key that is no string', { filter: { must: [{ key: 5, exists: true }] } }, 'INVALID_REQUEST', /key/],
    ['an unknown consistency', { consistency: 'quorum' }, 'INVALID_REQUEST', /consistency/],
    ['minCoverage of text', { minCoverage: 'all' }, 'INVALID_REQUEST', /minCoverage/],
    ['explain of text', { explain: 'yes' }, 'INVALID_REQUEST', /explain/],
    ['withVector of a number', { withVector: 1 }, 'INVALID_REQUEST', /withVector/],
  ])('%s', async (_, fields, codes, detail) => {
    await refused(() => rest.post('/api/v1/search', { text: 'x', vector: [1, 2, 3], ...fields }), codes, detail);
  });

  it('take the largest that is allowed', async () => {
    for (const fields of [
      { topK: 10_000 },
      { offset: 9_990, topK: 10 },
      { params: { ef: 4_096 } },
      { text: 'w'.repeat(32 * 1024) },
      { filter: manyClauses(64) },
      { filter: nestedFilter(8) },
    ]) {
      const answer = await withoutBlocking(watch, () =>
        rest.post('/api/v1/search', { text: 'x', vector: [1, 2, 3], ...fields }),
      );
      expectStatus(answer, 200);
    }
  });
});

describe('bodies built to take long', () => {
  const MEBIBYTES_8 = 8 * 1024 * 1024 - 4_096;

  it.each<readonly [string, string, string, string]>([
    [
      'a vector of 4 million numbers',
      'PUT',
      '/api/v1/documents/bad',
      `{"vector":[${'1,'.repeat(MEBIBYTES_8 / 2 - 20)}1]}`,
    ],
    [
      'a million unknown fields',
      'PUT',
      '/api/v1/documents/bad',
      `{${Array.from({ length: 700_000 }, (_, i) => `"${i.toString(36)}":1`).join(',')}}`,
    ],
    [
      'a million keys in metadata',
      'PUT',
      '/api/v1/documents/bad',
      `{"metadata":{${Array.from({ length: 700_000 }, (_, i) => `"${i.toString(36)}":1`).join(',')}}}`,
    ],
    ['a million ids', 'POST', '/api/v1/documents/get', `{"ids":[${'"a",'.repeat(2_000_000)}"a"]}`],
    ['a million clauses', 'POST', '/api/v1/search', `{"text":"x","filter":{"must":[${'{},'.repeat(2_000_000)}{}]}}`],
    ['a million documents that are none', 'POST', '/api/v1/ingest/bulk', `{"documents":[${'0,'.repeat(4_000_000)}0]}`],
    ['a title of 8 MiB', 'PUT', '/api/v1/documents/bad', `{"title":"${'x'.repeat(MEBIBYTES_8)}"}`],
    ['a title of escapes', 'PUT', '/api/v1/documents/bad', `{"title":"${'\\u0041'.repeat(1_300_000)}"}`],
    ['a search text of 8 MiB', 'POST', '/api/v1/search', `{"text":"${'ab '.repeat(2_700_000)}"}`],
    ['white space', 'POST', '/api/v1/search', ' '.repeat(MEBIBYTES_8)],
    ['nesting without end', 'POST', '/api/v1/search', '['.repeat(MEBIBYTES_8)],
    ['a number of 8 million digits', 'PUT', '/api/v1/documents/bad', `{"vector":[${'1'.repeat(MEBIBYTES_8)}]}`],
  ])('%s', async (_, method, path, body) => {
    await refused(() => json(method, path, body), ['INVALID_REQUEST', 'LIMIT_EXCEEDED', 'PAYLOAD_TOO_LARGE']);
  });

  it('a line of NDJSON without end', async () => {
    async function* endless(): AsyncGenerator<Uint8Array> {
      const chunk = Buffer.alloc(65_536, 0x61);
      for (let i = 0; i < 400; i++) yield chunk;
    }
    await refused(() => rest.bulk(endless()), ['INVALID_REQUEST', 'PAYLOAD_TOO_LARGE', 'LIMIT_EXCEEDED']);
  });

  it('gzip that grows a thousandfold', async () => {
    const bomb = gzipSync(Buffer.alloc(256 * 1024 * 1024, 0x20));
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
    await refused(
      () => rest.send('POST', '/api/v1/search', { body: bomb, headers }),
      ['PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'],
    );
  });

  it('an encoding nobody knows, and gzip that is none', async () => {
    for (const [encoding, codes] of [
      ['compress-o-matic', ['UNSUPPORTED_MEDIA_TYPE']],
      ['gzip', ['INVALID_REQUEST', 'UNSUPPORTED_MEDIA_TYPE']],
    ] as const) {
      const headers = { 'content-type': 'application/json', 'content-encoding': encoding };
      await refused(() => rest.send('POST', '/api/v1/search', { body: '{"text":"x"}', headers }), codes);
    }
  });
});

describe('routes and methods', () => {
  it.each([
    ['GET', '/nowhere'],
    ['GET', '/api/v1'],
    ['POST', '/api/v2/search'],
    ['GET', '/api/v1/documents'],
    ['GET', '/api/v1/documents/a/b/c'],
    ['GET', '/../../etc/passwd'],
  ])('%s %s is not found', async (method, path) => {
    await refused(() => rest.send(method, path), ['ROUTE_NOT_FOUND', 'METHOD_NOT_ALLOWED']);
  });

  it.each([
    ['GET', '/api/v1/search'],
    ['DELETE', '/api/v1/ingest'],
    ['POST', '/api/v1/documents/kept'],
    ['PUT', '/api/v1/status'],
    ['DELETE', '/livez'],
  ])('%s %s is not allowed', async (method, path) => {
    await refused(() => rest.send(method, path), 'METHOD_NOT_ALLOWED');
    const answer = await rest.send(method, path);
    expect(answer.headers).toHaveProperty('allow');
  });

  it.each([
    ['/api/v1/shards/99/log', 'SHARD_NOT_FOUND'],
    ['/api/v1/shards/99/digest', 'SHARD_NOT_FOUND'],
    ['/api/v1/cluster/operations/none', 'OPERATION_NOT_FOUND'],
    ['/api/v1/aliases/none', 'ALIAS_NOT_FOUND'],
    ['/api/v1/collections/none', 'COLLECTION_NOT_FOUND'],
    ['/api/v1/documents/none', 'DOCUMENT_NOT_FOUND'],
  ])('GET %s is %s', async (path, code) => {
    await refused(() => rest.get(path), code);
  });

  it.each(['-1', 'one', '1.5', '4294967295'])('shard %s is not one', async (shard) => {
    await refused(() => rest.get(`/api/v1/shards/${shard}/digest`), ['INVALID_REQUEST', 'SHARD_NOT_FOUND']);
  });

  it.each(['?cursor=nonsense', '?follow=perhaps', '?collection=none'])('changes%s', async (query) => {
    await refused(() => rest.get(`/api/v1/changes${query}`), ['INVALID_REQUEST', 'COLLECTION_NOT_FOUND']);
  });

  it.each(['?from=0', '?from=x', '?limit=0', '?limit=-3', '?follow=2'])('log%s', async (query) => {
    await refused(
      () => rest.get(`/api/v1/shards/0/log${query}`),
      ['INVALID_REQUEST', 'LIMIT_EXCEEDED'],
      /from|limit|follow/,
    );
  });
});

describe('headers', () => {
  it.each([
    ['idempotency-key', 'x'.repeat(2_000)],
    ['idempotency-key', ''],
    ['if-match', 'unquoted'],
    ['spector-session', '!!!'],
  ])('%s', async (name, value) => {
    await refused(
      () => rest.put('/api/v1/documents/bad', { title: 't' }, { [name]: value }),
      ['INVALID_REQUEST', 'LIMIT_EXCEEDED'],
      new RegExp(name === 'spector-session' ? 'session' : name, 'i'),
    );
  });
});

describe('bytes that are no request', () => {
  it.each([
    ['no HTTP', 'hello there\r\n\r\n'],
    ['a TLS hello', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000'],
    ['two lengths', 'POST /api/v1/search HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd'],
    ['a length that is none', 'POST /api/v1/search HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n'],
    ['a chunk that is none', 'POST /api/v1/search HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n'],
    ['headers without end', `GET / HTTP/1.1\r\nhost: x\r\n${'a: b\r\n'.repeat(20_000)}`],
  ])('%s gets a 4xx or a closed connection', async (_, text) => {
    const before = await trace();
    const answer = await withoutBlocking(watch, () => sendRaw(text));
    expect(answer === '' || /^HTTP\/1\.1 4\d\d /.test(answer)).toBe(true);
    expect(await trace()).toEqual(before);
  });

  it('a body that breaks off leaves nothing', async () => {
    const before = await trace();
    const head = 'HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n';
    await sendRaw(`POST /api/v1/ingest ${head}{"id":"bad","title":"t"}`, true);
    await sendRaw(`PUT /api/v1/documents/bad ${head}{"title":"t"}`, true);
    expect(await trace()).toEqual(before);
    expectStatus(await rest.get('/readyz'), 200);
  });
});

it('nothing of all that is an error of the node', () => {
  expect(node.output()).not.toMatch(/"level":\s*(50|60|"error"|"fatal")/);
  expect(node.output()).not.toMatch(/UnhandledPromiseRejection|uncaughtException|MaxListenersExceeded/);
});

/** Sends bytes to the HTTP port; what came back. `hangUp` ends the sending side at once. */
function sendRaw(text: string, hangUp = false): Promise<string> {
  const { hostname, port } = new URL(node.base);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    let received = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      received += chunk;
      if (received.includes('\r\n\r\n')) socket.destroy();
    });
    socket.on('error', () => socket.destroy()); // a reset is an answer too
    socket.on('close', () => resolve(received));
    socket.setTimeout(8_000, () => socket.destroy());
    socket.write(text, 'latin1', () => {
      if (hangUp) socket.end();
    });
  });
}
