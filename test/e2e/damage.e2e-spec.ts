import { rm, truncate } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { META_SHARD } from '../../src/kernel/ids.js';
import { documentPrefix, entryPrefix, FIRST_GENERATION, shardKey } from '../../src/modules/log/core/keys.js';
import { RECORD_NAMES } from '../../src/modules/log/core/log-records.js';
import { COUNTERS_ROW } from '../../src/modules/replication/core/replica-log.js';
import { Cluster, type ClusterNode } from './cluster/cluster.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { answersOf, type SteadyAnswer } from './support/answers.js';
import { spector } from './support/command.js';
import {
  checkpointFiles,
  copyDirectory,
  damageValues,
  dropBatch,
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
import { startNode, withNode } from './support/node.js';
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
/** Few enough that a batch of them and what a block holds beside it end long before the last documents. */
const CHUNK = 20;
const DAMAGED = DOCUMENTS[57];
const BY_ID = new Map(DOCUMENTS.map((document) => [document.id, document]));

interface Place {
  readonly shard: number;
  readonly offset: number;
}

const places = new Map<string, Place>();
let scratch: string;
/** A data directory whose node was killed: everything is in LevelDB's log, nothing in tables or checkpoints. */
let crashed: string;
/** The same after a restart and an end in good order: everything is in tables and in checkpoints. */
let settled: string;
let answers: SteadyAnswer[];

beforeAll(async () => {
  scratch = await makeDirectory();
  crashed = join(scratch, 'crashed');
  settled = join(scratch, 'settled');
  await withNode({ directory: crashed }, async (node) => {
    // In chunks: a damaged block of LevelDB's log hides whole batches, and must not hide the end of the log with them.
    for (let from = 0; from < DOCUMENTS.length; from += CHUNK) {
      const writes = DOCUMENTS.slice(from, from + CHUNK).map(async ({ id, ...fields }) => {
        places.set(id, expectStatus<Place>(await node.rest.put(`/api/v1/documents/${id}`, fields), 201));
      });
      await Promise.all(writes);
    }
    await node.kill();
  });
  await copyDirectory(crashed, settled);
  await withNode({ directory: settled }, async (node) => {
    answers = await answersOf(node.rest);
    expect((await node.stop()).code).toBe(0);
  });
});
afterAll(() => removeDirectory(scratch));

let directory: string;
beforeEach(() => {
  directory = join(scratch, 'harmed');
});
afterEach(() => removeDirectory(directory));

function placeOf(id: string): Place {
  const place = places.get(id);
  if (place === undefined) throw new Error(`${id} was never written`);
  return place;
}

/** A document in the shard that is not damaged. */
const elsewhere = (): string => DOCUMENTS.find(({ id }) => placeOf(id).shard !== placeOf(DAMAGED.id).shard)?.id ?? '';

/** Turns a bit around in the stored text of the damaged document; the files it was found in. */
async function damage(of = directory): Promise<string[]> {
  const found = await findBytes(await databaseDirectory(of), DAMAGED.content.slice(0, 16));
  expect(found.length).toBeGreaterThan(0);
  for (const { path, at } of found) await flipBit(path, at + 4);
  return found.map(({ path }) => basename(path));
}

/** Runs a node on the harmed directory, as soon as it answers for the shard that is not damaged. */
async function onHarmed(act: (node: TestNode) => Promise<void>): Promise<void> {
  await withNode({ directory, ready: false }, async (node) => {
    const path = `/api/v1/documents/${elsewhere()}`;
    await waitFor('the other shard', async () => (await node.rest.get(path)).status === 200, 30_000);
    await act(node);
  });
}

/** Every document that is answered is the one that was written; how many were not answered. */
async function expectNothingWrong(node: TestNode): Promise<number> {
  let refused = 0;
  for (const document of DOCUMENTS) {
    const answer = await node.rest.get(`/api/v1/documents/${document.id}?withVector=true`);
    if (answer.status === 200) expect(answer.json()).toEqual(expect.objectContaining(document));
    else {
      expectProblem(answer, ['LOG_CORRUPT', 'SHARD_UNAVAILABLE', 'STARTING']);
      refused++;
    }
  }
  const search = await node.rest.post('/api/v1/search', { vector: [1, 2, 3, 4], topK: 200, withContent: true });
  if (search.status === 200) {
    const found = search.json<{ partial: boolean; results: { id: string; content: string }[] }>();
    for (const { id, content } of found.results) expect(content).toBe(BY_ID.get(id)?.content);
    if (found.results.length < DOCUMENTS.length) expect(found.partial).toBe(true);
  } else expectProblem(search, ['LOG_CORRUPT', 'SHARD_UNAVAILABLE', 'STARTING']);
  return refused;
}

/** The other shard answers, takes writes, and says which one it stands alone without. */
async function expectOtherShardGoesOn(node: TestNode): Promise<void> {
  const { shard } = placeOf(DAMAGED.id);
  const search = await node.rest.post('/api/v1/search', { vector: DAMAGED.vector, topK: 200, withContent: true });
  const found = expectStatus<{
    partial: boolean;
    coverage: number;
    results: { id: string; content: string }[];
    shards: { total: number; ok: number; failed: { shard: number; reason: string }[] };
  }>(search, 200);
  expect(found).toEqual(
    expect.objectContaining({ partial: true, shards: expect.objectContaining({ total: 2, ok: 1 }) }),
  );
  expect(found.shards.failed).toEqual([expect.objectContaining({ shard, reason: 'FAULTED' })]);
  expect(found.coverage).toBeLessThan(1);
  expect(found.coverage).toBeGreaterThan(0);
  expect(found.results.length).toBeGreaterThan(0);
  for (const { id } of found.results) expect(placeOf(id).shard).not.toBe(shard);
  expectProblem(await node.rest.post('/api/v1/search', { text: 'river', minCoverage: 1 }), 'COVERAGE_TOO_LOW');

  const status = expectStatus<{ status: string }>(await node.rest.get('/api/v1/status'), 200);
  expect(status.status).toBe('DEGRADED');

  // So do the streams: the changes of the other shard, and then why there are no more.
  const changes = await node.rest.get('/api/v1/changes');
  const last: unknown = JSON.parse(changes.text.trimEnd().split('\n').at(-1) ?? '');
  expect(last).toMatchObject({ error: { code: 'LOG_CORRUPT', detail: expect.stringMatching(/offset \d+/) } });
  expectProblem(await node.rest.get(`/api/v1/shards/${shard}/log`), 'LOG_CORRUPT', /offset \d+/);

  // Of new documents those of the other shard are stored.
  let stored = 0;
  for (let i = 0; i < 20; i++) {
    const answer = await node.rest.put(`/api/v1/documents/new-${i}`, { title: 'new' });
    if (answer.status === 201) stored++;
    else expectProblem(answer, 'LOG_CORRUPT');
  }
  expect(stored).toBeGreaterThan(0);
  expect(stored).toBeLessThan(20);
}

/** `spector verify` fails and names the entry. */
async function expectVerifyNamesIt(): Promise<void> {
  const { shard, offset } = placeOf(DAMAGED.id);
  const { code, stdout } = await spector(['verify', directory, '--json']);
  expect(code).toBe(1);
  const report = JSON.parse(stdout) as { ok: boolean; shards: { shard: number; damages: { offset: number }[] }[] };
  expect(report.ok).toBe(false);
  const damages = report.shards.find((one) => one.shard === shard)?.damages ?? [];
  expect(damages.map((one) => one.offset)).toContain(offset);
}

describe('a flipped bit', () => {
  it("in LevelDB's log is found on open, and nothing wrong is ever served", async () => {
    await copyDirectory(crashed, directory);
    expect((await damage()).every((name) => name.endsWith('.log'))).toBe(true);
    // LevelDB drops the block, and what is in it of both shards: either may have lost entries, none may hide it.
    const { code, stdout, stderr } = await spector(['verify', directory]);
    expect({ code, named: /shard \d+, offset \d+|shard \d+.*offset \d+/s.test(stdout + stderr) }).toEqual({
      code: 1,
      named: true,
    });
    await withNode({ directory, ready: false }, async (node) => {
      await waitFor(
        'the damage to be named',
        () => /"shard":\d/.test(node.output()) && /offset/.test(node.output()),
        20_000,
      );
      await waitFor(
        'an answer for the damaged document',
        async () => {
          const answer = await node.rest.get(`/api/v1/documents/${DAMAGED.id}`);
          return answer.status !== 503 || !answer.text.includes('STARTING');
        },
        20_000,
      );
      const { shard } = placeOf(DAMAGED.id);
      const read = await node.rest.get(`/api/v1/documents/${DAMAGED.id}`);
      expectProblem(read, ['LOG_CORRUPT', 'SHARD_UNAVAILABLE'], new RegExp(`shard ${shard}\\b`));
      expect(await expectNothingWrong(node)).toBeGreaterThan(0);
    });
  });

  it('in a table is found when it is read, named with shard and offset, and never served', async () => {
    await copyDirectory(settled, directory);
    expect((await damage()).every((name) => name.endsWith('.ldb'))).toBe(true);
    await expectVerifyNamesIt();
    await onHarmed(async (node) => {
      const { shard, offset } = placeOf(DAMAGED.id);
      const read = await node.rest.get(`/api/v1/documents/${DAMAGED.id}`);
      const { detail } = expectProblem(read, 'LOG_CORRUPT', new RegExp(`shard ${shard}\\b`));
      expect(detail).toMatch(new RegExp(`offset ${offset}\\b`));
      await expectNothingWrong(node);
      await expectOtherShardGoesOn(node);
      await waitFor('the log to name it', () => node.output().includes(String(offset)), 5_000);
    });
  });

  it('in a table is found by a search that would show it', async () => {
    await copyDirectory(settled, directory);
    await damage();
    await onHarmed(async (node) => {
      const { shard } = placeOf(DAMAGED.id);
      const query = { vector: DAMAGED.vector, topK: 5, withContent: true, params: { exact: true } };
      const found = expectStatus<{ partial: boolean; results: { id: string }[]; shards: { failed: object[] } }>(
        await node.rest.post('/api/v1/search', query),
        200,
      );
      expect(found.results.map(({ id }) => id)).not.toContain(DAMAGED.id);
      expect(found.partial).toBe(true);
      expect(found.shards.failed).toEqual([expect.objectContaining({ shard, reason: 'FAULTED' })]);
    });
  });

  it('in a table is found on open when there is no checkpoint to start from', async () => {
    await copyDirectory(settled, directory);
    for (const path of await checkpointFiles(directory)) await rm(path, { force: true });
    await damage();
    await onHarmed(async (node) => {
      const { shard, offset } = placeOf(DAMAGED.id);
      await waitFor('the damage to be named', () => node.output().includes(String(offset)), 20_000);
      expect(node.output()).toMatch(new RegExp(`shard\\D{0,3}${shard}\\b`));
      await expectNothingWrong(node);
      await expectOtherShardGoesOn(node);
    });
  });

  it('anywhere in the files of the database never gives a wrong answer', async () => {
    const names = (await filesUnder(await databaseDirectory(settled))).map((path) => path.slice(settled.length + 1));
    for (const name of names.filter((path) => !/(LOCK|LOG|LOG\.old)$/.test(path))) {
      const size = await sizeOf(join(settled, name));
      if (size === 0) continue;
      await copyDirectory(settled, directory);
      await flipBit(join(directory, name), random.integer(0, size - 1), random.integer(0, 7));
      await expectNoWrongAnswer();
      await removeDirectory(directory);
    }
  }, 120_000);
});

/** Whatever a node on the harmed directory does, it must not serve what was not written, nor hide what was. */
async function expectNoWrongAnswer(): Promise<void> {
  let node: TestNode;
  try {
    node = await startNode({ directory, ready: false });
  } catch (error) {
    expect(String(error)).toMatch(/exit code 74/); // It may refuse to start, when it says why.
    return;
  }
  const exited = node.process.expectExit();
  try {
    const ended = await waitFor(
      'the node to be ready, to fault a shard, or to end',
      async () => {
        if (node.process.exit !== undefined) return 'ended';
        if ((await node.rest.get('/readyz')).status === 200) return 'ready';
        return /corrupt|damage|fault/i.test(node.output()) ? 'faulted' : undefined;
      },
      20_000,
    );
    if (ended === 'ended') expect((await exited).code).toBe(74);
    else if ((await expectNothingWrong(node)) > 0) expect(node.output()).toMatch(/shard/);
  } finally {
    await node.dispose();
  }
}

describe('a checkpoint', () => {
  it.each<readonly [string, (path: string, size: number) => Promise<void>]>([
    ['flipped in the middle', (path, size) => flipBit(path, size >> 1)],
    ['cut', (path, size) => truncate(path, size >> 1)],
    ['emptied', (path) => truncate(path, 0)],
    ['gone', (path) => rm(dirname(path), { recursive: true, force: true })],
  ])('that is %s is made again from the log: the same answers', async (_, harm) => {
    await copyDirectory(settled, directory);
    const files = await checkpointFiles(directory);
    expect(files.length).toBeGreaterThan(0);
    for (const path of files) {
      const size = await sizeOf(path).catch(() => 0);
      if (size > 4) await harm(path, size);
    }
    await withNode({ directory }, async (node) => {
      expect(await answersOf(node.rest)).toEqual(answers);
      expect(await count(node.rest)).toBe(DOCUMENTS.length);
    });
  });

  it('that is whole is used: only what came after it is replayed, and the answers are the same', async () => {
    await copyDirectory(settled, directory);
    await withNode({ directory }, async (node) => {
      expect(await answersOf(node.rest)).toEqual(answers);
      await store(node.rest, [{ id: 'after', title: 'river', vector: [1, 2, 3, 4], metadata: { parity: 1 } }]);
      const later = await answersOf(node.rest);
      await node.kill();
      await node.restart();
      expect(await answersOf(node.rest)).toEqual(later);
      await node.stop();
      expect((await spector(['verify', directory, '--rebuild', '--json'])).code).toBe(0);
    });
  });
});

describe('in a cluster', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start({ shards: 1, replicas: 2 });
    await store(cluster.nodes[0].rest, DOCUMENTS);
  }, 60_000);

  /** Whoever was healed is back. */
  afterEach(async () => {
    for (const node of cluster.nodes) if (!node.running) await node.start();
    await cluster.settled();
  }, 60_000);

  afterAll(async () => {
    await cluster.dispose();
    await expectNoNodeLeft();
  });

  /** A replica that was stopped with all it has in tables, and its directory. */
  async function stoppedReplica(): Promise<{ running: ClusterNode; replica: ClusterNode }> {
    const { shards } = await cluster.settled();
    const [{ primary, replicas }] = shards;
    const replica = cluster.node(replicas.find(({ node }) => node !== primary)?.node ?? '');
    for (let run = 0; run < 2; run++) {
      expect(await replica.process.stop('SIGTERM')).toEqual({ code: 0, signal: null });
      if (run === 0) await replica.start();
    }
    expect((await damage(replica.directory)).every((name) => name.endsWith('.ldb'))).toBe(true);
    return { running: cluster.node(primary ?? ''), replica };
  }

  async function expectHealed(replica: ClusterNode): Promise<void> {
    await cluster.settled();
    await cluster.converged(3);
    expect(await replica.metric('spector_copies_total', 'event="healed"')).toBe(1);
    await waitFor(
      'the health to say so',
      async () => {
        const { status } = (await replica.rest.get('/health')).json<{ status: string }>();
        return status === 'UP';
      },
      10_000,
    );
    expect(await replica.process.stop('SIGTERM')).toEqual({ code: 0, signal: null });
    const verified = await spector(['verify', replica.directory, '--rebuild', '--json']);
    expect({ code: verified.code, said: verified.stdout + verified.stderr }).toMatchObject({ code: 0 });
  }

  it('what is found on open is fetched from another replica, and the copy serves again', async () => {
    const { running, replica } = await stoppedReplica();
    for (const path of await checkpointFiles(replica.directory)) await rm(path, { force: true });
    await replica.start({ ready: false });
    await waitFor('the replica to be healed', () => replica.output.includes('was healed from another copy'), 30_000);
    expect(replica.output).toMatch(/the shard is faulted/);
    const read = await replica.rest.get(`/api/v1/documents/${DAMAGED.id}`);
    expect(expectStatus<object>(read, 200)).toMatchObject({ content: DAMAGED.content });
    await store(running.rest, [{ id: 'after', title: 'river', vector: [1, 2, 3, 4] }]);
    await expectHealed(replica);
  }, 120_000);

  it('what is found on read is fetched from another replica; the reader gets the right document or none', async () => {
    const { replica } = await stoppedReplica();
    await replica.start();
    await waitFor(
      'the replica to be healed',
      async () => {
        const read = await replica.rest.get(`/api/v1/documents/${DAMAGED.id}`);
        if (read.status === 200) expect(read.json()).toMatchObject({ content: DAMAGED.content });
        return replica.output.includes('was healed from another copy');
      },
      60_000,
    );
    await expectHealed(replica);
  }, 120_000);

  /** A replica that is stopped in the middle of a cluster with documents. */
  async function stopped(): Promise<ClusterNode> {
    const { shards } = await cluster.settled();
    const [{ primary, replicas }] = shards;
    const replica = cluster.node(replicas.find(({ node }) => node !== primary)?.node ?? '');
    expect(await replica.process.stop('SIGTERM')).toEqual({ code: 0, signal: null });
    return replica;
  }

  it.each([
    ['rows', documentPrefix(FIRST_GENERATION, 0)],
    ['what they add up to', shardKey(0, COUNTERS_ROW)],
    ['the record of the end of the log', shardKey(0, RECORD_NAMES.tail)],
  ])(
    '%s that cannot be read are replaced by a snapshot of the primary',
    async (_, prefix) => {
      const replica = await stopped();
      expect(await damageValues(replica.directory, prefix)).toBeGreaterThan(0);
      await replica.start({ ready: false });
      await waitFor(
        'the replica to be healed',
        async () => {
          const read = await replica.rest.get(`/api/v1/documents/${DAMAGED.id}`);
          if (read.status === 200) expect(read.json()).toMatchObject({ content: DAMAGED.content });
          return replica.output.includes('were healed by a snapshot');
        },
        60_000,
      );
      // Nothing is written: what is in the snapshot is all there is.
      await expectHealed(replica);
    },
    120_000,
  );

  it('an entry of the map that is damaged is fetched from another voter, and the node starts meanwhile', async () => {
    const replica = await stopped();
    const last = (keys: readonly Uint8Array[]): readonly Uint8Array[] => keys.slice(-3, -2);
    expect(await damageValues(replica.directory, entryPrefix(META_SHARD, FIRST_GENERATION), last)).toBe(1);
    await replica.start();
    await waitFor('the map to be healed', () => replica.output.includes('was healed from another copy'), 30_000);
    await store(replica.rest, [{ id: 'after', title: 'river', vector: [1, 2, 3, 4] }]);
    await expectHealed(replica);
  }, 120_000);

  it('a batch that is gone is replaced as a whole, with the rows that were written with its entries', async () => {
    const [{ rest }] = cluster.nodes;
    const { shards } = await cluster.settled();
    const [{ primary, replicas }] = shards;
    const replica = cluster.node(replicas.find(({ node }) => node !== primary)?.node ?? '');
    for (let i = 0; i < 400; i++) {
      const body = { title: `title ${i}`, content: words(random, 20) };
      expectStatus(await rest.put(`/api/v1/documents/doc-${i % 50}?consistency=all`, body), 200, 201);
    }
    await replica.process.stop('SIGKILL');
    await dropBatch(replica.directory);
    await replica.start({ ready: false });
    await waitFor('the replica to be healed', () => /healed (by|from)/.test(replica.output), 60_000);
    await store(rest, [{ id: 'after', title: 'river' }]);
    await expectHealed(replica);
  }, 120_000);
});
