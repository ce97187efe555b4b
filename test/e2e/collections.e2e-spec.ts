import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { count, everything, store } from './support/documents.js';
import type { TestNode } from './support/node.js';
import { startNode } from './support/node.js';
import { expectProblem, expectStatus } from './support/problem.js';
import type { Rest } from './support/rest.js';

interface Collection {
  readonly name: string;
  readonly dimensions: number | null;
  readonly similarity: string;
  readonly hnsw: { readonly m: number; readonly efConstruction: number; readonly efSearch: number };
  readonly documents: number;
}

let node: TestNode;
let rest: Rest;

beforeAll(async () => {
  node = await startNode({ env: { SPECTOR_HNSW_M: '24', SPECTOR_HNSW_EF_SEARCH: '77' } });
  ({ rest } = node);
});
afterAll(() => node.dispose());

const at = (name: string): string => `/api/v1/collections/${name}`;
const aliasAt = (name: string): string => `/api/v1/aliases/${name}`;
const document = (id: string, collection: string): string => `/api/v1/documents/${id}?collection=${collection}`;

async function list(): Promise<Collection[]> {
  const body = expectStatus<{ collections?: Collection[] } & Collection[]>(await rest.get('/api/v1/collections'), 200);
  return body.collections ?? body;
}

async function searchIds(body: object): Promise<string[]> {
  const answer = await rest.post('/api/v1/search', { consistency: 'primary', ...body });
  return expectStatus<{ results: { id: string }[] }>(answer, 200).results.map(({ id }) => id);
}

