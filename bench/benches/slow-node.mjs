import { setTimeout as sleep } from 'node:timers/promises';
import { clusterSettings } from '../lib/cluster.mjs';
import { clusteredCorpus } from '../lib/corpus.mjs';
import { applied, filledCluster } from '../lib/filled-cluster.mjs';
import { percentile } from '../lib/load.mjs';
import { memoryOf } from '../lib/process-stats.mjs';
import { bodiesOf, KINDS } from '../lib/queries.mjs';
import { Traffic } from '../lib/traffic.mjs';

const NODES = 3;
const REPLICAS = 2;
const WRITERS = 8;
const SEARCHERS = 8;
const IDS_OF_WRITER = 2_000;
const LOOK_EVERY_MS = 250;
/** How long the slow node stops and goes; undefined: it is not slow. */
const PATTERNS = [
  { name: 'none is slow', bursts: undefined },
  { name: 'stops 0.3 s of 0.4 s', bursts: { stopMs: 300, goMs: 100 } },
  { name: 'stops 1.5 s of 2 s', bursts: { stopMs: 1_500, goMs: 500 } },
  { name: 'stops 8 s of 10 s', bursts: { stopMs: 8_000, goMs: 2_000 } },
];

/**
 * One of three nodes stops and goes under writes and searches of the two others: what waits in those, and how their
 * searches fare.
 * @param {import('../run.mjs').Context} context
 */
export async function slowNode({ options, given, progress, print, quiet }) {
  const corpus = clusteredCorpus({ ...options, documents: given.has('documents') ? options.documents : 20_000 });
  const cluster = await filledCluster(corpus, {
    ...clusterSettings({ options, given }, { nodes: NODES, replicas: REPLICAS }),
    progress,
  });
  const slow = cluster.members[NODES - 1];
  const others = cluster.members.slice(0, NODES - 1);
  /** @type {import('../lib/report.mjs').Row[]} */
  const rows = [];
  for (const { name, bursts } of PATTERNS) {
    await cluster.settled();
    await quiet();
    progress(name);
    const run = `s${rows.length}`;
    const traffic = new Traffic({
      run,
      nodes: () => others,
      corpus,
      bodies: bodiesOf(corpus, KINDS[0]),
      writers: WRITERS,
      searchers: SEARCHERS,
      idsOfWriter: IDS_OF_WRITER,
      restMs: 0,
    });
    const looking = new Looking(others);
    const endsMs = performance.now() + options.seconds * 1000;
    while (performance.now() < endsMs) {
      if (bursts === undefined) {
        await sleep(endsMs - performance.now());
        break;
      }
      slow.node.freeze();
      await sleep(bursts.stopMs);
      slow.node.thaw();
      await sleep(bursts.goMs);
    }
    await traffic.stop();
    const seen = await looking.stop();
    const stoppedMs = performance.now();
    await cluster.settled();
    await applied(cluster);
    const syncMs = performance.now() - stoppedMs;
    const { different } = await cluster.digests();
    const compared = [];
    for (const member of cluster.members) compared.push((await traffic.compare(member.node)).missing);
    for (const problem of traffic.problems) print(`${name}: ${problem}`);
    const latencies = Float64Array.from(traffic.latenciesMs).sort();
    rows.push({
      'the third node': name,
      'searches/s': traffic.searches / options.seconds,
      failed: traffic.failedSearches,
      partial: traffic.partialSearches,
      'p50 ms': percentile(latencies, 0.5),
      'p99 ms': percentile(latencies, 0.99),
      'max ms': percentile(latencies, 1),
      'writes/s': traffic.acknowledged / options.seconds,
      'given up': traffic.failedWrites,
      'missing on node 1, 2, 3': compared.join(' '),
      'copies that differ': different,
      'others: max RSS MiB': seen.rss.map((bytes) => Math.round(bytes / 2 ** 20)).join(' '),
      'grew by MiB': seen.grew.map((bytes) => Math.round(bytes / 2 ** 20)).join(' '),
      ...seen.queues,
      'in sync after ms': syncMs,
    });
  }
  await cluster.dispose();
  return rows;
}

/** Looks at nodes now and then: their memory, and the depths of their queues. */
class Looking {
  #members;
  #stopping = false;
  #running;
  #first;
  /** @type {number[]} */
  #rss;
  /** @type {Map<string, number>} */
  #queues = new Map();

  /** @param {readonly import('../lib/cluster.mjs').BenchMember[]} members */
  constructor(members) {
    this.#members = members;
    this.#rss = members.map(({ node }) => memoryOf(node.pid).rssBytes);
    this.#first = [...this.#rss];
    this.#running = this.#run();
  }

  async stop() {
    this.#stopping = true;
    await this.#running;
    /** @type {Record<string, number>} */
    const queues = {};
    for (const [name, depth] of this.#queues) queues[`queue: ${name}`] = depth;
    return { rss: this.#rss, grew: this.#rss.map((bytes, i) => bytes - this.#first[i]), queues };
  }

  async #run() {
    while (!this.#stopping) {
      for (const [i, { node }] of this.#members.entries()) {
        this.#rss[i] = Math.max(this.#rss[i], memoryOf(node.pid).rssBytes);
        for (const [name, depth] of (await node.metrics()).by('spector_queue_depth'))
          this.#queues.set(name, Math.max(this.#queues.get(name) ?? 0, depth));
      }
      await sleep(LOOK_EVERY_MS);
    }
  }
}
