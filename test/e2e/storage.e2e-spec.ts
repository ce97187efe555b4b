import { execFileSync } from 'node:child_process';
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { nodeCommand, spector } from './support/command.js';
import { makeDirectory, removeDirectory } from './support/data-files.js';
import { corpus, count, everything, store } from './support/documents.js';
import { ndjson } from './support/lines.js';
import type { TestNode } from './support/node.js';
import { startNode, withNode } from './support/node.js';
import { expectProblem, expectStatus } from './support/problem.js';
import { Cluster, type ClusterNode } from './cluster/cluster.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';

describe('a second process on the same data directory', () => {
  it('is refused with exit code 74 and a message that names the directory, and the first goes on', async () => {
    await withNode({}, async (node) => {
      expectStatus(await node.rest.put('/api/v1/documents/a', { title: 't' }), 201);
      const second = await nodeCommand(['--data-dir', node.dataDir, '--port', '0', '--grpc-port', '0']).ended;
      expect(second.code).toBe(74);
      const said = second.stdout + second.stderr;
      expect(said).toContain(node.dataDir);
      expect(said).toMatch(/lock|in use|another/i);
      expect(said).not.toMatch(/\n\s+at /);
      expectStatus(await node.rest.put('/api/v1/documents/b', { title: 't' }), 201);
      const verify = await spector(['verify', node.dataDir]);
      expect(verify.code).not.toBe(0);
      expect(verify.stderr + verify.stdout).toMatch(/lock|in use|another/i);
    });
  });
});

describe('a data directory that cannot be used', () => {
  it('because its log is gone, and its indexes are not, ends the start of a single node with 74', async () => {
    const directory = await makeDirectory();
    try {
      await mkdir(join(directory, 'checkpoints', '0', '12'), { recursive: true });
      const start = await nodeCommand(['--data-dir', directory, '--port', '0', '--grpc-port', '0']).ended;
      expect(start.code).toBe(74);
      expect(start.stdout + start.stderr).toContain('its log is gone');
    } finally {
      await removeDirectory(directory);
    }
  });

  it.each([
    ['a file', async (path: string) => writeFile(path, 'a file')],
    ['below a file', async (path: string) => writeFile(join(path, '..', 'below'), 'a file')],
  ])('because it is %s ends the start with 74', async (kind, make) => {
    const parent = await makeDirectory();
    try {
      const path = kind === 'a file' ? join(parent, 'data') : join(parent, 'below', 'data');
      await (kind === 'a file' ? make(path) : writeFile(join(parent, 'below'), 'a file'));
      const ended = await nodeCommand(['--data-dir', path, '--port', '0', '--grpc-port', '0']).ended;
      expect({ code: ended.code, said: ended.stdout + ended.stderr }).toEqual({
        code: 74,
        said: expect.stringContaining(path),
      });
    } finally {
      await removeDirectory(parent);
    }
  });
});

(process.platform === 'linux' ? describe : describe.skip)('a data directory where the system takes none', () => {
  it.each(['/proc/spector', '/proc/spector/data', '/proc'])('%s, ends the start with 74 at once', async (path) => {
    const command = nodeCommand(['--data-dir', path, '--port', '0', '--grpc-port', '0'], { timeoutMs: 20_000 });
    const { code, stdout, stderr } = await command.ended;
    expect({ code, said: stdout + stderr }).toEqual({
      code: 74,
      said: expect.stringContaining('/proc takes no directories'),
    });
    expect(stdout + stderr).not.toMatch(/\n\s+at /);
  });
});

describe('MAX_MEMORY', () => {
  it('refuses upserts with 507 when it is reached, and lets searches, reads and deletions go on', async () => {
    await withNode({}, async (node) => {
      const documents = Array.from({ length: 100 }, (_, i) => ({
        id: `m${i}`,
        content: 'searchable words',
        vector: [1, i],
      }));
      await store(node.rest, documents);
      await node.restart({ env: { SPECTOR_MAX_MEMORY: '1MiB' } });
      const { rest } = node;
      const refusals = [
        await rest.put('/api/v1/documents/new', { title: 't' }),
        await rest.post('/api/v1/ingest', { id: 'm1', title: 't' }),
        await rest.patch('/api/v1/documents/m1', { title: 't' }),
        await rest.bulk(
          ndjson([
            { id: 'new', title: 't' },
            { id: 'new-2', title: 't' },
          ]),
        ),
      ];
      for (const answer of refusals)
        expect(expectProblem(answer, 'INSUFFICIENT_STORAGE', /memory/i).retryable).toBe(true);
      expect((await rest.get('/api/v1/documents/new')).status).toBe(404);
      for (const query of [{ text: 'searchable' }, { vector: [1, 1] }, { text: 'words', vector: [1, 2] }]) {
        const found = expectStatus<{ results: unknown[] }>(await rest.post('/api/v1/search', query), 200);
        expect(found.results).toHaveLength(10);
      }
      expectStatus(await rest.get('/api/v1/documents/m1'), 200);
      expectStatus(await rest.delete('/api/v1/documents/m1'), 200);
      expect(await count(rest)).toBe(99);
      const mixed = await rest.bulk(
        ndjson([
          { op: 'delete', id: 'm2' },
          { id: 'new', title: 't' },
        ]),
      );
      expect(expectStatus(mixed, 200)).toEqual(expect.objectContaining({ success: 1, failed: 1 }));
      await node.restart({ env: {} });
      expectStatus(await node.rest.put('/api/v1/documents/new', { title: 't' }), 201);
    });
  });
});

