import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { BenchCluster, clusterSettings, CLUSTER_SHARDS } from '../lib/cluster.mjs';
import { clusteredCorpus, linesOf } from '../lib/corpus.mjs';
import { again, applied } from '../lib/filled-cluster.mjs';
import { percentile } from '../lib/load.mjs';
import { cpuSince, threadCpu } from '../lib/process-stats.mjs';
import { profileText } from '../lib/profile.mjs';

const NODES = 3;
const REPLICAS = 2;
/** Between two single writes whose way to every copy is watched. */
const PROBE_EVERY_MS = 150;
/** Between two looks at a node: what its lag is known to at best. */
const LOOK_EVERY_MS = 5;
const PROBE_GIVEN_UP_MS = 30_000;
/** Documents a second of the load that leaves the cores room, sent in slices through each node in turn. */
const PACED_RATE = 400;
const PACED_EVERY_MS = 250;

/**
 * The corpus as two bulks at quorum into three nodes with three copies of everything; beside the second one single
 * writes, of which it is watched when the index of every copy has them; and beside writes at a steady pace.
 * @param {import('../run.mjs').Context} context
 */
export async function clusterIngest({ options, given, progress, print, quiet }) {
  const corpus = clusteredCorpus(options);
  const rows = [];
  for (const shards of given.has('shards') ? options.shards : [CLUSTER_SHARDS]) {
    const cluster = await BenchCluster.start({
      ...clusterSettings({ options, given }, { nodes: NODES, replicas: REPLICAS }),
      shards,
    });
    const row = { nodes: NODES, shards, replicaCount: REPLICAS };
    const half = Math.floor(corpus.documents / 2);
    for (const watched of [false, true]) {
      await quiet();
      const part = watched ? { from: half, to: corpus.documents } : { from: 0, to: half };
      progress(`${part.to - part.from} documents at quorum${watched ? ', watching single writes' : ''}`);
      rows.push({ ...row, ...(await measured(cluster, corpus, part, watched, options, print)) });
    }
    await quiet();
    progress(`${PACED_RATE} documents/s at quorum, watching single writes`);
    rows.push({ ...row, ...(await paced(cluster, corpus, options)) });
    await cluster.dispose();
  }
  return rows;
}

/**
 * @param {BenchCluster} cluster @param {import('../lib/corpus.mjs').Corpus} corpus @param {{ from: number, to: number }} part @param {boolean} watched
 * @param {import('../lib/options.mjs').Options} options @param {(text: string) => void} print
 */
async function measured(cluster, corpus, { from, to }, watched, options, print) {
  const nodes = cluster.members.map(({ node }) => node);
  const documents = to - from;
  const file = linesOf(corpus, from, to);
  const cpu = nodes.map(({ pid }) => threadCpu(pid));
  if (options.profile) await Promise.all(nodes.map((node) => node.startProfile()));
  const startedMs = performance.now();
  const watch = watched ? new ReplicationWatch(cluster) : undefined;
  const answer = await nodes[0].ingest(file, { some: true });
  const storedMs = performance.now() - startedMs;
  const used = nodes.map(({ pid }, i) => cpuSince(pid, cpu[i]));
  await again(nodes[0], file, answer.errors);
  await watch?.stop();
  await applied(cluster);
  const everywhereMs = performance.now() - startedMs;
  if (options.profile)
    for (const [i, node] of nodes.entries())
      for (const file of await node.stopProfile()) print(`node ${i + 1}\n${profileText(file, 30)}\n`);
  await cluster.settled();
  const { different } = await cluster.digests();
  const expected = new Set([...corpus.ids.slice(0, to), ...(watch?.ids ?? [])]);
  const missing = [];
  for (const node of nodes) missing.push(await missingOf(node, expected));
  const perDocument = (/** @type {number} */ ms) => Math.round((ms / documents) * 1000);
  return {
    load: watched ? 'second half, and watched writes' : 'first half',
    documents,
    'docs/s stored': (documents / storedMs) * 1000,
    'docs/s in every index': (documents / everywhereMs) * 1000,
    refused: answer.failed,
    'missing on node 1, 2, 3': missing.join(' '),
    'copies that differ': different,
    ...watch?.figures(),
    'main CPU µs/doc': used.map(({ mainMs }) => perDocument(mainMs)).join(' '),
    'all CPU µs/doc': used.map(({ totalMs }) => perDocument(totalMs)).join(' '),
  };
}

/**
 * Documents of the corpus are written again at a steady pace, and single writes watched.
 * @param {BenchCluster} cluster @param {import('../lib/corpus.mjs').Corpus} corpus @param {import('../lib/options.mjs').Options} options
 */