describe('collections', () => {
  it('default always exists', async () => {
    expect(expectStatus<Collection>(await rest.get(at('default')), 200)).toEqual(
      expect.objectContaining({ documents: 0 }),
    );
    expect((await list()).map(({ name }) => name)).toContain('default');
  });

  it('are created with 201, put again with 200, refused with 409 when they differ', async () => {
    const settings = { dimensions: 3, similarity: 'dot', hnsw: { m: 8, efConstruction: 100, efSearch: 50 } };
    const created = expectStatus<Collection>(await rest.put(at('books'), settings), 201);
    expect(created).toEqual({ name: 'books', ...settings, documents: 0 });
    expect(expectStatus(await rest.put(at('books'), settings), 200)).toEqual(created);
    for (const other of [
      { ...settings, dimensions: 4 },
      { ...settings, similarity: 'cosine' },
      { ...settings, hnsw: { ...settings.hnsw, m: 9 } },
    ]) {
      expectProblem(await rest.put(at('books'), other), 'COLLECTION_CONFLICT', /books/);
    }
    expect(expectStatus(await rest.get(at('books')), 200)).toEqual(created);
  });

  it('are created by one of many equal requests at once, and there for the others', async () => {
    const settings = { dimensions: 5 };
    const answers = await Promise.all(Array.from({ length: 12 }, () => rest.put(at('at-once'), settings)));
    expect(answers.map(({ status }) => status).sort()).toEqual([...new Array<number>(11).fill(200), 201]);
    const racing = await Promise.all([6, 7].map((dimensions) => rest.put(at('either'), { dimensions })));
    expect(racing.map(({ status }) => status).sort()).toEqual([201, 409]);
  });

  it('take what is not said from the configuration of the node', async () => {
    const created = expectStatus<Collection>(await rest.put(at('plain'), {}), 201);
    expect(created.similarity).toBe('cosine');
    expect(created.hnsw).toEqual({ m: 24, efConstruction: 200, efSearch: 77 });
    expectStatus(await rest.put(at('plain'), {}), 200);
  });

  it('count their own live documents, and hold the same id each for itself', async () => {
    expectStatus(await rest.put(at('left'), {}), 201);
    expectStatus(await rest.put(at('right'), {}), 201);
    await store(
      rest,
      [
        { id: 'x', title: 'left' },
        { id: 'y', title: 'left' },
      ],
      '?collection=left',
    );
    await store(rest, [{ id: 'x', title: 'right' }], '?collection=right');
    expectStatus(await rest.delete(document('y', 'left')), 200);
    expect(expectStatus<Collection>(await rest.get(at('left')), 200).documents).toBe(1);
    expect(expectStatus(await rest.get(document('x', 'left')), 200)).toHaveProperty('title', 'left');
    expect(expectStatus(await rest.get(document('x', 'right')), 200)).toHaveProperty('title', 'right');
    expect(await searchIds({ text: 'right', collection: 'left' })).toEqual([]);
    expect(await searchIds({ text: 'right', collection: 'right' })).toEqual(['x']);
    expect(await searchIds({ text: 'right' })).toEqual([]);
    const listed = Object.fromEntries((await list()).map(({ name, documents }) => [name, documents]));
    expect(listed).toEqual(expect.objectContaining({ left: 1, right: 1 }));
  });

  it('must be put before anything goes into them', async () => {
    for (const answer of [
      await rest.get(at('nowhere')),
      await rest.delete(at('nowhere')),
      await rest.put(document('x', 'nowhere'), { title: 't' }),
      await rest.get(document('x', 'nowhere')),
      await rest.patch(document('x', 'nowhere'), { title: 't' }),
      await rest.delete(document('x', 'nowhere')),
      await rest.post('/api/v1/documents/get?collection=nowhere', { ids: ['x'] }),
      await rest.post('/api/v1/documents/delete?collection=nowhere', { ids: ['x'] }),
      await rest.post('/api/v1/documents/delete?collection=nowhere', { filter: {} }),
      await rest.post('/api/v1/documents/count?collection=nowhere', {}),
      await rest.post('/api/v1/documents/scroll?collection=nowhere', {}),
      await rest.post('/api/v1/search', { text: 't', collection: 'nowhere' }),
      await rest.bulk('{"id":"x","title":"t"}\n', '?collection=nowhere'),
    ]) {
      expectProblem(answer, 'COLLECTION_NOT_FOUND', /nowhere/);
    }
    expect((await list()).map(({ name }) => name)).not.toContain('nowhere');
  });

  it.each([
    ['a similarity that is none', { similarity: 'manhattan' }, /similarity/],
    ['0 dimensions', { dimensions: 0 }, /dimensions/],
    ['4 097 dimensions', { dimensions: 4_097 }, /dimensions/],
    ['half a dimension', { dimensions: 1.5 }, /dimensions/],
    ['m below 4', { hnsw: { m: 3 } }, /\bm\b/],
    ['m above 64', { hnsw: { m: 65 } }, /\bm\b/],
    ['efConstruction above 800', { hnsw: { efConstruction: 801 } }, /efConstruction/],
    ['efSearch below 10', { hnsw: { efSearch: 9 } }, /efSearch/],
    ['an unknown field', { shards: 4 }, /shards/],
    ['an unknown field of hnsw', { hnsw: { ef: 4 } }, /ef/],
  ])('refuse %s', async (_, settings, detail) => {
    expectProblem(await rest.put(at('refused'), settings), ['INVALID_REQUEST', 'LIMIT_EXCEEDED'], detail);
    expectProblem(await rest.get(at('refused')), 'COLLECTION_NOT_FOUND');
  });

  it.each(['', '%20', 'a%2Fb', '%00', '%0A', 'x'.repeat(600)])('refuse the name "%s"', async (name) => {
    const answer = await rest.put(at(name), {});
    expectProblem(answer, ['INVALID_REQUEST', 'LIMIT_EXCEEDED', 'ROUTE_NOT_FOUND', 'METHOD_NOT_ALLOWED']);
  });
});

