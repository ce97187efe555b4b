import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Cluster, type ClusterNode } from './cluster/cluster.js';
import { ClusterLoad, stateOf } from './cluster/cluster-load.js';
import { idsOf } from './cluster/ids.js';
import { ledBy, replaced } from './cluster/reigns.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { History, type Seen } from './support/history.js';
import { expectProblem, expectStatus } from './support/problem.js';

jest.setTimeout(120_000);

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({ shards: 2, replicas: 2, proxied: true });
});
afterEach(async () => {
  cluster.network.heal();
  await Promise.all(loads.splice(0).map((load) => load.stop()));
});
afterAll(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

interface Written {
  readonly id: string;
  readonly version: string;
  readonly session: string;
}

interface Change {
  readonly cursor: string;
  readonly id: string;
  readonly restarted?: { readonly shard: number; readonly offset: number };
}

const LIGHT = { writers: 3, searchers: 1, patienceMs: 20_000 } as const;
/** Of all loads of this file: they write to the same ids. */
const history = new History();
/** Ended after each test, also after one that failed. */
const loads: ClusterLoad[] = [];

/** What a node has of that. */
async function loaded({ rest }: ClusterNode): Promise<Map<string, Seen>> {
  const state = await stateOf(rest);
  for (const id of [...state.keys()]) if (!history.ids.includes(id)) state.delete(id);
  return state;
}

const titled = (title: string) => ({ title, metadata: { value: title } });

async function write(node: ClusterNode, id: string, title: string, consistency: string): Promise<Written> {
  const answer = await node.rest.put(`/api/v1/documents/${id}?consistency=${consistency}`, titled(title));
  return expectStatus<Written>(answer, 200, 201);
}

async function changes({ rest }: ClusterNode, query = ''): Promise<Change[]> {
  const answer = await rest.get(`/api/v1/changes${query}`);
  expect(answer.status).toBe(200);
  const lines = answer.text.split('\n').filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as Change);
}

describe('a node cut off from the others, connections open and silent', () => {
  it('both sides go on, and afterwards every copy has the higher version of each document', async () => {
    const before = await cluster.settled();
    const shard = 0;
    const alone = cluster.node(before.shards[shard].primary ?? '');
    const others = cluster.others(alone.nodeId);
    const ids = idsOf(shard, 2, 12, 'cut');
    for (const id of ids.slice(0, 4)) await write(alone, id, `before-${id}`, 'all');

    cluster.network.isolate([alone.nodeId]);
    const tookMs = await replaced(others[0], ledBy(before, alone.nodeId), alone.nodeId);
    expect(tookMs).toBeLessThan(8_000);
    // The side of one: what a majority must have is refused, what one copy is enough for is taken, reads are answered.
    await waitFor(
      'the cut-off side to refuse at once what it cannot give',
      async () => {
        const refused = await alone.rest.put(`/api/v1/documents/${ids[0]}`, titled('refused'));
        return refused.status === 503 && refused.json<{ code: string }>().code === 'NO_QUORUM';
      },
      20_000,
    );
    const here: Written[] = [];
    for (const id of ids.slice(0, 8)) here.push(await write(alone, id, `here-${id}`, 'one'));
    const read = await alone.rest.get(`/api/v1/documents/${ids[0]}?consistency=primary`);
    expect(expectStatus<{ title: string }>(read, 200).title).toBe(`here-${ids[0]}`);
    const there: Written[] = [];
    for (const id of ids.slice(4)) there.push(await write(others[0], id, `there-${id}`, 'quorum'));

    // A session that wrote on the side that loses, and one who read its changes: met, or told, when it is merged (7.2).
    const [{ session }] = here.slice(-1);
    const withSession = { headers: { 'spector-session': session } };
    const lastRead = (await changes(alone)).at(-1)?.cursor ?? '';
    expectProblem(await others[0].rest.get(`/api/v1/documents/${ids[0]}`, withSession), 'NOT_CAUGHT_UP');

    cluster.network.heal();
    await cluster.settled();
    await cluster.converged(3);
    for (const node of cluster.nodes) {
      await waitFor(
        `the session to be met by ${node.nodeId}`,
        async () => (await node.rest.get(`/api/v1/documents/${ids[0]}`, withSession)).status === 200,
        10_000,
      );
      const since = await changes(node, `?cursor=${lastRead}`);
      expect(since.flatMap(({ restarted }) => (restarted === undefined ? [] : [restarted.shard]))).toEqual([shard]);
      // Whatever was written on the side that won is among them.
      const told = since.map(({ id }) => id);
      for (const { id } of there) expect(told).toContain(id);
    }
    for (const { rest } of cluster.nodes) {
      const state = await stateOf(rest);
      for (const id of ids) {
        const [a, b] = [here, there].map((side) => side.find((written) => written.id === id));
        const winner = a === undefined || (b !== undefined && b.version > a.version) ? b : a;
        const side = winner === a ? 'here' : 'there';
        expect(state.get(id)).toEqual({ version: winner?.version, value: `${side}-${id}` });
      }
    }
    const conflicts = expectStatus<{ conflicts: { id: string; version: string; winner: string }[] }>(
      await others[1].rest.get(`/api/v1/shards/${shard}/conflicts`),
      200,
    ).conflicts;
    for (const id of ids.slice(4, 8)) expect(conflicts.some((conflict) => conflict.id === id)).toBe(true);
  });
});

