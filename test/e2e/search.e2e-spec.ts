import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { corpus, store } from './support/documents.js';
import type { TestNode } from './support/node.js';
import { startNode, withNode } from './support/node.js';
import type { OracleDocument, Scored, Similarity } from './support/oracle.js';
import { keywordLeg, legSize, ranked, relative, rrf, similarity, valuesAt, vectorLeg } from './support/oracle.js';
import { expectProblem, expectStatus } from './support/problem.js';
import { Random } from './support/random.js';
import type { Rest } from './support/rest.js';

interface Hit {
  readonly id: string;
  readonly score: number;
  readonly version: string;
  readonly ranks: { readonly vector?: number; readonly keyword?: number };
  readonly [field: string]: unknown;
}

interface Found {
  readonly results: readonly Hit[];
  readonly totalHits: number;
  readonly queryTimeMs: number;
  readonly mode: string;
  readonly fusion: unknown;
  readonly partial: boolean;
  readonly shards: unknown;
  readonly coverage: number;
  readonly mapEpoch: number;
  readonly session: string;
  readonly [field: string]: unknown;
}

const DIMENSIONS = 16;
const DOCUMENTS = corpus(7, 600, DIMENSIONS);
const QUERY = new Random(99).vector(DIMENSIONS);
const TEXT = 'river copper pepper saffron';
const PRIMARY = { consistency: 'primary' };

let node: TestNode;
let rest: Rest;

beforeAll(async () => {
  node = await startNode();
  ({ rest } = node);
  await store(rest, DOCUMENTS);
});
afterAll(() => node.dispose());

async function search(body: object, on: Rest = rest): Promise<Found> {
  return expectStatus<Found>(await on.post('/api/v1/search', { ...PRIMARY, ...body }), 200);
}

const idsOf = (found: Found): string[] => found.results.map(({ id }) => id);

/** The same ids in the same order, scores equal to twelve digits. */
function expectRanking(found: Found, expected: readonly Scored[]): void {
  expect(idsOf(found)).toEqual(expected.map(({ id }) => id));
  found.results.forEach(({ score }, i) => {
    expect(Math.abs(score - expected[i].score)).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(expected[i].score)));
  });
}

/** A collection of its own, filled. */
async function filled(name: string, documents: readonly object[], settings: object = {}): Promise<string> {
  expectStatus(await rest.put(`/api/v1/collections/${name}`, settings), 201);
  await store(rest, documents, `?collection=${name}`);
  return name;
}