/** Why no small disk can be had here; undefined when there is one. */
function tmpfsProblem(path: string): string | undefined {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', path], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `no tmpfs can be mounted: ${String(error).split('\n')[0]}`;
  }
}

describe('a disk that fills up', () => {
  let disk: string;
  let problem: string | undefined;
  beforeAll(async () => {
    disk = await makeDirectory();
    problem = tmpfsProblem(disk);
    if (problem !== undefined) process.stderr.write(`skipped: a disk that fills up: ${problem}\n`);
  });
  afterAll(async () => {
    if (problem === undefined) execFileSync('umount', ['-l', disk]);
    await removeDirectory(disk);
  });

  it('stops upserts with 507 before it is full; deletions and searches go on; it ends when space returns', async () => {
    if (problem !== undefined) return;
    const ballast = join(disk, 'ballast');
    const directory = join(disk, 'data');
    await mkdir(directory);
    await writeFile(ballast, Buffer.alloc(12 * 1024 * 1024, 1));
    const node = await startNode({ directory });
    try {
      const { rest } = node;
      const stored = new Set<string>();
      const content = 'x'.repeat(900);
      let full;
      for (let batch = 0; full === undefined && batch < 400; batch++) {
        const lines = Array.from({ length: 100 }, (_, i) => ({
          id: `d-${batch}-${i}`,
          title: 'fill',
          content,
          vector: [batch, i + 1],
        }));
        const answer = await rest.bulk(ndjson(lines));
        if (answer.status === 201) for (const { id } of lines) stored.add(id);
        else full = answer;
      }
      if (full === undefined) throw new Error('40 000 documents fit on a disk of 64 MiB');
      const errors = full.json<{ errors: { code: string; id: string }[] }>().errors;
      expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['INSUFFICIENT_STORAGE']));
      expect([200, 507]).toContain(full.status);
      const { bavail, bsize } = await statfs(disk);
      expect(bavail * bsize).toBeGreaterThan(4 * 1024 * 1024); // not full: the reserve
      const refused = await rest.put('/api/v1/documents/one-more', { content });
      expect(expectProblem(refused, 'INSUFFICIENT_STORAGE', /disk|space|storage/i).retryable).toBe(true);

      expect(
        expectStatus<{ results: unknown[] }>(await rest.post('/api/v1/search', { text: 'fill', vector: [1, 1] }), 200)
          .results,
      ).toHaveLength(10);
      expectStatus(await rest.get('/api/v1/documents/d-0-0'), 200);
      for (let i = 0; i < 100; i++) expectStatus(await rest.delete(`/api/v1/documents/d-0-${i}`), 200);
      expect((await rest.get('/api/v1/documents/d-0-0')).status).toBe(404);
      for (let i = 0; i < 100; i++) stored.delete(`d-0-${i}`);

      await rm(ballast);
      await waitFor(
        'upserts to be taken again',
        async () => [200, 201].includes((await rest.put('/api/v1/documents/one-more', { content })).status),
        15_000,
      );
      await node.kill();
      await node.restart();
      const found = new Set((await everything(node.rest)).map(({ id }) => id));
      const missing = [...stored].filter((id) => !found.has(id));
      expect(missing).toEqual([]);
      for (let i = 0; i < 100; i++) expect(found.has(`d-0-${i}`)).toBe(false);
      expect(found.has('one-more')).toBe(true);
    } finally {
      await node.dispose();
    }
  }, 120_000);

  it('that is full all the same ends the node with 74 or refuses, and nothing acknowledged is lost', async () => {
    if (problem !== undefined) return;
    const ballast = join(disk, 'ballast-2');
    const directory = join(disk, 'data-2');
    await rm(join(disk, 'data'), { recursive: true, force: true });
    await mkdir(directory);
    const node: TestNode = await startNode({ directory });
    const acknowledged: string[] = [];
    try {
      // Somebody else takes all the space at once, reserve included.
      const { bavail, bsize } = await statfs(disk);
      await writeFile(ballast, Buffer.alloc(bavail * bsize - 256 * 1024, 1));
      const exited = node.process.expectExit();
      let over = false;
      void exited.then(() => (over = true));
      for (let i = 0; i < 400 && !over; i++) {
        const answer = await node.rest
          .put(`/api/v1/documents/f${i}`, { content: 'x'.repeat(4_000) })
          .catch(() => undefined);
        if (answer === undefined) break;
        if (answer.status === 201) acknowledged.push(`f${i}`);
        else expectProblem(answer, ['INSUFFICIENT_STORAGE', 'WRITE_OUTCOME_UNKNOWN', 'SHARD_UNAVAILABLE', 'DRAINING']);
      }
      if (over) expect((await exited).code).toBe(74);
      await node.kill();
      await rm(ballast);
      await node.restart();
      for (const id of acknowledged) expectStatus(await node.rest.get(`/api/v1/documents/${id}`), 200);
      expectStatus(await node.rest.put('/api/v1/documents/after', { title: 't' }), 201);
    } finally {
      await node.dispose();
    }
  }, 60_000);
});

