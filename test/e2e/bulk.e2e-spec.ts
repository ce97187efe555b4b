import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { connect } from 'node:net';
import { corpus, count, everything } from './support/documents.js';
import { ndjson } from './support/lines.js';
import { LoopWatch, withoutBlocking } from './support/loop-watch.js';
import type { TestNode } from './support/node.js';
import { startNode } from './support/node.js';
import { expectProblem, expectStatus } from './support/problem.js';
import type { Answer, Rest } from './support/rest.js';

interface BulkBody {
  readonly total: number;
  readonly success: number;
  readonly failed: number;
  readonly errors: readonly {
    readonly index: number;
    readonly id: string | null;
    readonly code: string;
    readonly detail: string;
  }[];
  readonly session: string;
}

let node: TestNode;
let rest: Rest;

beforeAll(async () => {
  node = await startNode();
  ({ rest } = node);
});
afterAll(() => node.dispose());

async function collection(name: string, settings: object = {}): Promise<string> {
  expectStatus(await rest.put(`/api/v1/collections/${name}`, settings), 201);
  return name;
}

const ids = async (name: string): Promise<string[]> => (await everything(rest, name)).map(({ id }) => id).sort();

/** The answer of a bulk of which something was stored. */
function bulkBody(answer: Answer, status: 200 | 201): BulkBody {
  const body = expectStatus<BulkBody>(answer, status);
  expect(Object.keys(body).sort()).toEqual(['errors', 'failed', 'session', 'success', 'total']);
  expect(body.total).toBe(body.success + body.failed);
  return body;
}

/** The members of a bulk answer inside the answer to one that stored nothing. */
function refusedBulk(answer: Answer, codes: readonly string[]): BulkBody {
  expectProblem(answer, codes);
  return answer.json<BulkBody>();
}

/** Good and bad items together; with the index of each bad one its codes and what its detail must name. */
const MIXED: readonly { readonly item: unknown; readonly codes?: readonly string[]; readonly detail?: RegExp }[] = [
  { item: { id: 'g1', title: 'good' } },
  { item: { title: 'no id' }, codes: ['INVALID_REQUEST'], detail: /id/ },
  { item: { id: 'x'.repeat(513), title: 't' }, codes: ['INVALID_REQUEST', 'LIMIT_EXCEEDED'], detail: /512/ },
  { item: { id: 'b3', title: 't', colour: 'red' }, codes: ['INVALID_REQUEST'], detail: /colour/ },
  { item: { id: 'g4', vector: [1, 2, 3] } },
  { item: { id: 'b5', vector: [1, 2] }, codes: ['DIMENSION_MISMATCH'], detail: /2|3/ },
  { item: { id: 'b6', vector: [1, 'two', 3] }, codes: ['INVALID_REQUEST'], detail: /vector/ },
  { item: { id: 'b7', vector: [0, 0, 0] }, codes: ['INVALID_REQUEST'], detail: /zero|0/i },
  { item: { id: 'b8' }, codes: ['INVALID_REQUEST'], detail: /title|content|vector|metadata/ },
  { item: 17, codes: ['INVALID_REQUEST'] },
  { item: null, codes: ['INVALID_REQUEST'] },
  { item: { id: 'b\u0007', title: 't' }, codes: ['INVALID_REQUEST'], detail: /id/ },
  { item: { op: 'destroy', id: 'g1' }, codes: ['INVALID_REQUEST'], detail: /op/ },
  { item: { id: 'b13', content: 'x'.repeat(1_100_000) }, codes: ['PAYLOAD_TOO_LARGE'] },
  { item: { op: 'patch', id: 'absent', title: 't' }, codes: ['DOCUMENT_NOT_FOUND'] },
  { item: { id: 'g15', metadata: { last: true } } },
];

function expectMixed(body: BulkBody): void {
  const bad = MIXED.flatMap(({ codes, detail, item }, index) =>
    codes === undefined ? [] : [{ index, codes, detail, item }],
  );
  expect(body.errors.map(({ index }) => index)).toEqual(bad.map(({ index }) => index));
  bad.forEach(({ codes, detail, item }, i) => {
    const error = body.errors[i];
    expect(codes).toContain(error.code);
    expect(error.detail).toMatch(detail ?? /.+/);
    const { id } = (item ?? {}) as { id?: string };
    if (id !== undefined && id.length < 100) expect(error.id).toBe(id);
  });
  expect(body).toEqual(expect.objectContaining({ total: MIXED.length, failed: bad.length }));
}

