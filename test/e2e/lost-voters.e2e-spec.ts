import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Cluster, type ClusterNode } from './cluster/cluster.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { spector } from './support/command.js';
import { corpus, count, store } from './support/documents.js';
import { expectProblem, expectStatus } from './support/problem.js';

jest.setTimeout(180_000);

const DOCUMENTS = 60;

let cluster: Cluster;
let left: ClusterNode;

beforeAll(async () => {
  cluster = await Cluster.start({ shards: 2, replicas: 2 });
  left = cluster.nodes[0];
  await store(left.rest, corpus(3, DOCUMENTS, 4));
});
afterAll(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

const makeCollection = (node: ClusterNode, name: string) => node.rest.put(`/api/v1/collections/${name}`, {});

async function collectionsOf({ rest }: ClusterNode): Promise<readonly string[]> {
  const { text } = await rest.get('/api/v1/collections');
  return (JSON.parse(text) as { collections: { name: string }[] }).collections.map(({ name }) => name).sort();
}

const forceMap = (node: ClusterNode, json: object) =>
  node.rest.send('POST', '/api/v1/cluster/map/force', { json: { acceptDataLoss: true, ...json } });

async function untilGone(nodes: readonly ClusterNode[]): Promise<void> {
  const gone = async () => {
    const { topology } = await left.status();
    return nodes.every(({ nodeId }) => topology[nodeId]?.status === 'UNAVAILABLE');
  };
  await waitFor('the other nodes to be gone', gone, 30_000);
}

/** All nodes have the map of the one that was left, and the voters can change it without that one. */
async function expectOneMap(names: readonly string[]): Promise<void> {
  await cluster.settled();
  for (const node of cluster.nodes)
    expect({ of: node.nodeId, has: await collectionsOf(node) }).toEqual({ of: node.nodeId, has: names });
  for (const { rest } of cluster.nodes)
    await waitFor('all documents', async () => (await count(rest)) === DOCUMENTS, 20_000);
}

describe('the map when a majority of its voters is gone', () => {
  it('is forced by nobody while a majority answers, nor without a word about what is lost', async () => {
    const isTooYoung = async () => (await forceMap(left, { node: 'node-1' })).text.includes('started just now');
    await waitFor('the node to know who else is there', async () => !(await isTooYoung()), 20_000);
    expectProblem(await forceMap(left, { node: 'node-1' }), 'OPERATION_CONFLICT', /majority .* answers/);
    expectProblem(await forceMap(left, { node: 'node-2' }), 'OPERATION_CONFLICT', /ask "node-2"/);
    expectProblem(await forceMap(left, { node: 'node-9' }), 'NODE_NOT_FOUND', /node-9/);
    const silent = { json: { node: 'node-1' } };
    const path = '/api/v1/cluster/map/force';
    expectProblem(await left.rest.send('POST', path, silent), 'INVALID_REQUEST', /acceptDataLoss/);
  });

  it('changes again when an operator makes a node that is left the only voter; nodes with new disks join it', async () => {
    const others = cluster.others(left.nodeId);
    await Promise.all(others.map((node) => node.kill()));
    await untilGone(others);
    expectProblem(await makeCollection(left, 'frozen'), 'NO_QUORUM', /map .* majority of its voters/);
    expect((await left.rest.get('/health')).text).toContain('the map has 1 of 3 voters, no majority');
    const url = `http://127.0.0.1:${left.httpPort}`;
    const { code, stdout } = await spector(['force-map', 'node-1', '--accept-data-loss', '--url', url]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/force the map on node-1: done/) });
    expectStatus(await makeCollection(left, 'after'), 201);
    expect(left.output).toMatch(/an operator forced the map/);
    expect((await left.rest.get('/health')).text).not.toContain('no majority');
    for (const node of others) {
      await rm(node.directory, { recursive: true, force: true });
      await node.start({ ready: false });
    }
    await expectOneMap(['after', 'default']);
    await cluster.converged(3);
  });

  it('is that of the named copy even for voters that come back with a newer one', async () => {
    // The voters were replaced one by one; once all three vote again two of them change the map without the third.
    const [, other, third] = cluster.nodes;
    await cluster.voting();
    await left.kill();
    const changed = async () => expectStatus(await makeCollection(other, 'lost'), 200, 201);
    await waitFor('two voters to change the map without the third', changed, 60_000);
    const lost = ['a', 'b', 'c', 'd'].map((id) =>
      other.rest.put(`/api/v1/documents/${id}?collection=lost`, { title: id }),
    );
    expect((await Promise.all(lost)).map(({ status }) => status)).toContain(201);
    await Promise.all([other, third].map((node) => node.kill()));
    await left.start();
    expect(await collectionsOf(left)).toEqual(['after', 'default']);
    const forced = async () => expectStatus(await forceMap(left, { node: 'node-1' }), 202);
    await waitFor('the force to be taken', forced, 30_000);
    expectStatus(await makeCollection(left, 'again'), 201);
    await Promise.all([other, third].map((node) => node.start({ ready: false })));
    await expectOneMap(['after', 'again', 'default']);
    // What the log of each makes of the map is the same after a start, too.
    for (const node of [other, third]) {
      await node.kill();
      await node.start();
    }
    await expectOneMap(['after', 'again', 'default']);
    await waitFor(
      'the voters to change the map',
      async () => expectStatus(await makeCollection(third, 'last'), 200, 201),
      20_000,
    );
    await expectOneMap(['after', 'again', 'default', 'last']);
    // What was written to the lost collection is in none.
    for (const { rest } of cluster.nodes)
      expect((await rest.post('/api/v1/documents/count?collection=again', {})).text).toMatch(/"count":0/);
  });
});
