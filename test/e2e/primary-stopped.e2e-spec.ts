import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Cluster, FAILOVER_AFTER_MS } from './cluster/cluster.js';
import { stateOf } from './cluster/cluster-load.js';
import { http } from './cluster/http.js';
import { idsOf } from './cluster/ids.js';
import { ledBy, replaced } from './cluster/reigns.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { expectStatus } from './support/problem.js';

jest.setTimeout(120_000);

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({ shards: 2, replicas: 2 });
});
afterAll(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

interface Written {
  readonly id: string;
  readonly version: string;
  readonly epoch: number;
  readonly shard: number;
}

interface Conflict {
  readonly id: string;
  readonly collection: string;
  readonly version: string;
  readonly winner: string;
  readonly epoch: { readonly num: number; readonly node: string };
}

describe('SIGSTOP of a primary', () => {
  it('is replaced, acknowledges nothing in its old epoch when it goes on, and nothing acknowledged is lost', async () => {
    const before = await cluster.settled();
    const victim = before.shards[0].primary ?? '';
    const node = cluster.node(victim);
    const led = ledBy(before, victim);
    const [observer] = cluster.others(victim);
    const write = async (via: typeof node, id: string, title: string, consistency: string): Promise<Written> =>
      expectStatus<Written>(
        await via.rest.put(`/api/v1/documents/${id}?consistency=${consistency}`, { title, metadata: { value: title } }),
        200,
        201,
      );
    const acknowledged: Written[] = [];
    for (let i = 0; i < 40; i++) acknowledged.push(await write(node, `doc-${i}`, `before-${i}`, 'quorum'));

    node.process.signal('SIGSTOP');
    // Writes that wait in the stopped process: it will see them first when it goes on.
    const waiting = Array.from({ length: 20 }, (_, i) =>
      http(node.process.url, `/api/v1/documents/doc-${i}?consistency=one`, {
        method: 'PUT',
        json: { title: `stopped-${i}`, metadata: { value: `stopped-${i}` } },
        timeoutMs: 60_000,
      }).catch((error: unknown) => error),
    );
    const tookMs = await replaced(observer, led, victim);
    expect(tookMs).toBeLessThan(FAILOVER_AFTER_MS + 2_000);
    for (let i = 0; i < 40; i++) acknowledged.push(await write(observer, `doc-${i}`, `other-${i}`, 'one'));
    const epochs = new Map((await observer.status()).shards.map(({ shard, epoch }) => [shard, epoch]));

    node.process.signal('SIGCONT');
    for (const answer of await Promise.all(waiting)) {
      if (answer instanceof Error) continue;
      const { status, json } = answer as { status: number; json: Written };
      if (status >= 300) continue;
      // Whoever acknowledged it did so in the new epoch.
      expect(json.epoch).toBeGreaterThanOrEqual(epochs.get(json.shard) ?? 0);
      acknowledged.push(json);
    }
    const after = await cluster.settled();
    // It gave its reigns up and follows: those that replaced them live, and go on (6.2).
    for (const { shard, primary, epoch } of after.shards) {
      expect({ shard, epoch }).toEqual({ shard, epoch: epochs.get(shard) });
      expect(primary).not.toBe(victim);
    }
    await cluster.converged(3);
    for (const { rest } of cluster.nodes) {
      const state = await stateOf(rest);
      expect(state.size).toBe(40);
      for (const { id, version } of acknowledged) expect((state.get(id)?.version ?? '') >= version).toBe(true);
    }
  });

  it('acknowledged at level one by both sides: the higher version wins everywhere, the other one is listed', async () => {
    const before = await cluster.settled();
    const shard = 0;
    const old = before.shards[shard].primary ?? '';
    const node = cluster.node(old);
    const others = cluster.others(old);
    // Its followers are gone: what it acknowledges now at level one, it alone has.
    for (const other of others) await other.kill();
    const ids = idsOf(shard, 2, 10, 'both');
    const alone: Written[] = [];
    for (const id of ids) {
      const answer = await node.rest.put(`/api/v1/documents/${id}?consistency=one`, {
        title: `alone-${id}`,
        metadata: { value: `alone-${id}` },
      });
      const written = expectStatus<Written>(answer, 200, 201);
      expect(written.shard).toBe(shard);
      alone.push(written);
    }
    node.process.signal('SIGSTOP');
    await Promise.all(others.map((other) => other.start()));
    await replaced(others[0], ledBy(before, old), old);
    const later: Written[] = [];
    for (const id of ids.slice(0, 5)) {
      const answer = await others[0].rest.put(`/api/v1/documents/${id}?consistency=one`, {
        title: `later-${id}`,
        metadata: { value: `later-${id}` },
      });
      later.push(expectStatus<Written>(answer, 200, 201));
    }
    node.process.signal('SIGCONT');
    await waitFor(
      'what the stopped node alone had to come back',
      async () => (await others[0].rest.get(`/api/v1/documents/${ids[9]}?consistency=primary`)).status === 200,
      30_000,
    );
    await cluster.settled();
    await cluster.converged(3);
    for (const { rest } of cluster.nodes) {
      const state = await stateOf(rest);
      for (const [i, { id, version }] of alone.entries()) {
        const other = i < later.length ? later[i] : undefined;
        const winner = other !== undefined && other.version > version ? other : alone[i];
        expect(state.get(id)).toEqual({
          version: winner.version,
          value: `${winner === other ? 'later' : 'alone'}-${id}`,
        });
      }
    }
    for (const { rest } of cluster.nodes) {
      const { conflicts } = expectStatus<{ conflicts: Conflict[] }>(
        await rest.get(`/api/v1/shards/${shard}/conflicts`),
        200,
      );
      const listed = conflicts.filter(({ id }) => ids.includes(id));
      expect(listed.map(({ id }) => id).sort()).toEqual(later.map(({ id }) => id).sort());
      for (const { id, collection, version, winner } of listed) {
        expect(collection).toBe('default');
        const [first, second] = [alone, later].map((side) => side.find((written) => written.id === id)?.version ?? '');
        expect([version, winner]).toEqual(first < second ? [first, second] : [second, first]);
      }
    }
  });
});
