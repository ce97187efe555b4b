import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { BenchCluster, clusterSettings, ledBy, sentTo } from '../lib/cluster.mjs';
import { clusteredCorpus } from '../lib/corpus.mjs';
import { applied, fill } from '../lib/filled-cluster.mjs';
import { percentile } from '../lib/load.mjs';
import { logEnds } from '../lib/log-ends.mjs';
import { bodiesOf, KINDS } from '../lib/queries.mjs';
import { Random } from '../lib/random.mjs';
import { Traffic } from '../lib/traffic.mjs';

const NODES = 3;
const REPLICAS = 2;
const WRITERS = 6;
const SEARCHERS = 4;
const IDS_OF_WRITER = 500;
const REST_MS = 10;
/** How long the load runs before the next node is ended, and how long that one is away at least. */
const CALM_MS = 1_000;
const AWAY_MS = 2_000;
const POLL_MS = 20;
const PROMOTION_MS = 60_000;
const PROBE_TRIES = 2_000;
const BYTES_RATIO_MAX = 1.05;

/**
 * Ends the primary of shards under searches and writes, again and again: how soon each shard it led takes writes again,
 * what failed, what was lost, and what the node receives when it is back.
 * @param {import('../run.mjs').Context} context
 */
export async function failover({ options, given, progress, print }) {
  const corpus = clusteredCorpus({ ...options, documents: given.has('documents') ? options.documents : 20_000 });
  const [interval, timeout] = options.heartbeat.split('/');
  const silent = options.signal === 'stop';
  const cluster = await BenchCluster.start(
    clusterSettings(
      { options, given },
      {
        nodes: NODES,
        replicas: REPLICAS,
        environment: { HEARTBEAT_INTERVAL: interval, HEARTBEAT_TIMEOUT: timeout },
      },
    ),
  );
  progress(`loading ${corpus.documents} documents`);
  await fill(cluster, corpus.file, corpus.documents);
  /** @type {import('../lib/cluster.mjs').BenchMember | undefined} */
  let victim;
  const traffic = new Traffic({
    run: 'f',
    nodes: () => cluster.members.filter((member) => member !== victim),
    corpus,
    bodies: bodiesOf(corpus, KINDS[0]),
    writers: WRITERS,
    searchers: SEARCHERS,
    idsOfWriter: IDS_OF_WRITER,
    restMs: REST_MS,
  });
  const probes = await probeIds(traffic, cluster);
  const random = new Random(options.cycles);
  const cycles = [];
  for (let number = 1; number <= options.cycles; number++) {
    await sleep(CALM_MS);
    const status = await cluster.settled({ written: true });
    const leaders = cluster.members.filter(({ nodeId }) => ledBy(status, nodeId).length > 0);
    const member = leaders[random.integer(leaders.length)];
    const before = counted(traffic);
    const others = cluster.members.filter((other) => other !== member);
    const led = ledBy(await others[0].status(), member.nodeId);

    victim = member;
    traffic.cut(member);
    const killedMs = performance.now();
    if (silent) member.node.freeze();
    else await member.kill();
    const promoted = await promotion(traffic, others, member.nodeId, led, probes, killedMs);
    const after = counted(traffic);
    await sleep(AWAY_MS);
    const sentBefore = await sentTo(others, member.nodeId);
    const ends = silent ? undefined : await logEnds(options.main, join(member.directory, 'data'));
    const backMs = performance.now();
    if (silent) member.node.thaw();
    else {
      await member.start();
      await member.node.ready();
    }
    const readyMs = performance.now() - backMs;
    victim = undefined;
    const sync = await synced(cluster, backMs);
    await traffic.pauseWrites();
    await cluster.settled();
    await applied(cluster);
    const sent = await sentTo(others, member.nodeId);
    const missed = ends === undefined ? undefined : await missedBy(member, ends);
    traffic.resumeWrites();

    const cycle = {
      led: led.length,
      writeMs: promoted.writeMs,
      publishedMs: promoted.publishedMs,
      failedSearches: after.failedSearches - before.failedSearches,
      partialSearches: after.partialSearches - before.partialSearches,
      searches: after.searches - before.searches,
      readyMs,
      syncMs: sync,
      sentEntries: sent.entries - sentBefore.entries,
      sentBytes: sent.bytes - sentBefore.bytes,
      missedEntries: missed?.entries,
      missedBytes: missed?.bytes,
    };
    cycles.push(cycle);
    progress(
      `${number}/${options.cycles} ${member.nodeId}, ${led.length} shards: writes again after ${Math.max(...cycle.writeMs, 0).toFixed(0)} ms, ` +
        `published after ${Math.max(...cycle.publishedMs, 0).toFixed(0)} ms, ${cycle.failedSearches} failed and ${cycle.partialSearches} partial of ${cycle.searches} searches, ` +
        `in sync ${sync.toFixed(0)} ms after its return, sent ${cycle.sentEntries} entries and ${cycle.sentBytes} bytes` +
        (missed === undefined ? '' : `, missed ${missed.entries} and ${missed.bytes}`),
    );
  }
  await sleep(CALM_MS);
  await traffic.stop();
  await cluster.settled();
  await applied(cluster);
  const digests = await cluster.digests();
  const copies = [];
  for (const member of cluster.members) copies.push(await traffic.compare(member.node));
  for (const problem of traffic.problems) print(problem);
  await cluster.dispose();
  return report(options, cycles, traffic, digests, copies);
}

