import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Cluster, type ClusterNode } from './cluster/cluster.js';
import { ledBy, replaced } from './cluster/reigns.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { everything, store } from './support/documents.js';
import { expectProblem, expectStatus } from './support/problem.js';

jest.setTimeout(180_000);

const DOCUMENTS = 6_000;
const filter = { must: [{ key: 'kind', match: { value: 'old' } }] };
const KEY = { 'idempotency-key': 'one-delete' };
const old = (id: string) => ({ id, metadata: { kind: 'old' } });

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({ shards: 4, replicas: 2 });
});
afterAll(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

const remove = ({ rest }: ClusterNode, body: object = { filter }) => rest.post('/api/v1/documents/delete', body, KEY);

/** Sends it until it is answered: a shard may be without a primary for now. */
const removed = (node: ClusterNode): Promise<unknown> =>
  waitFor(
    'the delete to be answered',
    async () => {
      const { session: _, ...answer } = expectStatus<Record<string, unknown>>(await remove(node), 200);
      return answer;
    },
    60_000,
  );

describe('a delete by filter under an idempotency key', () => {
  it('is completed and counted once after kill -9 of its coordinator, and answered so by every node', async () => {
    const before = await cluster.settled();
    const victim = before.shards[0].primary ?? '';
    const coordinator = cluster.node(victim);
    const [second, third] = cluster.others(victim);
    await store(
      second.rest,
      Array.from({ length: DOCUMENTS }, (_, i) => old(`doc-${i}`)),
    );
    await cluster.agreed(cluster.nodes);

    const cutOff = remove(coordinator).catch((error: unknown) => error);
    const count = async (): Promise<number> => {
      const answer = await second.rest.post('/api/v1/documents/count?consistency=primary', { filter });
      return expectStatus<{ count: number }>(answer, 200).count;
    };
    while ((await count()) === DOCUMENTS);
    await coordinator.kill();
    expect(await cutOff).toBeInstanceOf(Error);
    await replaced(second, ledBy(before, victim), victim);
    const left = await waitFor('the count of what is left', count, 30_000);
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(DOCUMENTS);

    // Written since: in place of what was deleted, and new.
    const since = Array.from({ length: 40 }, (_, i) => old(`since-${i}`));
    const kept = new Set((await everything(second.rest)).map(({ id }) => id));
    const gone = Array.from({ length: DOCUMENTS }, (_, i) => `doc-${i}`).filter((id) => !kept.has(id));
    const again = gone.slice(0, 40).map(old);
    await store(second.rest, [...since, ...again]);
    const stay = [...since, ...again].map(({ id }) => id).sort();

    expect(await removed(third)).toEqual({ deleted: DOCUMENTS, failed: 0, errors: [] });
    expect((await everything(second.rest)).map(({ id }) => id).sort()).toEqual(stay);

    // Another primary falls: its successors know what was made.
    await coordinator.start();
    const settled = await cluster.settled();
    const led = ledBy(settled, third.nodeId);
    await third.kill();
    await replaced(second, led, third.nodeId);
    expect(await removed(second)).toEqual({ deleted: DOCUMENTS, failed: 0, errors: [] });
    await third.start();
    await cluster.settled();
    for (const node of cluster.nodes)
      expect(await removed(node)).toEqual({ deleted: DOCUMENTS, failed: 0, errors: [] });
    expect((await everything(third.rest)).map(({ id }) => id).sort()).toEqual(stay);
    await cluster.converged(3);

    for (const { rest } of cluster.nodes)
      expectProblem(
        await rest.post('/api/v1/documents/delete', { filter: {} }, KEY),
        'IDEMPOTENCY_CONFLICT',
        /another request/,
      );
    expectStatus(await second.rest.post('/api/v1/documents/delete', { filter }), 200);
    expect(await everything(second.rest)).toEqual([]);
  });
});
