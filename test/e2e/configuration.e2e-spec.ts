import { createServer } from 'node:net';
import { hostname } from 'node:os';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from './cluster/wait-for.js';
import { nodeCommand, type Running } from './support/command.js';
import { makeDirectory, removeDirectory } from './support/data-files.js';
import { count } from './support/documents.js';
import { startNode, withNode } from './support/node.js';
import { expectProblem, expectStatus } from './support/problem.js';
import { Rest } from './support/rest.js';

let directory: string;
beforeEach(async () => {
  directory = await makeDirectory();
});
afterEach(() => removeDirectory(directory));

const FREE = ['--port', '0', '--grpc-port', '0'];

describe('a bad configuration', () => {
  it('lists all problems at once and exits with 78 before a port opens or a file is made', async () => {
    const file = join(directory, 'spector.yaml');
    await writeFile(file, 'query_timeout: 5m\ncolour: red\n');
    const data = join(directory, 'data');
    const ports = join(directory, 'ports.json');
    const { code, stdout, stderr } = await nodeCommand(
      [...FREE, '--data-dir', data, '--node-id', 'Not_An_Id', '--shard-count', '300', '--no-such-flag', '1'],
      {
        env: {
          SPECTOR_CONFIG: file,
          SPECTOR_PORTS_FILE: ports,
          SPECTOR_FSYNC: 'sometimes',
          SPECTOR_HEARTBEAT_INTERVAL: '10s',
          SPECTOR_HEARTBEAT_TIMEOUT: '12s',
          SPECTOR_API_KEYS: 'reader:everything:abc',
          SPECTOR_GRPC_TLS: 'on',
          SPECTOR_MAX_MEMORY: 'lots',
        },
      },
    ).ended;
    const said = stdout + stderr;
    expect({ code, said }).toEqual({ code: 78, said: expect.any(String) });
    for (const name of [
      /query.timeout/i,
      /colour/,
      /node.id/i,
      /shard.count/i,
      /no-such-flag/,
      /fsync/i,
      /heartbeat/i,
      /api.keys/i,
      /grpc.(tls|cert|key|ca)/i,
      /max.memory/i,
    ]) {
      expect(said).toMatch(name);
    }
    expect(said).not.toMatch(/\n\s+at /);
    expect(existsSync(ports)).toBe(false);
    expect(existsSync(data)).toBe(false);
  });

  it('names every setting whose value is out of range, with what it was', async () => {
    const bad: Readonly<Record<string, string>> = {
      PORT: '70000',
      REPLICA_COUNT: '6',
      SHARD_COUNT: '0',
      QUERY_TIMEOUT: '61s',
      HEARTBEAT_INTERVAL: '100ms',
      HEARTBEAT_TIMEOUT: '121s',
      WRITE_CONSISTENCY: 'some',
      PARTITION_MODE: 'lenient',
      FSYNC: 'interval:',
      REBALANCE_GRACE: '25h',
      DRAIN_TIMEOUT: '11m',
      SIMILARITY: 'manhattan',
      HNSW_M: '3',
      HNSW_EF_CONSTRUCTION: '801',
      HNSW_EF_SEARCH: '9',
      DIMENSIONS: '4097',
      LOG_LEVEL: 'loud',
      LOG_FORMAT: 'xml',
      CLUSTER_MODE: 'maybe',
      SEEDS: 'nowhere',
      HTTP_CERT: '/nowhere/cert.pem',
    };
    const env = {
      ...Object.fromEntries(Object.entries(bad).map(([name, value]) => [`SPECTOR_${name}`, value])),
      SPECTOR_API_KEY: 'hush-hush-key',
      SPECTOR_CLUSTER_SECRET: 'hush-hush-secret',
    };
    const ended = await nodeCommand(['--grpc-port', '0', '--data-dir', join(directory, 'data')], { env }).ended;
    expect(ended.code).toBe(78);
    const said = ended.stdout + ended.stderr;
    for (const name of Object.keys(bad)) expect(said).toContain(name);
    expect(said).not.toContain('hush-hush');
    expect(existsSync(join(directory, 'data'))).toBe(false);
  });

  it('may be a file that is not there', async () => {
    const env = { SPECTOR_CONFIG: join(directory, 'nowhere.yaml') };
    const ended = await nodeCommand([...FREE, '--data-dir', join(directory, 'data')], { env }).ended;
    expect({ code: ended.code, said: ended.stdout + ended.stderr }).toEqual({
      code: 78,
      said: expect.stringContaining('nowhere.yaml'),
    });
  });
});