/** @param {Traffic} traffic */
function counted({ searches, failedSearches, partialSearches }) {
  return { searches, failedSearches, partialSearches };
}

/** A document of each shard, to find out whether the shard takes writes. @param {Traffic} traffic @param {BenchCluster} cluster */
async function probeIds(traffic, cluster) {
  const { shardCount } = await cluster.members[0].status();
  /** @type {Map<number, string>} */
  const probes = new Map();
  for (let i = 0; probes.size < shardCount && i < PROBE_TRIES; i++) {
    const id = `f-probe-${i}`;
    const answer = await traffic.put(id, traffic.sending(id), cluster.members[0]);
    if (answer?.status === 201 && !probes.has(answer.body.shard)) probes.set(answer.body.shard, id);
  }
  return probes;
}

/**
 * Milliseconds from the kill until each shard acknowledged a write that was sent after it, and until all nodes that are
 * left name another primary of it.
 * @param {Traffic} traffic @param {readonly import('../lib/cluster.mjs').BenchMember[]} others @param {string} gone
 * @param {readonly number[]} shards @param {ReadonlyMap<number, string>} probes @param {number} killedMs
 */
async function promotion(traffic, others, gone, shards, probes, killedMs) {
  const deadline = killedMs + PROMOTION_MS;
  const writes = shards.map(async (shard, i) => {
    const id = /** @type {string} */ (probes.get(shard));
    for (let attempt = 0; performance.now() < deadline; attempt++) {
      const answer = await traffic.put(id, traffic.sending(id), others[(i + attempt) % others.length]);
      if (answer !== undefined && answer.status < 300) return performance.now() - killedMs;
      await sleep(POLL_MS);
    }
    return PROMOTION_MS;
  });
  /** @type {Map<number, number>} */
  const published = new Map();
  const watching = (async () => {
    while (published.size < shards.length && performance.now() < deadline) {
      const statuses = await Promise.all(others.map((member) => member.status()));
      for (const shard of shards) {
        const named = statuses.every(({ shards: told }) => ![null, gone].includes(told[shard].primary));
        if (named && !published.has(shard)) published.set(shard, performance.now() - killedMs);
      }
      await sleep(POLL_MS);
    }
  })();
  const writeMs = await Promise.all(writes);
  await watching;
  return { writeMs, publishedMs: shards.map((shard) => published.get(shard) ?? PROMOTION_MS) };
}

/** Milliseconds from its return until every copy is in sync again in the eyes of all. @param {BenchCluster} cluster @param {number} backMs */
async function synced(cluster, backMs) {
  for (;;) {
    const statuses = await Promise.all(cluster.members.map((member) => member.status()));
    const whole = statuses.every(
      ({ status, activeNodes, shards }) =>
        status === 'RUNNING' &&
        activeNodes === NODES &&
        shards.every(
          (/** @type {any} */ { replicas }) =>
            replicas.filter((/** @type {any} */ { inSync }) => inSync).length >= 1 + REPLICAS,
        ),
    );
    if (whole) return performance.now() - backMs;
    if (performance.now() - backMs > 2 * PROMOTION_MS)
      throw new Error(`the node is not in sync: ${JSON.stringify(statuses[0].shards)}`);
    await sleep(POLL_MS);
  }
}

