import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { runCli } from './program.js';

interface Seen {
  readonly line: string;
  readonly body: string;
  readonly key: string | undefined;
}

let answers: Record<string, { readonly status?: number; readonly body: unknown }>;
let seen: Seen[];
let server: Server;
let url: string;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spector-cli-'));
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const line = `${request.method ?? ''} ${request.url ?? ''}`;
      seen.push({ line, body: Buffer.concat(chunks).toString(), key: request.headers.authorization });
      const { status = 200, body } = answers[line] ?? {
        status: 404,
        body: { code: 'ROUTE_NOT_FOUND', detail: line, retryable: false },
      };
      response.writeHead(status, { 'content-type': status < 400 ? 'application/json' : 'application/problem+json' });
      response.end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  await rm(directory, { recursive: true, force: true });
});
beforeEach(() => {
  answers = {};
  seen = [];
});
afterEach(() => {
  expect(seen.filter(({ line }) => !(line in answers))).toEqual([]);
});

/** Runs a command line and gives its exit code and all it printed. */
async function spector(
  args: readonly string[],
  options: { readonly env?: Record<string, string>; readonly stdin?: string } = {},
) {
  const printed = { stdout: '', stderr: '' };
  const into = (name: 'stdout' | 'stderr'): Writable =>
    new Writable({
      write(chunk: Buffer | string, _encoding, done) {
        printed[name] += chunk.toString();
        done();
      },
    });
  const stdin = Readable.from(options.stdin === undefined ? [] : [Buffer.from(options.stdin)]);
  const env = { SPECTOR_URL: url, ...options.env };
  const code = await runCli(args, {
    stdin,
    stdout: into('stdout'),
    stderr: into('stderr'),
    env,
    signal: new AbortController().signal,
  });
  return { code, ...printed };
}

const SHARDS = { total: 2, ok: 2, stale: [], failed: [] };
const ANSWER = {
  results: [
    {
      id: 'n1',
      score: 0.5,
      title: 'a\u001b[31m',
      content: 'the content',
      version: 'v',
      ranks: { keyword: 1 },
      explanation: { shard: 0 },
    },
  ],
  totalHits: 1,
  queryTimeMs: 1.25,
  mode: 'KEYWORD',
  fusion: null,
  partial: false,
  shards: SHARDS,
  coverage: 1,
  mapEpoch: 1,
  session: 's',
};

