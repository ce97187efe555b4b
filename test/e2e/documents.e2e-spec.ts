import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { clusterTag, encodePositions } from '../../src/modules/coordinator/core/positions.js';
import { waitFor } from './cluster/wait-for.js';
import { count, everything, store } from './support/documents.js';
import type { TestNode } from './support/node.js';
import { startNode } from './support/node.js';
import { expectProblem, expectStatus } from './support/problem.js';
import type { Rest } from './support/rest.js';

interface Written {
  readonly id: string;
  readonly indexed: boolean;
  readonly created: boolean;
  readonly version: string;
  readonly shard: number;
  readonly epoch: number;
  readonly offset: number;
  readonly durable: number;
  readonly fsync: string;
  readonly session: string;
}

const WRITTEN = {
  indexed: true,
  version: expect.stringMatching(/.+/),
  shard: expect.any(Number),
  epoch: expect.any(Number),
  offset: expect.any(Number),
  durable: 1,
  fsync: 'always',
  session: expect.stringMatching(/^[A-Za-z0-9_-]+$/),
};

let node: TestNode;
let rest: Rest;

beforeAll(async () => {
  node = await startNode();
  ({ rest } = node);
});
afterAll(() => node.dispose());

/** Puts a collection that no other test uses. */
async function collection(name: string, settings: object = {}): Promise<string> {
  expectStatus(await rest.put(`/api/v1/collections/${name}`, settings), 201);
  return name;
}

const path = (id: string, query = ''): string => `/api/v1/documents/${encodeURIComponent(id)}${query}`;

describe('ingest', () => {
  it('stores a document and answers 201 with the published fields and no others', async () => {
    const answer = await rest.post('/api/v1/ingest', {
      id: 'whole',
      title: 'A title',
      content: 'Some content',
      vector: [0.25, -1, 3],
      metadata: { a: 1, b: [true, null, 'x'], c: { d: 'é' } },
    });
    expect(expectStatus(answer, 201)).toEqual({ id: 'whole', created: true, ...WRITTEN });
    expect(answer.headers['content-type']).toMatch(/^application\/json\b/);
    const read = await rest.get(path('whole', '?withVector=true'));
    expect(expectStatus(read, 200)).toEqual(
      expect.objectContaining({
        id: 'whole',
        title: 'A title',
        content: 'Some content',
        vector: [0.25, -1, 3],
        metadata: { a: 1, b: [true, null, 'x'], c: { d: 'é' } },
        version: answer.json<Written>().version,
      }),
    );
  });

  it('answers 201 to a replacement too, with created false, a higher version and a higher offset', async () => {
    const first = expectStatus<Written>(await rest.post('/api/v1/ingest', { id: 'twice', title: 'one' }), 201);
    const second = expectStatus<Written>(await rest.post('/api/v1/ingest', { id: 'twice', content: 'two' }), 201);
    expect(first.created).toBe(true);
    expect(second).toEqual({ id: 'twice', ...WRITTEN, created: false });
    expect(second.version > first.version).toBe(true);
    expect(second.shard).toBe(first.shard);
    expect(second.offset).toBeGreaterThan(first.offset);
    const read = expectStatus(await rest.get(path('twice')), 200);
    expect(read).toEqual(expect.objectContaining({ content: 'two' }));
    expect(read).not.toHaveProperty('title'); // an upsert replaces
  });

  it.each([
    ['title', { title: 't' }],
    ['content', { content: 'c' }],
    ['vector', { vector: [1, 2, 3] }],
    ['metadata', { metadata: { only: true } }],
  ])('needs no more than %s', async (name, fields) => {
    expectStatus(await rest.post('/api/v1/ingest', { id: `only-${name}`, ...fields }), 201);
    const read = expectStatus(await rest.get(path(`only-${name}`, '?withVector=1')), 200);
    expect(read).toEqual(expect.objectContaining(fields));
  });

  it('refuses a document without any of them', async () => {
    expectProblem(
      await rest.post('/api/v1/ingest', { id: 'empty' }),
      'INVALID_REQUEST',
      /title|content|vector|metadata/,
    );
    expectProblem(await rest.get(path('empty')), 'DOCUMENT_NOT_FOUND');
  });

  it('takes collection and consistency in the body as well as in the query', async () => {
    const name = await collection('from-body');
    const body = { id: 'x', title: 't', collection: name, consistency: 'all' };
    expectStatus(await rest.post('/api/v1/ingest', body), 201);
    expectStatus(await rest.post(`/api/v1/ingest?collection=${name}&consistency=quorum`, { id: 'y', title: 't' }), 201);
    expect(await count(rest, undefined, name)).toBe(2);
    expectProblem(await rest.get(path('x')), 'DOCUMENT_NOT_FOUND');
    expectStatus(await rest.get(path('x', `?collection=${name}`)), 200);
  });

  it('keeps ids apart that differ in anything, and takes every well-formed one of 512 bytes', async () => {
    const name = await collection('ids');
    const ids = [
      'a',
      'A',
      ' a',
      'a ',
      'ä',
      'a\u0308',
      '%61',
      'a/b',
      '../a',
      '?',
      '#',
      '😀',
      'é'.repeat(256),
      '0',
      '__proto__',
    ];
    for (const id of ids) {
      const answer = await rest.put(path(id, `?collection=${name}`), { title: `title of ${id}` });
      expect({ id, status: answer.status, given: answer.json<Written>().id }).toEqual({ id, status: 201, given: id });
    }
    for (const id of ids) {
      const read = expectStatus(await rest.get(path(id, `?collection=${name}`)), 200);
      expect(read).toEqual(expect.objectContaining({ id, title: `title of ${id}` }));
    }
    expect(await count(rest, undefined, name)).toBe(ids.length);
  });
});

