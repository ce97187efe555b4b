import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Cluster, type ClusterNode } from './cluster/cluster.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { expectProblem, expectStatus } from './support/problem.js';

jest.setTimeout(180_000);

/** Documents that are written again and again, and bytes of each: what is superseded soon passes what compaction waits for. */
const DOCUMENTS = 3;
const ROUNDS = 12;
const CONTENT = 'x'.repeat(100_000);

let cluster: Cluster;
afterEach(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

/** Three copies of one shard; every superseded entry is old enough to go at once. */
async function started(env: Readonly<Record<string, string>> = {}): Promise<void> {
  cluster = await Cluster.start({ shards: 1, replicas: 2, env: { SPECTOR_LOG_RETENTION: '0s', ...env } });
}

async function overwrite(node: ClusterNode): Promise<void> {
  for (let round = 0; round < ROUNDS; round++)
    for (let i = 0; i < DOCUMENTS; i++) {
      const answer = await node.rest.put(`/api/v1/documents/doc-${i}`, { content: `${round} ${CONTENT}` });
      expect([200, 201]).toContain(answer.status);
    }
}

async function offsetOf(observer: ClusterNode, nodeId: string): Promise<number> {
  const [{ replicas }] = (await observer.status()).shards;
  return replicas.find(({ node }) => node === nodeId)?.offset ?? 0;
}

/** Ends a node in good order, which takes a checkpoint: what is in it may be compacted. */
async function checkpointed(node: ClusterNode): Promise<void> {
  expect(await node.process.stop('SIGTERM')).toEqual({ code: 0, signal: null });
  await node.start();
}

/** Up to where a node compacted the log, by what it said in its present life. */
async function compactedUpTo(node: ClusterNode): Promise<number> {
  const said = await waitFor(
    `${node.nodeId} to compact`,
    () => node.output.split('\n').findLast((line) => line.includes('superseded entries compacted')),
    40_000,
  );
  return (JSON.parse(said.slice(said.indexOf('{'))) as { upTo: number }).upTo;
}

/** A replica that is away, one whose checkpoint is newer than what that one missed, and what was missed. */
async function oneIsAway() {
  const [{ primary, replicas }] = (await cluster.settled()).shards;
  const leading = cluster.node(primary ?? '');
  const [staying, away] = replicas.filter(({ node }) => node !== primary).map(({ node }) => cluster.node(node));
  await overwrite(leading);
  await cluster.settled();
  const had = await offsetOf(leading, away.nodeId);
  await away.kill();
  await overwrite(leading);
  const tail = await offsetOf(leading, leading.nodeId);
  expect(tail - had).toBe(ROUNDS * DOCUMENTS);
  await checkpointed(staying);
  return { leading, staying, away, had, tail };
}

describe('a replica that was away for longer than LOG_RETENTION', () => {
  it('gets what it missed and nothing else, also from a node that compacted meanwhile and led only then', async () => {
    await started();
    const { leading, staying, away, had, tail } = await oneIsAway();
    expect(await compactedUpTo(staying)).toBe(had);
    await leading.kill();
    const led = async () => (await staying.status()).shards[0].primary === staying.nodeId;
    await waitFor(`${staying.nodeId} to lead`, led, 30_000);
    await away.start({ ready: false });
    await waitFor('the replica to be back', async () => (await offsetOf(staying, away.nodeId)) > tail, 30_000);
    // A snapshot would be three documents; the reign began with an entry of its own.
    const sent = await staying.metric('spector_replication_sent_entries_total', `shard="0",to="${away.nodeId}"`);
    expect(sent).toBe((await offsetOf(staying, staying.nodeId)) - had);
    expect(sent).toBeGreaterThan(tail - had);
    await leading.start({ ready: false });
    await cluster.settled();
    await cluster.converged(3);
  });

  it('is demoted to a snapshot when the log is over LOG_RETENTION_BYTES, loudly', async () => {
    await started({ SPECTOR_LOG_RETENTION_BYTES: '1MiB' });
    const { leading, staying, away, had } = await oneIsAway();
    await leading.kill();
    // Nothing is known of either of the two in the new reign: both may be as far behind.
    const demoted = () => new RegExp(`"node":"${away.nodeId}","msg":"the log is over`).test(staying.output);
    await waitFor(`${staying.nodeId} to demote ${away.nodeId}`, demoted, 60_000);
    expect(await staying.metric('spector_copies_total', 'event="demoted"')).toBeGreaterThanOrEqual(1);
    await waitFor('what it lacks to be gone', async () => (await compactedUpTo(staying)) > had, 40_000);
    await leading.start({ ready: false });
    await away.start({ ready: false });
    await cluster.settled();
    await cluster.converged(3);
    const sent = await staying.metric('spector_replication_sent_entries_total', `shard="0",to="${away.nodeId}"`);
    expect(sent).toBeLessThan(ROUNDS);
    const stored = await away.rest.get(`/api/v1/documents/doc-1`);
    expect(expectStatus<{ content: string }>(stored, 200).content).toBe(`${ROUNDS - 1} ${CONTENT}`);
  });
});

describe('a reader of the change stream', () => {
  interface Change {
    readonly cursor: string;
    readonly id: string;
    readonly version: string;
  }

  async function changes(node: ClusterNode, cursor?: string): Promise<Change[]> {
    const query = cursor === undefined ? '' : `?cursor=${encodeURIComponent(cursor)}`;
    const { status, text } = await node.rest.get(`/api/v1/changes${query}`);
    expect({ status, text }).toMatchObject({ status: 200 });
    const lines = text.split('\n').filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as Change);
  }

  const seen = (lines: readonly Change[]): unknown => lines.map(({ id, version }) => [id, version]);

  it('that starts over and is cut off goes on from where it was, also when the log is compacted again', async () => {
    cluster = await Cluster.start({ nodes: 1, shards: 1, replicas: 0, env: { SPECTOR_LOG_RETENTION: '0s' } });
    const [node] = cluster.nodes;
    expectStatus(await node.rest.put('/api/v1/documents/first', { title: 'f' }), 201);
    const [first] = await changes(node);
    await overwrite(node);
    await checkpointed(node);
    const upTo = await compactedUpTo(node);
    // It stood for every write after it.
    const gone = await node.rest.get(`/api/v1/changes?cursor=${encodeURIComponent(first.cursor)}`);
    expectProblem(gone, 'OFFSET_COMPACTED');
    const pass = await changes(node);
    expect(pass.map(({ id }) => id)).toEqual(['first', 'doc-0', 'doc-1', 'doc-2']);
    for (const [i, { cursor }] of pass.entries())
      expect(seen(await changes(node, cursor))).toEqual(seen(pass.slice(i + 1)));
    expectStatus(await node.rest.delete('/api/v1/documents/first'), 200);
    await overwrite(node);
    await checkpointed(node);
    // Of two checkpoints the older one may still be loaded.
    expectStatus(await node.rest.put('/api/v1/documents/last', { title: 'l' }), 201);
    await checkpointed(node);
    expect(await compactedUpTo(node)).toBeGreaterThan(upTo);
    const rest = await changes(node, pass[1].cursor);
    expect(seen(rest)).toEqual(seen(await changes(node)));
    expect(rest.map(({ id }) => id)).toEqual(['first', 'doc-0', 'doc-1', 'doc-2', 'last']);
  });
});
