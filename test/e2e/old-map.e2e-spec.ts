import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Cluster, type ClusterNode } from './cluster/cluster.js';
import { idsOf } from './cluster/ids.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { expectProblem, expectStatus } from './support/problem.js';

jest.setTimeout(180_000);

const SHARDS = 6;
const WAIT_MS = 60_000;
let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({ shards: SHARDS, replicas: 1, proxied: true, env: { SPECTOR_LOG_LEVEL: 'info' } });
});
afterEach(() => cluster.network.heal());
afterAll(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

/** Who reigns over the map: what each node logged last of it says so. */
function mapPrimary(): Promise<ClusterNode> {
  const probe = (): ClusterNode => {
    const reigns = cluster.living.filter(({ output }) => {
      const roles = output.split('\n').filter((line) => line.includes('role of a copy') && line.includes('"map"'));
      return roles.at(-1)?.includes('"role":"primary"') === true;
    });
    if (reigns.length !== 1) throw new Error(`${reigns.length} of them`);
    return reigns[0];
  };
  return waitFor('a primary of the map', probe, WAIT_MS);
}

const put = ({ rest }: ClusterNode, id: string) =>
  rest.put(`/api/v1/documents/${id}?collection=fresh&consistency=all`, { title: id });

describe('a node that is cut off from the primary of the map', () => {
  it('keeps the documents of a collection that was made meanwhile when it comes to reign over them', async () => {
    const placed = async () => {
      const [status, node] = [await cluster.settled(), await mapPrimary()];
      // A copy that moved away may be there still.
      const holds = (copy: { readonly node: string; readonly role: string }): boolean =>
        copy.node === node.nodeId && copy.role !== 'learner';
      const found = status.shards.find(({ replicas }) => !replicas.some(holds));
      if (found === undefined) throw new Error(JSON.stringify(status.shards));
      return { map: node, shard: found };
    };
    const { map, shard } = await waitFor('a shard without the primary of the map', placed, WAIT_MS);
    const primary = cluster.node(shard.primary ?? '');
    const replica = cluster.node(shard.replicas.find(({ role }) => role === 'replica')?.node ?? '');
    cluster.network.fault(map.nodeId, replica.nodeId, { blackhole: true });
    cluster.network.fault(replica.nodeId, map.nodeId, { blackhole: true });
    expectStatus(await map.rest.put('/api/v1/collections/fresh', {}), 201);
    const ids = idsOf(shard.shard, SHARDS, 20, 'fresh');
    for (const id of ids) expect(expectStatus<{ durable: number }>(await put(primary, id), 201).durable).toBe(2);
    const [here, there] = await Promise.all([map.status(), replica.status()]);
    expect(there.mapEpoch).toBeLessThan(here.mapEpoch);

    await primary.kill();
    const reigns = async () => (await replica.status()).shards[shard.shard].primary === replica.nodeId;
    await waitFor('the replica to reign', reigns, WAIT_MS);
    cluster.network.heal();
    await primary.start();
    await cluster.settled();
    for (const node of cluster.nodes) {
      for (const id of ids) {
        const answer = await node.rest.get(`/api/v1/documents/${id}?collection=fresh&consistency=primary`);
        expect(expectStatus<{ title: string }>(answer, 200).title).toBe(id);
      }
      const answer = await node.rest.post('/api/v1/documents/count?collection=fresh', {});
      expect(expectStatus<{ count: number }>(answer, 200).count).toBe(ids.length);
    }
  });
});

describe('a primary of the map that stood still while it was cut off', () => {
  it('answers a change that cannot be agreed, and ends when it is told to', async () => {
    const map = await mapPrimary();
    cluster.network.isolate([map.nodeId]);
    const others = cluster.others(map.nodeId);
    const agreed = async () => {
      const answer = await others[0].rest.put('/api/v1/aliases/away', { collection: 'default' });
      return answer.status < 300;
    };
    await waitFor('another primary of the map', agreed, WAIT_MS);
    map.process.signal('SIGSTOP');
    // Longer than a pause is overlooked.
    await delay(2_500);
    map.process.signal('SIGCONT');
    expectProblem(await map.rest.put('/api/v1/collections/never', {}), ['NO_QUORUM', 'SHARD_UNAVAILABLE']);
    const { code } = await map.process.stop('SIGTERM');
    expect(code).toBe(0);
  });
});
