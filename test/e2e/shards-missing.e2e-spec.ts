import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Cluster, type ClusterNode, type Status } from './cluster/cluster.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { spector } from './support/command.js';
import { corpus, store } from './support/documents.js';
import { expectProblem, expectStatus } from './support/problem.js';
import type { Answer } from './support/rest.js';

jest.setTimeout(120_000);

const QUERY_TIMEOUT_MS = 1_000;
/** What an answer may take beyond the query time-out (issue: 250 ms), and what a busy machine adds. */
const LATE_MS = 250 + 500;
/** Wide enough for every document: what a missing shard leaves room for is not news. */
const QUERY = { text: 'river garden', vector: [1, 1, 1, 1], topK: 200, params: { exact: true } };

let cluster: Cluster;
/** The nodes that hold a shard each, and one that holds none. */
let holders: readonly ClusterNode[];
let empty: ClusterNode;

beforeAll(async () => {
  cluster = await Cluster.start({
    shards: 2,
    replicas: 0,
    proxied: true,
    env: { SPECTOR_QUERY_TIMEOUT: `${QUERY_TIMEOUT_MS}ms` },
  });
  const spread = await waitFor(
    'two nodes with a shard each',
    async () => {
      const { shards } = await cluster.settled();
      return new Set(shards.map(({ primary }) => primary)).size === 2 ? shards : undefined;
    },
    60_000,
  );
  holders = spread.map(({ primary }) => cluster.node(primary ?? ''));
  empty = cluster.nodes.find((node) => !holders.includes(node)) ?? cluster.nodes[0];
  await store(empty.rest, corpus(7, 200, 4));
  // What a shard that is gone holds is known by its last heartbeat.
  await waitFor(
    'every node to know how many documents each shard has',
    async () => {
      const statuses = await Promise.all(cluster.nodes.map((node) => node.status()));
      const counted = ({ shards }: Status): number => shards.reduce((sum, { documents }) => sum + documents, 0);
      return statuses.every((status) => counted(status) === 200);
    },
    20_000,
  );
});
afterEach(async () => {
  cluster.network.heal();
  for (const node of cluster.nodes) {
    if (node.running) node.process.signal('SIGCONT');
    else await node.start();
  }
  await cluster.settled();
});
afterAll(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

interface Found {
  readonly results: readonly { readonly id: string }[];
  readonly partial: boolean;
  readonly coverage: number;
  readonly shards: {
    readonly total: number;
    readonly ok: number;
    readonly failed: readonly { readonly shard: number; readonly reason: string }[];
  };
}

async function search(node: ClusterNode, query: object = QUERY): Promise<Answer & { readonly ms: number }> {
  const startedMs = performance.now();
  const answer = await node.rest.post('/api/v1/search', query);
  return { ...answer, ms: performance.now() - startedMs };
}

/** Checks that an answer is partial, in time, and names exactly this shard; gives it. */
function expectPartial(answer: Answer & { readonly ms: number }, shard: number, reasons: readonly string[]): Found {
  const found = expectStatus<Found>(answer, 200);
  expect(answer.ms).toBeLessThan(QUERY_TIMEOUT_MS + LATE_MS);
  expect({ partial: found.partial, total: found.shards.total, ok: found.shards.ok }).toEqual({
    partial: true,
    total: 2,
    ok: 1,
  });
  expect(found.shards.failed.map((failure) => failure.shard)).toEqual([shard]);
  expect(reasons).toContain(found.shards.failed[0].reason);
  expect(found.coverage).toBeGreaterThan(0);
  expect(found.coverage).toBeLessThan(1);
  return found;
}

describe('without replicas, a search is answered by the shards that are left', () => {
  it('when a node was killed: what it held is named, everything else is found', async () => {
    const whole = expectStatus<Found>(await search(empty), 200);
    expect(whole).toMatchObject({ partial: false, coverage: 1, shards: { total: 2, ok: 2, failed: [] } });
    await holders[1].kill();
    const first = expectPartial(await search(empty), 1, ['UNREACHABLE', 'TIMEOUT']);
    // Who looks sees it as soon, not only when the node is given up.
    await waitFor('the status to tell', async () => (await empty.status()).status === 'DEGRADED', 2_000);
    const doubted = (await empty.status()).shards[1];
    expect(doubted.replicas[0]).toMatchObject({ inSync: false });
    const { epoch } = doubted;
    expect(epoch).toBeGreaterThan(0);
    for (const { id } of first.results) expect(whole.results.map((result) => result.id)).toContain(id);
    // From the node that holds the other one, and again when the death is known.
    expectPartial(await search(holders[0]), 1, ['UNREACHABLE', 'TIMEOUT']);
    await waitFor(
      'the death to be known',
      async () => (await empty.status()).topology[holders[1].nodeId]?.status === 'UNAVAILABLE',
      20_000,
    );
    const known = await search(empty);
    expectPartial(known, 1, ['UNREACHABLE']);
    const covered = await search(empty, { ...QUERY, minCoverage: 0.99 });
    expectProblem(covered, 'COVERAGE_TOO_LOW');
    const status: Status = await empty.status();
    expect(status.status).toBe('DEGRADED');
    expect(status.shards[1]).toMatchObject({ primary: null, epoch });
    const lagMs = (): Promise<number> => empty.status().then(({ shards }) => shards[1].replicas[0].lagMs);
    const lag = await lagMs();
    expect(lag).toBeGreaterThan(0);
    await waitFor('the lag of what is away to grow', async () => (await lagMs()) > lag, 2_000);
    const collection = expectStatus<{ missingShards: number[] }>(
      await empty.rest.get('/api/v1/collections/default'),
      200,
    );
    expect(collection.missingShards).toEqual([1]);
    const exported = await spector(['export', '--url', empty.rest.base]);
    expect(exported.code).toBe(1);
    expect(exported.stderr).toContain('SHARD_UNAVAILABLE: shards 1 (UNREACHABLE) did not answer');
    expect((await empty.rest.get('/health')).json()).toMatchObject({
      status: 'DEGRADED',
      degraded: ['shard 1 has no primary'],
    });
  });

  it('when a node stands still', async () => {
    holders[0].process.signal('SIGSTOP');
    expectPartial(await search(empty), 0, ['TIMEOUT', 'UNREACHABLE']);
    expectPartial(await search(holders[1]), 0, ['TIMEOUT', 'UNREACHABLE']);
  });

  it('when a node is slower than the query may be', async () => {
    cluster.network.fault(holders[1].nodeId, empty.nodeId, { latencyMs: 3 * QUERY_TIMEOUT_MS });
    expectPartial(await search(empty), 1, ['TIMEOUT', 'UNREACHABLE']);
  });

  it('when none is left, with an error that says so', async () => {
    for (const node of holders) await node.kill();
    const killed = await search(empty);
    expectProblem(killed, ['SHARD_UNAVAILABLE', 'QUERY_TIMEOUT']);
    // A count of nothing, or a scroll that is at its end, would be taken for an empty collection.
    for (const call of ['count', 'scroll'])
      expectProblem(await empty.rest.post(`/api/v1/documents/${call}`, {}), ['SHARD_UNAVAILABLE', 'QUERY_TIMEOUT']);
    expect(killed.ms).toBeLessThan(QUERY_TIMEOUT_MS + LATE_MS);
    for (const node of holders) await node.start();
    await cluster.settled();
    for (const node of holders) node.process.signal('SIGSTOP');
    const stopped = await search(empty);
    expectProblem(stopped, ['SHARD_UNAVAILABLE', 'QUERY_TIMEOUT']);
    expect(stopped.ms).toBeLessThan(QUERY_TIMEOUT_MS + LATE_MS);
    // Once it is known that they do not answer, no time is what is lacking.
    await waitFor(
      'their silence to be known',
      async () => {
        const { ms, ...answer } = await search(empty, { ...QUERY, timeoutMs: 900 });
        return ms < 600 && expectProblem(answer, 'SHARD_UNAVAILABLE');
      },
      20_000,
    );
  });
});
