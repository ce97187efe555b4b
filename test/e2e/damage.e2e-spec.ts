import { rm, truncate } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitFor } from './cluster/wait-for.js';
import { answersOf } from './support/answers.js';
import { spector } from './support/command.js';
import {
  checkpointFiles,
  copyDirectory,
  databaseDirectory,
  filesUnder,
  findBytes,
  flipBit,
  makeDirectory,
  removeDirectory,
  sizeOf,
} from './support/data-files.js';
import { count, store } from './support/documents.js';
import type { TestNode } from './support/node.js';
import { startNode } from './support/node.js';
import { expectProblem, expectStatus } from './support/problem.js';
import { Random, words } from './support/random.js';

const random = new Random(77);
/** Letters that nothing else has and that no compression shortens. */
const marker = (i: number): string =>
  `m${i}x${random.integer(2 ** 28, 2 ** 31).toString(36)}q${random.integer(2 ** 28, 2 ** 31).toString(36)}`;
const DOCUMENTS = Array.from({ length: 200 }, (_, i) => ({
  id: `doc-${i}`,
  title: words(random, 3),
  content: `${marker(i)} ${words(random, 20)}`,
  vector: random.vector(4),
  metadata: { parity: i % 2 },
}));
const DAMAGED = DOCUMENTS[57];

interface Written {
  readonly shard: number;
  readonly offset: number;
}

let node: TestNode;
let places: Map<string, Written>;

beforeEach(async () => {
  node = await startNode();
  places = new Map();
  for (let from = 0; from < DOCUMENTS.length; from += 50) {
    const answers = DOCUMENTS.slice(from, from + 50).map(async ({ id, ...fields }) => {
      const answer = await node.rest.put(`/api/v1/documents/${id}`, fields);
      places.set(id, expectStatus<Written>(answer, 201));
    });
    await Promise.all(answers);
  }
});
afterEach(() => node.dispose());

const placeOf = (id: string): Written => {
  const place = places.get(id);
  if (place === undefined) throw new Error(`${id} was never written`);
  return place;
};

/** Turns a bit around in the stored text of a document; the file it was found in. */
async function damage(text: string): Promise<string> {
  const found = await findBytes(await databaseDirectory(node.dataDir), text);
  expect(found.length).toBeGreaterThan(0);
  for (const { path, at } of found) await flipBit(path, at + 4);
  return found[0].path;
}

/** Checks that a node on damaged data names the entry, never serves it, and goes on with the other shard. */
async function expectNamedAndNotServed(
  id: string,
  original: { content: string; vector: readonly number[] },
): Promise<void> {
  const { shard, offset } = placeOf(id);
  const read = await node.rest.get(`/api/v1/documents/${id}?withVector=true`);
  const problem = expectProblem(read, 'LOG_CORRUPT', new RegExp(`shard ${shard}\\b`));
  expect(problem.detail).toMatch(new RegExp(`offset ${offset}\\b`));

  // A search that would return it says which shard failed, and the other shards answer.
  const search = await node.rest.post('/api/v1/search', {
    vector: original.vector,
    topK: 200,
    withContent: true,
    consistency: 'primary',
  });
  const found = expectStatus<{
    partial: boolean;
    coverage: number;
    results: { id: string; content: string }[];
    shards: { total: number; ok: number; failed: { shard: number; reason: string }[] };
  }>(search, 200);
  expect(found.results.map((hit) => hit.id)).not.toContain(id);
  expect(found).toEqual(
    expect.objectContaining({ partial: true, shards: expect.objectContaining({ total: 2, ok: 1 }) }),
  );
  expect(found.shards.failed).toEqual([expect.objectContaining({ shard, reason: 'FAULTED' })]);
  expect(found.coverage).toBeLessThan(1);
  for (const hit of found.results)
    expect(hit.content).toBe(DOCUMENTS.find((document) => document.id === hit.id)?.content);

  for (const document of DOCUMENTS) {
    const answer = await node.rest.get(`/api/v1/documents/${document.id}`);
    if (answer.status === 200) expect(answer.json<{ content: string }>().content).toBe(document.content);
    else expectProblem(answer, ['LOG_CORRUPT', 'SHARD_UNAVAILABLE']);
    if (placeOf(document.id).shard !== shard) expect(answer.status).toBe(200);
  }
  await waitFor(
    'the damage in the log',
    () => new RegExp(`"shard":${shard}\\b`).test(node.output()) || /corrupt|damage/i.test(node.output()),
    5_000,
  );
  const other = DOCUMENTS.find((document) => placeOf(document.id).shard !== shard)?.id ?? '';
  expectStatus(await node.rest.put(`/api/v1/documents/${other}`, { title: 'the other shard takes writes' }), 200);
}