describe('the command line', () => {
  it('prints help with exit code 0, and 2 for what it does not know', async () => {
    const help = await spector(['--help']);
    expect(help.code).toBe(0);
    for (const command of [
      'serve',
      'ingest',
      'search',
      'get',
      'count',
      'delete',
      'status',
      'collections',
      'export',
      'backup',
      'restore',
      'verify',
      'shards',
      'reshard',
      'drain',
      'remove',
      'move-primary',
      'force',
      'force-map',
      'operation',
      'cluster',
      'demo',
    ]) {
      expect(help.stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
    }
    expect((await spector(['searh'])).stderr).toContain('Did you mean search?');
    for (const args of [
      ['searh'],
      ['get'],
      ['status', '--colour'],
      ['search'],
      ['search', 'a', '--top-k', '0'],
      ['search', 'a', '--mode', 'fuzzy'],
      ['search', '--vector', '[1,"a"]'],
      ['search', 'a', '--filter', '{'],
      ['search', 'a', '--filter', '@/nonexistent'],
      ['delete'],
      ['delete', 'a', '--filter', '{}'],
      ['status', '--url', 'ftp://x'],
      ['ingest', '-', '--resume'],
      ['ingest', '-', '--batch', '0'],
      ['reshard', '257'],
    ]) {
      expect({ args, code: (await spector(args)).code }).toEqual({ args, code: 2 });
    }
  });

  it('tells an error with its code, its detail and what to do, in JSON too', async () => {
    answers['GET /api/v1/status'] = {
      status: 401,
      body: { code: 'UNAUTHENTICATED', detail: 'no key', retryable: false, instance: 'i-1' },
    };
    const plain = await spector(['status']);
    expect(plain).toEqual({
      code: 1,
      stdout: '',
      stderr: 'spector: UNAUTHENTICATED: no key (instance i-1)\n  Give a key with --api-key or SPECTOR_API_KEY.\n',
    });
    const asJson = await spector(['status', '--json']);
    expect({ code: asJson.code, stdout: asJson.stdout }).toEqual({ code: 1, stdout: '' });
    expect(JSON.parse(asJson.stderr)).toMatchObject({
      error: { code: 'UNAUTHENTICATED', detail: 'no key', instance: 'i-1' },
    });
  });

  it.each([
    [['surch', '--json'], /unknown command 'surch'/],
    [['ingest', '--json'], /missing required argument 'file'/],
    [['count', '--jsonp', '--json'], /unknown option '--jsonp'/],
    [['search', '--json'], /nothing to search for/],
  ])('tells that %j cannot be read as JSON', async (args, detail) => {
    const { code, stdout, stderr } = await spector(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(JSON.parse(stderr)).toEqual({ error: { code: 'USAGE', detail: expect.stringMatching(detail) } });
  });

  it.each([
    ['--url', 'http://x', 'serve', '--shard-count', '300'],
    ['--api-key', 'k', 'serve'],
    ['--', 'serve', '--port', '0'],
  ])('runs no node for %j: its flags stand behind serve, and those of the client go nowhere', async (...args) => {
    const { code, stdout, stderr } = await spector(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('serve must come first');
    const asJson = await spector(['--json', ...args]);
    expect([asJson.code, asJson.stdout]).toEqual([2, '']);
    expect(JSON.parse(asJson.stderr)).toEqual({
      error: { code: 'USAGE', detail: expect.stringContaining('serve must come first') },
    });
  });

  it('takes node and key from options before the environment, wherever they stand', async () => {
    answers['POST /api/v1/documents/count'] = { body: { count: 1234, shards: SHARDS } };
    expect(
      (
        await spector(['--api-key', 'k1', 'count', '--url', url], {
          env: { SPECTOR_URL: 'http://127.0.0.1:1', SPECTOR_API_KEY: 'k0' },
        })
      ).stdout,
    ).toBe('1 234\n');
    await spector(['count'], { env: { SPECTOR_API_KEY: 'k0' } });
    expect(seen.map(({ key }) => key)).toEqual(['Bearer k1', 'Bearer k0']);
  });
});

describe('search', () => {
  it('prints a readable table, and JSON alone when asked', async () => {
    answers['POST /api/v1/search'] = { body: ANSWER };
    const filter = { must: [{ key: 'pos', match: { value: 'noun' } }] };
    const plain = await spector([
      'search',
      'two words',
      '--top-k',
      '3',
      '--mode',
      'keyword',
      '--filter',
      JSON.stringify(filter),
    ]);
    expect(plain.code).toBe(0);
    expect(plain.stdout).toContain('1  0.5000  n1  a [31m  the content\n');
    expect(plain.stdout).toContain('1 results, KEYWORD, 1.3 ms, 2/2 shards\n');
    expect(JSON.parse(seen[0].body)).toEqual({
      text: 'two words',
      topK: 3,
      mode: 'KEYWORD',
      filter,
      withContent: true,
    });
    expect((await spector(['search', '--text', 'x', '--explain'])).stdout).toContain(
      '1. n1: keyword rank 1\n   {"shard":0}',
    );
    expect(JSON.parse((await spector(['search', 'x', '--json'])).stdout)).toEqual(ANSWER);
  });

  it('says loudly when an answer is partial', async () => {
    answers['POST /api/v1/search'] = {
      body: {
        ...ANSWER,
        partial: true,
        coverage: 0.5,
        shards: { total: 2, ok: 1, stale: [], failed: [{ shard: 1, reason: 'TIMEOUT' }] },
      },
    };
    expect((await spector(['search', 'x'])).stdout).toContain(
      'PARTIAL: shards 1 (TIMEOUT) did not answer, 50 % of the documents were searched',
    );
  });

  it('takes a vector as JSON, from a file, or of a document', async () => {
    answers['POST /api/v1/search'] = { body: ANSWER };
    answers['GET /api/v1/documents/n%2F1?withVector=true'] = { body: { id: 'n/1', version: 'v', vector: [3, 4] } };
    const path = join(directory, 'vector.json');
    await writeFile(path, '{"id":"x","vector":[1,2]}');
    for (const args of [
      ['--vector', '[1,2]'],
      ['--vector', `@${path}`],
      ['--like', 'n/1'],
    ])
      expect((await spector(['search', ...args])).code).toBe(0);
    const vectors = seen
      .filter(({ line }) => line.startsWith('POST'))
      .map(({ body }) => (JSON.parse(body) as { vector: unknown }).vector);
    expect(vectors).toEqual([
      [1, 2],
      [1, 2],
      [3, 4],
    ]);
  });
});

describe('documents', () => {
  it('are printed, and what is missing is an error', async () => {
    answers['POST /api/v1/documents/get?collection=c'] = {
      body: { documents: [{ id: 'a', title: 't', metadata: { n: 1 }, version: 'v' }], missing: ['b'] },
    };
    const plain = await spector(['get', 'a', 'b', '--collection', 'c']);
    expect(plain).toEqual({
      code: 1,
      stdout: 'id        a\ntitle     t\nmetadata  {"n":1}\nversion   v\n',
      stderr: 'no document "b"\n',
    });
    const asJson = await spector(['get', 'a', 'b', '--collection', 'c', '--json']);
    expect(JSON.parse(asJson.stdout)).toMatchObject({ id: 'a' });
  });

  it('are deleted by id, in portions, or by filter', async () => {
    answers['POST /api/v1/documents/delete'] = {
      body: { deleted: 2, failed: 1, errors: [{ id: 'x', code: 'DOCUMENT_NOT_FOUND', detail: 'no' }] },
    };
    const ids = Array.from({ length: 1_500 }, (_, i) => `id-${i}`);
    expect(await spector(['delete', ...ids])).toMatchObject({
      code: 1,
      stdout: '4 deleted, 2 failed\n  x: DOCUMENT_NOT_FOUND: no\n  x: DOCUMENT_NOT_FOUND: no\n',
    });
    expect(seen.map(({ body }) => (JSON.parse(body) as { ids: string[] }).ids.length)).toEqual([1_000, 500]);
    answers['POST /api/v1/documents/delete'] = { body: { deleted: 3, failed: 0, errors: [] } };
    expect(await spector(['delete', '--filter', '{"must":[]}', '--json'])).toMatchObject({
      code: 0,
      stdout: '{"deleted":3,"failed":0,"errors":[]}\n',
    });
  });
});

describe('ingest', () => {
  const stored = { total: 2, success: 2, failed: 0, errors: [], session: 's' };

  it('stores lines of stdin and lists what failed by its line', async () => {
    answers['POST /api/v1/ingest/bulk'] = {
      body: {
        ...stored,
        success: 1,
        failed: 1,
        errors: [{ index: 1, id: null, code: 'INVALID_REQUEST', detail: 'bad' }],
      },
    };
    const errors = join(directory, 'errors.ndjson');
    const result = await spector(['ingest', '-', '--errors', errors, '--json'], {
      stdin: '{"id":"a","title":"x"}\n\nbad\n',
    });
    expect(result.code).toBe(1);
    expect(JSON.parse(result.stdout)).toMatchObject({
      total: 2,
      success: 1,
      failed: 1,
      lines: 3,
      errors: [{ line: 3, code: 'INVALID_REQUEST' }],
    });
    expect(JSON.parse(await readFile(errors, 'utf8'))).toEqual({
      line: 3,
      id: null,
      code: 'INVALID_REQUEST',
      detail: 'bad',
    });
    expect(seen[0].body).toBe('{"id":"a","title":"x"}\nbad\n');
  });

  it('of a file goes on where a failed run stopped', async () => {
    const file = join(directory, 'some.ndjson');
    await writeFile(file, ['a', 'b', 'c', 'd'].map((id) => `{"id":"${id}","title":"x"}\n`).join(''));
    answers['POST /api/v1/ingest/bulk'] = { status: 403, body: { code: 'FORBIDDEN', detail: 'no', retryable: false } };
    const failed = await spector(['ingest', file, '--batch', '2', '--concurrency', '1']);
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain(`stopped after line 0; go on with: spector ingest --resume ${file}`);
    answers['POST /api/v1/ingest/bulk'] = { status: 201, body: stored };
    seen = [];
    const resumed = await spector(['ingest', file, '--resume', '--batch', '7']);
    expect(resumed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^4 stored, 0 failed/) });
    expect(seen.map(({ body }) => body.match(/"id":"(.)"/g))).toEqual([
      ['"id":"a"', '"id":"b"'],
      ['"id":"c"', '"id":"d"'],
    ]);
    await expect(readFile(`${file}.spector-ingest.json`)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('refuses the state of another file, or of another collection', async () => {
    const file = join(directory, 'changed.ndjson');
    await writeFile(file, '{"id":"a"}\n');
    const state = {
      format: 1,
      identity: 'other',
      run: 'r',
      batch: 5,
      collection: null,
      position: { line: 1, offset: 9 },
      success: 1,
      failed: 0,
    };
    await writeFile(`${file}.spector-ingest.json`, JSON.stringify(state));
    expect(await spector(['ingest', file, '--resume'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('has changed since'),
    });
    await writeFile(`${file}.spector-ingest.json`, '{}');
    expect(await spector(['ingest', file, '--resume'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('is not the state of an ingest'),
    });
  });
});

describe('operations', () => {
  const running = { id: 'op-1', kind: 'drain', state: 'running', node: 'node-2', startedMs: 1_000 };

  it('are followed until they end', async () => {
    let asked = 0;
    answers['POST /api/v1/cluster/nodes/node-2/drain'] = { status: 202, body: { operation: 'op-1' } };
    answers['GET /api/v1/cluster/operations/op-1'] = {
      get body() {
        const done = { ...running, state: 'done', progress: { done: 4, total: 4 }, endedMs: 3_500 };
        return asked++ < 2 ? { ...running, progress: { done: asked, total: 4 }, detail: 'a copy catches up' } : done;
      },
    };
    const { code, stdout, stderr } = await spector(['drain', 'node-2']);
    expect(code).toBe(0);
    expect(stderr).toBe(
      'operation op-1\ndrain node-2: 1 of 4 copies moved, waits: a copy catches up\ndrain node-2: 2 of 4 copies moved, waits: a copy catches up\n',
    );
    expect(stdout).toBe('drain node-2: done after 2.5 s, 4 of 4 copies moved\n');
  });

  it('that fail have exit code 1, and are one object in JSON', async () => {
    const failed = { ...running, kind: 'movePrimary', shard: 3, state: 'failed', progress: { done: 0, total: 1 } };
    answers['POST /api/v1/cluster/shards/3/primary'] = { status: 202, body: { operation: 'op-1' } };
    answers['GET /api/v1/cluster/operations/op-1'] = { body: { ...failed, detail: 'node-2 is gone' } };
    const plain = await spector(['move-primary', '3', 'node-2']);
    expect([plain.code, plain.stdout]).toEqual([
      1,
      'make node-2 primary of shard 3: failed, 0 of 1 copies moved: node-2 is gone\n',
    ]);
    expect(seen[0].body).toBe('{"node":"node-2"}');
    const asJson = await spector(['move-primary', '3', 'node-2', '--json']);
    expect([asJson.code, asJson.stderr]).toEqual([1, '']);
    expect(JSON.parse(asJson.stdout)).toEqual({ ...failed, detail: 'node-2 is gone' });
  });

  it('need not be waited for, and can be taken back', async () => {
    answers['DELETE /api/v1/cluster/nodes/node-2'] = { status: 202, body: { operation: 'op-1' } };
    expect(await spector(['remove', 'node-2', '--no-wait', '--json'])).toMatchObject({
      code: 0,
      stdout: '{"operation":"op-1"}\n',
    });
    answers['DELETE /api/v1/cluster/operations/op-1'] = { body: { operation: 'op-1', aborted: true } };
    const aborted = { ...running, kind: 'remove', state: 'aborted', progress: { done: 1, total: 4 } };
    answers['GET /api/v1/cluster/operations/op-1'] = { body: aborted };
    const { code, stdout } = await spector(['operation', 'op-1', '--abort']);
    expect([code, stdout]).toEqual([1, 'remove node-2: aborted, 1 of 4 copies moved\n']);
    expect(seen.map(({ line }) => line.split(' ')[0])).toEqual(['DELETE', 'DELETE', 'GET']);
  });

  it('that cannot begin say why', async () => {
    answers['POST /api/v1/cluster/nodes/node-9/drain'] = {
      status: 404,
      body: { code: 'NODE_NOT_FOUND', detail: 'there is no node "node-9"', retryable: false },
    };
    const { code, stderr } = await spector(['drain', 'node-9']);
    expect([code, stderr]).toEqual([
      1,
      'spector: NODE_NOT_FOUND: there is no node "node-9"\n  See `spector cluster` for the nodes.\n',
    ]);
  });
});

describe('cluster', () => {
  const member = {
    nodeId: 'node-1',
    nodeUuid: '0123456789abcdef0123456789abcdef',
    incarnation: 1024,
    status: 'ACTIVE',
    addresses: { http: '127.0.0.1:7070', grpc: '127.0.0.1:9090' },
    lagMs: 12,
    disk: { freeBytes: 2 ** 30, totalBytes: 4 * 2 ** 30 },
    version: '0.1.0',
  };
  const body = {
    clusterId: 'c-1',
    mapEpoch: 9,
    viewDigest: 'd',
    failoverPromiseMs: 8_000,
    mapVoters: ['node-1', 'node-2', 'node-3'],
    settings: { replicaCount: 2, writeConsistency: 'auto', partitionMode: 'available', rebalanceGrace: '10m' },
    members: [member],
  };

  it('shows the members; any node named with --node or --url may answer', async () => {
    answers['GET /api/v1/cluster'] = { body };
    const { code, stdout } = await spector(['cluster', '--node', 'http://127.0.0.1:9', '--node', url]);
    expect(code).toBe(0);
    expect(stdout).toContain('a silent primary is replaced within 8.0 s; 2 replicas, writes auto, available');
    expect(stdout).toContain('the map changes when a majority of node-1, node-2, node-3 agrees');
    expect(stdout).toMatch(
      /^node-1 {2}ACTIVE {2}127\.0\.0\.1:7070 {2}127\.0\.0\.1:9090 {2}12 ms {2}1\.0 GiB of 4\.0 GiB {2}0\.1\.0 +1024 {2}01234567$/m,
    );
    expect(JSON.parse((await spector(['cluster', '--json'])).stdout)).toEqual(body);
  });
});

describe('status', () => {
  it('shows the topology; anything but RUNNING is exit code 1', async () => {
    const replica = { node: 'node-1', role: 'primary', inSync: true, offset: 7, lagMs: 0 };
    const status = {
      status: 'DEGRADED',
      clusterMode: false,
      activeNodes: 1,
      shardCount: 1,
      replicaCount: 0,
      topology: { 'node-1': { status: 'ACTIVE', shards: [0] } },
      nodeId: 'node-1',
      clusterId: 'c',
      version: '1',
      mapEpoch: 3,
      viewDigest: 'd',
      insecure: true,
      uptimeMs: 61_000,
      documents: 5,
      shards: [{ shard: 0, epoch: 2, primary: null, documents: 5, offset: 7, replicas: [replica] }],
    };
    answers['GET /api/v1/status'] = { body: status };
    const plain = await spector(['status']);
    expect(plain.code).toBe(1);
    expect(plain.stdout).toMatch(/^DEGRADED: 5 documents, 1 shards, 0 replicas each, 1 active node\n/);
    expect(plain.stdout).toMatch(/^ +0 +2 +NONE +5 +7 +node-1 primary$/m);
    const behind = { node: 'node-2', role: 'replica', inSync: false, offset: 3, lagMs: 1_500 };
    const shards = [{ ...status.shards[0], primary: 'node-1', replicas: [replica, behind] }];
    const topology = { ...status.topology, 'node-2': { status: 'SUSPECT', shards: ['0-replica'] } };
    answers['GET /api/v1/status'] = { body: { ...status, topology, shards } };
    const two = (await spector(['status'])).stdout;
    expect(two).toMatch(/^node-1 +ACTIVE +0 +- +- +- +-$/m);
    expect(two).toMatch(/^node-2 +SUSPECT +- +0 +- +0 +1\.5 s$/m);
    answers['GET /api/v1/status'] = { body: { ...status, status: 'RUNNING' } };
    expect((await spector(['status', '--json'])).code).toBe(0);
  });
});

describe('export', () => {
  it('writes lines that can be ingested again', async () => {
    answers['POST /api/v1/documents/scroll'] = {
      body: { documents: [{ id: 'a', title: 't', vector: [1], version: 'v' }], cursor: null, shards: SHARDS },
    };
    expect((await spector(['export'])).stdout).toBe('{"id":"a","title":"t","vector":[1]}\n');
    expect(JSON.parse(seen[0].body)).toEqual({
      limit: 500,
      withTitle: true,
      withContent: true,
      withMetadata: true,
      withVector: true,
    });
    expect((await spector(['export', '--with-version'])).stdout).toContain('"version":"v"');
  });

  it('ends where a shard does not answer, or goes on without it and says so', async () => {
    const shards = { ...SHARDS, ok: 1, failed: [{ shard: 1, reason: 'FAULTED' }] };
    answers['POST /api/v1/documents/scroll'] = {
      body: { documents: [{ id: 'a', title: 't', version: 'v' }], cursor: null, shards },
    };
    const whole = await spector(['export']);
    expect({ code: whole.code, stdout: whole.stdout }).toEqual({ code: 1, stdout: '' });
    expect(whole.stderr).toContain('SHARD_UNAVAILABLE: shards 1 (FAULTED) did not answer');
    expect(await spector(['export', '--partial'])).toEqual({
      code: 1,
      stdout: '{"id":"a","title":"t"}\n',
      stderr: 'incomplete: shards 1 (FAULTED) did not answer\n',
    });
  });
});
