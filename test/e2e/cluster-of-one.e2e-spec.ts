import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { count, store } from './support/documents.js';
import { eventsOf, ndjson, ndjsonOf, nextWithin } from './support/lines.js';
import type { TestNode } from './support/node.js';
import { startNode } from './support/node.js';
import { expectProblem, expectStatus, STATUS_OF_CODE } from './support/problem.js';
import type { Answer, Rest } from './support/rest.js';

interface Status {
  readonly status: string;
  readonly documents: number;
  readonly mapEpoch: number;
  readonly clusterId: string;
  readonly viewDigest: string;
  readonly uptimeMs: number;
  readonly topology: Readonly<
    Record<string, { readonly status: string; readonly shards: readonly (number | string)[] }>
  >;
  readonly shards: readonly {
    readonly shard: number;
    readonly epoch: number;
    readonly documents: number;
    readonly offset: number;
    readonly replicas: readonly { readonly offset: number }[];
  }[];
}

interface Change {
  readonly cursor: string;
  readonly op: 'upsert' | 'delete';
  readonly id: string;
  readonly version: string;
  readonly document?: Readonly<Record<string, unknown>>;
}

interface LogLine {
  readonly offset: number;
  readonly op: string;
  readonly epoch: number;
  readonly id?: string;
  readonly version: string;
  readonly chain: string;
}

const SHARDS = 3;

let node: TestNode;
let rest: Rest;

beforeAll(async () => {
  node = await startNode({ nodeId: 'node-1', args: ['--shard-count', String(SHARDS), '--replica-count', '2'] });
  ({ rest } = node);
});
afterAll(() => node.dispose());

const status = async (): Promise<Status> => expectStatus<Status>(await rest.get('/api/v1/status'), 200);

async function linesFrom<T>(path: string): Promise<T[]> {
  const answer = await rest.get(path);
  expectNdjson(answer);
  return answer.text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

function expectNdjson(answer: Answer): void {
  expect({ status: answer.status, type: answer.headers['content-type'] }).toEqual({
    status: 200,
    type: expect.stringMatching(/^application\/x-ndjson\b/),
  });
}

describe('status', () => {
  it('has the published shape, to the letter', async () => {
    await store(
      rest,
      Array.from({ length: 30 }, (_, i) => ({ id: `s${i}`, title: 't' })),
    );
    expectStatus(await rest.delete('/api/v1/documents/s0'), 200);
    const body = await status();
    expect(body).toEqual({
      status: 'RUNNING',
      clusterMode: false,
      activeNodes: 1,
      shardCount: SHARDS,
      replicaCount: 2,
      topology: { 'node-1': { status: 'ACTIVE', shards: [0, 1, 2] } },
      nodeId: 'node-1',
      clusterId: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/),
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      mapEpoch: expect.any(Number),
      viewDigest: expect.stringMatching(/.+/),
      insecure: expect.any(Boolean),
      uptimeMs: expect.any(Number),
      documents: 29,
      shards: Array.from({ length: SHARDS }, (_, shard) => ({
        shard,
        epoch: expect.any(Number),
        primary: 'node-1',
        documents: expect.any(Number),
        offset: expect.any(Number),
        replicas: [{ node: 'node-1', role: 'primary', inSync: true, offset: expect.any(Number), lagMs: 0 }],
      })),
    });
    expect(body.shards.reduce((sum, { documents }) => sum + documents, 0)).toBe(29);
    for (const { offset, epoch, replicas } of body.shards) {
      expect(replicas[0].offset).toBe(offset);
      expect(epoch).toBeGreaterThanOrEqual(1);
    }
    expect(Number.isInteger(body.mapEpoch)).toBe(true);
  });

  it('says insecure by what protects peers: with neither TLS nor a secret it is true', async () => {
    expect(await status()).toHaveProperty('insecure', true);
  });

  it('counts up the time, and the map epoch with every change of the map', async () => {
    const before = await status();
    expectStatus(await rest.put('/api/v1/collections/for-the-epoch', {}), 201);
    const after = await status();
    expect(after.mapEpoch).toBeGreaterThan(before.mapEpoch);
    expect(after.uptimeMs).toBeGreaterThan(before.uptimeMs);
    expect(after.clusterId).toBe(before.clusterId);
  });
});

