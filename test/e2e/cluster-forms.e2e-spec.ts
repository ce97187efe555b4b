import { afterAll, afterEach, describe, expect, it, jest } from '@jest/globals';
import { TemporaryDirectory } from '../../src/cli/processes/temporary-directory.js';
import { Cluster, HEARTBEAT, type Status } from './cluster/cluster.js';
import { freePort } from './cluster/free-port.js';
import { NodeProcess } from './cluster/node-process.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { corpus, count, everything, store } from './support/documents.js';
import { expectStatus } from './support/problem.js';
import { Rest } from './support/rest.js';

jest.setTimeout(120_000);
afterAll(expectNoNodeLeft);

let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.dispose();
  cluster = undefined;
});

interface Found {
  readonly results: readonly { readonly id: string; readonly score: number }[];
  readonly partial: boolean;
}

describe('three nodes', () => {
  it('started one after the other: the first serves alone, each further one gets copies at once, all see the same', async () => {
    cluster = await Cluster.plan({ shards: 4, replicas: 2 });
    const [one, two, three] = cluster.nodes;
    await one.start();
    expect(await one.status()).toMatchObject({ activeNodes: 1, topology: { 'node-1': { shards: [0, 1, 2, 3] } } });
    const documents = corpus(1, 200, 4);
    await store(one.rest, documents.slice(0, 100));
    expect(await count(one.rest)).toBe(100);

    // The time from ACTIVE to the first shard, each seen by the joining node itself (published: 5 s).
    await two.start({ ready: false });
    const { rest } = two;
    let activeMs: number | undefined;
    await waitFor(
      'the first shard of the node that joined',
      async () => {
        const answer = await rest.get('/api/v1/status');
        if (answer.status !== 200) return false;
        const { topology } = answer.json<{
          topology: Record<string, { status: string; shards: unknown[] } | undefined>;
        }>();
        const self = topology['node-2'];
        if (self?.status === 'ACTIVE') activeMs ??= performance.now();
        return self !== undefined && self.shards.length > 0;
      },
      30_000,
    );
    expect(performance.now() - (activeMs ?? 0)).toBeLessThan(3_000);

    await three.start();
    const status = await cluster.settled();
    expect(Object.keys(status.topology)).toEqual(['node-1', 'node-2', 'node-3']);
    expect(status.documents).toBe(100);

    // Written through one node, read and found through every other.
    await store(two.rest, documents.slice(100, 150));
    await store(three.rest, documents.slice(150));
    const states = [];
    const answers = [];
    for (const { rest: each } of cluster.nodes) {
      states.push((await everything(each)).map(({ id, version }) => `${id} ${version}`));
      const query = { text: 'river garden', vector: documents[0].vector, topK: 20, params: { exact: true } };
      const found = expectStatus<Found>(await each.post('/api/v1/search', { ...query, consistency: 'primary' }), 200);
      expect(found.partial).toBe(false);
      answers.push(found.results.map(({ id, score }) => `${id} ${score}`));
      expectStatus(await each.get('/api/v1/documents/doc-7?consistency=primary'), 200);
    }
    expect(states[0]).toHaveLength(200);
    for (const state of states) expect(state).toEqual(states[0]);
    for (const answer of answers) expect(answer).toEqual(answers[0]);

    await cluster.settled();
    await cluster.converged(3);
    for (const node of cluster.nodes) {
      const shown = await node.status();
      expect(shown.documents).toBe(200);
      for (const { replicas, primary } of shown.shards) {
        expect(replicas.map(({ node: name }) => name).sort()).toEqual(['node-1', 'node-2', 'node-3']);
        expect(replicas.filter(({ role }) => role === 'primary').map(({ node: name }) => name)).toEqual([primary]);
      }
    }
  });

  it('started together make one cluster, and are the same one after a crash of all', async () => {
    cluster = await Cluster.start({ shards: 4, replicas: 2 });
    const before = await cluster.settled();
    await store(cluster.nodes[2].rest, corpus(2, 60, 4));
    await Promise.all(cluster.nodes.map((node) => node.kill()));
    await Promise.all(cluster.nodes.map((node) => node.start({ ready: false })));
    const after = await cluster.settled();
    expect(after.clusterId).toBe(before.clusterId);
    expect(after.documents).toBe(60);
    await cluster.converged(3);
    for (const { rest } of cluster.nodes) expect(await everything(rest)).toHaveLength(60);
  });

  it('share one view soon after a join, a leave and a declared death', async () => {
    cluster = await Cluster.start({ nodes: 3, shards: 2, replicas: 1 });
    const four = await cluster.add('node-4');
    await four.start();
    const seen = (who: readonly { status(): Promise<{ viewDigest: string }> }[]) =>
      waitFor(
        'one view',
        async () => new Set((await Promise.all(who.map((node) => node.status()))).map((s) => s.viewDigest)).size === 1,
        20_000,
      );
    const told = (nodeId: string, statuses: readonly string[]) =>
      waitFor(
        `${nodeId} to be ${statuses.join(' or ')}`,
        async () => statuses.includes((await cluster?.nodes[0].status())?.topology[nodeId]?.status ?? 'LEFT'),
        20_000,
      );
    await told('node-4', ['ACTIVE']);
    let startedMs = performance.now();
    await seen(cluster.nodes);
    expect(performance.now() - startedMs).toBeLessThan(2_500);

    await four.process.stop('SIGTERM');
    await told('node-4', ['LEFT', 'UNAVAILABLE', 'LEAVING']);
    startedMs = performance.now();
    await seen(cluster.living);
    expect(performance.now() - startedMs).toBeLessThan(2_500);

    cluster.node('node-3').process.signal('SIGSTOP');
    await told('node-3', ['UNAVAILABLE']);
    startedMs = performance.now();
    await seen(cluster.nodes.slice(0, 2));
    expect(performance.now() - startedMs).toBeLessThan(2_500);
  });
});

