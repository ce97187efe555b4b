import { setTimeout as sleep } from 'node:timers/promises';
import { BenchCluster, clusterSettings } from '../lib/cluster.mjs';
import { clusteredCorpus } from '../lib/corpus.mjs';
import { applied, fill } from '../lib/filled-cluster.mjs';
import { percentile } from '../lib/load.mjs';
import { bodiesOf, KINDS } from '../lib/queries.mjs';
import { Traffic } from '../lib/traffic.mjs';

const NODES = 3;
const REPLICAS = 1;
const SHARDS = 8;
const WRITERS = 4;
const SEARCHERS = 2;
const IDS_OF_WRITER = 500;
const REST_MS = 10;
const CALM_MS = 2_000;
const POLL_MS = 20;
const REBALANCE_MS = 600_000;

/**
 * A fourth node joins under writes and searches, and is drained again: how soon it has a view, a shard, its share; how
 * many copies moved, and how many had to; what was lost, doubled or failed.
 * @param {import('../run.mjs').Context} context
 */
export async function rebalance({ options, given, progress, print }) {
  const corpus = clusteredCorpus(options);
  const cluster = await BenchCluster.start(
    clusterSettings(
      { options, given },
      {
        nodes: NODES,
        shards: SHARDS,
        replicas: given.has('replicas') ? options.replicas[0] : REPLICAS,
        environment: { HEARTBEAT_INTERVAL: '500ms', HEARTBEAT_TIMEOUT: '3s' },
      },
    ),
  );
  progress(`loading ${corpus.documents} documents`);
  await fill(cluster, corpus.file, corpus.documents);
  const [observer] = cluster.members;
  /** @type {readonly import('../lib/cluster.mjs').BenchMember[]} */
  let asked = [...cluster.members];
  const traffic = new Traffic({
    run: 'r',
    nodes: () => asked,
    corpus,
    bodies: bodiesOf(corpus, KINDS[0]),
    writers: WRITERS,
    searchers: SEARCHERS,
    idsOfWriter: IDS_OF_WRITER,
    restMs: REST_MS,
  });
  await sleep(CALM_MS);

  progress('a fourth node joins');
  const joins = new Moves(cluster, await observer.status());
  const four = await cluster.add('node-4');
  const joinedMs = performance.now();
  await four.start();
  const join = await joins.until(four, (status) => joins.isEven(status));
  const whileJoining = requests(traffic);
  await four.node.ready();
  asked = [...cluster.members];
  await sleep(CALM_MS);
  const joined = await counted(cluster, corpus, traffic);

  progress('it is drained');
  const drains = new Moves(cluster, await observer.status());
  const { status, body } = await observer.node.call('POST', '/api/v1/cluster/nodes/node-4/drain');
  if (status !== 202) throw new Error(`the drain was answered ${status}: ${JSON.stringify(body)}`);
  const drain = await drains.until(observer, async (shown) => {
    if (drains.copiesOf(shown, 'node-4').length > 0) return false;
    const operation = await observer.node.call('GET', `/api/v1/cluster/operations/${body.operation}`);
    if (operation.body.state === 'failed') throw new Error(`the drain failed: ${JSON.stringify(operation.body)}`);
    return operation.body.state === 'done';
  });
  await sleep(CALM_MS);
  await traffic.stop();
  const drained = await counted(cluster, corpus, traffic);
  for (const problem of traffic.problems) print(problem);
  const latencies = Float64Array.from(traffic.latenciesMs).sort();
  await cluster.dispose();

  const ms = (/** @type {number | undefined} */ at) => (at === undefined ? undefined : at - joinedMs);
  return [
    { figure: 'join: from the spawn until it listens and is active to all, ms', value: ms(join.activeMs) },
    { figure: '  until one view again', value: ms(join.oneViewMs) },
    { figure: '  from active to its first shard in sync, ms', value: (join.firstMs ?? NaN) - (join.activeMs ?? NaN) },
    { figure: '  until every node has its share, s', value: (join.endMs - joinedMs) / 1_000 },
    { figure: '  copies that moved', value: joins.begun },
    { figure: '  copies that had to', value: joins.needed(NODES + 1) },
    { figure: '  searches, failed, partial until then', value: text(whileJoining) },
    { figure: '  documents missing, doubled, unknown on any node', value: joined },
    { figure: 'drain: until it holds nothing, s', value: (drain.endMs - drains.startedMs) / 1_000 },
    { figure: '  copies that moved', value: drains.begun },
    { figure: '  copies that had to', value: drains.held('node-4') },
    { figure: '  documents missing, doubled, unknown on any node', value: drained },
    { figure: 'writes acknowledged', value: traffic.acknowledged },
    { figure: '  tried again', value: traffic.retried },
    { figure: '  given up', value: traffic.failedWrites },
    { figure: 'searches, failed, partial in all', value: text(requests(traffic)) },
    { figure: '  p50, p99, max ms', value: [0.5, 0.99, 1].map((q) => percentile(latencies, q).toFixed(1)).join(', ') },
  ];
}

/** @param {Traffic} traffic */
function requests({ searches, failedSearches, partialSearches }) {
  return { searches, failedSearches, partialSearches };
}

/** @param {ReturnType<typeof requests>} counts */
function text({ searches, failedSearches, partialSearches }) {
  return `${searches}, ${failedSearches}, ${partialSearches}`;
}