describe('modes and defaults', () => {
  it.each([
    [{ text: TEXT, vector: QUERY }, 'HYBRID'],
    [{ vector: QUERY }, 'VECTOR'],
    [{ text: TEXT }, 'KEYWORD'],
    [{ text: TEXT, vector: QUERY, mode: 'HYBRID' }, 'HYBRID'],
    [{ vector: QUERY, mode: 'VECTOR' }, 'VECTOR'],
    [{ text: TEXT, mode: 'KEYWORD' }, 'KEYWORD'],
  ])('of %j', async (body, mode) => {
    const found = await search(body);
    expect(found.mode).toBe(mode);
    expect(found.results).toHaveLength(10);
    expect(Object.keys(found).sort()).toEqual([
      'coverage',
      'fusion',
      'mapEpoch',
      'mode',
      'partial',
      'queryTimeMs',
      'results',
      'session',
      'shards',
      'totalHits',
    ]);
    expect(found).toEqual(
      expect.objectContaining({
        totalHits: 10,
        queryTimeMs: expect.any(Number),
        partial: false,
        shards: { total: 2, ok: 2, stale: [], failed: [] },
        coverage: 1,
        mapEpoch: expect.any(Number),
        session: expect.stringMatching(/^[A-Za-z0-9_-]+$/),
      }),
    );
    const legs = mode === 'HYBRID' ? ['keyword', 'vector'] : [mode.toLowerCase()];
    for (const hit of found.results) {
      expect(hit).toEqual(
        expect.objectContaining({ id: expect.any(String), score: expect.any(Number), version: expect.any(String) }),
      );
      for (const leg of Object.keys(hit.ranks)) expect(legs).toContain(leg);
      expect(Object.keys(hit.ranks).length).toBeGreaterThan(0);
    }
    if (mode === 'HYBRID') expect(found.fusion).toEqual(expect.objectContaining({ method: 'rrf', k: 60 }));
  });

  it.each([
    ['neither text nor vector', {}],
    ['KEYWORD without text', { mode: 'KEYWORD', vector: QUERY }],
    ['VECTOR without vector', { mode: 'VECTOR', text: TEXT }],
    ['HYBRID without text', { mode: 'HYBRID', vector: QUERY }],
    ['HYBRID without vector', { mode: 'HYBRID', text: TEXT }],
    ['a vector that KEYWORD ignores', { mode: 'KEYWORD', text: TEXT, vector: QUERY }],
    ['a text that VECTOR ignores', { mode: 'VECTOR', text: TEXT, vector: QUERY }],
    ['another mode', { mode: 'FUZZY', text: TEXT }],
    ['a mode in lower case', { mode: 'keyword', text: TEXT }],
  ])('%s is a 400', async (_, body) => {
    expectProblem(await rest.post('/api/v1/search', body), 'INVALID_REQUEST', /text|vector|mode/);
  });

  it('takes limit and k for topK, and refuses two of them', async () => {
    for (const name of ['topK', 'limit', 'k'])
      expect((await search({ vector: QUERY, [name]: 3 })).results).toHaveLength(3);
    for (const pair of [
      { topK: 3, k: 3 },
      { limit: 3, k: 4 },
      { topK: 1, limit: 1, k: 1 },
    ]) {
      expectProblem(
        await rest.post('/api/v1/search', { vector: QUERY, ...pair }),
        'INVALID_REQUEST',
        /topK|limit|\bk\b/,
      );
    }
  });

  it('gives title and metadata, and content and vector only when asked', async () => {
    const byDefault = await search({ text: TEXT, vector: QUERY, topK: 5 });
    for (const hit of byDefault.results) {
      expect(hit).toHaveProperty('title');
      expect(hit).toHaveProperty('metadata');
      expect(hit).not.toHaveProperty('content');
      expect(hit).not.toHaveProperty('vector');
    }
    const all = await search({ vector: QUERY, topK: 5, withContent: true, withVector: true });
    for (const hit of all.results) {
      const { id: _id, ...fields } = DOCUMENTS.find(({ id }) => id === hit.id) ?? { id: '' };
      expect(hit).toEqual(expect.objectContaining(fields));
    }
    const none = await search({ vector: QUERY, topK: 5, withTitle: false, withMetadata: false });
    for (const hit of none.results) expect(Object.keys(hit).sort()).toEqual(['id', 'ranks', 'score', 'version']);
  });

  it('gives the version that get gives', async () => {
    const [hit] = (await search({ vector: QUERY, topK: 1 })).results;
    expect(expectStatus(await rest.get(`/api/v1/documents/${hit.id}`), 200)).toHaveProperty('version', hit.version);
  });

  it('finds nothing for a text of stop words or of words nobody wrote', async () => {
    for (const text of ['the and of', 'zzyzx', '!?…']) {
      const answer = await rest.post('/api/v1/search', { text });
      if (answer.status === 400) expectProblem(answer, 'INVALID_REQUEST', /text/);
      else expect(expectStatus<Found>(answer, 200).results).toEqual([]);
    }
    expect((await search({ text: 'zzyzx' })).results).toEqual([]);
  });

  it('answers 404 to a collection that is not there', async () => {
    expectProblem(
      await rest.post('/api/v1/search', { text: 'x', collection: 'nowhere' }),
      'COLLECTION_NOT_FOUND',
      /nowhere/,
    );
  });

  it('answers a timeout that is up with QUERY_TIMEOUT or in time', async () => {
    const answer = await rest.post('/api/v1/search', { text: TEXT, vector: QUERY, timeoutMs: 1, topK: 500 });
    if (answer.status === 200) expect(answer.json<Found>().partial).toBe(answer.json<Found>().coverage < 1);
    else expectProblem(answer, 'QUERY_TIMEOUT');
    expectProblem(await rest.post('/api/v1/search', { text: TEXT, timeoutMs: 0 }), 'INVALID_REQUEST', /timeoutMs/);
  });

  it('checks minCoverage', async () => {
    expect((await search({ text: TEXT, minCoverage: 1 })).coverage).toBe(1);
    expectProblem(
      await rest.post('/api/v1/search', { text: TEXT, minCoverage: 1.5 }),
      'INVALID_REQUEST',
      /minCoverage/,
    );
  });
});

