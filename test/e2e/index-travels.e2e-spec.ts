import { afterEach, expect, it, jest } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Cluster } from './cluster/cluster.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { spector } from './support/command.js';
import { corpus, store } from './support/documents.js';
import { expectStatus } from './support/problem.js';

jest.setTimeout(180_000);

/** More than are sooner indexed than fetched, and than are left without a checkpoint. */
const DOCUMENTS = 8_000;
const AFTER = 300;
const DIMENSIONS = 16;
const NEWCOMER = 'node-3';

let cluster: Cluster;
afterEach(async () => {
  await cluster.dispose();
  await expectNoNodeLeft();
});

it('a copy on a new node gets the index of its primary, and answers as that does', async () => {
  cluster = await Cluster.start({
    nodes: 2,
    shards: 1,
    replicas: 2,
    env: { SPECTOR_REBALANCE_GRACE: '0s' },
  });
  const documents = corpus(5, DOCUMENTS + AFTER, DIMENSIONS);
  const [{ rest }] = cluster.nodes;
  for (let at = 0; at < DOCUMENTS; at += 2_000) await store(rest, documents.slice(at, Math.min(at + 2_000, DOCUMENTS)));
  const { shards } = await cluster.settled();
  const leading = cluster.node(shards[0].primary ?? '');
  const taken = async (): Promise<boolean> => {
    const names = await readdir(join(leading.directory, 'checkpoints', '0')).catch(() => []);
    return names.some((name) => Number(name) >= DOCUMENTS / 2);
  };
  await waitFor('the primary to take a checkpoint', taken, 60_000);

  const newcomer = await cluster.add(NEWCOMER);
  await newcomer.start({ ready: false });
  // What is written meanwhile is in no checkpoint.
  await store(rest, documents.slice(DOCUMENTS));
  const said = () => /"replayed":(\d+)[^\n]*the index of a new copy came from its primary/.exec(newcomer.output)?.[1];
  const replayed = Number(await waitFor('the index to come', said, 60_000));
  expect(replayed).toBeLessThanOrEqual(DOCUMENTS / 2 + AFTER);
  const inSync = async (): Promise<boolean> => {
    const [{ replicas }] = (await leading.status()).shards;
    return replicas.some(({ node, inSync: synced, role }) => node === NEWCOMER && synced && role === 'replica');
  };
  await waitFor(`${NEWCOMER} to be in sync`, inSync, 60_000);
  await cluster.settled();
  await cluster.converged(3);

  await Promise.all(cluster.nodes.filter((node) => node !== newcomer).map((node) => node.kill()));
  for (const { title, vector } of [documents[3], documents[11], documents[DOCUMENTS + 1]]) {
    const exact = { text: title, vector, topK: 5, params: { exact: true } };
    const near = { ...exact, params: {} };
    const answers = [];
    for (const body of [exact, near]) {
      const answer = await newcomer.rest.post('/api/v1/search', body);
      answers.push(expectStatus<{ results: { id: string; score: number }[] }>(answer, 200).results);
    }
    expect(answers[0]).toHaveLength(5);
    expect(answers[1].map(({ id }) => id)).toEqual(answers[0].map(({ id }) => id));
  }
  expect(await newcomer.process.stop('SIGTERM')).toEqual({ code: 0, signal: null });
  const verified = await spector(['verify', newcomer.directory, '--rebuild', '--json']);
  expect({ code: verified.code, said: verified.stdout + verified.stderr }).toMatchObject({ code: 0 });
});