describe('bulk as JSON', () => {
  it('answers 201 when all are stored, with the published fields and no others', async () => {
    const name = await collection('json-all');
    const documents = corpus(1, 50, 4);
    const answer = await rest.post(`/api/v1/ingest/bulk?collection=${name}`, { documents });
    expect(bulkBody(answer, 201)).toEqual({
      total: 50,
      success: 50,
      failed: 0,
      errors: [],
      session: expect.any(String),
    });
    expect(await count(rest, undefined, name)).toBe(50);
  });

  it('stores the good ones and lists each bad one with its index', async () => {
    const name = await collection('json-mixed', { dimensions: 3 });
    const answer = await rest.post(`/api/v1/ingest/bulk?collection=${name}`, {
      documents: MIXED.map(({ item }) => item),
    });
    expectMixed(bulkBody(answer, 200));
    expect(await ids(name)).toEqual(['g1', 'g15', 'g4']);
  });

  it('answers 400 when none is stored', async () => {
    const name = await collection('json-none');
    const answer = await rest.post(`/api/v1/ingest/bulk?collection=${name}`, {
      documents: [{ id: '' }, { title: 'x' }],
    });
    const body = refusedBulk(answer, ['INVALID_REQUEST']);
    expect(body).toEqual(expect.objectContaining({ total: 2, success: 0, failed: 2 }));
    expect(body.errors.map(({ index }) => index)).toEqual([0, 1]);
    expect(await count(rest, undefined, name)).toBe(0);
  });

  it.each([
    ['no documents', {}],
    ['documents that are no array', { documents: 'many' }],
    ['an unknown field', { documents: [{ id: 'x', title: 't' }], refresh: true }],
  ])('refuses %s', async (_, body) => {
    expectProblem(await rest.post('/api/v1/ingest/bulk', body), 'INVALID_REQUEST', /documents|refresh/);
    expectProblem(await rest.get('/api/v1/documents/x'), 'DOCUMENT_NOT_FOUND');
  });

  it('answers a collection that is not there for the whole request', async () => {
    const answer = await rest.post('/api/v1/ingest/bulk?collection=nowhere', { documents: [{ id: 'x', title: 't' }] });
    expectProblem(answer, 'COLLECTION_NOT_FOUND', /nowhere/);
  });

  it('takes a body of 8 MiB without holding up the event loop, and no larger one', async () => {
    const name = await collection('json-large');
    const watch = new LoopWatch(node.base);
    try {
      const body = {
        documents: Array.from({ length: 8_000 }, (_, i) => ({ id: `d${i}`, content: 'lorem '.repeat(160) })),
      };
      expect(JSON.stringify(body).length).toBeLessThan(8 * 1024 * 1024);
      const answer = await withoutBlocking(watch, () => rest.post(`/api/v1/ingest/bulk?collection=${name}`, body));
      expect(bulkBody(answer, 201).success).toBe(8_000);
    } finally {
      await watch.stop();
    }
    const tooLarge = { documents: [{ id: 'x', content: 'x'.repeat(8 * 1024 * 1024) }] };
    expectProblem(await rest.post(`/api/v1/ingest/bulk?collection=${name}`, tooLarge), 'PAYLOAD_TOO_LARGE');
  });
});