describe('scores', () => {
  it('of VECTOR are the similarity, recomputed, the same for the index and for exact', async () => {
    const exact = await search({ vector: QUERY, topK: 20, params: { exact: true } });
    expectRanking(exact, vectorLeg(DOCUMENTS, QUERY, 'cosine').slice(0, 20));
    const indexed = await search({ vector: QUERY, topK: 20, params: { ef: 600 } });
    expect(indexed.results.map(({ id, score }) => [id, score])).toEqual(
      exact.results.map(({ id, score }) => [id, score]),
    );
    exact.results.forEach(({ ranks }, i) => expect(ranks).toEqual({ vector: i + 1 }));
  });

  it.each<[Similarity]>([['cosine'], ['dot'], ['euclidean']])('of %s are as defined', async (kind) => {
    const documents = corpus(11, 200, 8);
    const name = await filled(`similar-${kind}`, documents, { similarity: kind, dimensions: 8 });
    const query = new Random(5).vector(8);
    for (const params of [{ exact: true }, { ef: 400 }]) {
      const found = await search({ vector: query, topK: 15, collection: name, params });
      expectRanking(found, vectorLeg(documents, query, kind).slice(0, 15));
    }
    const self = documents[0].vector ?? [];
    const [best] = (await search({ vector: self, topK: 1, collection: name, params: { exact: true } })).results;
    if (kind === 'euclidean') expect(best).toEqual(expect.objectContaining({ id: 'doc-0', score: 1 }));
    if (kind === 'cosine') expect(best.score).toBeCloseTo(1, 12);
    expect(best.score).toBeCloseTo(similarity(kind, self, documents.find(({ id }) => id === best.id)?.vector ?? []), 9);
  });

  it('of KEYWORD are BM25 over title and content, with statistics of all shards', async () => {
    const found = await search({ text: TEXT, topK: 30 });
    expectRanking(found, keywordLeg(DOCUMENTS, TEXT).slice(0, 30));
    found.results.forEach(({ ranks }, i) => expect(ranks).toEqual({ keyword: i + 1 }));
    expectRanking(
      await search({ text: TEXT, topK: 30, params: { exact: true } }),
      keywordLeg(DOCUMENTS, TEXT).slice(0, 30),
    );
  });

  it('of KEYWORD keep to the tokenizer that is documented', async () => {
    const documents = [
      { id: 'case', content: 'HARBOUR harbour Harbour' },
      { id: 'joined', content: 'harbour-master harbour_light' },
      { id: 'digits', content: 'route 66 and 7' },
      { id: 'stemmed', content: 'harbours' },
      { id: 'title', title: 'harbour' },
      { id: 'accents', content: 'château über Ñandú' },
      { id: 'stop', content: 'the of and to' },
    ];
    const name = await filled('tokens', documents);
    const find = async (text: string) => idsOf(await search({ text, collection: name, topK: 20 })).sort();
    expect(await find('harbour')).toEqual(['case', 'joined', 'title']);
    expect(await find('HARBOURS')).toEqual(['stemmed']);
    expect(await find('master')).toEqual(['joined']);
    expect(await find('66')).toEqual(['digits']);
    expect(await find('7')).toEqual([]); // one character
    expect(await find('ÑANDÚ')).toEqual(['accents']);
    expect(await find('the harbour')).toEqual(['case', 'joined', 'title']);
  });

  it('of KEYWORD follow updates and deletions at once', async () => {
    const name = await filled('keyword-live', [
      { id: 'a', content: 'apple banana' },
      { id: 'b', content: 'apple apple' },
      { id: 'c', content: 'cherry' },
    ]);
    const put = (id: string, content: string) => rest.put(`/api/v1/documents/${id}?collection=${name}`, { content });
    expectStatus(await put('b', 'cherry cherry'), 200);
    expectStatus(await rest.delete(`/api/v1/documents/c?collection=${name}`), 200);
    const live = [
      { id: 'a', content: 'apple banana' },
      { id: 'b', content: 'cherry cherry' },
    ];
    for (const text of ['apple', 'cherry', 'apple cherry banana']) {
      expectRanking(await search({ text, collection: name }), keywordLeg(live, text));
    }
  });

  it('of documents without text or without vector stay out of the leg they have nothing for', async () => {
    const byText = await search({ text: TEXT, topK: 600, withContent: true });
    for (const hit of byText.results) expect(hit).toHaveProperty('content');
    const byVector = await search({ vector: QUERY, topK: 600, params: { exact: true } });
    expect(byVector.results).toHaveLength(DOCUMENTS.filter(({ vector }) => vector !== undefined).length);
  });
});