describe('get', () => {
  it('gives the vector only when asked, by every spelling of a boolean', async () => {
    await rest.put(path('seen'), { title: 't', vector: [1, 2, 3] });
    for (const yes of ['true', 'on', '1']) {
      expect(expectStatus(await rest.get(path('seen', `?withVector=${yes}`)), 200)).toHaveProperty('vector', [1, 2, 3]);
    }
    for (const query of ['', '?withVector=false', '?withVector=off', '?withVector=0']) {
      expect(expectStatus(await rest.get(path('seen', query)), 200)).not.toHaveProperty('vector');
    }
    expectProblem(await rest.get(path('seen', '?withVector=maybe')), 'INVALID_REQUEST', /withVector/);
  });

  it('answers 404 DOCUMENT_NOT_FOUND, and COLLECTION_NOT_FOUND for a collection that was never put', async () => {
    expectProblem(await rest.get(path('never')), 'DOCUMENT_NOT_FOUND');
    expectProblem(await rest.get(path('never', '?collection=never')), 'COLLECTION_NOT_FOUND', /never/);
  });

  it.each(['any', 'primary', 'session'])('reads with consistency %s', async (consistency) => {
    const { session } = expectStatus<Written>(await rest.put(path(`read-${consistency}`), { title: 't' }), 201);
    const query = `?consistency=${consistency}`;
    expectStatus(await rest.get(path(`read-${consistency}`, query), { headers: { 'spector-session': session } }), 200);
  });

  it('refuses a consistency that is no read consistency', async () => {
    expectProblem(await rest.get(path('seen', '?consistency=quorum')), 'INVALID_REQUEST', /consistency/);
  });
});