describe('the configuration', () => {
  it('is taken from flag, then environment, then file, then default', async () => {
    const file = join(directory, 'spector.yaml');
    await writeFile(file, 'node_id: from-file\nshard_count: 7\nreplica_count: 3\n');
    const node = await startNode({
      nodeId: 'from-flag',
      args: ['--shard-count', '5'],
      env: {
        SPECTOR_CONFIG: file,
        SPECTOR_NODE_ID: 'from-environment',
        SPECTOR_SHARD_COUNT: '6',
        SPECTOR_FSYNC: 'interval:50',
      },
    });
    try {
      const status = expectStatus(await node.rest.get('/api/v1/status'), 200);
      expect(status).toEqual(expect.objectContaining({ nodeId: 'from-flag', shardCount: 5, replicaCount: 3 }));
      const written = await node.rest.put('/api/v1/documents/a', { title: 't' });
      expect(expectStatus(written, 201)).toHaveProperty('fsync', 'interval:50');
    } finally {
      await node.dispose();
    }
  });

  it('has the published defaults', async () => {
    const portsFile = join(directory, 'ports.json');
    const run = nodeCommand([...FREE, '--data-dir', join(directory, 'data')], {
      env: { SPECTOR_PORTS_FILE: portsFile },
    });
    try {
      const rest = await whenReady(run, portsFile);
      const ports: unknown = JSON.parse(await readFile(portsFile, 'utf8'));
      expect(ports).toEqual({ http: expect.any(Number), grpc: expect.any(Number), pid: run.child.pid });
      const status = expectStatus(await rest.get('/api/v1/status'), 200);
      const nodeId = hostname().split('.', 1)[0].toLowerCase();
      expect(status).toEqual(expect.objectContaining({ shardCount: 2, replicaCount: 1, clusterMode: false, nodeId }));
      const written = expectStatus(await rest.put('/api/v1/documents/a', { vector: [1, 2] }), 201);
      expect(written).toEqual(expect.objectContaining({ fsync: 'always' }));
      expect(expectStatus(await rest.get('/api/v1/collections/default'), 200)).toEqual(
        expect.objectContaining({
          similarity: 'cosine',
          hnsw: { m: 16, efConstruction: 200, efSearch: 100 },
          dimensions: 2,
        }),
      );
      await rest.close();
      run.child.kill('SIGTERM');
      expect((await run.ended).code).toBe(0);
    } finally {
      run.child.kill('SIGKILL');
    }
  });

  it('takes the published commands', async () => {
    // As published but for the ports, which may be taken here; seed and gRPC port agree as they do there.
    const grpcPort = String(await freePort());
    const portsFile = join(directory, 'ports.json');
    const published = `--cluster-mode --node-id node-1 --grpc-port ${grpcPort} --shard-count 4 --replica-count 2 --seeds node-1:${grpcPort}`;
    const here = ['--host', '127.0.0.1', '--port', '0', '--data-dir', join(directory, 'data')];
    const run = nodeCommand([...published.split(' '), ...here], { env: { SPECTOR_PORTS_FILE: portsFile } });
    try {
      const rest = await whenReady(run, portsFile);
      const status = expectStatus(await rest.get('/api/v1/status'), 200);
      expect(status).toEqual(
        expect.objectContaining({
          clusterMode: true,
          nodeId: 'node-1',
          shardCount: 4,
          replicaCount: 2,
          activeNodes: 1,
          topology: { 'node-1': { status: 'ACTIVE', shards: [0, 1, 2, 3] } },
        }),
      );
      expectStatus(await rest.put('/api/v1/documents/a', { title: 't' }), 201);
      await rest.close();
    } finally {
      run.child.kill('SIGKILL');
      await run.ended;
    }
  });

  it('a seed that is not there is waited for, and the node says so in the published shape', async () => {
    const seed = `127.0.0.1:${await freePort()}`;
    await withNode(
      { ready: false, args: ['--cluster-mode', '--seeds', seed, '--shard-count', '3'] },
      async ({ rest }) => {
        const status = await waitFor(
          'a status',
          async () => {
            const answer = await rest.get('/api/v1/status');
            return answer.status === 200 ? answer.json() : undefined;
          },
          20_000,
        );
        const unknown = { topology: {}, shards: [], documents: 0, mapEpoch: 0 };
        expect(status).toMatchObject({
          status: 'STARTING',
          clusterMode: true,
          shardCount: 3,
          insecure: true,
          ...unknown,
        });
        expect((await rest.get('/readyz')).text).toContain(seed);
        expectProblem(await rest.post('/api/v1/search', { text: 'a' }), 'STARTING');
      },
    );
  });

  it('FSYNC, INDEX_THREADS=0, DIMENSIONS and SIMILARITY do what they say', async () => {
    await withNode(
      { env: { SPECTOR_FSYNC: 'os', SPECTOR_INDEX_THREADS: '0', SPECTOR_DIMENSIONS: '3', SPECTOR_SIMILARITY: 'dot' } },
      async ({ rest }) => {
        expectProblem(await rest.put('/api/v1/documents/a', { vector: [1, 2] }), 'DIMENSION_MISMATCH');
        const written = await rest.put('/api/v1/documents/a', { vector: [1, 2, 3] });
        expect(expectStatus(written, 201)).toHaveProperty('fsync', 'os');
        const found = expectStatus<{ results: { score: number }[] }>(
          await rest.post('/api/v1/search', { vector: [1, 1, 1], consistency: 'primary' }),
          200,
        );
        expect(found.results).toEqual([expect.objectContaining({ id: 'a', score: 6 })]);
      },
    );
  });

  it('tells of itself on --help', async () => {
    const ended = await nodeCommand(['--help']).ended;
    expect(ended.code).toBe(0);
    for (const flag of [
      '--node-id',
      '--port',
      '--grpc-port',
      '--data-dir',
      '--shard-count',
      '--replica-count',
      '--seeds',
      '--cluster-mode',
      '--grpc-tls',
    ]) {
      expect(ended.stdout).toContain(flag);
    }
  });
});

