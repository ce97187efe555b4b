import { cp, rm, truncate } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { copyLiving } from '../../src/modules/log/testing/living-copy.js';
import { waitFor } from './cluster/wait-for.js';
import { answersOf, withoutVersions, type SteadyAnswer } from './support/answers.js';
import { spector } from './support/command.js';
import { currentLogFile, databaseDirectory, makeDirectory, removeDirectory, sizeOf } from './support/data-files.js';
import { corpus, everything, store } from './support/documents.js';
import { History } from './support/history.js';
import { Load, stateOf } from './support/load.js';
import type { TestNode } from './support/node.js';
import { startNode, withNode } from './support/node.js';
import { expectStatus } from './support/problem.js';
import { Random } from './support/random.js';

const SEED = 20_240_607;

/** Search and get must show what the scroll shows: nothing deleted in any leg, nothing missing in one. */
async function expectOneState(node: TestNode): Promise<void> {
  const documents = await everything(node.rest);
  const ids = documents.map(({ id }) => id).sort();
  const searched = await node.rest.post('/api/v1/search', {
    vector: [1, 1, 1, 1],
    topK: 1_000,
    consistency: 'primary',
    params: { exact: true },
  });
  expect(
    expectStatus<{ results: { id: string }[] }>(searched, 200)
      .results.map(({ id }) => id)
      .sort(),
  ).toEqual(ids);
  const byFilter = await node.rest.post('/api/v1/documents/count', {
    filter: { must: [{ key: 'parity', match: { any: [0, 1] } }] },
  });
  expect(expectStatus(byFilter, 200)).toHaveProperty('count', ids.length);
  const got = await node.rest.post('/api/v1/documents/get', { ids });
  expect(expectStatus<{ missing: string[] }>(got, 200).missing).toEqual([]);
}

describe('kill -9 under load', () => {
  it('again and again loses no acknowledged write, brings nothing back and invents nothing', async () => {
    const random = new Random(SEED);
    const history = new History();
    const node = await startNode({ args: ['--shard-count', '3'] });
    try {
      for (let life = 0; life < 5; life++) {
        const load = new Load(node.base, history, `life-${life}`, SEED + life);
        await load.acknowledged(history.acknowledged + random.integer(40, 400));
        await node.kill();
        await load.stop();
        history.endEra();
        if (life === 3) await killWhileStarting(node, random);
        await node.restart();
        expect(history.check(await stateOf(node.rest))).toEqual([]);
        await expectOneState(node);
      }
      expect(history.acknowledged).toBeGreaterThan(400);
      expect(history.unknown).toBe(0); // every one was settled by a check

      // The node that died answers as one that did not: the same log after a restart in good order, the same log read
      // anew without checkpoints, and the same documents in a node that has never died.
      const answers = await answersOf(node.rest);
      expect(await node.stop()).toEqual({ code: 0, signal: null });
      const verified = await spector(['verify', node.dataDir, '--rebuild', '--json']);
      expect({ code: verified.code, out: verified.code === 0 ? '' : verified.stdout + verified.stderr }).toEqual({
        code: 0,
        out: '',
      });
      await node.restart();
      expect(await answersOf(node.rest)).toEqual(answers);
      await withNode({}, async (fresh) => {
        await store(
          fresh.rest,
          (await everything(node.rest)).map(({ version: _version, ...document }) => document),
        );
        const exact = (all: typeof answers) => withoutVersions(exactOnes(all));
        expect(exact(await answersOf(fresh.rest))).toEqual(exact(answers));
      });
    } finally {
      await node.dispose();
    }
  }, 180_000);

  it('right after an answer keeps what was answered', async () => {
    const node = await startNode();
    try {
      for (let round = 0; round < 2; round++) {
        const written = await node.rest.put(`/api/v1/documents/last-${round}`, { title: 'answered' });
        const deleted = round === 0 ? undefined : await node.rest.delete(`/api/v1/documents/last-${round - 1}`);
        await node.kill();
        expectStatus(written, 201);
        await node.restart();
        expect(expectStatus(await node.rest.get(`/api/v1/documents/last-${round}`), 200)).toHaveProperty(
          'version',
          written.json<{ version: string }>().version,
        );
        if (deleted !== undefined) {
          expectStatus(deleted, 200);
          expect((await node.rest.get(`/api/v1/documents/last-${round - 1}`)).status).toBe(404);
        }
      }
    } finally {
      await node.dispose();
    }
  }, 60_000);
});