describe('cluster', () => {
  it('names the one member, and what the map says', async () => {
    const body = expectStatus<{ members: Record<string, unknown>[] }>(await rest.get('/api/v1/cluster'), 200);
    const { mapEpoch, viewDigest } = await status();
    expect(body).toEqual(expect.objectContaining({ mapEpoch, viewDigest, mapVoters: ['node-1'] }));
    expect(body.members).toHaveLength(1);
    const [member] = body.members;
    expect(member).toEqual(
      expect.objectContaining({
        nodeId: 'node-1',
        incarnation: expect.any(Number),
        version: expect.stringMatching(/^\d+\.\d+\.\d+/),
        addresses: expect.any(Object),
        disk: expect.any(Object),
      }),
    );
    expect(JSON.stringify(body)).toMatch(/failover/i);
  });

  it('takes settings, agrees on them in the map and keeps them', async () => {
    const before = await status();
    const settings = { replicaCount: 1, writeConsistency: 'one', partitionMode: 'available', rebalanceGrace: '5m' };
    const answer = expectStatus(await rest.patch('/api/v1/cluster/config', settings), 200);
    expect(answer).toEqual(
      expect.objectContaining({ replicaCount: 1, writeConsistency: 'one', partitionMode: 'available' }),
    );
    expect((await status()).mapEpoch).toBeGreaterThan(before.mapEpoch);
    expect(await status()).toHaveProperty('replicaCount', 1);
    expectStatus(await rest.patch('/api/v1/cluster/config', { replicaCount: 3, writeConsistency: 'auto' }), 200);
    for (const [bad, name] of [
      [{ replicaCount: 6 }, /replicaCount/],
      [{ replicaCount: 1.5 }, /replicaCount/],
      [{ writeConsistency: 'most' }, /writeConsistency/],
      [{ partitionMode: 'lenient' }, /partitionMode/],
      [{ rebalanceGrace: '25h' }, /rebalanceGrace/],
      [{ shardCount: 9 }, /shardCount/],
    ] as const) {
      expectProblem(await rest.patch('/api/v1/cluster/config', bad), ['INVALID_REQUEST', 'LIMIT_EXCEEDED'], name);
    }
    expect(await status()).toHaveProperty('replicaCount', 3);
  });

  it('answers operations truthfully: what is not there is 404, what it cannot do it says', async () => {
    expectProblem(await rest.send('POST', '/api/v1/cluster/nodes/nobody/drain'), 'NODE_NOT_FOUND', /nobody/);
    expectProblem(await rest.delete('/api/v1/cluster/nodes/nobody'), 'NODE_NOT_FOUND', /nobody/);
    expectProblem(await rest.post('/api/v1/cluster/shards/0/primary', { node: 'nobody' }), 'NODE_NOT_FOUND', /nobody/);
    expectProblem(await rest.post('/api/v1/cluster/shards/77/primary', { node: 'node-1' }), 'SHARD_NOT_FOUND', /77/);
    expectProblem(await rest.get('/api/v1/cluster/operations/nothing'), 'OPERATION_NOT_FOUND');
    expectProblem(await rest.delete('/api/v1/cluster/operations/nothing'), 'OPERATION_NOT_FOUND');
    for (const shardCount of [0, 257, 2.5, 'four']) {
      expectProblem(
        await rest.post('/api/v1/cluster/shards', { shardCount }),
        ['INVALID_REQUEST', 'LIMIT_EXCEEDED'],
        /shardCount/,
      );
    }
    // Nobody could take its shards: the node must not promise what cannot happen.
    for (const answer of [
      await rest.send('POST', '/api/v1/cluster/nodes/node-1/drain'),
      await rest.delete('/api/v1/cluster/nodes/node-1'),
    ]) {
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expectProblem(answer, ['OPERATION_CONFLICT', 'INVALID_REQUEST', 'NO_QUORUM', 'SHARD_UNAVAILABLE']);
    }
    expect(await status()).toHaveProperty('status', 'RUNNING');
  });

  it('has no conflicts, since nothing ever branched', async () => {
    for (let shard = 0; shard < SHARDS; shard++) {
      const answer = expectStatus<{ conflicts?: unknown[] } & unknown[]>(
        await rest.get(`/api/v1/shards/${shard}/conflicts`),
        200,
      );
      expect(answer.conflicts ?? answer).toEqual([]);
    }
    expectProblem(await rest.get('/api/v1/shards/77/conflicts'), 'SHARD_NOT_FOUND');
  });
});

