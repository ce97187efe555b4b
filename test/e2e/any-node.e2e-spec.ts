import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Cluster, type ClusterNode } from './cluster/cluster.js';
import { ledBy, replaced } from './cluster/reigns.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { corpus, store } from './support/documents.js';
import { withNode } from './support/node.js';
import { expectProblem, expectStatus } from './support/problem.js';
import { Random, words } from './support/random.js';
import type { Rest } from './support/rest.js';

jest.setTimeout(180_000);

const SHARDS = 9;
const DIMENSIONS = 8;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({ shards: SHARDS, replicas: 2 });
});
afterAll(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

interface Written {
  readonly version: string;
  readonly shard: number;
  readonly epoch: number;
  readonly offset: number;
  readonly durable: number;
  readonly created: boolean;
  readonly session: string;
}

/** Searches of every kind whose exact answers do not depend on where documents are. */
function queries(): readonly object[] {
  const random = new Random(11);
  return Array.from({ length: 6 }, (_, i) => [
    { text: words(random, 3), params: { exact: true }, topK: 20 },
    { vector: random.vector(DIMENSIONS), params: { exact: true }, topK: 20 },
    { text: words(random, 2), vector: random.vector(DIMENSIONS), params: { exact: true }, topK: 10, offset: i },
    {
      text: words(random, 2),
      vector: random.vector(DIMENSIONS),
      params: { exact: true },
      fusion: { method: 'relative', alpha: 0.3 },
      filter: { must: [{ key: 'deep.even', match: { value: i % 2 === 0 } }] },
    },
  ]).flat();
}

async function answers(rest: Rest): Promise<unknown> {
  const all: unknown[] = [];
  for (const query of queries()) {
    const answer = await rest.post('/api/v1/search', { ...query, collection: 'exact', consistency: 'any' });
    const { results, partial } = expectStatus<{ results: { id: string; score: number }[]; partial: boolean }>(
      answer,
      200,
    );
    all.push({ query, partial, results: results.map(({ id, score }) => ({ id, score })) });
  }
  return all;
}

/** Brings killed nodes back. */
async function heal(): Promise<void> {
  for (const node of cluster.nodes) if (!node.running) await node.start();
  await cluster.settled();
}

describe('exact answers', () => {
  it('of nine shards on three nodes are those of one shard on one node, also after a kill', async () => {
    const documents = corpus(21, 600, DIMENSIONS);
    const alone = await withNode({ args: ['--shard-count', '1'] }, async ({ rest }) => {
      expectStatus(await rest.put('/api/v1/collections/exact', {}), 201);
      await store(rest, documents, '?collection=exact');
      return answers(rest);
    });
    expectStatus(await cluster.nodes[1].rest.put('/api/v1/collections/exact', {}), 201);
    await store(cluster.nodes[2].rest, documents, '?collection=exact');
    // Any copy may answer: all must have applied what was stored.
    await cluster.settled();
    for (const { rest } of cluster.nodes) expect(await answers(rest)).toEqual(alone);
    const before = await cluster.settled();
    const victim = before.shards[0].primary ?? '';
    const others = cluster.others(victim);
    await cluster.node(victim).kill();
    for (const { rest } of others) expect(await answers(rest)).toEqual(alone);
    await replaced(others[0], ledBy(before, victim), victim);
    for (const { rest } of others) expect(await answers(rest)).toEqual(alone);
    await heal();
  });
});

describe('writes through any node', () => {
  it('are acknowledged at the level asked for, and read back with their session through every node', async () => {
    for (const [i, node] of cluster.nodes.entries()) {
      for (const [level, copies] of [
        ['one', 1],
        ['quorum', 2],
        ['all', 3],
      ] as const) {
        const id = `level-${i}-${level}`;
        const written = expectStatus<Written>(
          await node.rest.put(`/api/v1/documents/${id}?consistency=${level}`, { title: id }),
          201,
        );
        expect(written.durable).toBeGreaterThanOrEqual(copies);
        const { session } = written;
        for (const other of cluster.nodes) {
          const read = await other.rest.get(`/api/v1/documents/${id}`, { headers: { 'spector-session': session } });
          expect(expectStatus<{ version: string }>(read, 200).version).toBe(written.version);
          const found = await other.rest.post('/api/v1/search', { text: level, session, topK: 100 });
          const { results } = expectStatus<{ results: { id: string }[] }>(found, 200);
          expect(results.map((result) => result.id)).toContain(id);
        }
      }
    }
  });

  it('keep conditions exact, whichever node is asked', async () => {
    const [one, two, three] = cluster.nodes;
    const path = '/api/v1/documents/conditional';
    const first = expectStatus<Written>(await one.rest.put(path, { title: 'first' }, { 'if-none-match': '*' }), 201);
    expectProblem(await two.rest.put(path, { title: 'again' }, { 'if-none-match': '*' }), 'VERSION_CONFLICT');
    const match = { 'if-match': `"${first.version}"` };
    const racing = await Promise.all(
      [one, two, three].map(({ rest }, i) => rest.put(path, { title: `racer-${i}` }, match)),
    );
    expect(racing.map(({ status }) => status).sort()).toEqual([200, 409, 409]);
  });

  it('with a key are made once, through another node and after the primary was killed', async () => {
    const path = '/api/v1/documents/keyed';
    const headers = { 'idempotency-key': 'only-once' };
    const [one, two] = cluster.nodes;
    const written = expectStatus<Written>(await one.rest.put(path, { title: 'keyed' }, headers), 201);
    const again = expectStatus<Written>(await two.rest.put(path, { title: 'keyed' }, headers), 201);
    expect(again).toMatchObject({ version: written.version, offset: written.offset, created: true });
    expectProblem(await two.rest.put(path, { title: 'other' }, headers), 'IDEMPOTENCY_CONFLICT');
    const before = await cluster.settled();
    const victim = before.shards[written.shard].primary ?? '';
    const [other] = cluster.others(victim);
    await cluster.node(victim).kill();
    await replaced(other, [written.shard], victim);
    const later = await waitFor(
      'a majority behind the new primary',
      async () => {
        const answer = await other.rest.put(path, { title: 'keyed' }, headers);
        return answer.status === 503 ? undefined : answer;
      },
      20_000,
    );
    expect(expectStatus<Written>(later, 201)).toMatchObject({ version: written.version, created: true });
    expectProblem(await other.rest.put(path, { title: 'other' }, headers), 'IDEMPOTENCY_CONFLICT');
    await heal();
  });

  it('are refused at once at a level that cannot be reached, and taken at one that can', async () => {
    const [kept, ...gone] = cluster.nodes;
    const put = (node: ClusterNode, id: string, level: string) =>
      node.rest.put(`/api/v1/documents/${id}?consistency=${level}`, { title: id });
    await gone[0].kill();
    // A write at `all` that comes before its primary has noticed is admitted, and nobody knows then whether it is stored.
    const isNoticed = async (lost: ClusterNode) =>
      (await kept.status()).shards.every(({ replicas }) =>
        replicas.every(({ node, inSync }) => node !== lost.nodeId || !inSync),
      );
    await waitFor('every primary to notice', () => isNoticed(gone[0]), 20_000);
    await waitFor('quorum without one node', async () => (await put(kept, 'two-left', 'quorum')).status < 300, 20_000);
    expectProblem(await put(kept, 'two-left', 'all'), 'NO_QUORUM');
    await gone[1].kill();
    await waitFor('the last one to notice', () => isNoticed(gone[1]), 20_000);
    await waitFor('one without two nodes', async () => (await put(kept, 'one-left', 'one')).status < 300, 20_000);
    const startedMs = performance.now();
    for (const level of ['auto', 'quorum', 'all']) expectProblem(await put(kept, 'one-left', level), 'NO_QUORUM');
    expect(performance.now() - startedMs).toBeLessThan(3_000);
    expectStatus(await kept.rest.get('/api/v1/documents/two-left'), 200);
    await heal();
    await cluster.converged(3);
    for (const { rest } of cluster.nodes) {
      for (const id of ['two-left', 'one-left'])
        expectStatus(await rest.get(`/api/v1/documents/${id}?consistency=primary`), 200);
    }
  });
});

describe('what was put into the map over one node', () => {
  it('is there for every other one as soon as it was answered', async () => {
    for (let round = 0; round < 6; round++) {
      const [one, ...others] = [0, 1, 2].map((i) => cluster.nodes[(i + round) % 3]);
      const name = `fresh-${round}`;
      expectStatus(await one.rest.put(`/api/v1/collections/${name}`, {}), 201);
      expectStatus(await one.rest.put(`/api/v1/aliases/${name}-alias`, { collection: name }), 201);
      const [two, three] = others;
      const answers = await Promise.all([
        two.rest.put(`/api/v1/documents/a?collection=${name}`, { title: 'fresh' }),
        three.rest.bulk('{"id":"b","title":"fresh"}\n', `?collection=${name}`),
        two.rest.put(`/api/v1/collections/${name}`, {}),
        three.rest.get(`/api/v1/aliases/${name}-alias`),
        two.rest.post('/api/v1/search', { text: 'fresh', collection: `${name}-alias` }),
      ]);
      expect(answers.map(({ status }) => status)).toEqual([201, 201, 200, 200, 200]);
    }
  });

  it('is an operation for every other one', async () => {
    const { shards } = await cluster.settled();
    const { primary, replicas } = shards[0];
    const next = replicas.find(({ node, inSync }) => inSync && node !== primary);
    const [one, ...others] = cluster.nodes;
    const answer = await one.rest.post('/api/v1/cluster/shards/0/primary', { node: next?.node });
    const { operation } = expectStatus<{ operation: string }>(answer, 202);
    for (const other of others) expectStatus(await other.rest.get(`/api/v1/cluster/operations/${operation}`), 200);
    await cluster.operation(one, operation);
  });
});