describe('a flipped bit', () => {
  it("in LevelDB's log is found on open, named with shard and offset, and never served", async () => {
    expect((await node.kill()).signal).toBe('SIGKILL'); // so that no checkpoint and no table holds a copy
    const path = await damage(DAMAGED.content.slice(0, 24));
    expect(basename(path)).toMatch(/\.log$/);
    await expectVerifyNames(DAMAGED.id);
    await node.restart({ ready: false });
    await waitFor('an answer', async () => (await node.rest.get('/livez')).status === 200, 20_000);
    await waitFor(
      'the shards to be open or faulted',
      async () =>
        (await node.rest.get('/api/v1/documents/doc-0')).status !== 503 ||
        (await node.rest.get('/api/v1/documents/doc-1')).status !== 503,
      20_000,
    );
    // What LevelDB dropped are whole blocks: the entry may be one of several that are missing.
    const { shard } = placeOf(DAMAGED.id);
    const read = await node.rest.get(`/api/v1/documents/${DAMAGED.id}`);
    expectProblem(read, ['LOG_CORRUPT', 'SHARD_UNAVAILABLE'], new RegExp(`shard ${shard}\\b`));
    expect(node.output()).toMatch(/offset/);
    await expectNothingWrong();
  }, 60_000);

  it('in a table is found when it is read, named with shard and offset, and never served', async () => {
    await intoTables();
    await damage(DAMAGED.content.slice(0, 24));
    await expectVerifyNames(DAMAGED.id);
    await node.restart({ ready: false });
    await waitFor('an answer', async () => (await node.rest.get('/livez')).status === 200, 20_000);
    await waitFor(
      'the other shard',
      async () => {
        const other = DOCUMENTS.find(({ id }) => placeOf(id).shard !== placeOf(DAMAGED.id).shard)?.id ?? '';
        return (await node.rest.get(`/api/v1/documents/${other}`)).status === 200;
      },
      20_000,
    );
    await expectNamedAndNotServed(DAMAGED.id, DAMAGED);
  }, 60_000);

  it('in a table is found on open when there is no checkpoint to start from', async () => {
    await intoTables();
    for (const path of await checkpointFiles(node.dataDir)) await rm(path, { force: true });
    await damage(DAMAGED.content.slice(0, 24));
    await node.restart({ ready: false });
    const { shard, offset } = placeOf(DAMAGED.id);
    await waitFor('the damage in the log', () => new RegExp(`offset\\D{0,3}${offset}\\b`).test(node.output()), 20_000);
    expect(node.output()).toMatch(new RegExp(`shard\\D{0,3}${shard}\\b`));
    await expectNothingWrong();
  }, 60_000);

  it.each([0.1, 0.35, 0.6, 0.85])(
    'anywhere (at %d of a file) never gives a wrong answer',
    async (part) => {
      await intoTables();
      const original = await makeDirectory();
      try {
        await copyDirectory(node.dataDir, original);
        const files = (await filesUnder(await databaseDirectory(original))).filter(
          (path) => !/LOCK$|LOG(\.old)?$/.test(path),
        );
        for (const path of files) {
          const size = await sizeOf(path);
          if (size === 0) continue;
          const directory = await makeDirectory();
          try {
            await copyDirectory(original, directory);
            await flipBit(path.replace(original, directory), Math.floor(size * part));
            await expectNoWrongAnswer(directory);
          } finally {
            await removeDirectory(directory);
          }
        }
      } finally {
        await removeDirectory(original);
      }
    },
    120_000,
  );
});

/** Whatever a node on this directory does, it must not serve what was not written. */
async function expectNoWrongAnswer(directory: string): Promise<void> {
  let damaged: TestNode;
  try {
    damaged = await startNode({ directory, ready: false });
  } catch (error) {
    // It may refuse to start, when it says why.
    expect(String(error)).toMatch(/exit code 74/);
    return;
  }
  try {
    await waitFor(
      'the node to be ready, to fault or to end',
      async () => {
        if (damaged.process.exit !== undefined) return true;
        if ((await damaged.rest.get('/readyz')).status === 200) return true;
        return /corrupt|damage|fault/i.test(damaged.output());
      },
      20_000,
    );
    if (damaged.process.exit !== undefined) {
      expect((await damaged.process.expectExit()).code).toBe(74);
      return;
    }
    let refused = 0;
    for (const document of DOCUMENTS) {
      const answer = await damaged.rest.get(`/api/v1/documents/${document.id}?withVector=true`);
      if (answer.status === 200) expect(answer.json()).toEqual(expect.objectContaining(document));
      else {
        expectProblem(answer, ['LOG_CORRUPT', 'SHARD_UNAVAILABLE', 'STARTING']);
        refused++;
      }
    }
    const search = await damaged.rest.post('/api/v1/search', { vector: [1, 2, 3, 4], topK: 200, withContent: true });
    if (search.status === 200) {
      const found = search.json<{ partial: boolean; results: { id: string; content: string }[] }>();
      for (const hit of found.results) expect(hit.content).toBe(DOCUMENTS.find(({ id }) => id === hit.id)?.content);
      if (found.results.length < DOCUMENTS.length) expect(found.partial).toBe(true);
    }
    if (refused > 0) expect(damaged.output()).toMatch(/shard/);
  } finally {
    damaged.process.expectExit().catch(() => undefined);
    await damaged.dispose();
  }
}