describe('digest', () => {
  const digest = async (shard: number) =>
    expectStatus<{ offset: number; chain: string; live: string; replicas: object[] }>(
      await rest.get(`/api/v1/shards/${shard}/digest`),
      200,
    );

  it('binds chain and live digest to the offset, for each replica', async () => {
    for (const { shard, offset } of (await status()).shards) {
      const body = await digest(shard);
      expect(body).toEqual(
        expect.objectContaining({
          offset,
          chain: expect.stringMatching(/^[0-9a-f]{32}$/),
          live: expect.stringMatching(/^[0-9a-f]{32}$/),
        }),
      );
      const { chain, live } = body;
      expect(body.replicas).toEqual([{ node: 'node-1', offset, chain, live }]);
    }
  });

  it('changes with every write in its shard, and with no other', async () => {
    const before = await Promise.all([0, 1, 2].map(digest));
    const written = expectStatus<{ shard: number; offset: number }>(
      await rest.put('/api/v1/documents/digested', { title: 't' }),
      201,
    );
    const after = await Promise.all([0, 1, 2].map(digest));
    for (const shard of [0, 1, 2]) {
      if (shard !== written.shard) expect(after[shard]).toEqual(before[shard]);
      else {
        expect(after[shard].offset).toBe(written.offset);
        expect(after[shard].chain).not.toBe(before[shard].chain);
        expect(after[shard].live).not.toBe(before[shard].live);
      }
    }
    expectStatus(await rest.delete('/api/v1/documents/digested'), 200);
    const deleted = await digest(written.shard);
    expect(deleted.live).toBe(before[written.shard].live); // a sum over live rows
    expect(deleted.chain).not.toBe(after[written.shard].chain);
  });
});

describe('the log of a shard', () => {
  it('gives its entries from any offset, dense, with what was written', async () => {
    const written = expectStatus<{ shard: number; offset: number; version: string; epoch: number }>(
      await rest.put('/api/v1/documents/logged', { title: 't' }),
      201,
    );
    const all = await linesFrom<LogLine>(`/api/v1/shards/${written.shard}/log`);
    expect(all.map(({ offset }) => offset)).toEqual(all.map((_, i) => i + 1));
    expect(all[0].op).toBe('BARRIER'); // the first entry of each epoch
    const [entry] = all.filter(({ offset }) => offset === written.offset);
    expect(entry).toEqual(
      expect.objectContaining({ op: 'UPSERT', id: 'logged', version: written.version, epoch: written.epoch }),
    );
    const suffix = await linesFrom<LogLine>(`/api/v1/shards/${written.shard}/log?from=${written.offset}`);
    expect(suffix).toEqual(all.slice(written.offset - 1));
    expect(await linesFrom<LogLine>(`/api/v1/shards/${written.shard}/log?from=2&limit=3`)).toEqual(all.slice(1, 4));
    expect(await linesFrom<LogLine>(`/api/v1/shards/${written.shard}/log?from=${written.offset + 1}`)).toEqual([]);
  });

  it('follows', async () => {
    const { shard, offset } = expectStatus<{ shard: number; offset: number }>(
      await rest.put('/api/v1/documents/followed', { title: 't' }),
      200,
      201,
    );
    const stream = await rest.stream('GET', `/api/v1/shards/${shard}/log?from=${offset}&follow=true`);
    const lines = ndjsonOf<LogLine>(stream.chunks);
    expect(await nextWithin(lines, 10_000, 'the entry that was there')).toEqual(
      expect.objectContaining({ offset, id: 'followed' }),
    );
    const deleted = expectStatus<{ version: string }>(await rest.delete('/api/v1/documents/followed'), 200);
    expect(await nextWithin(lines, 10_000, 'the entry that was written')).toEqual(
      expect.objectContaining({ offset: offset + 1, op: 'DELETE', id: 'followed', version: deleted.version }),
    );
    stream.abort();
  });
});

