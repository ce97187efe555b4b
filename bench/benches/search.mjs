import { availableParallelism } from 'node:os';
import { clusteredCorpus } from '../lib/corpus.mjs';
import { filledNode } from '../lib/filled.mjs';
import { load } from '../lib/load.mjs';
import { removeDirectory } from '../lib/node.mjs';
import { cpuBound } from '../lib/process-stats.mjs';
import { profileText } from '../lib/profile.mjs';
import { bodiesOf, KINDS, truthFor } from '../lib/queries.mjs';
import { numbersOf, recallOf } from '../lib/recall.mjs';
import { TOP, truthOf } from '../lib/truth.mjs';

/** Every shard has a graph to walk and lists to sum: what one costs shows beside two. */
const SHARDS = [1, 2];
/** Queries whose exact answer is compared with the truth. */
const EXACT_SAMPLE = 50;

/** Search through REST: each kind under load and from one client alone, with recall. @param {import('../run.mjs').Context} context */
export async function search(context) {
  const { options, given, progress } = context;
  const corpus = clusteredCorpus(options);
  const truth = truthOf(corpus, progress);
  const rows = [];
  for (const shards of given.has('shards') ? options.shards : SHARDS) {
    for (const threads of options.threads) {
      const { node } = await filledNode(corpus, {
        shards,
        threads,
        profile: options.profile,
        main: options.main,
        dataRoot: options.dataRoot,
        progress,
      });
      rows.push(...(await measured(context, corpus, truth, node, shards, threads)));
      await node.stop();
      removeDirectory(node.directory);
    }
  }
  return rows;
}

/**
 * @param {import('../run.mjs').Context} context @param {import('../lib/corpus.mjs').Corpus} corpus
 * @param {import('../lib/truth.mjs').Truth} truth @param {import('../lib/node.mjs').BenchNode} node @param {number} shards @param {number} threads
 */
export async function measured({ options, progress, print, quiet }, corpus, truth, node, shards, threads) {
  const documentOf = numbersOf(corpus.ids);
  const rows = [];
  for (const kind of KINDS) {
    if (options.only !== undefined && !kind.name.includes(options.only)) continue;
    const bodies = bodiesOf(corpus, kind);
    const right = truthFor(truth, kind);
    for (const clients of [options.clients, 1]) {
      if (clients === 1 && kind.filter !== undefined) continue;
      progress(`${kind.name}, ${clients} clients`);
      const seconds = clients === 1 ? Math.min(options.seconds, 5) : options.seconds;
      await quiet();
      if (options.profile) await node.startProfile();
      const seen = await load({
        host: node.host,
        port: node.port,
        path: '/api/v1/search',
        bodies,
        clients,
        seconds,
        warmup: options.warmup,
        pid: node.pid,
      });
      const used = /** @type {import('../lib/process-stats.mjs').CpuOf} */ (seen.cpu);
      const requests = Math.max(1, seen.answers);
      if (options.profile)
        for (const file of await node.stopProfile())
          print(`${kind.name}, ${clients} clients\n${profileText(file, 30)}\n`);
      for (const problem of seen.problems) print(`${kind.name}: ${problem}`);
      const { recall, wrong, checked } = recallOf(seen.kept, right ?? (() => []), corpus.ids, documentOf);
      rows.push({
        search: kind.name,
        shards,
        'index threads': threads,
        clients,
        '/s': seen.perSecond,
        'best second': seen.bestSecond,
        'recall@10': right === undefined ? undefined : recall.toFixed(4),
        errors: seen.errors + wrong,
        checked,
        'p50 ms': seen.p50Ms,
        'p95 ms': seen.p95Ms,
        'p99 ms': seen.p99Ms,
        'max ms': seen.maxMs,
        'main CPU µs': (used.mainMs / requests) * 1000,
        'index CPU µs': (used.othersMs.slice(0, Math.max(1, threads)).reduce((a, b) => a + b, 0) / requests) * 1000,
        'node CPU µs': (used.totalMs / requests) * 1000,
        'load CPU µs': seen.generatorUs,
        'others use': `${Math.round((seen.othersShare ?? 0) * 100)} %`,
        'CPU allows /s':
          clients === 1
            ? undefined
            : cpuBound(
                (used.totalMs / requests) * 1000 + seen.generatorUs,
                (Math.max(used.mainMs, used.othersMs[0] ?? 0) / requests) * 1000,
                availableParallelism(),
              ),
      });
    }
    if (right !== undefined) rows.push(await exactRow(node, corpus, kind, right, shards, threads));
  }
  return rows;
}

/** The node's own exact answers against the truth: the same ids in the same order. */
async function exactRow(
  /** @type {import('../lib/node.mjs').BenchNode} */ node,
  /** @type {import('../lib/corpus.mjs').Corpus} */ corpus,
  /** @type {import('../lib/queries.mjs').Kind} */ kind,
  /** @type {(request: number) => ArrayLike<number>} */ right,
  /** @type {number} */ shards,
  /** @type {number} */ threads,
) {
  const bodies = bodiesOf(corpus, kind, { params: { exact: true } }).slice(0, EXACT_SAMPLE);
  const seen = await load({
    host: node.host,
    port: node.port,
    path: '/api/v1/search',
    bodies,
    clients: 2,
    count: bodies.length,
    keepEvery: 1,
  });
  const { recall, wrong, checked } = recallOf(seen.kept, right, corpus.ids, numbersOf(corpus.ids));
  const different = seen.kept.filter(({ request, body }) => {
    const ids = Array.from(right(request))
      .slice(0, TOP)
      .map((document) => corpus.ids[document]);
    return JSON.stringify(ids) !== JSON.stringify(body.results.map((/** @type {{ id: string }} */ hit) => hit.id));
  }).length;
  return {
    search: `${kind.name}, exact`,
    shards,
    'index threads': threads,
    clients: 2,
    '/s': seen.perSecond,
    'recall@10': recall.toFixed(4),
    errors: seen.errors + wrong + different,
    checked,
    'p50 ms': seen.p50Ms,
    'p95 ms': seen.p95Ms,
    'p99 ms': seen.p99Ms,
    'max ms': seen.maxMs,
  };
}