describe('put', () => {
  it('answers 201 when it creates and 200 when it replaces', async () => {
    const created = expectStatus<Written>(await rest.put(path('put'), { title: 'one' }), 201);
    expect(created).toEqual({ id: 'put', ...WRITTEN, created: true });
    const replaced = expectStatus<Written>(await rest.put(path('put'), { title: 'two' }), 200);
    expect(replaced).toEqual({ id: 'put', ...WRITTEN, created: false });
    expect(replaced.version > created.version).toBe(true);
  });

  it('holds If-Match and If-None-Match: 409 VERSION_CONFLICT, and nothing changes', async () => {
    const first = expectStatus<Written>(await rest.put(path('cond'), { title: 'one' }, { 'if-none-match': '*' }), 201);
    expectProblem(await rest.put(path('cond'), { title: 'x' }, { 'if-none-match': '*' }), 'VERSION_CONFLICT');
    const second = expectStatus<Written>(
      await rest.put(path('cond'), { title: 'two' }, { 'if-match': `"${first.version}"` }),
      200,
    );
    expectProblem(
      await rest.put(path('cond'), { title: 'x' }, { 'if-match': `"${first.version}"` }),
      'VERSION_CONFLICT',
    );
    expect(expectStatus(await rest.get(path('cond')), 200)).toEqual(
      expect.objectContaining({ title: 'two', version: second.version }),
    );
    expectProblem(
      await rest.put(path('cond-not'), { title: 'x' }, { 'if-match': `"${first.version}"` }),
      'VERSION_CONFLICT',
    );
    expectProblem(await rest.get(path('cond-not')), 'DOCUMENT_NOT_FOUND');
  });

  it('lets If-None-Match create again what was deleted', async () => {
    const first = expectStatus<Written>(await rest.put(path('again'), { title: 'one' }), 201);
    expectStatus(await rest.delete(path('again')), 200);
    const second = expectStatus<Written>(
      await rest.put(path('again'), { title: 'two' }, { 'if-none-match': '*' }),
      201,
    );
    expect(second.created).toBe(true);
    expect(second.version > first.version).toBe(true);
  });

  it('lets exactly one of many writers with the same condition win', async () => {
    const { version } = expectStatus<Written>(await rest.put(path('race'), { title: 'start' }), 201);
    const answers = await Promise.all(
      Array.from({ length: 16 }, (_, i) => rest.put(path('race'), { title: `t${i}` }, { 'if-match': `"${version}"` })),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    for (const answer of answers) if (answer.status !== 200) expectProblem(answer, 'VERSION_CONFLICT');
    const winner = answers.findIndex(({ status }) => status === 200);
    expect(expectStatus(await rest.get(path('race')), 200)).toHaveProperty('title', `t${winner}`);
  });

  it.each([
    ['If-Match without quotes', { 'if-match': 'abc' }],
    ['If-None-Match of a version', { 'if-none-match': '"abc"' }],
    ['both conditions', { 'if-match': '"abc"', 'if-none-match': '*' }],
  ])('refuses %s', async (_, headers) => {
    expectProblem(
      await rest.put(path('bad-condition'), { title: 't' }, headers),
      'INVALID_REQUEST',
      /If-(None-)?Match/i,
    );
    expectProblem(await rest.get(path('bad-condition')), 'DOCUMENT_NOT_FOUND');
  });

  it('refuses an id in the body: the path names it', async () => {
    expectProblem(await rest.put(path('named'), { id: 'named', title: 't' }), 'INVALID_REQUEST', /id/);
  });
});

describe('patch', () => {
  it('merges as RFC 7386 says: null removes, objects merge, arrays and vectors replace', async () => {
    await rest.put(path('patched'), {
      title: 'old',
      content: 'stays',
      vector: [1, 2, 3],
      metadata: { a: { b: 1, c: 2 }, list: [1, 2], gone: 'x' },
    });
    const answer = await rest.patch(path('patched'), {
      title: 'new',
      vector: [3, 2, 1],
      metadata: { a: { c: null, d: 3 }, list: [9], gone: null, fresh: true },
    });
    expect(expectStatus(answer, 200)).toEqual({ id: 'patched', ...WRITTEN, created: false });
    const read = expectStatus(await rest.get(path('patched', '?withVector=1')), 200);
    expect(read).toEqual(
      expect.objectContaining({
        title: 'new',
        content: 'stays',
        vector: [3, 2, 1],
        metadata: { a: { b: 1, d: 3 }, list: [9], fresh: true },
      }),
    );
    expectStatus(await rest.patch(path('patched'), { title: null }), 200);
    expect(expectStatus(await rest.get(path('patched')), 200)).not.toHaveProperty('title');
  });

  it('changes what searches find', async () => {
    await rest.put(path('patched-text'), { content: 'marzipan', metadata: { patchedKind: 1 } });
    await rest.patch(path('patched-text'), { content: 'gingerbread', metadata: { patchedKind: 2 } });
    const search = async (text: string) =>
      expectStatus<{ results: { id: string }[] }>(
        await rest.post('/api/v1/search', { text, consistency: 'primary' }),
        200,
      ).results.map(({ id }) => id);
    expect(await search('marzipan')).toEqual([]);
    expect(await search('gingerbread')).toEqual(['patched-text']);
    expect(await count(rest, { must: [{ key: 'patchedKind', match: { value: 1 } }] })).toBe(0);
    expect(await count(rest, { must: [{ key: 'patchedKind', match: { value: 2 } }] })).toBe(1);
  });

  it('answers 404 for a document that is not there, and creates nothing', async () => {
    expectProblem(await rest.patch(path('absent'), { title: 't' }), 'DOCUMENT_NOT_FOUND');
    expectProblem(await rest.get(path('absent')), 'DOCUMENT_NOT_FOUND');
  });

  it('holds If-Match', async () => {
    const { version } = expectStatus<Written>(await rest.put(path('patch-cond'), { title: 'one' }), 201);
    expectStatus(await rest.patch(path('patch-cond'), { title: 'two' }, { 'if-match': `"${version}"` }), 200);
    expectProblem(
      await rest.patch(path('patch-cond'), { title: 'x' }, { 'if-match': `"${version}"` }),
      'VERSION_CONFLICT',
    );
    expect(expectStatus(await rest.get(path('patch-cond')), 200)).toHaveProperty('title', 'two');
  });

  it('loses no concurrent patch of different members', async () => {
    await rest.put(path('patch-race'), { metadata: {} });
    const patches = Array.from({ length: 20 }, (_, i) =>
      rest.patch(path('patch-race'), { metadata: { [`k${i}`]: i } }),
    );
    for (const answer of await Promise.all(patches)) expectStatus(answer, 200);
    const { metadata } = expectStatus<{ metadata: object }>(await rest.get(path('patch-race')), 200);
    expect(Object.keys(metadata)).toHaveLength(20);
  });
});

describe('delete', () => {
  it('answers 200 with the version of the deletion, then 404 for ever', async () => {
    const { version } = expectStatus<Written>(
      await rest.put(path('deleted'), { content: 'unicorn', vector: [9, 9, 9] }),
      201,
    );
    const answer = expectStatus<{ version: string }>(await rest.delete(path('deleted')), 200);
    expect(answer).toEqual(
      expect.objectContaining({ id: 'deleted', deleted: true, version: expect.stringMatching(/.+/) }),
    );
    expect(answer.version > version).toBe(true);
    expectProblem(await rest.get(path('deleted')), 'DOCUMENT_NOT_FOUND');
    expectProblem(await rest.delete(path('deleted')), 'DOCUMENT_NOT_FOUND');
    expectProblem(await rest.patch(path('deleted'), { title: 't' }), 'DOCUMENT_NOT_FOUND');
    const byText = await rest.post('/api/v1/search', { text: 'unicorn', consistency: 'primary' });
    expect(expectStatus(byText, 200)).toHaveProperty('results', []);
    const byVector = await rest.post('/api/v1/search', { vector: [9, 9, 9], topK: 100, consistency: 'primary' });
    const found = expectStatus<{ results: { id: string }[] }>(byVector, 200).results.map(({ id }) => id);
    expect(found).not.toContain('deleted');
  });

  it('holds If-Match', async () => {
    const { version } = expectStatus<Written>(await rest.put(path('delete-cond'), { title: 'one' }), 201);
    await rest.put(path('delete-cond'), { title: 'two' });
    expectProblem(await rest.delete(path('delete-cond'), { 'if-match': `"${version}"` }), 'VERSION_CONFLICT');
    expectStatus(await rest.get(path('delete-cond')), 200);
  });
});

describe('get, delete and count of many', () => {
  it('gets many: what is there, and what is missing', async () => {
    const name = await collection('many');
    await store(
      rest,
      [1, 2, 3].map((i) => ({ id: `m${i}`, title: `t${i}`, vector: [i, i] })),
      `?collection=${name}`,
    );
    const answer = await rest.post(`/api/v1/documents/get?collection=${name}`, { ids: ['m3', 'nope', 'm1'] });
    const body = expectStatus<{ documents: { id: string; version: string }[]; missing: string[] }>(answer, 200);
    expect(body.missing).toEqual(['nope']);
    expect(body.documents.map(({ id }) => id).sort()).toEqual(['m1', 'm3']);
    for (const document of body.documents) expect(document.version).toMatch(/.+/);
  });

  it('deletes many by ids, and says what it did not', async () => {
    const name = await collection('delete-many');
    await store(
      rest,
      [1, 2, 3].map((i) => ({ id: `m${i}`, title: 't' })),
      `?collection=${name}`,
    );
    const answer = await rest.post(`/api/v1/documents/delete?collection=${name}`, { ids: ['m1', 'nope', 'm2'] });
    const body = expectStatus<{ deleted: number; failed: number; errors: { id: string; code: string }[] }>(answer, 200);
    expect(body.deleted).toBe(2);
    expect(body.errors).toHaveLength(body.failed);
    for (const error of body.errors)
      expect(error).toEqual(expect.objectContaining({ id: 'nope', code: 'DOCUMENT_NOT_FOUND' }));
    expect((await everything(rest, name)).map(({ id }) => id)).toEqual(['m3']);
  });

  it('deletes by filter exactly what the filter counts', async () => {
    const name = await collection('delete-by-filter');
    const documents = Array.from({ length: 2_500 }, (_, i) => ({
      id: `d${i}`,
      title: 't',
      metadata: { even: i % 2 === 0 },
    }));
    await store(rest, documents, `?collection=${name}`);
    const filter = { must: [{ key: 'even', match: { value: true } }] };
    expect(await count(rest, filter, name)).toBe(1_250);
    const answer = await rest.post(`/api/v1/documents/delete?collection=${name}`, { filter });
    expect(expectStatus(answer, 200)).toEqual(expect.objectContaining({ deleted: 1_250, failed: 0, errors: [] }));
    expect(await count(rest, filter, name)).toBe(0);
    expect(await count(rest, undefined, name)).toBe(1_250);
  });

  it('wants ids or a filter, one of them, at most 1 000 ids', async () => {
    expectProblem(await rest.post('/api/v1/documents/delete', {}), 'INVALID_REQUEST', /ids|filter/);
    expectProblem(
      await rest.post('/api/v1/documents/delete', { ids: ['a'], filter: {} }),
      'INVALID_REQUEST',
      /ids|filter/,
    );
    const ids = Array.from({ length: 1_001 }, (_, i) => `i${i}`);
    for (const call of ['get', 'delete']) {
      const answer = await rest.post(`/api/v1/documents/${call}`, { ids });
      expectProblem(answer, ['LIMIT_EXCEEDED', 'INVALID_REQUEST'], /1.?000/);
    }
    expectStatus(await rest.post('/api/v1/documents/get', { ids: ids.slice(1) }), 200);
  });

  it('names the shards behind a count', async () => {
    const answer = await rest.post('/api/v1/documents/count', {});
    expect(expectStatus(answer, 200)).toEqual(
      expect.objectContaining({ count: expect.any(Number), shards: { total: 2, ok: 2, stale: [], failed: [] } }),
    );
  });
});

describe('scroll', () => {
  it('gives every document once, in the order (shard, id), page by page', async () => {
    const name = await collection('scrolled');
    const shardOf = new Map<string, number>();
    for (let i = 0; i < 60; i++) {
      const answer = await rest.put(path(`s-${i}`, `?collection=${name}`), { title: `t${i}` });
      shardOf.set(`s-${i}`, expectStatus<Written>(answer, 201).shard);
    }
    const ordered = [...shardOf.keys()].sort(
      (a, b) => (shardOf.get(a) ?? 0) - (shardOf.get(b) ?? 0) || (a < b ? -1 : 1),
    );
    for (const size of [1, 7, 60, 1_000]) {
      expect((await everything(rest, name, size)).map(({ id }) => id)).toEqual(ordered);
    }
  });

  it('filters, selects fields and ends with a null cursor', async () => {
    const name = await collection('scroll-fields');
    await store(
      rest,
      Array.from({ length: 10 }, (_, i) => ({
        id: `f${i}`,
        title: 't',
        content: 'c',
        vector: [1, i],
        metadata: { odd: i % 2 === 1 },
      })),
      `?collection=${name}`,
    );
    const scroll = async (body: object) =>
      expectStatus<{ documents: Record<string, unknown>[]; cursor: string | null; shards: object }>(
        await rest.post(`/api/v1/documents/scroll?collection=${name}`, body),
        200,
      );
    const odd = await scroll({ filter: { must: [{ key: 'odd', match: { value: true } }] } });
    expect(odd.documents.map(({ id }) => id).sort()).toEqual(['f1', 'f3', 'f5', 'f7', 'f9']);
    expect(odd.cursor).toBeNull();
    expect(odd.shards).toEqual({ total: 2, ok: 2, stale: [], failed: [] });
    const bare = await scroll({ withTitle: false, withMetadata: false, limit: 1 });
    expect(Object.keys(bare.documents[0]).sort()).toEqual(['id', 'version']);
    expect(bare.cursor).toEqual(expect.any(String));
    const whole = await scroll({ withContent: true, withVector: true, limit: 1 });
    expect(Object.keys(whole.documents[0]).sort()).toEqual(['content', 'id', 'metadata', 'title', 'vector', 'version']);
    expect((await scroll({ limit: 3 })).documents).toHaveLength(3);
    expectProblem(await rest.post('/api/v1/documents/scroll', { limit: 1_001 }), 'LIMIT_EXCEEDED', /1.?000/);
    expectProblem(
      await rest.post('/api/v1/documents/scroll', { limit: 0 }),
      ['INVALID_REQUEST', 'LIMIT_EXCEEDED'],
      /limit/,
    );
    expectProblem(await rest.post('/api/v1/documents/scroll', { cursor: 'no cursor' }), 'INVALID_REQUEST', /cursor/);
  });

  it('takes 100 a page without a limit', async () => {
    const name = await collection('scroll-default');
    await store(
      rest,
      Array.from({ length: 150 }, (_, i) => ({ id: `p${i}`, title: 't' })),
      `?collection=${name}`,
    );
    const page = await rest.post(`/api/v1/documents/scroll?collection=${name}`, {});
    expect(expectStatus<{ documents: unknown[] }>(page, 200).documents).toHaveLength(100);
  });

  it('goes on while documents around the cursor come and go', async () => {
    const name = await collection('scroll-live');
    await store(
      rest,
      Array.from({ length: 40 }, (_, i) => ({ id: `l${i}`, title: 't' })),
      `?collection=${name}`,
    );
    const seen = new Set<string>();
    let cursor: string | null = null;
    for (let page = 0; page === 0 || cursor !== null; page++) {
      const answer = await rest.post(`/api/v1/documents/scroll?collection=${name}`, {
        limit: 5,
        ...(cursor === null ? {} : { cursor }),
      });
      const body: { documents: { id: string }[]; cursor: string | null } = expectStatus(answer, 200);
      for (const { id } of body.documents) {
        expect(seen.has(id)).toBe(false);
        seen.add(id);
      }
      const last = body.documents.at(-1);
      if (last !== undefined) await rest.delete(path(last.id, `?collection=${name}`));
      ({ cursor } = body);
    }
    expect(seen.size).toBe(40);
  });
});

describe('idempotency keys', () => {
  it('executes a repeated write once and gives the stored result', async () => {
    const headers = { 'idempotency-key': 'key-1' };
    const first = expectStatus<Written>(await rest.post('/api/v1/ingest', { id: 'idem', title: 'one' }, headers), 201);
    expectStatus(await rest.put(path('idem'), { title: 'two' }), 200);
    const repeated = expectStatus<Written>(
      await rest.post('/api/v1/ingest', { id: 'idem', title: 'one' }, headers),
      201,
    );
    expect({ ...repeated, session: '', indexed: true }).toEqual({ ...first, session: '' });
    expect(expectStatus(await rest.get(path('idem')), 200)).toHaveProperty('title', 'two');
  });

  it('take the same metadata in another order for the same write', async () => {
    const headers = { 'idempotency-key': 'key-order' };
    const write = (metadata: object) => rest.put(path('idem-order'), { metadata }, headers);
    const first = expectStatus<Written>(await write({ a: 1, b: { c: 2, d: [{ e: 3, f: 4 }] } }), 201);
    const again = expectStatus<Written>(await write({ b: { d: [{ f: 4, e: 3 }], c: 2 }, a: 1 }), 201);
    expect(again.version).toBe(first.version);
    expectProblem(await write({ a: 1, b: { c: 2, d: [{ f: 3, e: 4 }] } }), 'IDEMPOTENCY_CONFLICT');
    const patch = (metadata: object) =>
      rest.patch(path('idem-order'), { metadata }, { 'idempotency-key': 'key-order-2' });
    const patched = expectStatus<Written>(await patch({ g: 1, h: 2 }), 200);
    expect(expectStatus<Written>(await patch({ h: 2, g: 1 }), 200).version).toBe(patched.version);
  });

  it('refuses another payload under the same key', async () => {
    const headers = { 'idempotency-key': 'key-2' };
    expectStatus(await rest.put(path('idem-2'), { title: 'one' }, headers), 201);
    expectProblem(await rest.put(path('idem-2'), { title: 'other' }, headers), 'IDEMPOTENCY_CONFLICT');
    expect(expectStatus(await rest.get(path('idem-2')), 200)).toHaveProperty('title', 'one');
  });

  it('are answered as at first where the document is another one by now', async () => {
    const put = (document: object) => rest.put(path('idem-now'), document);
    const once = (key: string) => rest.patch(path('idem-now'), { content: null }, { 'idempotency-key': key });
    expectStatus(await put({ title: 't', content: 'c' }), 201);
    const { version } = expectStatus<Written>(await once('key-now'), 200);
    expectStatus(await put({ content: 'n' }), 200);
    expect(expectStatus<Written>(await once('key-now'), 200).version).toBe(version);
    expectProblem(await once('key-now-2'), 'INVALID_REQUEST', /empty/);
    expect(expectStatus(await rest.get(path('idem-now')), 200)).toEqual(expect.objectContaining({ content: 'n' }));
  });

  it('works on patch, delete and bulk', async () => {
    await rest.put(path('idem-3'), { metadata: { n: 1 } });
    const patch = () => rest.patch(path('idem-3'), { metadata: { m: 1 } }, { 'idempotency-key': 'key-3' });
    const patched = expectStatus<Written>(await patch(), 200);
    expect(expectStatus<Written>(await patch(), 200)).toHaveProperty('version', patched.version);
    const remove = () => rest.delete(path('idem-3'), { 'idempotency-key': 'key-4' });
    const removed = expectStatus<{ version: string }>(await remove(), 200);
    expect(expectStatus(await remove(), 200)).toEqual(
      expect.objectContaining({ deleted: true, version: removed.version }),
    );

    const documents = [
      { id: 'idem-b1', title: 't' },
      { id: 'idem-b2', title: 't' },
    ];
    const bulk = () => rest.post('/api/v1/ingest/bulk', { documents }, { 'idempotency-key': 'key-5' });
    expectStatus(await bulk(), 201);
    const versions = async () =>
      Promise.all(documents.map(async ({ id }) => expectStatus<Written>(await rest.get(path(id)), 200).version));
    const before = await versions();
    expect(expectStatus(await bulk(), 201)).toEqual(expect.objectContaining({ total: 2, success: 2, failed: 0 }));
    expect(await versions()).toEqual(before);
  });

  it('executes once when the same write arrives many times at once', async () => {
    const write = () => rest.post('/api/v1/ingest', { id: 'idem-race', title: 't' }, { 'idempotency-key': 'key-race' });
    const answers = await Promise.all(Array.from({ length: 16 }, write));
    const versions = new Set(answers.map((answer) => expectStatus<Written>(answer, 201).version));
    expect(versions.size).toBe(1);
  });

  it('survives a restart', async () => {
    const headers = { 'idempotency-key': 'key-restart' };
    const first = expectStatus<Written>(await rest.put(path('idem-restart'), { title: 'one' }, headers), 201);
    await node.restart();
    ({ rest } = node);
    const again = expectStatus<Written>(await rest.put(path('idem-restart'), { title: 'one' }, headers), 200, 201);
    expect(again.version).toBe(first.version);
  });
});

describe('sessions', () => {
  it('gives a token with every answer and folds in the one it was given', async () => {
    const one = expectStatus<Written>(await rest.put(path('sess-1'), { content: 'sessionword' }), 201);
    const two = expectStatus<Written>(
      await rest.put(path('sess-2'), { content: 'sessionword' }, { 'spector-session': one.session }),
      201,
    );
    const answer = await rest.post('/api/v1/search', { text: 'sessionword', session: two.session });
    const body = expectStatus<{ results: { id: string }[]; session: string }>(answer, 200);
    expect(body.results.map(({ id }) => id).sort()).toEqual(['sess-1', 'sess-2']);
    expect(body.session).toMatch(/^[A-Za-z0-9_-]+$/);
    const byHeader = await rest.send('POST', '/api/v1/search', {
      json: { text: 'sessionword' },
      headers: { 'spector-session': body.session },
    });
    expect(expectStatus<{ results: unknown[] }>(byHeader, 200).results).toHaveLength(2);
    expectStatus(await rest.get(path('sess-1'), { headers: { 'spector-session': body.session } }), 200);
    for (const [call, json] of [
      ['get', { ids: ['sess-1'] }],
      ['scroll', {}],
      ['count', {}],
      ['delete', { ids: ['sess-2'] }],
    ] as const) {
      const { session } = await told(`/api/v1/documents/${call}`, { ...json, session: body.session });
      expect(session).toMatch(/^[A-Za-z0-9_-]+$/);
    }
  });

  /** The answer, which is good. */
  async function told(call: string, json: object): Promise<{ session?: string }> {
    return expectStatus(await rest.post(call, json), 200);
  }

  it('is met by every read, unless that says `any` outright', async () => {
    expectStatus(await rest.put(path('sess-ahead'), { content: 'aheadword' }), 201);
    const { clusterId } = expectStatus<{ clusterId: string }>(await rest.get('/api/v1/status'), 200);
    const never = { epoch: 1, reign: 0, offset: 1_000_000 };
    const positions = [0, 1].map((shard) => [shard, never] as const);
    const session = encodePositions(new Map(positions), clusterTag(clusterId));
    const headers = { 'spector-session': session };
    for (const consistency of [undefined, 'any'] as const) {
      const query = consistency === undefined ? '' : `?consistency=${consistency}`;
      const answers = await Promise.all([
        rest.post('/api/v1/search', { text: 'aheadword', session, consistency }),
        rest.get(path('sess-ahead', query), { headers }),
        rest.post(`/api/v1/documents/get${query}`, { ids: ['sess-ahead'], session }),
        rest.post(`/api/v1/documents/scroll${query}`, { limit: 1, session }),
        rest.post(`/api/v1/documents/count${query}`, { session }),
      ]);
      for (const answer of answers)
        if (consistency === undefined) expectProblem(answer, 'NOT_CAUGHT_UP');
        else expect(expectStatus<{ session: string }>(answer, 200).session).toBe(session);
    }
  });

  it('refuses a token that is none', async () => {
    expectProblem(await rest.post('/api/v1/search', { text: 'x', session: '***' }), 'INVALID_REQUEST', /session/i);
    expectProblem(
      await rest.get(path('sess-1'), { headers: { 'spector-session': 'AAAA' } }),
      'INVALID_REQUEST',
      /session/i,
    );
  });
});

describe('write consistency', () => {
  it.each(['auto', 'one', 'quorum', 'all'])('%s is met by the only copy there is', async (consistency) => {
    const answer = await rest.put(path(`level-${consistency}`, `?consistency=${consistency}`), { title: 't' });
    expect(expectStatus<Written>(answer, 201).durable).toBe(1);
  });

  it('refuses any other', async () => {
    expectProblem(await rest.put(path('level', '?consistency=two'), { title: 't' }), 'INVALID_REQUEST', /consistency/);
    expectProblem(await rest.get(path('level')), 'DOCUMENT_NOT_FOUND');
  });
});

describe('limits of one document', () => {
  it('stores what is just inside them', async () => {
    const name = await collection('limits');
    const inside = [
      { id: 'big-text', content: 'word '.repeat(180_000) },
      { id: 'wide', metadata: { text: 'x'.repeat(64 * 1024 - 11) } },
      { id: 'deep', metadata: nested(16) },
      { id: 'long', vector: Array.from({ length: 4_096 }, (_, i) => i) },
    ];
    for (const { id, ...fields } of inside) {
      expectStatus(await rest.put(path(id, `?collection=${name}`), fields), 201);
    }
    const read = expectStatus(await rest.get(path('deep', `?collection=${name}`)), 200);
    expect(read).toHaveProperty('metadata', nested(16));
  });

  it.each([
    ['a document over 1 MiB', { content: 'x'.repeat(1_048_577) }, ['PAYLOAD_TOO_LARGE'], /MiB|bytes/],
    ['metadata over 64 KiB', { metadata: { text: 'x'.repeat(64 * 1024) } }, ['LIMIT_EXCEEDED'], /metadata/],
    ['metadata deeper than 16', { metadata: nested(17) }, ['LIMIT_EXCEEDED'], /16/],
    ['more than 4 096 dimensions', { vector: new Array(4_097).fill(1) }, ['LIMIT_EXCEEDED'], /4.?096/],
  ])('refuses %s', async (_, fields, codes, detail) => {
    const name = 'limits-refused';
    await rest.put(`/api/v1/collections/${name}`, {});
    expectProblem(await rest.put(path('over', `?collection=${name}`), fields), codes, detail);
    expect(await count(rest, undefined, name)).toBe(0);
  });

  it('counts no key of a document that was refused, or that nobody has any more', async () => {
    const name = await collection('keys-back');
    const query = `?collection=${name}`;
    const keys = Object.fromEntries(Array.from({ length: 256 }, (_, i) => [`key${i}`, i]));
    expectProblem(await rest.put(path('a', query), { metadata: keys }, { 'if-match': '"none"' }), 'VERSION_CONFLICT');
    expectStatus(await rest.put(path('a', query), { metadata: { first: 1 } }), 201);
    expectProblem(await rest.put(path('b', query), { metadata: keys }), 'LIMIT_EXCEEDED');
    expectStatus(await rest.delete(path('a', query)), 200);
    const again = () => rest.put(path('b', query), { metadata: keys });
    await waitFor('the key to be given back', async () => (await again()).status === 201, 10_000);
  });

  it('refuses the 257th filterable key of a collection, and only that', async () => {
    const name = await collection('keys');
    const keys = (from: number, to: number) =>
      Object.fromEntries(Array.from({ length: to - from }, (_, i) => [`key${from + i}`, from + i]));
    expectStatus(await rest.put(path('first', `?collection=${name}`), { metadata: keys(0, 200) }), 201);
    expectStatus(await rest.put(path('second', `?collection=${name}`), { metadata: keys(100, 256) }), 201);
    expectProblem(
      await rest.put(path('third', `?collection=${name}`), { metadata: { one: 1 } }),
      'LIMIT_EXCEEDED',
      /256/,
    );
    expectStatus(await rest.put(path('fourth', `?collection=${name}`), { metadata: keys(250, 256) }), 201);
    expect(await count(rest, undefined, name)).toBe(3);
  });
});

/** An object of `depth` levels. */
function nested(depth: number): object {
  let value: object = { leaf: 1 };
  for (let level = 1; level < depth; level++) value = { inner: value };
  return value;
}