describe('a node of a cluster whose disk fills up', () => {
  let cluster: Cluster | undefined;
  const mounted: string[] = [];
  afterAll(async () => {
    for (const node of cluster?.living ?? []) await node.kill();
    for (const path of mounted) execFileSync('umount', ['-l', path]);
    await cluster?.dispose();
    await expectNoNodeLeft();
  });

  it('hands over to a copy with room and takes no more: upserts go on; with space it follows again, by what it missed', async () => {
    cluster = await Cluster.plan({ shards: 1, replicas: 2 });
    for (const { directory } of cluster.nodes) {
      await mkdir(directory, { recursive: true });
      const problem = tmpfsProblem(directory);
      if (problem !== undefined) {
        process.stderr.write(`skipped: a node whose disk fills up: ${problem}\n`);
        return;
      }
      mounted.push(directory);
    }
    await Promise.all(cluster.nodes.map((node) => node.start({ ready: false })));
    const [{ primary }] = (await cluster.settled()).shards;
    const full = cluster.node(primary ?? '');
    const [other] = cluster.others(full.nodeId);
    expectStatus(await full.rest.put('/api/v1/documents/before', { title: 'before' }), 201);
    const { bavail, bsize } = await statfs(full.directory);
    const ballast = join(full.directory, 'ballast');
    // The reserve of a disk of 64 MiB is 36.
    await writeFile(ballast, Buffer.alloc(bavail * bsize - 34 * 1024 * 1024, 1));
    const moved = await waitFor(
      'another copy to lead',
      async () => {
        const [shard] = (await other.status()).shards;
        return shard.primary !== null && shard.primary !== full.nodeId ? shard.primary : undefined;
      },
      60_000,
    );
    for (const { rest, nodeId } of cluster.nodes)
      expectStatus(await rest.put(`/api/v1/documents/through-${nodeId}`, { title: 'after' }), 201);
    for (const { rest } of cluster.nodes) expect(await count(rest)).toBe(4);
    expect(moved).not.toBe(full.nodeId);
    const replicaOf = async (node: ClusterNode) => {
      const [{ replicas, offset }] = (await node.status()).shards;
      return { offset, ...replicas.find((replica) => replica.node === full.nodeId) };
    };
    // Each node shows why the copy does not follow; more than the disk has room for passes it by.
    for (const node of cluster.nodes)
      await waitFor(
        'the copy on the full disk to be held',
        async () => (await replicaOf(node)).held === 'DISK_FULL',
        20_000,
      );
    expect(await replicaOf(other)).toMatchObject({ inSync: false, role: 'replica' });
    expect((await full.rest.get('/health')).json<{ degraded: string[] }>().degraded.join()).toMatch(
      /down to its reserve/,
    );
    const held = (await replicaOf(full)).offset;
    const documents = corpus(9, 1_000, 4).map((document) => ({ ...document, content: 'x'.repeat(4_000) }));
    await store(other.rest, documents);
    const free = await statfs(full.directory);
    expect(free.bavail * free.bsize).toBeGreaterThan(30 * 1024 * 1024);
    expect((await replicaOf(full)).offset).toBeLessThan(held + 50);
    expect(await full.metric('spector_copies_total', 'event="held"')).toBe(1);
    await rm(ballast);
    await cluster.settled();
    await cluster.converged(3);
    expect(await full.metric('spector_copies_total', 'event="resumed"')).toBe(1);
    const leader = cluster.node((await other.status()).shards[0].primary ?? '');
    const sent = await leader.metric('spector_replication_sent_entries_total', `shard="0",to="${full.nodeId}"`);
    expect(sent).toBeLessThan(documents.length + 100);
  }, 120_000);
});
