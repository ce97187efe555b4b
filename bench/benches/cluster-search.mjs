import { availableParallelism } from 'node:os';
import { clusterSettings, CLUSTER_SHARDS } from '../lib/cluster.mjs';
import { clusteredCorpus } from '../lib/corpus.mjs';
import { filledCluster } from '../lib/filled-cluster.mjs';
import { load } from '../lib/load.mjs';
import { profileText } from '../lib/profile.mjs';
import { bodiesOf, KINDS, truthFor } from '../lib/queries.mjs';
import { numbersOf, recallOf } from '../lib/recall.mjs';
import { truthOf } from '../lib/truth.mjs';

const NODES = 3;
/** Each of several nodes gets a part of the load alone, and its compiler a part of the cores: until all is compiled takes longer. */
const WARMUP_S = 20;

/** Hybrid search of three nodes, by clients of all of them and by clients of one. @param {import('../run.mjs').Context} context */
export async function clusterSearch(context) {
  const { options, given, progress } = context;
  const corpus = clusteredCorpus(options);
  const truth = truthOf(corpus, progress);
  const rows = [];
  for (const shards of given.has('shards') ? options.shards : [CLUSTER_SHARDS]) {
    for (const replicas of options.replicas) {
      const cluster = await filledCluster(corpus, {
        ...clusterSettings(context, { nodes: NODES, replicas }),
        shards,
        progress,
      });
      const row = { nodes: NODES, shards, replicaCount: replicas };
      for (const through of /** @type {const} */ (['all', 'one']))
        rows.push({ ...row, ...(await measuredSearch(context, corpus, truth, cluster, through)) });
      await cluster.dispose();
    }
  }
  return rows;
}

/**
 * Hybrid search under load.
 * @param {import('../run.mjs').Context} context @param {import('../lib/corpus.mjs').Corpus} corpus @param {import('../lib/truth.mjs').Truth} truth
 * @param {import('../lib/cluster.mjs').BenchCluster} cluster @param {'all' | 'one'} through the nodes that clients ask
 * @returns {Promise<import('../lib/report.mjs').Row>}
 */
export async function measuredSearch({ options, given, progress, print, quiet }, corpus, truth, cluster, through) {
  const [kind] = KINDS;
  const nodes = cluster.living.map(({ node }) => node);
  await quiet();
  progress(`hybrid, ${options.clients} clients through ${through} of ${nodes.length} nodes`);
  if (options.profile) await Promise.all(nodes.map((node) => node.startProfile()));
  const seen = await load({
    host: '127.0.0.1',
    port: through === 'all' ? cluster.ports : cluster.ports[0],
    path: '/api/v1/search',
    bodies: bodiesOf(corpus, kind),
    clients: options.clients,
    seconds: options.seconds,
    warmup: given.has('warmup') ? options.warmup : WARMUP_S,
    pid: cluster.pids,
  });
  if (options.profile)
    for (const [i, node] of nodes.entries())
      for (const file of await node.stopProfile())
        print(`node ${i + 1}, through ${through}\n${profileText(file, 30)}\n`);
  for (const problem of seen.problems) print(`through ${through}: ${problem}`);
  const right = /** @type {(request: number) => ArrayLike<number>} */ (truthFor(truth, kind));
  const { recall, wrong } = recallOf(seen.kept, right, corpus.ids, numbersOf(corpus.ids));
  const cost = costOf(seen, options.threads[0]);
  const allUs = cost.nodes.reduce((sum, { total }) => sum + total, 0);
  const busiestUs = Math.max(...cost.nodes.map(({ busiest }) => busiest));
  return {
    'clients of': through === 'all' ? 'all nodes' : 'one node',
    clients: options.clients,
    '/s': seen.perSecond,
    'recall@10': recall.toFixed(4),
    errors: seen.errors + wrong,
    partials: seen.partials,
    'p50 ms': seen.p50Ms,
    'p99 ms': seen.p99Ms,
    'CPU µs/query: main': cost.nodes.map(({ main }) => Math.round(main)).join(' '),
    index: cost.nodes.map(({ index }) => Math.round(index)).join(' '),
    other: cost.nodes.map(({ other }) => Math.round(other)).join(' '),
    'all nodes': allUs,
    'load CPU µs': seen.generatorUs,
    'others use': `${Math.round((seen.othersShare ?? 0) * 100)} %`,
    'these cores allow /s': Math.min((availableParallelism() * 1e6) / (allUs + seen.generatorUs), 1e6 / busiestUs),
    'own machines allow /s': 1e6 / busiestUs,
  };
}

/**
 * CPU of each node per query, whichever node it was asked of, in µs.
 * @param {import('../lib/load.mjs').LoadReport} seen @param {number} threads index threads
 */
export function costOf({ cpus, answers }, threads) {
  const perQuery = (/** @type {number} */ ms) => (ms / Math.max(1, answers)) * 1000;
  const sum = (/** @type {number[]} */ values) => values.reduce((total, value) => total + value, 0);
  return {
    nodes: cpus.map(({ totalMs, mainMs, othersMs }) => ({
      total: perQuery(totalMs),
      main: perQuery(mainMs),
      index: perQuery(sum(othersMs.slice(0, Math.max(1, threads)))),
      other: perQuery(sum(othersMs.slice(Math.max(1, threads)))),
      busiest: perQuery(Math.max(mainMs, othersMs[0] ?? 0)),
    })),
  };
}
