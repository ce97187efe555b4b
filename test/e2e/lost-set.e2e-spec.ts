import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Cluster, type ClusterNode } from './cluster/cluster.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { spector } from './support/command.js';
import { corpus, count, everything, store } from './support/documents.js';
import { expectProblem, expectStatus } from './support/problem.js';

jest.setTimeout(180_000);

const DOCUMENTS = 200;

let cluster: Cluster;
/** It has the only copy of a shard in its set. */
let holder: ClusterNode;
let shard: number;

/** A cluster without replicas; of one shard the holder is known. `copies` of it are left, those that moved away included. */
async function begin(copies: number, grace: string): Promise<void> {
  cluster = await Cluster.start({ shards: 2, replicas: 0, env: { SPECTOR_COPY_GRACE: grace } });
  const found = await waitFor(
    `a shard of another node than the first with ${copies} copies`,
    async () => {
      const { shards } = await cluster.settled();
      return shards.find(({ primary, replicas }) => primary !== 'node-1' && replicas.length === copies);
    },
    60_000,
  );
  shard = found.shard;
  holder = cluster.node(found.primary ?? '');
  await store(cluster.nodes[0].rest, corpus(3, DOCUMENTS, 4));
}

const force = (asked: ClusterNode, json: object, of = shard) =>
  asked.rest.send('POST', `/api/v1/cluster/shards/${of}/force`, { json: { acceptDataLoss: true, ...json } });

async function loseHolder(observer: ClusterNode): Promise<void> {
  await holder.kill();
  const gone = async () => (await observer.status()).topology[holder.nodeId]?.status === 'UNAVAILABLE';
  await waitFor('the holder to be gone', gone, 30_000);
}

afterAll(expectNoNodeLeft);

describe('a shard whose only disk is gone', () => {
  /** It has no copy of that shard. */
  let other: ClusterNode;

  beforeAll(async () => {
    await begin(1, '1s');
    other = cluster.others(holder.nodeId)[0];
  });
  afterAll(() => cluster.dispose());

  it('is forced by nobody while that disk answers, nor without a word about what is lost', async () => {
    expectProblem(
      await force(other, { node: other.nodeId, empty: true }),
      'OPERATION_CONFLICT',
      /has a copy .* answers/,
    );
    const silent = { json: { node: other.nodeId, empty: true } };
    const path = `/api/v1/cluster/shards/${shard}/force`;
    expectProblem(await other.rest.send('POST', path, silent), 'INVALID_REQUEST', /acceptDataLoss/);
    expectProblem(await force(other, { node: 'node-9' }), 'NODE_NOT_FOUND', /node-9/);
    expectProblem(await force(other, { node: other.nodeId }, 7), 'SHARD_NOT_FOUND', /7/);
  });

  it('begins anew, empty, on the node an operator names; every node says so', async () => {
    const before = (await cluster.settled()).shards[shard].epoch;
    await loseHolder(other);
    expectProblem(await force(other, { node: other.nodeId }), 'OPERATION_CONFLICT', /has no copy of shard/);
    const url = `http://127.0.0.1:${other.httpPort}`;
    const command = ['force', String(shard), other.nodeId, '--empty', '--accept-data-loss', '--url', url];
    const { code, stdout } = await spector(command);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/force shard \d on node-\d: done/) });
    for (const node of cluster.living) {
      // Where there is little it may have moved on already.
      const led = async () => {
        const { primary, epoch } = (await node.status()).shards[shard];
        return epoch > before + 1_000 && cluster.living.some(({ nodeId }) => nodeId === primary);
      };
      await waitFor('the shard to have a primary', led, 20_000);
      expect(node.output).toMatch(/an operator forced the set of a shard/);
      expect(await node.metric('spector_copies_total', 'event="forced"')).toBe(1);
      for (let i = 0; i < 20; i++)
        expectStatus(await node.rest.put(`/api/v1/documents/new-${node.nodeId}-${i}`, { title: 'after' }), 201);
    }
    const found = expectStatus<{ partial: boolean }>(await other.rest.post('/api/v1/search', { text: 'after' }), 200);
    expect(found.partial).toBe(false);
    const left = await count(other.rest);
    expect(left).toBeGreaterThan(40);
    expect(left).toBeLessThan(DOCUMENTS + 40);
  });

  it('gets back what it had when the disk comes back nevertheless', async () => {
    await holder.start();
    await cluster.settled();
    const all = async () => (await count(other.rest)) === DOCUMENTS + 40;
    await waitFor('what the disk had to be merged', all, 30_000);
    const ids = new Set((await everything(holder.rest)).map(({ id }) => id));
    expect(ids.size).toBe(DOCUMENTS + 40);
  });
});

describe('a shard whose disks are gone but for a copy that had moved away', () => {
  beforeAll(() => begin(2, '10m'));
  afterAll(() => cluster.dispose());

  it('goes on from that copy when an operator names it', async () => {
    // The first node had all shards, and holds back what it gave away.
    const [first] = cluster.nodes;
    await cluster.settled();
    await cluster.converged(1);
    await loseHolder(first);
    expectProblem(await force(first, { node: 'node-1', empty: true }), 'OPERATION_CONFLICT', /go on from that/);
    // The map may have lost its primary, too: until the next one has its followers this is refused, to be sent again.
    const forced = async () => expectStatus(await force(first, { node: 'node-1' }), 202);
    await waitFor('the force to be taken', forced, 10_000);
    const led = async () => (await first.status()).shards[shard].primary === 'node-1';
    await waitFor('the copy to reign', led, 20_000);
    for (const { rest } of cluster.living)
      await waitFor('all documents to be there', async () => (await count(rest)) === DOCUMENTS, 20_000);
    await holder.start();
    await cluster.settled();
    expect(await count(holder.rest)).toBe(DOCUMENTS);
  });
});
