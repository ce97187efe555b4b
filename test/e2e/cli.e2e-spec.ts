import { readdirSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Ended } from './support/command.js';
import { spector, startSpector } from './support/command.js';
import { makeDirectory, removeDirectory } from './support/data-files.js';
import { corpus, count, everything, store } from './support/documents.js';
import { ndjson } from './support/lines.js';
import type { TestNode } from './support/node.js';
import { startNode, withNode } from './support/node.js';
import { expectStatus } from './support/problem.js';
import { waitFor } from './cluster/wait-for.js';

const DOCUMENTS = corpus(5, 300, 4);

let node: TestNode;
let scratch: string;

beforeAll(async () => {
  scratch = await makeDirectory();
  node = await startNode();
  await store(node.rest, DOCUMENTS);
});
afterAll(async () => {
  await node.dispose();
  await removeDirectory(scratch);
});

/** A command on the node. */
const run = (...args: string[]): Promise<Ended> => spector([...args, '--url', node.base]);

/** A command on the node that must succeed, with --json: what it printed. */
async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await run(...args, '--json');
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  const lines = stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0]) as T;
}

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(scratch, name);
  await writeFile(path, content);
  return path;
}

describe('spector', () => {
  it('tells of itself', async () => {
    const help = await spector(['--help']);
    expect(help.code).toBe(0);
    for (const command of [
      'serve',
      'ingest',
      'search',
      'get',
      'count',
      'delete',
      'status',
      'export',
      'backup',
      'restore',
      'verify',
      'demo',
    ]) {
      expect(help.stdout).toMatch(new RegExp(`^\\s+${command}\\b`, 'm'));
    }
    expect((await spector(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  }, 60_000);

  it('refuses what it does not know with a word of advice', async () => {
    for (const args of [['frobnicate'], ['search', '--colour', 'red'], ['get'], ['search', 'x', '--top-k', 'ten']]) {
      const { code, stdout, stderr } = await run(...args);
      expect({ args, failed: code !== 0 && code !== null, stdout }).toEqual({ args, failed: true, stdout: '' });
      expect(stderr).toMatch(/.+/);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  });

  it('says when no node answers, and keeps stdout for results', async () => {
    const { code, stdout, stderr } = await spector([
      'status',
      '--url',
      'http://127.0.0.1:9',
      '--timeout',
      '1000',
      '--json',
    ]);
    expect([code, stdout]).toEqual([1, '']);
    expect(JSON.parse(stderr)).toEqual({
      error: expect.objectContaining({ code: expect.any(String), detail: expect.any(String) }),
    });
  });

  it('serve is the node', async () => {
    const served = startSpector(['serve', '--data-dir', join(scratch, 'served'), '--port', '0', '--grpc-port', '0']);
    try {
      await waitFor('it to be ready', () => /ready/.test(served.output()), 30_000);
      served.child.kill('SIGTERM');
      expect((await served.ended).code).toBe(0);
    } finally {
      served.child.kill('SIGKILL');
    }
    expect((await spector(['serve', '--shard-count', 'many'])).code).toBe(78);
    expect((await spector(['--url', 'http://x', 'serve', '--shard-count', 'many'])).code).toBe(2);
  });
});

describe('search, get, count, delete, status', () => {
  it('search', async () => {
    const answer = await json<{ results: { id: string }[]; mode: string }>('search', 'river copper', '--top-k', '5');
    const rest = await node.rest.post('/api/v1/search', { text: 'river copper', topK: 5 });
    expect(answer.mode).toBe('KEYWORD');
    expect(answer.results.map(({ id }) => id)).toEqual(
      expectStatus<{ results: { id: string }[] }>(rest, 200).results.map(({ id }) => id),
    );
    const hybrid = await json<{ mode: string; results: unknown[] }>(
      'search',
      'river',
      '--like',
      'doc-1',
      '--exact',
      '--filter',
      '{"must":[{"key":"group","match":{"value":"fizz"}}]}',
    );
    expect(hybrid.mode).toBe('HYBRID');
    expect((await json<{ mode: string }>('search', '--vector', '[1,2,3,4]')).mode).toBe('VECTOR');
    const table = await run('search', 'river copper', '--explain');
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(/score/i);
    expect(table.stdout).toContain(answer.results[0].id);
    const mismatched = await run('search', '--vector', '[1,2]');
    expect(mismatched.code).toBe(1);
    expect(mismatched.stderr).toMatch(/DIMENSION_MISMATCH/);
  });

  it('get', async () => {
    const document = await json<Record<string, unknown>>('get', 'doc-7', '--with-vector');
    expect(document).toEqual(expect.objectContaining(DOCUMENTS[7]));
    const { code, stdout, stderr } = await run('get', 'doc-7', 'nobody');
    expect(code).toBe(1);
    expect(stdout).toContain('doc-7');
    expect(stderr).toContain('nobody');
  });

  it('count', async () => {
    expect(await json('count')).toEqual(expect.objectContaining({ count: 300 }));
    const filter = '{"must":[{"key":"number","range":{"lt":10}}]}';
    expect(await json('count', '--filter', filter)).toEqual(expect.objectContaining({ count: 10 }));
    expect((await run('count')).stdout).toMatch(/300/);
    expect((await run('count', '--filter', '{')).code).not.toBe(0);
  });

  it('delete', async () => {
    await store(
      node.rest,
      [1, 2, 3, 4].map((i) => ({ id: `gone-${i}`, title: 't', metadata: { gone: i } })),
    );
    expect(await json('delete', 'gone-1', 'gone-2')).toEqual(expect.objectContaining({ deleted: 2 }));
    expect(await json('delete', '--filter', '{"must":[{"key":"gone","exists":true}]}')).toEqual(
      expect.objectContaining({ deleted: 2 }),
    );
    expect(await count(node.rest)).toBe(300);
    expect((await run('delete')).code).not.toBe(0);
  });

  it('status', async () => {
    expect(await json('status')).toEqual(expect.objectContaining({ status: 'RUNNING', documents: 300 }));
    const text = await run('status');
    expect([text.code, /RUNNING/.test(text.stdout), /node-1/.test(text.stdout)]).toEqual([0, true, true]);
  });
});

describe('ingest', () => {
  const ids = async (collection: string): Promise<string[]> =>
    (await everything(node.rest, collection)).map(({ id }) => id).sort();

  beforeAll(async () => {
    for (const name of ['files', 'gzip', 'stdin', 'errors', 'resumed'])
      expectStatus(await node.rest.put(`/api/v1/collections/${name}`, {}), 201);
  });

  it('a file, gzip and stdin', async () => {
    const lines = ndjson(DOCUMENTS);
    const path = await file('corpus.ndjson', lines);
    expect(await json('ingest', path, '--collection', 'files')).toEqual(
      expect.objectContaining({ total: 300, success: 300, failed: 0 }),
    );
    await run(
      'ingest',
      await file('corpus.ndjson.gz', gzipSync(lines)),
      '--collection',
      'gzip',
      '--batch',
      '50',
      '--concurrency',
      '4',
    );
    const piped = await spector(['ingest', '-', '--collection', 'stdin', '--url', node.base], { input: lines });
    expect(piped.code).toBe(0);
    const all = DOCUMENTS.map(({ id }) => id).sort();
    for (const name of ['files', 'gzip', 'stdin']) expect(await ids(name)).toEqual(all);
    expect(readdirSync(scratch).filter((name) => /state|resume|progress/.test(name))).toEqual([]);
  });

  it('lists the lines that failed and exits with 1', async () => {
    const path = await file('bad.ndjson', '{"id":"a","title":"t"}\nnot json\n{"id":"b"}\n{"id":"c","title":"t"}\n');
    const errors = join(scratch, 'errors.ndjson');
    const { code, stdout } = await run('ingest', path, '--collection', 'errors', '--errors', errors, '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual(expect.objectContaining({ total: 4, success: 2, failed: 2 }));
    const listed = (await readFile(errors, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { code: string });
    expect(listed).toEqual([
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    ]);
    expect(await ids('errors')).toEqual(['a', 'c']);
  });

  it('goes on where it was interrupted', async () => {
    const total = 12_000;
    const path = await file(
      'long.ndjson',
      ndjson(Array.from({ length: total }, (_, i) => ({ id: `r${i}`, content: 'words '.repeat(60) }))),
    );
    const interrupted = startSpector(['ingest', path, '--collection', 'resumed', '--batch', '100', '--url', node.base]);
    await waitFor('something to be stored', async () => (await count(node.rest, undefined, 'resumed')) > 500, 30_000);
    interrupted.child.kill('SIGINT');
    const ended = await interrupted.ended;
    const stored = await count(node.rest, undefined, 'resumed');
    if (stored < total) expect(ended.code).toBe(1);
    const resumed = await json<{ success: number; resumed: boolean; failed: number }>(
      'ingest',
      path,
      '--resume',
      '--collection',
      'resumed',
    );
    expect(resumed.failed).toBe(0);
    if (stored < total) expect(resumed.resumed).toBe(true);
    expect(await count(node.rest, undefined, 'resumed')).toBe(total);
    expectStatus(await node.rest.delete('/api/v1/collections/resumed'), 200, 204); // what follows copies all there is
  }, 60_000);

  it('says that there is no such file', async () => {
    const { code, stderr } = await run('ingest', join(scratch, 'nowhere.ndjson'));
    expect(code).not.toBe(0);
    expect(stderr).toContain('nowhere.ndjson');
  });
});

describe('export, backup and restore', () => {
  it('export writes what ingest reads', async () => {
    const { code, stdout } = await run('export');
    expect(code).toBe(0);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: string });
    expect(lines).toHaveLength(300);
    const byId = new Map(lines.map((line) => [line.id, line]));
    for (const document of DOCUMENTS) expect(byId.get(document.id)).toEqual(document);
    const path = join(scratch, 'export.ndjson.gz');
    expect(await json('export', '--output', path, '--filter', '{"must":[{"key":"number","range":{"lt":10}}]}')).toEqual(
      expect.objectContaining({ documents: 10 }),
    );
    expect(gunzipSync(readFileSync(path)).toString().trimEnd().split('\n')).toHaveLength(10);
  });

  it('a backup, taken while writes go on, is restored into another shard count, and the digests are checked', async () => {
    const settings = { dimensions: 4, similarity: 'dot' };
    expectStatus(await node.rest.put('/api/v1/collections/backed-up', settings), 201);
    await store(node.rest, DOCUMENTS, '?collection=backed-up');
    const directory = join(scratch, 'backup');
    let writing = true;
    const writes = (async () => {
      for (let i = 0; writing; i++)
        expectStatus(
          await node.rest.put(`/api/v1/documents/live-${i % 20}?collection=backed-up`, { title: `v${i}` }),
          200,
          201,
        );
    })();
    const backup = await json<{
      documents: number;
      digest: string;
      collections: { name: string; documents: number }[];
    }>('backup', directory);
    writing = false;
    await writes;
    expect(backup.digest).toMatch(/^[0-9a-f]{16,}$/);
    expect(backup.collections.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['default', 'backed-up', 'files']),
    );
    const [copied] = backup.collections.filter(({ name }) => name === 'backed-up');
    expect(copied.documents).toBeGreaterThanOrEqual(300);
    expect(copied.documents).toBeLessThanOrEqual(320);

    await withNode({ args: ['--shard-count', '5'] }, async (other) => {
      const restored = await spector(['restore', directory, '--url', other.base, '--json']);
      expect({ code: restored.code, stderr: restored.code === 0 ? '' : restored.stderr }).toEqual({
        code: 0,
        stderr: '',
      });
      expect(JSON.parse(restored.stdout)).toEqual(
        expect.objectContaining({ equal: true, documents: backup.documents, digest: backup.digest }),
      );
      expect(expectStatus(await other.rest.get('/api/v1/collections/backed-up'), 200)).toEqual(
        expect.objectContaining({ ...settings, documents: copied.documents }),
      );
      for (const name of ['default', 'files']) {
        const strip = (all: Awaited<ReturnType<typeof everything>>) =>
          all.map(({ version: _version, ...fields }) => fields).sort((a, b) => (a.id < b.id ? -1 : 1));
        expect(strip(await everything(other.rest, name))).toEqual(strip(await everything(node.rest, name)));
      }
      // Not into a node that holds something already.
      const again = await spector(['restore', directory, '--url', other.base]);
      expect(again.code).not.toBe(0);
    });
  }, 120_000);

  it('a backup that was tampered with is refused', async () => {
    const directory = join(scratch, 'tampered');
    await json('backup', directory);
    const name = readdirSync(directory).find((entry) => entry.endsWith('.gz')) ?? '';
    const path = join(directory, name);
    const lines = gunzipSync(readFileSync(path)).toString().split('\n');
    await writeFile(path, gzipSync(lines.slice(1).join('\n')));
    await withNode({}, async (other) => {
      const { code, stdout, stderr } = await spector(['restore', directory, '--url', other.base]);
      expect(code).toBe(1);
      expect(stdout + stderr).toMatch(new RegExp(`${name}|differ|digest|sha`, 'i'));
    });
  }, 60_000);

  it('a backup wants a new directory', async () => {
    await file('not-empty', '');
    const { code, stderr } = await run('backup', scratch);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/empty/);
  });
});

describe('verify', () => {
  it('walks a sound directory, with its indexes made anew', async () => {
    await withNode({}, async (other) => {
      await store(other.rest, DOCUMENTS);
      await store(other.rest, DOCUMENTS.slice(0, 50));
      expectStatus(await other.rest.delete('/api/v1/documents/doc-1'), 200);
      await other.stop();
      for (const args of [
        ['verify', other.dataDir],
        ['verify', other.dataDir, '--rebuild'],
      ]) {
        const { code, stdout } = await spector([...args, '--json']);
        const report = JSON.parse(stdout) as {
          ok: boolean;
          shards: { shard: number; documents: number; rebuild?: { differences: unknown[] } }[];
        };
        expect([code, report.ok]).toEqual([0, true]);
        const shards = report.shards.filter(({ shard }) => shard < 2);
        expect(shards.reduce((sum, { documents }) => sum + documents, 0)).toBe(299);
        if (args.includes('--rebuild')) for (const { rebuild } of shards) expect(rebuild?.differences).toEqual([]);
      }
      const text = await spector(['verify', other.dataDir]);
      expect([text.code, /sound/.test(text.stdout)]).toEqual([0, true]);
      await other.restart();
      expect(await count(other.rest)).toBe(299);
    });
  }, 60_000);

  it('says that there is nothing to verify, and makes nothing', async () => {
    const path = join(scratch, 'no-data');
    const { code, stderr, stdout } = await spector(['verify', path]);
    expect(code).not.toBe(0);
    expect(stderr + stdout).toContain('no-data');
    expect(readdirSync(scratch)).not.toContain('no-data');
  });
});

describe('demo', () => {
  it('--once loads, searches, survives a kill -9 losing nothing, and leaves no process and no file', async () => {
    const temporary = await makeDirectory();
    try {
      const demo = startSpector(['demo', '--once'], { env: { TMPDIR: temporary }, timeoutMs: 300_000 });
      const { code, stdout, stderr } = await demo.ended;
      expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toContain('Loaded 10 000 documents through node-1');
      for (const kind of [/keyword/i, /vector/i, /hybrid/i]) expect(stdout).toMatch(kind);
      expect(stdout).toMatch(/is primary now \(epoch \d+\), was node-\d/);
      expect(stdout).toMatch(/acknowledged writes lost: 0\n/);
      expect(stdout).toMatch(/searches [\d ]+, failed: 0, partial: 0,/);
      // It held 10 000 documents when it was killed: what it received is what was written meanwhile.
      const received = /received ([\d ]+) entries .*, what it had missed, of ([\d ]+) in the logs/.exec(stdout);
      const [missed, all] = (received ?? []).slice(1).map((text) => Number(text.replaceAll(' ', '')));
      expect(all).toBeGreaterThan(10_000);
      expect(missed).toBeLessThan(all - 9_900);
      expect(stdout).toMatch(/all copies are equal/);
      expectNothingLeft(temporary);
    } finally {
      await removeDirectory(temporary);
    }
  }, 330_000);

  it('ends everything it started when it is interrupted', async () => {
    const temporary = await makeDirectory();
    try {
      const demo = startSpector(['demo'], { env: { TMPDIR: temporary }, timeoutMs: 180_000 });
      await waitFor('the cluster to be ready', () => demo.output().includes('One cluster after'), 150_000);
      demo.child.kill('SIGTERM');
      expect(await demo.ended).toMatchObject({ code: 1, signal: null });
      expectNothingLeft(temporary);
    } finally {
      await removeDirectory(temporary);
    }
  }, 200_000);
});

/** No process works in the directory, and nothing is in it. */
function expectNothingLeft(directory: string): void {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  expect(pids.filter((pid) => commandLine(pid).includes(directory))).toEqual([]);
  expect(readdirSync(directory)).toEqual([]);
}

/** The command line of a process; empty when it is gone. */
function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // it ended between the listing and the reading
  }
}