describe('fusion', () => {
  const legs = (topK: number, offset = 0): [Scored[], Scored[]] => [
    vectorLeg(DOCUMENTS, QUERY, 'cosine').slice(0, legSize(topK, offset)),
    keywordLeg(DOCUMENTS, TEXT).slice(0, legSize(topK, offset)),
  ];
  const hybrid = (body: object) => search({ text: TEXT, vector: QUERY, params: { exact: true }, ...body });

  it('is reciprocal rank fusion with k 60 of legs of max(2·(offset + topK), 50)', async () => {
    for (const [topK, offset] of [
      [10, 0],
      [40, 0],
      [10, 30],
    ]) {
      const found = await hybrid({ topK, offset });
      expectRanking(found, rrf(...legs(topK, offset)).slice(offset, offset + topK));
    }
  });

  it('says the rank of each result in each leg', async () => {
    const [vector, keyword] = legs(10);
    for (const { id, ranks } of (await hybrid({ topK: 10 })).results) {
      const rank = (leg: readonly Scored[]) => leg.findIndex((scored) => scored.id === id) + 1;
      expect(ranks).toEqual({
        ...(rank(vector) > 0 ? { vector: rank(vector) } : {}),
        ...(rank(keyword) > 0 ? { keyword: rank(keyword) } : {}),
      });
    }
  });

  it('takes k and weights, and says them', async () => {
    const fusion = { method: 'rrf', k: 10, weights: { vector: 0.3, keyword: 2 } };
    const found = await hybrid({ topK: 20, fusion });
    expect(found.fusion).toEqual(fusion);
    expectRanking(found, rrf(...legs(20), { k: 10, weights: { vector: 0.3, keyword: 2 } }).slice(0, 20));
  });

  it.each([0, 0.25, 0.5, 1])('by relative scores with alpha %d', async (alpha) => {
    const found = await hybrid({ topK: 20, fusion: { method: 'relative', alpha } });
    expect(found.fusion).toEqual({ method: 'relative', alpha });
    expectRanking(found, relative(...legs(20), alpha).slice(0, 20));
  });

  it('takes legSize', async () => {
    const found = await hybrid({ topK: 5, params: { exact: true, legSize: 7 } });
    const [vector, keyword] = [
      vectorLeg(DOCUMENTS, QUERY, 'cosine').slice(0, 7),
      keywordLeg(DOCUMENTS, TEXT).slice(0, 7),
    ];
    expectRanking(found, rrf(vector, keyword).slice(0, 5));
  });

  it.each([
    ['another method', { method: 'sum' }],
    ['no method', { k: 60 }],
    ['alpha above 1', { method: 'relative', alpha: 1.1 }],
    ['a negative weight', { method: 'rrf', weights: { vector: -1 } }],
    ['an unknown field', { method: 'rrf', beta: 1 }],
  ])('refuses %s', async (_, fusion) => {
    expectProblem(
      await rest.post('/api/v1/search', { text: TEXT, vector: QUERY, fusion }),
      'INVALID_REQUEST',
      /fusion|method|alpha|weights|beta/,
    );
  });
});