async function paced(cluster, corpus, { seconds }) {
  const nodes = cluster.members.map(({ node }) => node);
  const slice = (PACED_RATE * PACED_EVERY_MS) / 1_000;
  const slices = (seconds * 1_000) / PACED_EVERY_MS;
  const documents = Math.min(corpus.documents, slice * slices);
  const lines = readFileSync(linesOf(corpus, 0, documents), 'utf8').split('\n');
  const cpu = nodes.map(({ pid }) => threadCpu(pid));
  const watch = new ReplicationWatch(cluster);
  const startedMs = performance.now();
  const answers = [];
  for (let i = 0; i * slice < documents; i++) {
    await sleep(Math.max(0, startedMs + i * PACED_EVERY_MS - performance.now()));
    const part = lines.slice(i * slice, (i + 1) * slice).map((line) => `${line}\n`);
    answers.push(nodes[i % nodes.length].ingest(Buffer.from(part.join('')), { some: true }));
  }
  const failed = (await Promise.all(answers)).reduce((sum, answer) => sum + answer.failed, 0);
  const tookMs = performance.now() - startedMs;
  await watch.stop();
  const used = nodes.map(({ pid }, i) => cpuSince(pid, cpu[i]));
  await applied(cluster);
  await cluster.settled();
  const { different } = await cluster.digests();
  const expected = new Set([...corpus.ids, ...watch.ids]);
  const missing = [];
  for (const node of nodes) missing.push(await missingOf(node, expected));
  const perDocument = (/** @type {number} */ ms) => Math.round((ms / documents) * 1000);
  return {
    load: `${PACED_RATE} documents/s again, and watched writes`,
    documents,
    'docs/s stored': (documents / tookMs) * 1000,
    refused: failed,
    'missing on node 1, 2, 3': missing.join(' '),
    'copies that differ': different,
    ...watch.figures(),
    'all CPU µs/doc': used.map(({ totalMs }) => perDocument(totalMs)).join(' '),
  };
}

/** Ids that a scroll through a node does not find. @param {import('../lib/node.mjs').BenchNode} node @param {ReadonlySet<string>} expected */
async function missingOf(node, expected) {
  const missing = new Set(expected);
  for await (const { id } of node.documents({ withTitle: false, withMetadata: false })) missing.delete(id);
  return missing.size;
}

/**
 * Writes single documents and looks at the metrics of each node until its index has passed their offsets. What it tells
 * is never too small, and too large by as much as a look takes.
 */
class ReplicationWatch {
  #nodes;
  #stopping = false;
  #running;
  /** Writes that are not everywhere yet. @type {Set<Promise<void>>} */
  #open = new Set();
  /** Those of them that were answered. @type {Set<Watched>} */
  #watched = new Set();
  /** @type {string[]} */
  ids = [];
  /** From the answer to a write until every index has it. @type {number[]} */
  lagMs = [];
  /** The same from when it was sent. @type {number[]} */
  wholeMs = [];
  givenUp = 0;

  /** @param {BenchCluster} cluster */
  constructor(cluster) {
    this.#nodes = cluster.members.map(({ node }) => node);
    this.#running = Promise.all([this.#write(), ...this.#nodes.map((node, i) => this.#look(node, i))]);
  }

  /** Resolves when the last write is everywhere. */
  async stop() {
    this.#stopping = true;
    await this.#running;
  }

  figures() {
    const lag = Float64Array.from(this.lagMs).sort();
    const whole = Float64Array.from(this.wholeMs).sort();
    return {
      'watched writes': lag.length,
      'given up': this.givenUp,
      'answer to applied everywhere p50 ms': percentile(lag, 0.5),
      'lag p99 ms': percentile(lag, 0.99),
      'lag max ms': percentile(lag, 1),
      'sent to applied everywhere p99 ms': percentile(whole, 0.99),
      'from sent max ms': percentile(whole, 1),
    };
  }

  async #write() {
    for (let i = 0; !this.#stopping; i++) {
      const one = this.#one(`watched-${i}`, this.#nodes[i % this.#nodes.length])
        .catch(() => void this.givenUp++)
        .finally(() => this.#open.delete(one));
      this.#open.add(one);
      await sleep(PROBE_EVERY_MS);
    }
    await Promise.all(this.#open);
  }

  /** @param {string} id @param {import('../lib/node.mjs').BenchNode} node */
  async #one(id, node) {
    const sentMs = performance.now();
    const { status, body } = await node.call('PUT', `/api/v1/documents/${id}`, { content: `a watched write ${id}` });
    if (status >= 300) {
      this.givenUp++;
      return;
    }
    this.ids.push(id);
    const { shard, offset } = body;
    const answeredMs = performance.now();
    /** @type {Promise<void>} */
    const everywhere = new Promise((resolve) => {
      const done = () => {
        this.#watched.delete(watched);
        resolve();
      };
      /** @type {Watched} */
      const watched = { shard: String(shard), offset, missing: new Set(this.#nodes.keys()), done };
      this.#watched.add(watched);
    });
    const late = sleep(PROBE_GIVEN_UP_MS, 'late', { ref: false });
    if ((await Promise.race([everywhere, late])) === 'late') {
      this.givenUp++;
      return;
    }
    this.lagMs.push(performance.now() - answeredMs);
    this.wholeMs.push(performance.now() - sentMs);
  }

  /** @param {import('../lib/node.mjs').BenchNode} node @param {number} number */
  async #look(node, number) {
    while (!this.#stopping || this.#open.size > 0) {
      const asked = [...this.#watched].filter(({ missing }) => missing.has(number));
      if (asked.length > 0) {
        const samples = await node.metrics();
        const tails = samples.by('spector_log_tail_offset');
        const lags = samples.by('spector_index_lag_entries');
        for (const { shard, offset, missing, done } of asked) {
          if ((tails.get(shard) ?? 0) - (lags.get(shard) ?? 0) < offset) continue;
          missing.delete(number);
          if (missing.size === 0) done();
        }
      }
      await sleep(LOOK_EVERY_MS);
    }
  }
}

/** @typedef {{ shard: string, offset: number, missing: Set<number>, done: () => void }} Watched */
