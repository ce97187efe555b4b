import { afterEach, expect, it, jest } from '@jest/globals';
import { Cluster, type ClusterNode } from './cluster/cluster.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { store } from './support/documents.js';
import { expectStatus } from './support/problem.js';

jest.setTimeout(120_000);

/** Half as much again as a follower lets its primary send before it has staged anything of it. */
const DOCUMENTS = 120;
const CONTENT = 'x'.repeat(100_000);
const CREDIT_BYTES = 8 * 1024 * 1024;
/** Of one bulk. All are written twice and a part once more: what is superseded is most of the log, and is compacted. */
const PART = 40;
const ROUNDS = [DOCUMENTS, DOCUMENTS, PART];
const NEWCOMER = 'node-3';

let cluster: Cluster;
afterEach(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

async function write(node: ClusterNode): Promise<void> {
  for (const [round, count] of ROUNDS.entries())
    for (let from = 0; from < count; from += PART) {
      const ids = Array.from({ length: PART }, (_, i) => from + i);
      await store(
        node.rest,
        ids.map((i) => ({ id: `doc-${i}`, title: `${i % 7 === 0 ? 'seventh' : 'other'} ${round}`, content: CONTENT })),
      );
    }
}

/** The node that leads the shard, once what is superseded is gone from its log: whoever is new gets a snapshot. */
async function compacted(): Promise<ClusterNode> {
  await cluster.settled();
  // The end of a node in good order takes a checkpoint; what is in it may be compacted.
  const ends = await Promise.all(cluster.nodes.map(({ process }) => process.stop('SIGTERM')));
  expect(ends).toEqual(cluster.nodes.map(() => ({ code: 0, signal: null })));
  await Promise.all(cluster.nodes.map((node) => node.start({ ready: false })));
  const [{ primary }] = (await cluster.settled()).shards;
  const leading = cluster.node(primary ?? '');
  const gone = () => leading.output.split('\n').some((line) => line.includes('superseded entries compacted'));
  await waitFor(`${leading.nodeId} to compact`, gone, 40_000);
  return leading;
}

/** A search answers what there is, or says that it cannot; how many did answer. */
async function searched(node: ClusterNode): Promise<number> {
  const answer = await node.rest.post('/api/v1/search', { text: 'seventh', topK: 50 }).catch(() => undefined);
  if (answer === undefined) return 0;
  // It is being started, or killed, or the way to the others is not open yet.
  if (answer.status === 503) return 0;
  const { results, partial } = expectStatus<{ results: { id: string }[]; partial: boolean }>(answer, 200);
  if (partial) return 0;
  const expected = Array.from({ length: Math.ceil(DOCUMENTS / 7) }, (_, i) => `doc-${7 * i}`);
  expect(results.map(({ id }) => id).sort()).toEqual(expected.sort());
  return 1;
}

it('a node that is killed while it receives a snapshot gets the rest of it, and never answers wrongly', async () => {
  cluster = await Cluster.start({
    nodes: 2,
    shards: 1,
    replicas: 2,
    proxied: true,
    env: { SPECTOR_LOG_RETENTION: '0s', SPECTOR_REBALANCE_GRACE: '0s' },
  });
  await write(cluster.nodes[0]);
  const leading = await compacted();
  const sent = (what: 'entries' | 'bytes') =>
    leading.metric(`spector_replication_sent_${what}_total`, `shard="0",to="${NEWCOMER}"`);

  // So slow that there is time to kill it: a quarter of a megabyte each time.
  const newcomer = await cluster.add(NEWCOMER);
  cluster.network.fault(leading.nodeId, NEWCOMER, { latencyMs: 100 });
  await newcomer.start({ ready: false });
  let answered = 0;
  // More than was granted at first: a part of it is on its disk.
  const isAmidst = async (): Promise<boolean> => {
    answered += await searched(newcomer);
    return (await sent('bytes')) > CREDIT_BYTES + 512 * 1024;
  };
  await waitFor('a part of the snapshot to arrive', isAmidst, 40_000);
  await newcomer.kill();
  const before = await sent('entries');
  expect(before).toBeLessThan(DOCUMENTS);

  cluster.network.heal();
  await newcomer.start({ ready: false });
  const resumed = () =>
    /"rows":(\d+),[^\n]*a snapshot goes on from where it was interrupted/.exec(newcomer.output)?.[1];
  const rows = async (): Promise<string | undefined> => {
    answered += await searched(newcomer);
    return resumed();
  };
  expect(Number(await waitFor('the snapshot to go on', rows, 30_000))).toBeGreaterThan(0);
  const inSync = async (): Promise<boolean> => {
    answered += await searched(newcomer);
    const [{ replicas }] = (await leading.status()).shards;
    return replicas.some(({ node, inSync: synced, role }) => node === NEWCOMER && synced && role === 'replica');
  };
  await waitFor(`${NEWCOMER} to be in sync`, inSync, 30_000);
  await cluster.settled();
  await cluster.converged(3);
  expect((await sent('entries')) - before).toBeLessThan(DOCUMENTS);
  expect(await searched(newcomer)).toBe(1);
  expect(answered).toBeGreaterThan(0);
  const stored = await newcomer.rest.get('/api/v1/documents/doc-1');
  expect(expectStatus<{ title: string }>(stored, 200).title).toBe(`other ${ROUNDS.length - 1}`);
});