describe('the published start commands', () => {
  it('form a cluster, word for word: no flag of ours beside theirs', async () => {
    const ports = [await freePort(), await freePort(), await freePort()];
    const seeds = ports.map((port) => `localhost:${port}`).join(',');
    const directory = await TemporaryDirectory.make('spector-published-');
    const nodes: NodeProcess[] = [];
    const rests: Rest[] = [];
    try {
      for (const [i, port] of ports.entries()) {
        const node = await NodeProcess.start({
          nodeId: `node-${i + 1}`,
          directory: `${directory.path}/${i + 1}`,
          grpcPort: port,
          // The harness adds --data-dir, --port and --node-id.
          args: ['--cluster-mode', '--shard-count', '4', '--replica-count', '2', '--seeds', seeds],
          // Only where it listens and is found: this test stays on the loopback interface.
          env: { ...HEARTBEAT, SPECTOR_HOST: '127.0.0.1', SPECTOR_ADVERTISE: '127.0.0.1' },
          ready: i === 0,
        });
        nodes.push(node);
        rests.push(new Rest(node.url));
        if (i === 0) expectStatus(await rests[0].put('/api/v1/documents/early', { title: 'before the others' }), 201);
      }
      const shown = async () =>
        Promise.all(rests.map(async (rest) => expectStatus<Status>(await rest.get('/api/v1/status'), 200)));
      const statuses = await waitFor(
        'three nodes with three copies of each shard, the same from each',
        async () => {
          const all = await shown();
          for (const { topology } of all) {
            expect(topology).toEqual(all[0].topology);
            expect(Object.values(topology).flatMap(({ shards }) => shards)).toHaveLength(12);
          }
          return all.every(({ status }) => status === 'RUNNING') ? all : undefined;
        },
        60_000,
      );
      for (const status of statuses) {
        expect(status).toMatchObject({ clusterMode: true, activeNodes: 3, shardCount: 4, replicaCount: 2 });
        const { topology } = status;
        expect(Object.keys(topology)).toEqual(['node-1', 'node-2', 'node-3']);
        const all = Object.values(topology).flatMap(({ status: state, shards }) => {
          expect(state).toBe('ACTIVE');
          expect(shards.map((shard) => Number.parseInt(String(shard), 10))).toEqual([0, 1, 2, 3]);
          return shards;
        });
        expect(all.filter((shard) => typeof shard === 'number').sort()).toEqual([0, 1, 2, 3]);
        expect(all.filter((shard) => /^[0-3]-replica$/.test(String(shard)))).toHaveLength(8);
      }
      for (const rest of rests) expectStatus(await rest.get('/api/v1/documents/early'), 200);
    } finally {
      for (const rest of rests) await rest.close();
      for (const node of nodes) await node.dispose();
      await directory.remove();
    }
  });
});