describe('the change stream', () => {
  const changes = (query = ''): Promise<Change[]> => linesFrom<Change>(`/api/v1/changes${query}`);

  it('gives every write once, each with a cursor that goes on after it', async () => {
    expectStatus(await rest.put('/api/v1/collections/changing', {}), 201);
    const path = (id: string) => `/api/v1/documents/${id}?collection=changing`;
    const versions = new Map<string, string>();
    for (const id of ['a', 'b', 'c', 'd', 'e']) {
      versions.set(
        id,
        expectStatus<{ version: string }>(await rest.put(path(id), { title: `title ${id}`, metadata: { id } }), 201)
          .version,
      );
    }
    const removed = expectStatus<{ version: string }>(await rest.delete(path('c')), 200);
    const all = await changes('?collection=changing');
    const upserts = all.filter(({ op }) => op === 'upsert');
    for (const { id, version } of upserts) expect(versions.get(id)).toBe(version);
    expect(all.filter(({ op }) => op === 'delete').map(({ id, version }) => ({ id, version }))).toEqual([
      { id: 'c', version: removed.version },
    ]);
    const live = upserts.filter(({ id }) => id !== 'c');
    expect(live.map(({ id }) => id).sort()).toEqual(['a', 'b', 'd', 'e']);
    for (const { id, document } of live) {
      expect(document).toEqual(expect.objectContaining({ id, title: `title ${id}`, metadata: { id } }));
    }
    for (let i = 0; i < all.length; i++) {
      const after = await changes(`?collection=changing&cursor=${encodeURIComponent(all[i].cursor)}`);
      expect(after.map(({ id, version }) => ({ id, version }))).toEqual(
        all.slice(i + 1).map(({ id, version }) => ({ id, version })),
      );
    }
  });

  it('keeps to a collection, and without one gives all', async () => {
    const one = await changes('?collection=changing');
    const all = await changes();
    expect(all.length).toBeGreaterThan(one.length);
    const keys = new Set(all.map(({ id, version }) => `${id} ${version}`));
    for (const { id, version } of one) expect(keys.has(`${id} ${version}`)).toBe(true);
  });

  it('follows', async () => {
    const last = (await changes('?collection=changing')).at(-1);
    const from = `?collection=changing&cursor=${encodeURIComponent(last?.cursor ?? '')}`;
    const stream = await rest.stream('GET', `/api/v1/changes${from}&follow=true`);
    const following = ndjsonOf<Change>(stream.chunks);
    const path = (id: string) => `/api/v1/documents/${id}?collection=changing`;
    expectStatus(await rest.put(path('new'), { title: 'new' }), 201);
    const seen = await nextWithin(following, 10_000, 'the change that was made');
    expect(seen).toEqual(expect.objectContaining({ op: 'upsert', id: 'new' }));
    stream.abort();
  });
});

