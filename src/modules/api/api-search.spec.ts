import { describe, expect, it } from '@jest/globals';
import { refused, RestCalls, until } from '../../../test/contract/rest-calls.js';

const rest = new RestCalls();
const { call, search, ingest } = rest;

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
    expect(rest.edge.node.searches.at(-1)).toEqual({
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
    expect(rest.edge.node.searches.at(-1)).toMatchObject({
      mode: 'VECTOR',
      topK: 3,
      offset: 5,
      ef: 300,
      exact: true,
      legSize: 70,
      fusion,
      consistency: 'session',
    });
    expect(rest.edge.node.calls.at(-1)).toMatchObject({ timeoutMs: 50, session: 'abc' });
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
    expect(rest.edge.logged.some((line) => line.includes(String(body.instance)) && line.includes('secret'))).toBe(true);
  });

  it('aborts when the client goes away', async () => {
    const leave = new AbortController();
    const calls = rest.edge.node.calls.length;
    const answer = fetch(`${rest.edge.url}/api/v1/search`, {
      method: 'POST',
      signal: leave.signal,
      headers: { 'content-type': 'application/json' },
      body: '{"text":"wait"}',
    });
    answer.catch(() => undefined);
    await until(() => rest.edge.node.calls.length > calls);
    const { signal } = rest.edge.node.calls.at(-1) ?? { signal: AbortSignal.abort() };
    expect(signal.aborted).toBe(false);
    leave.abort();
    await until(() => signal.aborted);
  });
});