describe('a replica cut off from its primary', () => {
  it('reigns alone, and is merged into what the others had when the link is back', async () => {
    const before = await cluster.settled();
    const shard = 1;
    const leader = cluster.node(before.shards[shard].primary ?? '');
    const [lone] = cluster.others(leader.nodeId);
    cluster.network.isolate([lone.nodeId]);
    await replaced(lone, ledBy(before, leader.nodeId), leader.nodeId);
    const [mine, ...theirs] = idsOf(shard, 2, 3_001, 'majority');
    await write(lone, mine, 'alone', 'one');
    const lines = theirs.map((id) => JSON.stringify({ id, ...titled('agreed') })).join('\n');
    expectStatus(await leader.rest.bulk(lines, '?consistency=quorum'), 200, 201);
    const cursors = await Promise.all([lone, leader].map(async (node) => (await changes(node)).at(-1)?.cursor ?? ''));

    cluster.network.heal();
    await cluster.settled();
    await cluster.converged(3);
    for (const node of cluster.nodes) {
      // Who read what a majority had goes on; who read what one copy had starts again where the two parted.
      const restarts = await Promise.all(
        cursors.map(async (cursor) =>
          (await changes(node, `?cursor=${cursor}`)).flatMap(({ restarted }) => restarted?.shard ?? []),
        ),
      );
      expect(restarts).toEqual([[shard], []]);
      const state = await stateOf(node.rest);
      expect(state.get(mine)?.value).toBe('alone');
      for (const id of theirs) if (state.get(id)?.value !== 'agreed') throw new Error(`${id} is missing`);
    }
  });
});

describe('a link that works one way only', () => {
  it('leaves the cluster writable and searchable, and everything is well when it is mended', async () => {
    const before = await cluster.settled();
    const shard = 0;
    const deaf = before.shards[shard].primary ?? '';
    const [{ nodeId: mute }] = cluster.others(deaf);
    const load = new ClusterLoad(() => cluster.nodes, 'one-way', { ...LIGHT, writers: 8, seed: 5 }, history);
    loads.push(load);
    cluster.network.fault(mute, deaf, { blackhole: true });
    await waitFor('load to go on', () => history.acknowledged > 100, 30_000);
    // Longer than the heartbeat time-out.
    await delay(4_000);
    const during = history.acknowledged;
    await waitFor('load to go on', () => history.acknowledged > during + 50, 30_000);
    // What enters where its primary cannot be reached goes over the third node; now and then one tries the straight way again.
    const tookMs: number[] = [];
    for (const id of idsOf(shard, 2, 10, 'over')) {
      const startedMs = performance.now();
      await write(cluster.node(mute), id, 'over', 'quorum');
      tookMs.push(performance.now() - startedMs);
    }
    expect(tookMs.sort((a, b) => a - b)[5]).toBeLessThan(1_500);
    cluster.network.heal();
    await delay(500);
    await load.stop();
    expect(load.failedWrites).toEqual([]);
    expect(load.failedSearches.filter(({ what }) => !what.startsWith('200'))).toEqual([]);
    const after = await cluster.settled();
    await cluster.converged(3);
    expect(after.clusterId).toBe(before.clusterId);
    expect(history.check(await loaded(cluster.nodes[0]))).toEqual([]);
  });
});

describe('a primary whose way to the others passes small packets only', () => {
  it('counts as cut off, since its heartbeats are as large as what it cannot send', async () => {
    const before = await cluster.settled();
    const narrow = cluster.node(before.shards[0].primary ?? '');
    const others = cluster.others(narrow.nodeId);
    const ids = [0, 1].flatMap((shard) => idsOf(shard, 2, 6, 'narrow'));
    cluster.network.isolate([narrow.nodeId], { packetBytesMax: 1_400 });
    const tookMs = await replaced(others[0], ledBy(before, narrow.nodeId), narrow.nodeId);
    expect(tookMs).toBeLessThan(8_000);
    const content = 'x'.repeat(5_000);
    for (const id of ids) {
      const written = await others[1].rest.put(`/api/v1/documents/${id}`, { ...titled('large'), content });
      expectStatus(written, 200, 201);
    }
    cluster.network.heal();
    await cluster.settled();
    await cluster.converged(3);
    for (const { rest } of cluster.nodes) {
      const state = await stateOf(rest);
      for (const id of ids) expect(state.get(id)?.value).toBe('large');
    }
  });
});

describe('slow and breaking connections', () => {
  it('of 60 ms each way, reset again and again, change no answer', async () => {
    const names = cluster.nodes.map(({ nodeId }) => nodeId);
    for (const from of names)
      for (const to of names) if (from !== to) cluster.network.fault(from, to, { latencyMs: 60 });
    const begun = history.acknowledged;
    const load = new ClusterLoad(() => cluster.nodes, 'resets', { ...LIGHT, seed: 6 }, history);
    loads.push(load);
    await waitFor('some load', () => history.acknowledged > begun + 20, 30_000);
    for (const [a, b] of [
      [0, 1],
      [1, 2],
      [0, 2],
    ]) {
      cluster.network.reset(names[a], names[b]);
      const so = history.acknowledged;
      await waitFor('load to go on', () => history.acknowledged > so + 10, 30_000);
    }
    await load.stop();
    cluster.network.heal();
    expect({ writes: load.failedWrites, searches: load.failedSearches }).toEqual({ writes: [], searches: [] });
    await cluster.settled();
    await cluster.converged(3);
    expect(history.check(await loaded(cluster.nodes[1]))).toEqual([]);
  });
});
