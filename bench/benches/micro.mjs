import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { fork } from 'node:child_process';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClassicLevel } from 'classic-level';
import hnswlib from 'hnswlib-node';
import { clusteredCorpus } from '../lib/corpus.mjs';
import { load } from '../lib/load.mjs';
import { freshDirectory, removeDirectory } from '../lib/node.mjs';
import { bodiesOf, KINDS } from '../lib/queries.mjs';
import { LEG, TOP, truthOf } from '../lib/truth.mjs';

const M = 16;
const EF_CONSTRUCTION = 200;
const EF_SEARCH = 100;
const SYNCS = 300;
const STORED = 100_000;
const STORED_BYTES = 700;
const STORED_TOGETHER = 1_000;
const SERVER = 'SPECTOR_BENCH_SERVER';
/** About as long as ten hits with title and metadata. */
const ANSWER_BYTES = 1_600;

/**
 * The limits of the machine in this very run, without the node: the vector index alone in one thread, a bare HTTP
 * server under the same load, a synced write, LevelDB alone.
 * @param {import('../run.mjs').Context} context
 */
export async function micro({ options, progress, quiet }) {
  const corpus = clusteredCorpus(options);
  const truth = truthOf(corpus, progress);
  const rows = [];
  await quiet();
  progress(`building one HNSW of ${corpus.documents} vectors`);
  const index = new hnswlib.HierarchicalNSW('cosine', corpus.dimensions);
  index.initIndex({ maxElements: corpus.documents, m: M, efConstruction: EF_CONSTRUCTION });
  const point = new Array(corpus.dimensions).fill(0.5);
  let started = clock();
  for (let row = 0; row < corpus.documents; row++) {
    copy(corpus.vectors, row * corpus.dimensions, point);
    index.addPoint(point, row);
  }
  rows.push({
    limit: `HNSW insert, M ${M}, efConstruction ${EF_CONSTRUCTION}, one thread`,
    ...rate(corpus.documents, started),
  });
  for (const [k, ef] of [
    [TOP, EF_SEARCH],
    [LEG, EF_SEARCH],
  ]) {
    progress(`searching it, k ${k}`);
    index.setEf(ef);
    let found = 0;
    let searches = 0;
    started = clock();
    const until = started.wallMs + options.seconds * 500;
    while (performance.now() < until) {
      const query = searches % corpus.queries.length;
      copy(corpus.queries[query].vector, 0, point);
      const { neighbors } = index.searchKnn(point, k);
      if (searches < corpus.queries.length) {
        const right = new Set(truth.vector(undefined, query).subarray(0, k));
        found += neighbors.filter((label) => right.has(label)).length;
      }
      searches++;
    }
    rows.push({
      limit: `HNSW search, k ${k}, ef ${ef}, one thread`,
      ...rate(searches, started),
      recall: (found / (k * Math.min(searches, corpus.queries.length))).toFixed(4),
    });
  }

  progress('a bare HTTP server under the same load');
  const server = fork(fileURLToPath(import.meta.url), { env: { ...process.env, [SERVER]: '1' } });
  try {
    const port = await new Promise((resolve, reject) => {
      server.once('message', resolve);
      server.once('exit', (code) => reject(new Error(`the bare server ended with ${code}`)));
    });
    const seen = await load({
      host: '127.0.0.1',
      port: Number(port),
      path: '/api/v1/search',
      bodies: bodiesOf(corpus, KINDS[0]),
      clients: options.clients,
      seconds: Math.min(5, options.seconds),
      warmup: options.warmup,
      keepEvery: 0,
    });
    rows.push({
      limit: `bare node:http that parses the body as JSON, ${options.clients} clients`,
      '/s': seen.perSecond,
      errors: seen.errors,
      'load CPU µs': seen.generatorUs,
      'p99 ms': seen.p99Ms,
    });
  } finally {
    server.kill();
  }

  const directory = freshDirectory(options.dataRoot);
  const file = openSync(join(directory, 'sync'), 'w');
  const block = Buffer.alloc(4096, 1);
  started = clock();
  for (let i = 0; i < SYNCS; i++) {
    writeSync(file, block);
    fdatasyncSync(file);
  }
  rows.push({ limit: 'append of 4 KiB and fdatasync', ...rate(SYNCS, started) });
  closeSync(file);

  progress(`LevelDB alone, ${STORED} entries`);
  /** @type {ClassicLevel<Uint8Array, Uint8Array>} */
  const db = new ClassicLevel(join(directory, 'db'), {
    keyEncoding: 'view',
    valueEncoding: 'view',
    compression: false,
  });
  await db.open();
  started = clock();
  for (let at = 0; at < STORED; at += STORED_TOGETHER) await storeFrom(db, at);
  rows.push({
    limit: `LevelDB, ${STORED_BYTES} B in batches of ${STORED_TOGETHER}, not synced`,
    ...rate(STORED, started),
  });
  await db.close();
  removeDirectory(directory);
  return rows;
}

/** @param {ClassicLevel<Uint8Array, Uint8Array>} db @param {number} from the first entry's number, which is its key */
async function storeFrom(db, from) {
  const batch = db.batch();
  for (let number = from; number < from + STORED_TOGETHER; number++) {
    const key = Buffer.allocUnsafe(8);
    key.writeDoubleBE(number);
    batch.put(key, new Uint8Array(STORED_BYTES).fill(number));
  }
  await batch.write();
}

/** @param {Float32Array} from @param {number} at @param {number[]} to */
function copy(from, at, to) {
  for (let i = 0; i < to.length; i++) to[i] = from[at + i];
}

function clock() {
  return { wallMs: performance.now(), cpu: process.cpuUsage() };
}

/**
 * By the clock, and by the CPU that this process was given: on a machine that others use too only the latter repeats.
 * @param {number} count @param {ReturnType<typeof clock>} started
 */
function rate(count, started) {
  const { user, system } = process.cpuUsage(started.cpu);
  return {
    '/s': (count / (performance.now() - started.wallMs)) * 1000,
    'a CPU second': count / ((user + system) / 1e6),
  };
}

if (process.env[SERVER] !== undefined) {
  const answer = JSON.stringify({ partial: false, results: [], padding: 'x'.repeat(ANSWER_BYTES) });
  const server = createServer((request, response) => {
    /** @type {Buffer[]} */
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const { vector } = JSON.parse(Buffer.concat(chunks).toString('utf8'));
      response.writeHead(vector === undefined ? 400 : 200, {
        'content-type': 'application/json',
        'content-length': answer.length,
      });
      response.end(answer);
    });
  });
  server.listen(0, '127.0.0.1', () =>
    process.send?.(/** @type {import('node:net').AddressInfo} */ (server.address()).port),
  );
}