describe('kill -9 after checkpoints that were taken while it ran', () => {
  it('has the next process replay only what none of them holds, and answer as a node that never died', async () => {
    const documents = corpus(SEED, 3_000, 4);
    const node = await startNode({ args: ['--shard-count', '2'] });
    try {
      await store(node.rest, documents);
      await waitFor('a checkpoint that leaves little', async () => (await unsaved(node)) < 2_000, 30_000);
      for (const document of documents.slice(0, 20))
        expectStatus(await node.rest.put(`/api/v1/documents/${document.id}`, { title: 'river copper' }), 200);
      expectStatus(await node.rest.delete(`/api/v1/documents/${documents[20].id}`), 200);
      const answers = exactOnes(await answersOf(node.rest));
      const left = await unsaved(node);
      expect(left).toBeGreaterThan(20);
      await node.kill();
      await node.restart();
      const opened = node
        .output()
        .split('\n')
        .filter((line) => line.includes('"shard opened"'))
        .map((line) => JSON.parse(line) as { replayed: number; fromCheckpoint: boolean });
      expect(opened.map(({ fromCheckpoint }) => fromCheckpoint)).toContain(true);
      expect(opened.reduce((sum, { replayed }) => sum + replayed, 0)).toBe(left);
      expect(exactOnes(await answersOf(node.rest))).toEqual(answers);
    } finally {
      await node.dispose();
    }
  });
});

/** Those that do not depend on how a graph was built. */
function exactOnes(answers: readonly SteadyAnswer[]): readonly SteadyAnswer[] {
  return answers.filter(({ query }) => JSON.stringify(query).includes('exact') || !('vector' in query));
}

/** Entries that a restart would replay. */
async function unsaved(node: TestNode): Promise<number> {
  const { text } = await node.rest.get('/metrics');
  const shards = [...text.matchAll(/^spector_index_unsaved_entries\{[^}]*\} (\d+)$/gm)];
  expect(shards).toHaveLength(2);
  return shards.reduce((sum, [, entries]) => sum + Number(entries), 0);
}

/** Kills the node a moment after its start, wherever it then is. */
async function killWhileStarting(node: TestNode, random: Random): Promise<void> {
  for (let attempt = 0; attempt < 2; attempt++) {
    await node.restart({ ready: false });
    const wanted = random.integer(0, 20);
    for (let i = 0; i < wanted; i++) await node.rest.get('/readyz').catch(() => undefined);
    await node.kill();
  }
}

describe("LevelDB's current log, cut at or after the last synced size", () => {
  it('loses nothing that was acknowledged before, wherever it is cut', async () => {
    const random = new Random(SEED + 1);
    const history = new History();
    const copies = await makeDirectory();
    const node = await startNode({ args: ['--shard-count', '2'] });
    try {
      const load = new Load(node.base, history, 'cut', SEED + 100);
      await load.acknowledged(250);
      // In this order: what the files beside the log remember must not be newer than the size that is taken as synced.
      const copy = join(copies, 'copy');
      const database = relative(node.dataDir, await databaseDirectory(node.dataDir));
      const isLock = (path: string): boolean => basename(path) === 'LOCK';
      const inDatabase = (path: string): boolean => path.startsWith(`${database}/`);
      await copyLiving(node.dataDir, copy, (path) => !isLock(path) && !inDatabase(path));
      const noted = history.snapshot();
      const log = await currentLogFile(node.dataDir);
      const synced = await sizeOf(log);
      await load.acknowledged(history.acknowledged + 150);
      await copyLiving(node.dataDir, copy, (path) => !isLock(path) && inDatabase(path));
      noted.adoptAsUnknown(history);
      await node.kill();
      await load.stop();
      expect(basename(await currentLogFile(copy))).toBe(basename(log)); // no new log began in between
      const written = await sizeOf(await currentLogFile(copy));
      expect(written).toBeGreaterThan(synced);
      noted.endEra();

      const sizes = [synced, written - 1, random.integer(synced, written), random.integer(synced, written)];
      for (const [i, size] of sizes.entries()) {
        const directory = join(copies, `cut-${i}`);
        await cp(copy, directory, { recursive: true });
        await truncate(await currentLogFile(directory), size);
        const verified = await spector(['verify', directory, '--json']);
        await withNode({ directory }, async (restarted) => {
          const problems = noted.snapshot().check(await stateOf(restarted.rest));
          expect({ size, synced, written, problems }).toEqual({ size, synced, written, problems: [] });
          await expectOneState(restarted);
          expectStatus(
            await restarted.rest.put('/api/v1/documents/id-0', { title: 'goes on', vector: [1, 2, 3, 4] }),
            200,
            201,
          );
          expect((await restarted.stop()).code).toBe(0);
        });
        expect({
          size,
          code: verified.code,
          out: verified.code === 0 ? '' : verified.stdout + verified.stderr,
        }).toEqual({ size, code: 0, out: '' });
        await rm(directory, { recursive: true, force: true });
      }
    } finally {
      await node.dispose();
      await removeDirectory(copies);
    }
  }, 120_000);
});