describe('the dimension of a collection', () => {
  it('is that of its first vector, and of all after it', async () => {
    expect(expectStatus<Collection>(await rest.put(at('first-vector'), {}), 201).dimensions ?? null).toBeNull();
    expectStatus(await rest.put(document('text', 'first-vector'), { title: 't' }), 201);
    expectStatus(await rest.put(document('a', 'first-vector'), { vector: [1, 2, 3] }), 201);
    expect(expectStatus<Collection>(await rest.get(at('first-vector')), 200).dimensions).toBe(3);
    expectProblem(await rest.put(document('b', 'first-vector'), { vector: [1, 2] }), 'DIMENSION_MISMATCH', /2.*3|3.*2/);
    expectProblem(
      await rest.patch(document('a', 'first-vector'), { vector: [1, 2, 3, 4] }),
      'DIMENSION_MISMATCH',
      /3.*4|4.*3/,
    );
    const search = await rest.post('/api/v1/search', { vector: [1, 2], collection: 'first-vector' });
    expectProblem(search, 'DIMENSION_MISMATCH', /2.*3|3.*2/);
    expect(await count(rest, undefined, 'first-vector')).toBe(2);
  });

  it('is one, whoever wins the race of the first vectors', async () => {
    for (let round = 0; round < 5; round++) {
      const name = `race-${round}`;
      expectStatus(await rest.put(at(name), {}), 201);
      const answers = await Promise.all(
        Array.from({ length: 24 }, (_, i) =>
          rest.put(document(`d${i}`, name), { vector: new Array<number>(2 + (i % 3)).fill(1) }),
        ),
      );
      const { dimensions } = expectStatus<Collection>(await rest.get(at(name)), 200);
      answers.forEach((answer, i) => {
        if (2 + (i % 3) === dimensions) expectStatus(answer, 201);
        else expectProblem(answer, 'DIMENSION_MISMATCH');
      });
      const stored = await everything(rest, name);
      expect(stored).toHaveLength(8);
      for (const { vector } of stored) expect(vector).toHaveLength(dimensions ?? -1);
    }
  });

  it('is proposed to the map once, however many first vectors come together', async () => {
    expectStatus(await rest.put(at('at-once-first'), {}), 201);
    const mapEpoch = async (): Promise<number> =>
      expectStatus<{ mapEpoch: number }>(await rest.get('/api/v1/status'), 200).mapEpoch;
    const before = await mapEpoch();
    const documents = Array.from({ length: 200 }, (_, i) => ({ id: `d${i}`, vector: [1, i] }));
    await store(rest, documents, '?collection=at-once-first');
    expect(await mapEpoch()).toBe(before + 1);
  });

  it('is not fixed by a vector that is refused', async () => {
    expectStatus(await rest.put(at('not-fixed'), {}), 201);
    expectProblem(await rest.put(document('a', 'not-fixed'), { vector: [0, 0] }), 'INVALID_REQUEST');
    expectProblem(await rest.put(document('a', 'not-fixed'), { vector: [1, 2], colour: 1 }), 'INVALID_REQUEST');
    expectProblem(await rest.patch(document('a', 'not-fixed'), { vector: [1, 2] }), 'DOCUMENT_NOT_FOUND');
    const wanted = { 'if-match': `"${'1'.repeat(48)}"` };
    expectProblem(await rest.put(document('a', 'not-fixed'), { vector: [1, 2] }, wanted), 'VERSION_CONFLICT');
    expect(expectStatus<Collection>(await rest.get(at('not-fixed')), 200).dimensions ?? null).toBeNull();
    expectStatus(await rest.put(document('a', 'not-fixed'), { vector: [1, 2, 3] }), 201);
  });
});

describe('dropping and making again', () => {
  it('leaves nothing of the old collection, in no leg and over a restart', async () => {
    const name = 'reborn';
    expectStatus(await rest.put(at(name), { dimensions: 2, similarity: 'dot' }), 201);
    const documents = Array.from({ length: 100 }, (_, i) => ({
      id: `d${i}`,
      content: 'old words',
      vector: [1, i],
      metadata: { i },
    }));
    await store(rest, documents, `?collection=${name}`);
    expectStatus(await rest.delete(at(name)), 200, 204);
    expectProblem(await rest.get(at(name)), 'COLLECTION_NOT_FOUND');
    expectProblem(await rest.get(document('d1', name)), 'COLLECTION_NOT_FOUND');

    expectStatus(await rest.put(at(name), { dimensions: 3 }), 201);
    const empty = async (): Promise<void> => {
      expect(await count(rest, undefined, name)).toBe(0);
      expect(await searchIds({ text: 'old words', collection: name })).toEqual([]);
      expect(await searchIds({ vector: [1, 1, 1], collection: name })).toEqual([]);
      expectProblem(await rest.get(document('d1', name)), 'DOCUMENT_NOT_FOUND');
    };
    await empty();
    await node.restart();
    ({ rest } = node);
    await empty();

    const created = expectStatus<{ created: boolean }>(
      await rest.put(document('d1', name), { vector: [1, 2, 3] }),
      201,
    );
    expect(created.created).toBe(true);
    expect(await searchIds({ vector: [1, 1, 1], collection: name })).toEqual(['d1']);
    await node.restart();
    ({ rest } = node);
    expect(await searchIds({ vector: [1, 1, 1], collection: name })).toEqual(['d1']);
    expect(await count(rest, undefined, name)).toBe(1);
  });

  it('while documents are written ends in one of both orders', async () => {
    const name = 'dropped-under-load';
    for (let round = 0; round < 5; round++) {
      expectStatus(await rest.put(at(name), {}), 201);
      const writes = Array.from({ length: 40 }, (_, i) => rest.put(document(`d${i}`, name), { title: 't' }));
      expectStatus(await rest.delete(at(name)), 200, 204);
      for (const answer of await Promise.all(writes)) {
        if (answer.status !== 201) expectProblem(answer, 'COLLECTION_NOT_FOUND');
      }
      expectProblem(await rest.get(at(name)), 'COLLECTION_NOT_FOUND');
      expectStatus(await rest.put(at(name), {}), 201);
      expect(await count(rest, undefined, name)).toBe(0);
      expectStatus(await rest.delete(at(name)), 200, 204);
    }
  });

  it('holds at most 64 collections', async () => {
    const made: string[] = [];
    let refused;
    for (let i = 0; i < 70 && refused === undefined; i++) {
      const answer = await rest.put(at(`many-${i}`), {});
      if (answer.status === 201) made.push(`many-${i}`);
      else refused = answer;
    }
    if (refused === undefined) throw new Error('70 more collections were made');
    expectProblem(refused, 'LIMIT_EXCEEDED', /64/);
    expect(await list()).toHaveLength(64);
    for (const name of made) expectStatus(await rest.delete(at(name)), 200, 204);
  });
});