describe('pages and ties', () => {
  it.each([
    ['VECTOR', { vector: QUERY }],
    ['KEYWORD', { text: TEXT }],
  ])('pages of %s join into the whole list', async (_, query) => {
    const whole = idsOf(await search({ ...query, topK: 100, params: { exact: true } }));
    const pages: string[] = [];
    for (let offset = 0; offset < 100; offset += 20) {
      pages.push(...idsOf(await search({ ...query, topK: 20, offset, params: { exact: true } })));
    }
    expect(pages).toEqual(whole);
  });

  it('ends where the results end: totalHits counts this answer', async () => {
    const all = keywordLeg(DOCUMENTS, 'saffron').length;
    const found = await search({ text: 'saffron', topK: 10, offset: all - 3 });
    expect([found.results.length, found.totalHits]).toEqual([3, 3]);
    const beyond = await search({ text: 'saffron', offset: all + 100 });
    expect([beyond.results, beyond.totalHits]).toEqual([[], 0]);
  });

  it('breaks ties by id, over shards and pages', async () => {
    const documents = Array.from({ length: 120 }, (_, i) => ({
      id: `tie-${i}`,
      content: 'same words',
      vector: [1, 2, 3],
    }));
    const name = await filled('ties', documents);
    const sorted = ranked(documents.map(({ id }) => ({ id, score: 0 }))).map(({ id }) => id);
    for (const query of [{ vector: [1, 2, 3] }, { text: 'same words' }, { vector: [1, 2, 3], text: 'same words' }]) {
      const found = await search({ ...query, collection: name, topK: 120, params: { exact: true } });
      expect(idsOf(found)).toEqual(sorted);
      const page = await search({ ...query, collection: name, topK: 10, offset: 50, params: { exact: true } });
      expect(idsOf(page)).toEqual(sorted.slice(50, 60));
    }
  });
});

