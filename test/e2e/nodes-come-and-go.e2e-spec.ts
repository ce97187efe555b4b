import { mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { copyLiving } from '../../src/modules/log/testing/living-copy.js';
import { Cluster, SETTLE_TIMEOUT_MS, type ClusterNode } from './cluster/cluster.js';
import { ClusterLoad, stateOf } from './cluster/cluster-load.js';
import { freePort } from './cluster/free-port.js';
import { NodeProcess } from './cluster/node-process.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { checkpointFiles } from './support/data-files.js';
import { History } from './support/history.js';
import { expectProblem, expectStatus } from './support/problem.js';

jest.setTimeout(180_000);

/** Of four shards, the primaries and one replica each. */
const COPIES = 8;

let cluster: Cluster;
const history = new History();

beforeAll(async () => {
  cluster = await Cluster.start({ shards: 4, replicas: 1, env: { SPECTOR_COPY_GRACE: '2s' } });
});
afterAll(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

/** Runs something under load that speaks to `nodes`, and checks that no write failed and nothing was lost or doubled. */
async function underLoad(
  run: string,
  nodes: () => readonly ClusterNode[],
  act: (load: ClusterLoad) => Promise<void>,
): Promise<void> {
  const options = { seed: run.length, writers: 4, searchers: 1, ids: 300 };
  const load = await ClusterLoad.during(nodes, run, options, history, async (running) => {
    await running.acknowledged(50);
    await act(running);
    await running.acknowledged(30);
  });
  expect({ run, writes: load.failedWrites, searches: load.failedSearches }).toEqual({ run, writes: [], searches: [] });
  const asked = nodes();
  await cluster.agreed(asked);
  for (const { nodeId, rest } of asked)
    expect({ run, nodeId, problems: history.check(await stateOf(rest)) }).toEqual({ run, nodeId, problems: [] });
}

async function begin(node: ClusterNode, method: string, path: string, json?: object): Promise<string> {
  const answer = await node.rest.send(method, `/api/v1/cluster/${path}`, json === undefined ? {} : { json });
  return expectStatus<{ operation: string }>(answer, 202).operation;
}

/** Copies that a node holds, as the topology shows them. */
async function copiesOf(nodeId: string, observer: ClusterNode): Promise<readonly (number | string)[]> {
  return (await observer.status()).topology[nodeId]?.shards ?? [];
}

/** The uuid under which an observer sees a node active. */
async function uuidOf(observer: ClusterNode, nodeId: string): Promise<string | undefined> {
  const answer = await observer.rest.get('/api/v1/cluster');
  const { members } = expectStatus<{ members: { nodeId: string; nodeUuid: string; status: string }[] }>(answer, 200);
  return members.find((member) => member.nodeId === nodeId && member.status === 'ACTIVE')?.nodeUuid;
}

/** No node shows a copy on this one, and there are no index checkpoints on its disk. */
async function holdsNone(node: ClusterNode, observer: ClusterNode): Promise<boolean> {
  for (const { shards } of await Promise.all([observer, node].map((asked) => asked.status())))
    for (const { replicas } of shards) if (replicas.some((copy) => copy.node === node.nodeId)) return false;
  return (await checkpointFiles(node.directory)).length === 0;
}

describe('under load nothing is lost or doubled', () => {
  it('when a primary moves', async () => {
    await cluster.settled();
    let to = '';
    const [observer] = cluster.nodes;
    await underLoad(
      'move',
      () => cluster.nodes,
      async () => {
        // Under load a copy may be a moment late, and is refused until it is in sync; and the first one may have to go, as
        // long as copies are spread over nodes that have just joined.
        const start = async () => {
          const { primary, replicas } = (await observer.status()).shards[0];
          to = replicas.find(({ node, inSync }) => inSync && node !== primary)?.node ?? '';
          return begin(observer, 'POST', 'shards/0/primary', { node: to });
        };
        const id = await waitFor('the move to begin', start, 10_000);
        expect(await cluster.operation(observer, id)).toMatchObject({ state: 'done' });
        const moved = async () => (await observer.status()).shards[0].primary === to;
        await waitFor(`${to} to be primary`, moved, 20_000);
      },
    );
  });

  it('when a fourth node joins, and the copies are spread anew', async () => {
    const four = await cluster.add('node-4');
    let asked: readonly ClusterNode[] = cluster.nodes.slice(0, 3);
    await underLoad(
      'join',
      () => asked,
      async () => {
        await four.start();
        asked = cluster.nodes;
        const shared = async () => (await copiesOf('node-4', four)).length >= COPIES / 4;
        await waitFor('the new node to have its share', shared, 60_000);
      },
    );
    // The last move has a copy too many for a moment: the new one is a member before the old one is none.
    await waitFor(
      'every node to have its share and no more',
      async () => {
        const held = Object.values((await cluster.settled()).topology).map(({ shards }) => shards.length);
        return held.reduce((sum, count) => sum + count, 0) === COPIES && Math.max(...held) === COPIES / 4;
      },
      60_000,
    );
  });

  it('when a node is drained, comes back, and is removed', async () => {
    const [observer] = cluster.nodes;
    await underLoad(
      'drain',
      () => cluster.nodes,
      async () => {
        const id = await begin(observer, 'POST', 'nodes/node-4/drain');
        expect(await cluster.operation(observer, id)).toMatchObject({ state: 'done' });
      },
    );
    // A copy that was moved away is held back for a while; it reigns over nothing and counts nowhere.
    for (const { primary, replicas } of (await observer.status()).shards) {
      expect(primary).not.toBe('node-4');
      expect(replicas.filter(({ role }) => role !== 'learner').map(({ node }) => node)).not.toContain('node-4');
    }
    const drained = cluster.node('node-4');
    await waitFor('the copies of the drained node to be dropped', () => holdsNone(drained, observer), 60_000);
    expect(await drained.metric('spector_copies_total', 'event="dropped"')).toBeGreaterThanOrEqual(COPIES / 4);
    // Started again it serves again, whoever reigns over the map; nothing of what was dropped comes back by itself.
    await drained.kill();
    await drained.start();
    const shared = async () => (await copiesOf('node-4', observer)).length >= COPIES / 4;
    await waitFor('the drained node to have its share again', shared, 60_000);
    await cluster.settled(SETTLE_TIMEOUT_MS, cluster.nodes);
    const removed = drained.process;
    const ended = removed.expectExit();
    const id = await begin(observer, 'DELETE', 'nodes/node-4');
    expect(await cluster.operation(observer, id)).toMatchObject({ state: 'done' });
    expect(await ended).toEqual({ code: 1, signal: null });
    expect(removed.output).toMatch(/was removed from the cluster/);
    const gone = async () =>
      !['ACTIVE', 'JOINING'].includes((await observer.status()).topology['node-4']?.status ?? 'LEFT');
    await waitFor('the removed node to be gone from the topology', gone, 20_000);
    await cluster.settled();
    // Whoever starts it again is told the same: it may no more than ask.
    await drained.start({ ready: false });
    expect(await removed.expectExit()).toEqual({ code: 1, signal: null });
    expect(removed.output).toMatch(/was removed from the cluster/);
    await cluster.settled();
    expectProblem(await observer.rest.send('POST', '/api/v1/cluster/nodes/node-9/drain'), 'NODE_NOT_FOUND', /node-9/);
  });

  it('when a node is ended in good order: its reigns are handed over before it goes', async () => {
    const status = await cluster.settled();
    const leaving = cluster.node(status.shards[1].primary ?? '');
    let asked: readonly ClusterNode[] = cluster.living;
    await underLoad(
      'sigterm',
      () => asked,
      async (load) => {
        asked = cluster.others(leaving.nodeId);
        await load.turned();
        const startedMs = performance.now();
        expect(await leaving.process.stop('SIGTERM')).toEqual({ code: 0, signal: null });
        expect(performance.now() - startedMs).toBeLessThan(20_000);
        const { shards } = await asked[0].status();
        expect(shards.map(({ primary }) => primary)).not.toContain(leaving.nodeId);
      },
    );
    await leaving.start();
    await cluster.settled();
  });

  it('when the disk of a node is lost: it comes back as another copy, under the same name', async () => {
    const [observer] = cluster.nodes;
    const lost = cluster.node('node-3');
    const before = await uuidOf(observer, 'node-3');
    await lost.kill();
    await rm(lost.directory, { recursive: true, force: true });
    await lost.start({ ready: false });
    const after = await waitFor(
      'the node with a new disk to be a member',
      async () => {
        const uuid = await uuidOf(observer, 'node-3');
        return uuid === before ? undefined : uuid;
      },
      30_000,
    );
    expect(after).toMatch(/^[0-9a-f]{32}$/);
    await cluster.settled();
    await cluster.converged(2);
    for (const { nodeId, rest } of cluster.living)
      expect({ nodeId, problems: history.check(await stateOf(rest)) }).toEqual({ nodeId, problems: [] });
    // Whoever was at its address before is no twin of it.
    expect(lost.output).not.toContain('runs with the uuid of this node');
  });

  it('when the log of a node went back: it comes back as another copy, under the same name', async () => {
    const [observer] = cluster.nodes;
    const regressed = cluster.node('node-3');
    const before = await uuidOf(observer, 'node-3');
    await regressed.kill();
    const database = join(regressed.directory, 'log', 'db');
    const logs = (await readdir(database)).filter((name) => name.endsWith('.log')).sort();
    const newest = join(database, logs[logs.length - 1]);
    await truncate(newest, Math.max(0, (await stat(newest)).size - 6_000));
    await regressed.start({ ready: false });
    await waitFor(
      'the node to be a member as another one',
      async () => {
        const uuid = await uuidOf(observer, 'node-3');
        return uuid === undefined || uuid === before ? undefined : uuid;
      },
      30_000,
    );
    await cluster.settled();
    await cluster.converged(2);
    expect(regressed.output).toContain('the node joins anew');
    expect(regressed.output).not.toContain('runs with the uuid of this node');
    for (const { nodeId, rest } of cluster.living)
      expect({ nodeId, problems: history.check(await stateOf(rest)) }).toEqual({ nodeId, problems: [] });
  });

  it('when a data directory is started a second time, as a copy: it ends, and says why', async () => {
    await cluster.settled();
    const original = cluster.node('node-3');
    for (const nodeId of ['node-3', 'node-9']) {
      const directory = await mkdtemp(join(tmpdir(), 'spector-copy-'));
      await copyLiving(original.directory, directory, (path) => basename(path) !== 'LOCK');
      const [httpPort, grpcPort] = [await freePort(), await freePort()];
      const copy = await NodeProcess.start({
        nodeId,
        directory,
        httpPort,
        grpcPort,
        args: ['--cluster-mode', '--seeds', cluster.seeds],
        env: { SPECTOR_HOST: '127.0.0.1', SPECTOR_ADVERTISE: `127.0.0.1:${grpcPort}` },
        ready: false,
      });
      await waitFor('the copy to end', () => Promise.resolve(copy.exit), 20_000);
      expect(await copy.stop()).toEqual({ code: 1, signal: null });
      expect(copy.output).toContain('is a copy of that node');
      await copy.dispose();
      await rm(directory, { recursive: true, force: true });
    }
    await cluster.settled();
  });
});