describe('a restart', () => {
  it('keeps the cluster, its shard count whatever is configured now, and the documents', async () => {
    await withNode({ args: ['--shard-count', '3'] }, async (node) => {
      expectStatus(await node.rest.put('/api/v1/documents/a', { title: 't' }), 201);
      const before = expectStatus<{ clusterId: string }>(await node.rest.get('/api/v1/status'), 200);
      await node.restart({ args: ['--shard-count', '5'] });
      const after = expectStatus<{ clusterId: string; shardCount: number }>(await node.rest.get('/api/v1/status'), 200);
      expect([after.clusterId, after.shardCount]).toEqual([before.clusterId, 3]);
      expect(await count(node.rest)).toBe(1);
    });
  });
});

/** Lines that such a bulk sends at once: enough for the node to store some of them before it has seen the end. */
const FIRST_LINES = 6_000;

/** A bulk that does not end before it is told to; resolves when the node has begun to store it. */
async function slowBulk(
  rest: Rest,
): Promise<{ readonly answer: Promise<{ status: number }>; readonly finish: () => void }> {
  let finish: () => void = () => undefined;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  async function* lines(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(Array.from({ length: FIRST_LINES }, (_, i) => `{"id":"d${i}","title":"t"}\n`).join(''));
    await finished;
    yield Buffer.from('{"id":"last","title":"t"}\n');
  }
  const answer = rest.bulk(lines());
  answer.catch(() => undefined); // told to whoever awaits it
  await waitFor('the bulk to be under way', async () => (await count(rest)) > 0, 10_000);
  return { answer, finish };
}

describe('SIGTERM', () => {
  it('makes the node not ready first, lets running requests finish, and ends with 0', async () => {
    await withNode({}, async (node) => {
      const { rest } = node;
      const running = await slowBulk(rest);
      const exited = node.process.expectExit();
      node.process.signal('SIGTERM');
      const others = new Rest(node.base);
      const readiness = await waitFor(
        'readiness to flip',
        async () => {
          const answer = await others.get('/readyz');
          return answer.status === 503 ? answer : undefined;
        },
        5_000,
      );
      expect(readiness.status).toBe(503);
      expectStatus(await others.get('/livez'), 200);
      const refused = await others.put('/api/v1/documents/late', { title: 't' });
      expect(expectProblem(refused, 'DRAINING').retryable).toBe(true);
      running.finish();
      expect((await running.answer).status).toBe(201);
      await others.close();
      expect(await exited).toEqual({ code: 0, signal: null });
      await node.restart();
      expect(await count(node.rest)).toBe(FIRST_LINES + 1);
    });
  });

  it('or SIGINT ends following streams instead of waiting for them', async () => {
    await withNode({}, async (node) => {
      const stream = await node.rest.stream('GET', '/api/v1/changes?follow=true');
      const events = await node.rest.stream('GET', '/api/v1/events');
      const started = performance.now();
      expect(await node.stop('SIGINT')).toEqual({ code: 0, signal: null });
      expect(performance.now() - started).toBeLessThan(10_000);
      stream.abort();
      events.abort();
    });
  });

  it('a second one ends it at once', async () => {
    await withNode({}, async (node) => {
      const running = await slowBulk(node.rest);
      const cut = running.answer.catch(() => 'cut');
      const exited = node.process.expectExit();
      node.process.signal('SIGTERM');
      const others = new Rest(node.base);
      await waitFor('readiness to flip', async () => (await others.get('/readyz')).status === 503, 5_000);
      const asked = performance.now();
      node.process.signal('SIGTERM');
      const { code } = await exited;
      expect(performance.now() - asked).toBeLessThan(3_000);
      expect(code).not.toBe(0);
      running.finish();
      await cut;
      await others.close();
    });
  });
});

/** A client of a node that was started by hand, once it is ready. */
async function whenReady(run: Running, portsFile: string): Promise<Rest> {
  let over = false;
  void run.ended.then(() => (over = true));
  const options = { stopWhen: () => over };
  await waitFor('the ports file', () => existsSync(portsFile), 30_000, options);
  const { http } = JSON.parse(await readFile(portsFile, 'utf8')) as { http: number };
  const rest = new Rest(`http://127.0.0.1:${http}`);
  await waitFor('readiness', async () => (await rest.get('/readyz')).status === 200, 30_000, options);
  return rest;
}

/** A port that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address !== null ? resolve(address.port) : reject(new Error('no port')),
      );
    });
  });
}