describe('filters', () => {
  type Passes = (document: OracleDocument) => boolean;
  const values = (document: OracleDocument, key: string): unknown[] => valuesAt(document.metadata, key);
  const numberOf = (document: OracleDocument): number => document.metadata?.number as number;

  const CASES: readonly (readonly [string, object, Passes])[] = [
    [
      'match a string',
      { must: [{ key: 'group', match: { value: 'fizz' } }] },
      (d) => values(d, 'group').includes('fizz'),
    ],
    ['match a number', { must: [{ key: 'number', match: { value: 42 } }] }, (d) => numberOf(d) === 42],
    ['numbers are not strings', { must: [{ key: 'number', match: { value: '42' } }] }, () => false],
    [
      'match a boolean',
      { must: [{ key: 'deep.even', match: { value: true } }] },
      (d) => values(d, 'deep.even')[0] === true,
    ],
    ['match null', { must: [{ key: 'rare', match: { value: null } }] }, (d) => numberOf(d) % 6 === 0],
    [
      'match any of some',
      { must: [{ key: 'deep.level', match: { any: [1, 3, '4'] } }] },
      (d) => [1, 3].includes(values(d, 'deep.level')[0] as number),
    ],
    [
      'match an element of an array',
      { must: [{ key: 'tags', match: { value: 't2' } }] },
      (d) => values(d, 'tags').includes('t2'),
    ],
    [
      'a range of numbers',
      { must: [{ key: 'number', range: { gte: 100, lt: 110 } }] },
      (d) => numberOf(d) >= 100 && numberOf(d) < 110,
    ],
    ['an open range', { must: [{ key: 'number', range: { gt: 590 } }] }, (d) => numberOf(d) > 590],
    ['a range up to', { must: [{ key: 'number', range: { lte: 3 } }] }, (d) => numberOf(d) <= 3],
    [
      'a range of dates as text',
      { must: [{ key: 'day', range: { gte: '2024-03-01', lt: '2024-06-01' } }] },
      (d) => {
        const day = d.metadata?.day as string;
        return day >= '2024-03-01' && day < '2024-06-01';
      },
    ],
    ['a range of text over numbers', { must: [{ key: 'number', range: { gte: '0' } }] }, () => false],
    ['exists', { must: [{ key: 'rare', exists: true }] }, (d) => numberOf(d) % 6 === 0],
    ['exists of an object', { must: [{ key: 'deep', exists: true }] }, () => true],
    ['exists of nothing', { must: [{ key: 'deep.nothing', exists: true }] }, () => false],
    ['ids', { must: [{ ids: ['doc-1', 'doc-7', 'doc-404404'] }] }, (d) => ['doc-1', 'doc-7'].includes(d.id)],
    [
      'must_not',
      { must_not: [{ key: 'group', match: { value: 'fizz' } }] },
      (d) => !values(d, 'group').includes('fizz'),
    ],
    [
      'must and must_not',
      { must: [{ key: 'deep.even', match: { value: true } }], must_not: [{ key: 'tags', match: { value: 't0' } }] },
      (d) => numberOf(d) % 2 === 0 && numberOf(d) % 4 !== 0,
    ],
    [
      'should alone needs one',
      {
        should: [
          { key: 'number', match: { value: 5 } },
          { key: 'number', match: { value: 6 } },
        ],
      },
      (d) => [5, 6].includes(numberOf(d)),
    ],
    [
      'should beside must_not needs one',
      { should: [{ key: 'tags', match: { value: 't1' } }], must_not: [{ key: 'deep.even', match: { value: true } }] },
      (d) => numberOf(d) % 4 === 1,
    ],
    [
      'nested',
      {
        must: [
          {
            should: [
              { key: 'number', range: { lt: 10 } },
              {
                must: [
                  { key: 'number', range: { gte: 590 } },
                  { key: 'deep.even', match: { value: true } },
                ],
              },
            ],
          },
        ],
      },
      (d) => numberOf(d) < 10 || (numberOf(d) >= 590 && numberOf(d) % 2 === 0),
    ],
    ['nothing at all', {}, () => true],
  ];

  it.each(CASES)('%s', async (_, filter, passes) => {
    const matching = DOCUMENTS.filter(passes);
    const answer = await rest.post('/api/v1/documents/count', { filter });
    expect(expectStatus(answer, 200)).toHaveProperty('count', matching.length);
    const found = await search({ vector: QUERY, filter, topK: 25, params: { exact: true } });
    expectRanking(found, vectorLeg(matching, QUERY, 'cosine').slice(0, 25));
    const indexed = await search({ vector: QUERY, filter, topK: 25, params: { ef: 600 } });
    expectRanking(indexed, vectorLeg(matching, QUERY, 'cosine').slice(0, 25));
    const byText = await search({ text: TEXT, filter, topK: 25 });
    expectRanking(byText, keywordLeg(DOCUMENTS, TEXT, passes).slice(0, 25));
  });

  it('holds in both legs of a hybrid search', async () => {
    const filter = { must: [{ key: 'group', match: { value: 'fizz' } }] };
    const passes: Passes = (document) => document.metadata?.group === 'fizz';
    const found = await search({ text: TEXT, vector: QUERY, filter, topK: 20, params: { exact: true } });
    const vector = vectorLeg(DOCUMENTS.filter(passes), QUERY, 'cosine').slice(0, 50);
    expectRanking(found, rrf(vector, keywordLeg(DOCUMENTS, TEXT, passes).slice(0, 50)).slice(0, 20));
  });

  it('reaches into arrays of objects and follows patches', async () => {
    const name = await filled('filter-deep', [
      {
        id: 'a',
        metadata: {
          items: [
            { sku: 'x', n: 1 },
            { sku: 'y', n: 2 },
          ],
        },
      },
      { id: 'b', metadata: { items: [{ sku: 'z', n: 3 }] } },
    ]);
    const find = async (filter: object) => {
      const answer = await rest.post(`/api/v1/documents/scroll?collection=${name}`, { filter });
      return expectStatus<{ documents: { id: string }[] }>(answer, 200)
        .documents.map(({ id }) => id)
        .sort();
    };
    expect(await find({ must: [{ key: 'items.sku', match: { value: 'y' } }] })).toEqual(['a']);
    expect(await find({ must: [{ key: 'items.n', range: { gte: 2 } }] })).toEqual(['a', 'b']);
    await rest.patch(`/api/v1/documents/a?collection=${name}`, { metadata: { items: [] } });
    expect(await find({ must: [{ key: 'items.sku', exists: true }] })).toEqual(['b']);
  });
});