describe('bulk as NDJSON', () => {
  it('takes documents and operations, line by line, in order', async () => {
    const name = await collection('ops');
    const lines = [
      { id: 'a', title: 'one', metadata: { n: 1 } },
      { op: 'upsert', id: 'b', title: 'two' },
      { op: 'patch', id: 'a', title: 'three', metadata: { m: 2 } },
      { op: 'delete', id: 'b' },
      { id: 'c', title: 'four' },
      { op: 'delete', id: 'c' },
      { op: 'upsert', id: 'c', title: 'five' },
    ];
    const answer = await rest.bulk(ndjson(lines), `?collection=${name}`);
    expect(bulkBody(answer, 201)).toEqual(expect.objectContaining({ total: 7, success: 7, failed: 0 }));
    expect(await everything(rest, name)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ id: 'a', title: 'three', metadata: { n: 1, m: 2 } }),
        expect.objectContaining({ id: 'c', title: 'five' }),
      ]),
    );
    expect(await ids(name)).toEqual(['a', 'c']);
  });

  it('stores the good lines and lists each bad one with its index, lines that are no JSON among them', async () => {
    const name = await collection('nd-mixed', { dimensions: 3 });
    const answer = await rest.bulk(ndjson(MIXED.map(({ item }) => item)), `?collection=${name}`);
    expectMixed(bulkBody(answer, 200));
    expect(await ids(name)).toEqual(['g1', 'g15', 'g4']);

    const lines = [
      '{"id":"n0","title":"t"}',
      '{"id":"n1","title":',
      'not json',
      '{"id":"n3","vector":[1,NaN,3]}',
      '{"id":"n4","vector":[1,1e999,3]}',
      '{"id":"n5","title":"t","__proto__":{"x":1}}',
      '{"id":"n6","title":"\\ud800"}',
      '{"id":"n\\ud800","title":"t"}',
      '{"id":"n8","title":"t"}',
    ];
    const bad = bulkBody(await rest.bulk(lines.join('\n'), `?collection=${name}`), 200);
    expect(bad.errors.map(({ index }) => index)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    for (const error of bad.errors) expect(error.code).toBe('INVALID_REQUEST');
    expect(await ids(name)).toEqual(['g1', 'g15', 'g4', 'n0', 'n8']);
  });

  it('lists the first 1 000 errors in line order and counts all', async () => {
    const name = await collection('nd-many-bad');
    const lines = Array.from({ length: 2_600 }, (_, i) =>
      i % 2 === 0 ? { id: `g${i}`, title: 't' } : { id: `b${i}` },
    );
    const body = bulkBody(await rest.bulk(ndjson(lines), `?collection=${name}`), 200);
    expect(body).toEqual(expect.objectContaining({ total: 2_600, success: 1_300, failed: 1_300 }));
    expect(body.errors.map(({ index }) => index)).toEqual(Array.from({ length: 1_000 }, (_, i) => 2 * i + 1));
  });

  it('takes empty lines, CRLF and a missing end of line for what they are', async () => {
    const name = await collection('nd-lines');
    const answer = await rest.bulk('{"id":"a","title":"t"}\r\n{"id":"b","title":"t"}', `?collection=${name}`);
    expect(bulkBody(answer, 201).success).toBe(2);
    expect(await ids(name)).toEqual(['a', 'b']);
  });

  it('answers 400 to an empty stream and to one of bad lines alone', async () => {
    refusedBulk(await rest.bulk(''), ['INVALID_REQUEST']);
    expect(refusedBulk(await rest.bulk('{}\n[]\n'), ['INVALID_REQUEST']).failed).toBe(2);
  });

  it('takes gzip', async () => {
    const name = await collection('nd-gzip');
    const answer = await rest.send('POST', `/api/v1/ingest/bulk?collection=${name}`, {
      body: gzipSync(ndjson([{ id: 'z', title: 't' }])),
      headers: { 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' },
    });
    expect([201, 415]).toContain(answer.status);
  });

  it('counts and stores the same of gzip that is cut off, and lists that last', async () => {
    const name = await collection('nd-gzip-cut');
    const whole = gzipSync(ndjson(corpus(31, 20_000, 4)));
    const answer = await rest.send('POST', `/api/v1/ingest/bulk?collection=${name}`, {
      body: whole.subarray(0, whole.length / 2),
      headers: { 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' },
    });
    const body = bulkBody(answer, 200);
    expect(body.success).toBeGreaterThan(0);
    expect(body.errors).toEqual([
      { index: body.success, id: null, code: 'INVALID_REQUEST', detail: expect.stringMatching(/gzip/) },
    ]);
    expect(await count(rest, undefined, name)).toBe(body.success);
  });

  it('lets later lines of one id win over earlier ones', async () => {
    const name = await collection('nd-order');
    const lines = Array.from({ length: 3_000 }, (_, i) => ({ id: `k${i % 7}`, metadata: { line: i } }));
    expect(bulkBody(await rest.bulk(ndjson(lines), `?collection=${name}`), 201).success).toBe(3_000);
    const last = (await everything(rest, name)).map(({ metadata }) => metadata?.line as number);
    expect(last.sort()).toEqual([2_993, 2_994, 2_995, 2_996, 2_997, 2_998, 2_999]);
  });
});

describe('a long stream', () => {
  it('is stored whole in constant memory, searchable when answered, with searches going on', async () => {
    const name = await collection('nd-long', { dimensions: 8 });
    const total = 25_000;
    const padding = 'x'.repeat(1_000);
    async function* lines(): AsyncGenerator<Uint8Array> {
      for (let from = 0; from < total; from += 500) {
        const documents = Array.from({ length: 500 }, (_, i) => ({
          id: `long-${from + i}`,
          vector: [from + i, 1, 2, 3, 4, 5, 6, 7],
          metadata: { padding },
        }));
        yield Buffer.from(ndjson(documents));
        await delay(0);
      }
    }
    const before = await residentBytes();
    let most = 0;
    let sampling = true;
    let searches = 0;
    const sampled = (async () => {
      while (sampling) {
        most = Math.max(most, await residentBytes());
        expectStatus(await rest.post('/api/v1/search', { vector: [1, 1, 1, 1, 1, 1, 1, 1], collection: name }), 200);
        searches++;
        await delay(50);
      }
    })();
    const answer = await rest.bulk(lines(), `?collection=${name}`);
    sampling = false;
    await sampled;
    expect(bulkBody(answer, 201)).toEqual(expect.objectContaining({ total, success: total, failed: 0, errors: [] }));
    expect(await count(rest, undefined, name)).toBe(total);
    expect(searches).toBeGreaterThan(5);
    // 28 MiB of lines went through. What is kept is an index of 25 000 small vectors, and tables of LevelDB.
    expect((most - before) / 2 ** 20).toBeLessThan(300);
  }, 120_000);

  it('holds the sender back instead of taking what it cannot store', async () => {
    const name = await collection('nd-pressure');
    const line = Buffer.from(
      ndjson(Array.from({ length: 200 }, (_, i) => ({ id: `p${i}`, content: 'y'.repeat(4_000) }))),
    );
    let sent = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 60; i++) {
        sent += line.length;
        yield line;
      }
    }
    const before = await residentBytes();
    const answer = await rest.bulk(endless(), `?collection=${name}`);
    expect(bulkBody(answer, 201).success).toBe(12_000);
    expect(sent).toBeGreaterThan(45 * 2 ** 20);
    expect(((await residentBytes()) - before) / 2 ** 20).toBeLessThan(400);
    expect(await count(rest, undefined, name)).toBe(200);
  }, 120_000);

  it('that breaks off leaves whole documents or nothing, and the node goes on', async () => {
    const name = await collection('nd-truncated');
    const complete = ndjson(Array.from({ length: 20 }, (_, i) => ({ id: `t${i}`, title: `title ${i}` })));
    const body = `${complete}{"id":"half","title":"cut o`;
    await sendAndHangUp(
      `POST /api/v1/ingest/bulk?collection=${name} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n` +
        `content-length: ${body.length + 1_000}\r\n\r\n${body}`,
    );
    await sendAndHangUp(
      `POST /api/v1/ingest/bulk?collection=${name} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n` +
        `content-length: 5000\r\n\r\n{"documents":[{"id":"json-half","title":"cut off"}`,
    );
    expectStatus(await rest.get('/readyz'), 200);
    for (const document of await everything(rest, name)) {
      expect(document.id).toMatch(/^t\d+$/);
      expect(document.title).toBe(`title ${document.id.slice(1)}`);
    }
  });

  it('whose last line is cut says so for that line', async () => {
    const name = await collection('nd-cut-line');
    const answer = await rest.bulk('{"id":"whole","title":"t"}\n{"id":"cut","title":"t', `?collection=${name}`);
    expect(bulkBody(answer, 200).errors).toEqual([expect.objectContaining({ index: 1, code: 'INVALID_REQUEST' })]);
    expect(await ids(name)).toEqual(['whole']);
  });
});

/** Resident memory of the node, from its own metrics. */
async function residentBytes(): Promise<number> {
  const { text } = await rest.get('/metrics');
  const [, value] = /^process_resident_memory_bytes(?:\{[^}]*\})? ([\d.e+]+)$/m.exec(text) ?? [];
  if (value === undefined) throw new Error('no process_resident_memory_bytes in /metrics');
  return Number(value);
}

/** Writes bytes to the HTTP port and closes the connection without waiting. */
function sendAndHangUp(text: string): Promise<void> {
  const { hostname, port } = new URL(node.base);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(text, () => socket.end());
    });
    socket.resume();
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.setTimeout(10_000, () => socket.destroy());
  });
}