describe('events', () => {
  it('are server-sent events, with a heartbeat', async () => {
    const stream = await rest.stream('GET', '/api/v1/events');
    expect(stream.headers['content-type']).toMatch(/^text\/event-stream\b/);
    const events = eventsOf(stream.chunks);
    for (;;) {
      const { event } = await nextWithin(events, 30_000, 'a heartbeat');
      if (event === 'heartbeat') break;
    }
    stream.abort();
  });

  it('tell the progress of a bulk to those who ask for it', async () => {
    const stream = await rest.stream('GET', '/api/v1/events?filter=document');
    const events = eventsOf(stream.chunks);
    await nextWithin(events, 30_000, 'the first event');
    async function* slowly(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 40; i++) {
        yield Buffer.from(ndjson(Array.from({ length: 100 }, (_, j) => ({ id: `e${i}-${j}`, title: 't' }))));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    const done = rest.bulk(slowly());
    for (;;) {
      const { event, data } = await nextWithin(events, 30_000, 'document.bulk_progress');
      expect(event === 'heartbeat' || event.startsWith('document.') || event === 'missed').toBe(true);
      if (event !== 'document.bulk_progress') continue;
      expect(Object.values(data).some((value) => typeof value === 'number' && value > 0)).toBe(true);
      break;
    }
    stream.abort();
    expectStatus(await done, 201);
    expectProblem(await rest.get('/api/v1/events?filter=weather'), 'INVALID_REQUEST', /weather/);
  });
});

describe('health, metrics and documentation', () => {
  it('lives, is ready and up', async () => {
    expectStatus(await rest.get('/livez'), 200);
    expectStatus(await rest.get('/readyz'), 200);
    expect(expectStatus(await rest.get('/health'), 200)).toEqual(expect.objectContaining({ status: 'UP' }));
  });

  it('has metrics in the Prometheus format, of the process and of what it does', async () => {
    await rest.post('/api/v1/search', { text: 't' });
    const answer = await rest.get('/metrics');
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toMatch(/^text\/plain\b.*version=/);
    for (const line of answer.text.split('\n')) {
      if (line !== '' && !line.startsWith('#'))
        expect(line).toMatch(/^[a-zA-Z_:][\w:]*(\{[^}]*\})? (NaN|[-+]?(Inf|[\d.e+-]+))( \d+)?$/);
    }
    for (const name of ['process_resident_memory_bytes', 'spector_']) expect(answer.text).toContain(name);
    const queues = [...answer.text.matchAll(/^spector_queue_depth\{queue="(\w+)"\} 0$/gm)].map(([, queue]) => queue);
    expect(queues.sort()).toEqual([
      'calls',
      'index_bytes',
      'peer_calls',
      'replication_bytes',
      'searches',
      'write_bytes',
      'writes',
    ]);
    const documents = /^spector\w*documents\w*(?:\{[^}]*\})? (\d+)/m.exec(answer.text);
    expect(documents).not.toBeNull();
  });

  it('describes every call and every error code in OpenAPI', async () => {
    const answer = await rest.get('/openapi.json');
    const spec = expectStatus<{ openapi: string; paths: Record<string, Record<string, unknown>> }>(answer, 200);
    expect(spec.openapi).toMatch(/^3\./);
    const described = Object.entries(spec.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{[^}]*\}/g, '{}')}`),
    );
    expect(described).toEqual(expect.arrayContaining([...CALLS]));
    for (const code of Object.keys(STATUS_OF_CODE)) expect(answer.text).toContain(code);
  });

  it('has documentation for people', async () => {
    const answer = await rest.get('/docs');
    const page = answer.status >= 300 && answer.status < 400 ? await rest.get(answer.headers.location ?? '') : answer;
    expect(page.status).toBe(200);
    expect(page.headers['content-type']).toMatch(/^text\/html\b/);
    expect(page.text).not.toMatch(/(src|href)="https?:\/\//); // it must work without the internet
  });
});

it('a restart keeps settings, digests, and the place of a cursor in the change stream', async () => {
  const changes = (query: string) => linesFrom<Change>(`/api/v1/changes?collection=changing${query}`);
  const digests = async () =>
    Promise.all(
      [0, 1, 2].map(async (shard) => {
        const answer = await rest.get(`/api/v1/shards/${shard}/digest`);
        return expectStatus<{ live: string }>(answer, 200).live;
      }),
    );
  const last = (await changes('')).at(-1)?.cursor ?? '';
  const before = await digests();
  await node.restart();
  ({ rest } = node);
  expect(await status()).toHaveProperty('replicaCount', 3);
  expect(await digests()).toEqual(before);
  expectStatus(await rest.put('/api/v1/documents/newer?collection=changing', { title: 'newer' }), 201);
  expect((await changes(`&cursor=${encodeURIComponent(last)}`)).map(({ id }) => id)).toEqual(['newer']);
  expect((await status()).documents).toBeGreaterThan(await count(rest));
});

/** Every call of api.md. */
const CALLS: readonly string[] = [
  'POST /api/v1/ingest',
  'POST /api/v1/ingest/bulk',
  'POST /api/v1/search',
  'GET /api/v1/documents/{}',
  'PUT /api/v1/documents/{}',
  'PATCH /api/v1/documents/{}',
  'DELETE /api/v1/documents/{}',
  'POST /api/v1/documents/get',
  'POST /api/v1/documents/delete',
  'POST /api/v1/documents/scroll',
  'POST /api/v1/documents/count',
  'PUT /api/v1/collections/{}',
  'GET /api/v1/collections/{}',
  'DELETE /api/v1/collections/{}',
  'GET /api/v1/collections',
  'PUT /api/v1/aliases/{}',
  'GET /api/v1/aliases/{}',
  'DELETE /api/v1/aliases/{}',
  'GET /api/v1/status',
  'GET /api/v1/cluster',
  'PATCH /api/v1/cluster/config',
  'POST /api/v1/cluster/shards',
  'GET /api/v1/cluster/operations/{}',
  'DELETE /api/v1/cluster/operations/{}',
  'POST /api/v1/cluster/nodes/{}/drain',
  'DELETE /api/v1/cluster/nodes/{}',
  'POST /api/v1/cluster/shards/{}/primary',
  'GET /api/v1/changes',
  'GET /api/v1/shards/{}/log',
  'GET /api/v1/shards/{}/digest',
  'GET /api/v1/shards/{}/conflicts',
  'GET /api/v1/events',
  'GET /livez',
  'GET /readyz',
  'GET /health',
  'GET /metrics',
];