describe('explain', () => {
  it('takes a score apart into what adds up to it', async () => {
    const found = await search({ text: TEXT, vector: QUERY, explain: true, params: { exact: true } });
    expect(found).toHaveProperty('explain');
    for (const hit of found.results) {
      const explanation = hit.explanation as Record<
        'vector' | 'keyword',
        { score: number; contribution: number; terms?: { score: number }[] } | undefined
      >;
      const parts = [explanation.vector, explanation.keyword].flatMap((part) => (part === undefined ? [] : [part]));
      expect(parts.reduce((sum, { contribution }) => sum + contribution, 0)).toBeCloseTo(hit.score, 12);
      const { keyword } = explanation;
      if (keyword !== undefined) {
        expect(keyword.terms?.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(keyword.score, 9);
      }
    }
    expect(await search({ vector: QUERY })).not.toHaveProperty('explain');
  });
});

describe('exact answers', () => {
  const QUERIES: readonly object[] = [
    { vector: QUERY, topK: 50 },
    { text: TEXT, topK: 50 },
    { text: TEXT, vector: QUERY, topK: 50 },
    { text: TEXT, vector: QUERY, topK: 20, offset: 15, fusion: { method: 'relative', alpha: 0.4 } },
    { text: 'garden winter', topK: 50, filter: { must: [{ key: 'number', range: { lt: 300 } }] } },
    { vector: QUERY, topK: 50, filter: { must: [{ key: 'deep.level', match: { value: 2 } }] } },
  ];

  it.each([1, 4, 9])('with %d shards are those of 2 and of brute force', async (shards) => {
    await withNode({ args: ['--shard-count', String(shards)] }, async (other) => {
      // Some are written twice and some deleted, so that what is dead must not count.
      await store(
        other.rest,
        DOCUMENTS.map((document) => ({ ...document, content: 'replaced river river' })),
      );
      await store(other.rest, [{ id: 'gone', content: TEXT, vector: QUERY }]);
      await store(other.rest, DOCUMENTS);
      expectStatus(await other.rest.delete('/api/v1/documents/gone'), 200);
      for (const query of QUERIES) {
        const body = { ...query, params: { exact: true } };
        const [here, there] = [await search(body), await search(body, other.rest)];
        expect(there.shards).toEqual({ total: shards, ok: shards, stale: [], failed: [] });
        expect(there.results.map(({ id, score, ranks }) => ({ id, score, ranks }))).toEqual(
          here.results.map(({ id, score, ranks }) => ({ id, score, ranks })),
        );
      }
      expectRanking(
        await search({ ...QUERIES[0], params: { exact: true } }, other.rest),
        vectorLeg(DOCUMENTS, QUERY, 'cosine').slice(0, 50),
      );
      expectRanking(
        await search({ ...QUERIES[1], params: { exact: true } }, other.rest),
        keywordLeg(DOCUMENTS, TEXT).slice(0, 50),
      );
      // Without `exact` keyword answers are exact too, and at this size the graph finds what the scan finds.
      const indexed = await search({ text: TEXT, vector: QUERY, topK: 50, params: { ef: 1_000 } }, other.rest);
      const scanned = await search({ text: TEXT, vector: QUERY, topK: 50, params: { exact: true } });
      expect(idsOf(indexed)).toEqual(idsOf(scanned));
    });
  });
});