/** The copies of a cluster, watched while they move. */
class Moves {
  #cluster;
  #before;
  /** Copies that were not there, or no members, before: `shard node`. @type {Set<string>} */
  #new = new Set();
  startedMs = performance.now();

  /** @param {BenchCluster} cluster @param {any} before the status */
  constructor(cluster, before) {
    this.#cluster = cluster;
    this.#before = before;
  }

  get begun() {
    return this.#new.size;
  }

  /** Copies that a node held before. @param {string} nodeId */
  held(nodeId) {
    return this.copiesOf(this.#before, nodeId).length;
  }

  /** Copies that some of `nodes` held beyond an equal share, or others lack of theirs. @param {number} nodes */
  needed(nodes) {
    const counts = [...holders(this.#before).values()];
    while (counts.length < nodes) counts.push(0);
    const share = counts.reduce((sum, count) => sum + count, 0) / nodes;
    const beyond = counts.reduce((sum, count) => sum + Math.max(0, count - Math.ceil(share)), 0);
    const lacking = counts.reduce((sum, count) => sum + Math.max(0, Math.floor(share) - count), 0);
    return Math.max(beyond, lacking);
  }

  /** @param {any} status @param {string} nodeId */
  copiesOf(status, nodeId) {
    return status.shards.filter((/** @type {any} */ { replicas }) =>
      replicas.some((/** @type {any} */ { node, role }) => node === nodeId && role !== 'learner'),
    );
  }

  /** Whether no node has two copies more than another, and no more of them are members than before. @param {any} status */
  isEven(status) {
    const counts = [...holders(status).values()];
    const copies = counts.reduce((sum, count) => sum + count, 0);
    const before = [...holders(this.#before).values()].reduce((sum, count) => sum + count, 0);
    const isShared = counts.length === this.#cluster.living.length && Math.max(...counts) - Math.min(...counts) <= 1;
    return copies === before && isShared;
  }

  /**
   * Looks at the statuses until `done` says so of the observer's.
   * @param {import('../lib/cluster.mjs').BenchMember} subject whose arrival is watched
   * @param {(status: any) => boolean | Promise<boolean>} done
   */
  async until(subject, done) {
    const [observer] = this.#cluster.members;
    /** @type {{ activeMs?: number, oneViewMs?: number, firstMs?: number }} */
    const seen = {};
    for (;;) {
      const status = await observer.status();
      // Whoever is starting has none yet.
      const shown = this.#cluster.living.map((member) => member.status().catch(() => undefined));
      const statuses = await Promise.all(shown);
      const nowMs = performance.now();
      const active = statuses.every((known) => known?.topology[subject.nodeId]?.status === 'ACTIVE');
      if (active) seen.activeMs ??= nowMs;
      if (active && new Set(statuses.map((known) => known?.viewDigest)).size === 1) seen.oneViewMs ??= nowMs;
      for (const { shard, replicas } of status.shards) {
        for (const { node, role, inSync } of replicas) {
          // A copy that was moved away is kept for a while, and may be a member again.
          if (!this.#had(shard, node, role !== 'learner')) this.#new.add(`${shard} ${node}`);
          if (node === subject.nodeId && inSync && role !== 'learner') seen.firstMs ??= nowMs;
        }
      }
      if (await done(status)) return { ...seen, endMs: nowMs };
      for (const { node } of this.#cluster.living) node.assertAlive();
      if (nowMs - this.startedMs > REBALANCE_MS)
        throw new Error(`the copies did not come to rest: ${JSON.stringify(status.shards)} of ${observer.nodeId}`);
      await sleep(POLL_MS);
    }
  }

  /** Whether there was a copy, or a member of the set, before. @param {number} shard @param {string} nodeId @param {boolean} member */
  #had(shard, nodeId, member) {
    return this.#before.shards[shard].replicas.some(
      (/** @type {any} */ { node, role }) => node === nodeId && (!member || role !== 'learner'),
    );
  }
}

/** Copies by node, learners aside. @param {any} status @returns {Map<string, number>} */
function holders(status) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { replicas } of status.shards)
    for (const { node, role } of replicas) if (role !== 'learner') counts.set(node, (counts.get(node) ?? 0) + 1);
  return counts;
}

/**
 * Reads everything through each node while nothing is written: what of the corpus and of the acknowledged writes is
 * missing, what is there twice, what nobody wrote.
 * @param {BenchCluster} cluster @param {import('../lib/corpus.mjs').Corpus} corpus @param {Traffic} traffic
 */
async function counted(cluster, corpus, traffic) {
  await traffic.pauseWrites();
  await cluster.settled();
  await applied(cluster);
  const { different } = await cluster.digests();
  if (different > 0) throw new Error(`${different} copies have another digest`);
  const known = new Set([...corpus.ids, ...traffic.history.keys()]);
  const sums = [0, 0, 0];
  for (const { node } of cluster.living) {
    /** @type {Map<string, number>} */
    const times = new Map();
    for await (const { id } of node.documents({ withTitle: false, withMetadata: false }))
      times.set(id, (times.get(id) ?? 0) + 1);
    const { missing } = await traffic.compare(node);
    sums[0] += missing + corpus.ids.filter((id) => !times.has(id)).length;
    sums[1] += [...times.values()].filter((count) => count > 1).length;
    sums[2] += [...times.keys()].filter((id) => !known.has(id)).length;
  }
  traffic.resumeWrites();
  return sums.join(', ');
}