describe('aliases', () => {
  it('name a collection for searches, are switched atomically and removed', async () => {
    expectStatus(await rest.put(at('blue'), {}), 201);
    expectStatus(await rest.put(at('green'), {}), 201);
    await store(rest, [{ id: 'b', title: 'paint' }], '?collection=blue');
    await store(rest, [{ id: 'g', title: 'paint' }], '?collection=green');
    expectStatus(await rest.put(aliasAt('live'), { collection: 'blue' }), 200, 201);
    expect(expectStatus(await rest.get(aliasAt('live')), 200)).toEqual(expect.objectContaining({ collection: 'blue' }));
    expect(await searchIds({ text: 'paint', collection: 'live' })).toEqual(['b']);

    const seen = new Set<string>();
    let switching = true;
    const searching = (async () => {
      while (switching) {
        const ids = await searchIds({ text: 'paint', collection: 'live' });
        expect(ids).toHaveLength(1);
        seen.add(ids[0]);
      }
    })();
    for (let i = 0; i < 20; i++) {
      expectStatus(await rest.put(aliasAt('live'), { collection: i % 2 === 0 ? 'green' : 'blue' }), 200);
    }
    switching = false;
    await searching;
    for (const id of seen) expect(['b', 'g']).toContain(id);

    expectStatus(await rest.delete(aliasAt('live')), 200, 204);
    expectProblem(await rest.get(aliasAt('live')), 'ALIAS_NOT_FOUND', /live/);
    expectProblem(await rest.delete(aliasAt('live')), 'ALIAS_NOT_FOUND');
    expectProblem(await rest.post('/api/v1/search', { text: 'paint', collection: 'live' }), 'COLLECTION_NOT_FOUND');
  });

  it('need a collection that is there', async () => {
    expectProblem(await rest.put(aliasAt('to-nothing'), { collection: 'nowhere' }), 'COLLECTION_NOT_FOUND', /nowhere/);
    expectProblem(await rest.put(aliasAt('to-nothing'), {}), 'INVALID_REQUEST', /collection/);
    expectProblem(
      await rest.put(aliasAt('to-nothing'), { collection: 'blue', target: 1 }),
      'INVALID_REQUEST',
      /target/,
    );
    expectProblem(await rest.get(aliasAt('to-nothing')), 'ALIAS_NOT_FOUND');
  });
});

it('collections and aliases survive a restart as they were', async () => {
  expectStatus(await rest.put(aliasAt('kept'), { collection: 'blue' }), 200, 201);
  const before = await list();
  await node.restart();
  ({ rest } = node);
  expect(await list()).toEqual(before);
  expect(await searchIds({ text: 'paint', collection: 'kept' })).toEqual(['b']);
});