/** Every document that is answered is the one that was written. */
async function expectNothingWrong(): Promise<void> {
  for (const document of DOCUMENTS) {
    const answer = await node.rest.get(`/api/v1/documents/${document.id}?withVector=true`);
    if (answer.status === 200) expect(answer.json()).toEqual(expect.objectContaining(document));
    else expectProblem(answer, ['LOG_CORRUPT', 'SHARD_UNAVAILABLE', 'STARTING']);
  }
}

/** `spector verify` fails and names the entry. */
async function expectVerifyNames(id: string): Promise<void> {
  const { shard, offset } = placeOf(id);
  const { code, stdout } = await spector(['verify', node.dataDir, '--json']);
  expect(code).toBe(1);
  const report = JSON.parse(stdout) as { ok: boolean; shards: { shard: number; damages: { offset: number }[] }[] };
  expect(report.ok).toBe(false);
  const damages = report.shards.find((one) => one.shard === shard)?.damages ?? [];
  expect(damages.map((one) => one.offset)).toContain(offset);
  for (const other of report.shards)
    if (other.shard !== shard && damages.length === 1) expect(other.damages).toEqual([]);
}

/** Ends the node in good order and opens it once more, so that LevelDB has moved its log into tables. */
async function intoTables(): Promise<void> {
  await node.restart();
  await node.stop();
  const files = await filesUnder(await databaseDirectory(node.dataDir));
  expect(files.some((path) => /\.ldb$/.test(path))).toBe(true);
}

describe('a checkpoint', () => {
  it('that is damaged, cut or gone is made again from the log: the same answers', async () => {
    const answers = await answersOf(node.rest);
    await node.stop();
    const files = await checkpointFiles(node.dataDir);
    expect(files.length).toBeGreaterThan(0);
    const harms: readonly (readonly [string, (path: string, size: number) => Promise<void>])[] = [
      ['flipped at the start', (path) => flipBit(path, 2)],
      ['flipped in the middle', (path, size) => flipBit(path, size >> 1)],
      ['flipped at the end', (path, size) => flipBit(path, size - 1)],
      ['cut', (path, size) => truncate(path, size >> 1)],
      ['emptied', (path) => truncate(path, 0)],
      ['gone', (path) => rm(path)],
    ];
    for (const [, harm] of harms) {
      for (const path of await checkpointFiles(node.dataDir)) {
        const size = await sizeOf(path);
        if (size > 4) await harm(path, size);
      }
      await node.restart();
      expect(await answersOf(node.rest)).toEqual(answers);
      expect(await count(node.rest)).toBe(DOCUMENTS.length);
      await node.stop();
    }
    for (const directory of new Set((await checkpointFiles(node.dataDir)).map(dirname)))
      await rm(directory, { recursive: true, force: true });
    await node.restart();
    expect(await answersOf(node.rest)).toEqual(answers);
  }, 90_000);

  it('that is whole is used: only what came after it is replayed', async () => {
    await node.restart();
    await store(node.rest, [
      { id: 'after', title: 'after the checkpoint', vector: [1, 2, 3, 4], metadata: { parity: 1 } },
    ]);
    const answers = await answersOf(node.rest);
    await node.kill();
    await node.restart();
    expect(await answersOf(node.rest)).toEqual(answers);
    const replayed = [...node.output().matchAll(/"replayed":(\d+)/g)].map(([, n]) => Number(n));
    if (replayed.length > 0) expect(Math.max(...replayed)).toBeLessThan(20);
    const verified = await withStopped(() => spector(['verify', node.dataDir, '--rebuild', '--json']));
    expect(verified.code).toBe(0);
  }, 60_000);
});

async function withStopped<T>(act: () => Promise<T>): Promise<T> {
  await node.stop();
  return act();
}