/** What its logs grew by since they ended there. @param {import('../lib/cluster.mjs').BenchMember} member @param {readonly import('../lib/log-ends.mjs').LogEnd[]} ends */
async function missedBy({ node }, ends) {
  const samples = await node.metrics();
  const tails = samples.by('spector_log_tail_offset');
  const bytes = samples.by('spector_log_bytes');
  let missed = { entries: 0, bytes: 0 };
  for (const end of ends)
    missed = {
      entries: missed.entries + (tails.get(String(end.shard)) ?? 0) - end.tail,
      bytes: missed.bytes + (bytes.get(String(end.shard)) ?? 0) - end.bytes,
    };
  return missed;
}

/**
 * @param {import('../lib/options.mjs').Options} options @param {readonly any[]} cycles @param {Traffic} traffic
 * @param {{ copies: number, different: number }} digests @param {readonly { read: number, missing: number, invented: number }[]} copies
 * @returns {import('../lib/report.mjs').Row[]}
 */
function report(options, cycles, traffic, digests, copies) {
  const what = options.signal === 'stop' ? 'SIGSTOP' : 'SIGKILL';
  const distribution = (/** @type {string} */ name, /** @type {readonly number[]} */ values) => {
    const sorted = Float64Array.from(values).sort();
    return {
      figure: name,
      count: values.length,
      p50: percentile(sorted, 0.5),
      p90: percentile(sorted, 0.9),
      p99: percentile(sorted, 0.99),
      max: percentile(sorted, 1),
    };
  };
  const total = (/** @type {string} */ name) => cycles.reduce((sum, cycle) => sum + cycle[name], 0);
  const known = cycles.filter(({ missedBytes }) => missedBytes !== undefined);
  return [
    distribution(
      `${what} to the first acknowledged write of a shard, ms`,
      cycles.flatMap(({ writeMs }) => writeMs),
    ),
    distribution(
      `${what} to the primary all nodes name, ms`,
      cycles.flatMap(({ publishedMs }) => publishedMs),
    ),
    distribution(
      'slowest shard of a cycle, ms',
      cycles.map(({ writeMs }) => Math.max(0, ...writeMs)),
    ),
    distribution(
      'return to ready, ms',
      cycles.map(({ readyMs }) => readyMs),
    ),
    distribution(
      'return to in sync, ms',
      cycles.map(({ syncMs }) => syncMs),
    ),
    distribution('search under this load, ms', traffic.latenciesMs),
    { figure: 'searches during failovers', count: total('searches') },
    { figure: '  of them failed', count: total('failedSearches') },
    { figure: '  of them partial', count: total('partialSearches') },
    { figure: 'searches in all', count: traffic.searches },
    { figure: '  of them failed', count: traffic.failedSearches },
    { figure: '  of them partial', count: traffic.partialSearches },
    { figure: 'writes acknowledged', count: traffic.acknowledged },
    { figure: '  tried again', count: traffic.retried },
    { figure: '  given up', count: traffic.failedWrites },
    { figure: 'requests cut off with their node', count: traffic.cutOff },
    ...copies.flatMap(({ read, missing, invented }, i) => [
      { figure: `node ${i + 1}: documents read of ${traffic.history.size}`, count: read },
      { figure: '  acknowledged but missing', count: missing },
      { figure: '  never written', count: invented },
    ]),
    { figure: `copies with another digest, of ${digests.copies}`, count: digests.different },
    ...(known.length === 0
      ? [{ figure: 'entries sent to the returning nodes', count: total('sentEntries') }]
      : [
          { figure: 'entries missed by the returning nodes', count: total('missedEntries') },
          { figure: '  sent to them', count: total('sentEntries') },
          { figure: 'bytes missed by the returning nodes', count: total('missedBytes') },
          { figure: '  sent to them', count: total('sentBytes') },
          distribution(
            '  sent of missed, in a cycle',
            known.map(({ sentBytes, missedBytes }) => sentBytes / Math.max(1, missedBytes)),
          ),
          {
            figure: `  cycles above ${BYTES_RATIO_MAX}`,
            count: known.filter(({ sentBytes, missedBytes }) => sentBytes > BYTES_RATIO_MAX * missedBytes).length,
          },
        ]),
  ];
}
