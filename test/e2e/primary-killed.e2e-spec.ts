import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Cluster, type ClusterNode, type Status } from './cluster/cluster.js';
import { ClusterLoad, stateOf } from './cluster/cluster-load.js';
import { ledBy, replaced } from './cluster/reigns.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { corpus, store } from './support/documents.js';
import { History } from './support/history.js';
import { expectStatus } from './support/problem.js';

jest.setTimeout(180_000);

/** The published promise for a process that crashed (replication, table of promises). */
const PROMOTION_MAX_MS = 3_000;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({ shards: 4, replicas: 2 });
});
afterAll(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

/** Checks on every node that nothing is lost, back or invented. */
async function expectWhole(history: History): Promise<void> {
  await cluster.settled();
  await cluster.converged(3);
  for (const { nodeId, rest } of cluster.nodes) {
    expect({ nodeId, problems: history.check(await stateOf(rest)) }).toEqual({ nodeId, problems: [] });
  }
}

describe('kill -9 of a primary under load', () => {
  it('twice, another one each time: replaced at once, no acknowledged write lost, every search whole', async () => {
    const history = new History();
    let victim = '';
    for (const round of [1, 2]) {
      const before = await cluster.settled();
      const leaders = [...new Set(before.shards.map(({ primary }) => primary))].filter((name) => name !== victim);
      victim = leaders[0] ?? '';
      const led = ledBy(before, victim);
      expect(led.length).toBeGreaterThan(0);
      const node = cluster.node(victim);
      let asked: readonly ClusterNode[] = cluster.nodes;
      const load = new ClusterLoad(() => asked, `round-${round}`, { seed: round }, history);
      await waitFor('some load', () => history.acknowledged > 200 * round && load.searches > 40, 60_000);
      asked = cluster.others(victim);
      await node.kill();
      const tookMs = await replaced(asked[0], led, victim);
      await waitFor('load to go on', () => history.acknowledged > 200 * round + 200, 60_000);
      await node.start();
      asked = cluster.nodes;
      await delay(500);
      await load.stop();
      expect({ round, failed: load.failedSearches }).toEqual({ round, failed: [] });
      expect({ round, failed: load.failedWrites }).toEqual({ round, failed: [] });
      expect(tookMs).toBeLessThan(PROMOTION_MAX_MS);
      await expectWhole(history);
    }
    expect(history.acknowledged).toBeGreaterThan(400);
  });

  it('a node that missed entries receives these and no more', async () => {
    const before = await cluster.settled();
    const returning = cluster.node('node-2');
    const others = cluster.others('node-2');
    expectStatus(await others[0].rest.put('/api/v1/collections/delta', {}), 201);
    const bytesBefore = await others[0].metric('spector_log_bytes');
    await returning.kill();
    await replaced(others[0], ledBy(before, 'node-2'), 'node-2');
    await store(others[0].rest, corpus(3, 400, 16), '?collection=delta');
    await cluster.agreed(others);
    const missed = entriesSince(await others[0].status(), before);
    const missedBytes = (await others[0].metric('spector_log_bytes')) - bytesBefore;
    expect(missed).toBeGreaterThanOrEqual(400);
    const sentBefore = await sent(others);
    await returning.start();
    const after = await cluster.settled();
    const sentSince = await sent(others);
    // What was logged meanwhile, such as the beginning of a reign, goes to both followers.
    const later = entriesSince(after, before) - missed;
    const entries = sentSince.entries - sentBefore.entries;
    const bytes = sentSince.bytes - sentBefore.bytes;
    expect(entries).toBeGreaterThanOrEqual(missed);
    expect(entries).toBeLessThanOrEqual(missed + 2 * later);
    expect(bytes).toBeLessThanOrEqual(1.05 * missedBytes + 2 * later * 512);
    await cluster.converged(3);
    expectStatus(await returning.rest.get('/api/v1/documents/doc-399?collection=delta'), 200);
  });
});

/** Entries of all shards between two moments. */
function entriesSince(now: Status, then: Status): number {
  return now.shards.reduce((sum, { shard, offset }) => sum + offset - then.shards[shard].offset, 0);
}

/** What these nodes sent of the logs of documents. */
async function sent(nodes: readonly ClusterNode[]): Promise<{ readonly entries: number; readonly bytes: number }> {
  let [entries, bytes] = [0, 0];
  for (const node of nodes)
    for (const shard of [0, 1, 2, 3]) {
      entries += await node.metric('spector_replication_sent_entries_total', `shard="${shard}"`);
      bytes += await node.metric('spector_replication_sent_bytes_total', `shard="${shard}"`);
    }
  return { entries, bytes };
}
