import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BenchCluster, clusterSettings, sentTo } from '../lib/cluster.mjs';
import { clusteredCorpus, linesOf } from '../lib/corpus.mjs';
import { applied, fill } from '../lib/filled-cluster.mjs';
import { logEnds } from '../lib/log-ends.mjs';
import { freshDirectory, removeDirectory } from '../lib/node.mjs';
import { cpuSince, memoryOf, threadCpu } from '../lib/process-stats.mjs';
import { profileText } from '../lib/profile.mjs';
import { streamBetween } from '../lib/stream-process.mjs';

const NODES = 3;
const REPLICAS = 2;
/** Of the corpus, what the node has before it goes away. */
const BASE_SHARE = 0.1;
const LOOK_EVERY_MS = 20;
const RETURN_MS = 600_000;
const COMPACTION_MS = 300_000;
const COMPACTED = 'superseded entries compacted';

/**
 * A node that was away during many writes: the stream of what it missed, as the real node takes it in and between two
 * processes that do nothing else; then, below the point of compaction, the snapshot.
 * @param {import('../run.mjs').Context} context
 */
export async function catchUp({ options, given, progress, print, quiet }) {
  const corpus = clusteredCorpus(options);
  const rows = [];
  if (options.only === undefined || 'stream'.includes(options.only)) {
    await quiet();
    progress(`a bare stream of ${corpus.documents} entries`);
    rows.push(await bareStream(options, corpus.documents, print));
  }
  if (options.only === 'stream') return rows;
  const cluster = await BenchCluster.start(
    clusterSettings({ options, given }, { nodes: NODES, replicas: REPLICAS, environment: { LOG_RETENTION: '0s' } }),
  );
  const away = cluster.members[NODES - 1];
  const others = cluster.members.slice(0, NODES - 1);
  const base = Math.floor(corpus.documents * BASE_SHARE);
  await fill(cluster, linesOf(corpus, 0, base), base);
  await away.stop();
  await cluster.settled();
  progress(`${corpus.documents - base} documents while a node is away`);
  await fill(cluster, linesOf(corpus, base, corpus.documents), corpus.documents - base);
  await quiet();
  rows.push(await returned(cluster, away, others, 'stream, the whole node', options.profile, print));

  await away.stop();
  await cluster.settled();
  const sizes = others.map(({ directory }) => compactions(directory));
  for (const part of ['first', 'second']) {
    progress(`every document once more (${part} time), and a checkpoint of the others`);
    await fill(cluster, corpus.file, corpus.documents);
    // A checkpoint is written when a node stops; compaction does not pass the older of two.
    for (const member of others) {
      await member.stop();
      await member.start();
      await member.node.ready();
      await cluster.settled();
    }
  }
  progress('waiting for the compaction of the others');
  const { shardCount } = await others[0].status();
  const deadline = performance.now() + COMPACTION_MS;
  while (others.some(({ directory }, i) => compactions(directory) - sizes[i] < shardCount)) {
    if (performance.now() > deadline)
      throw new Error(
        `the logs were not compacted within ${COMPACTION_MS} ms: too few documents for ${shardCount} shards?`,
      );
    await sleep(500);
  }
  await quiet();
  rows.push(await returned(cluster, away, others, 'snapshot, the whole node', options.profile, print));
  await cluster.dispose();
  return rows;
}

/** @param {import('../lib/options.mjs').Options} options @param {number} entries @param {(text: string) => void} print @returns {Promise<import('../lib/report.mjs').Row>} */
async function bareStream({ main, dataRoot, profile }, entries, print) {
  const directories = /** @type {const} */ ([freshDirectory(dataRoot), freshDirectory(dataRoot)]);
  const seen = await streamBetween({ main, entries, directories, profile });
  if (profile)
    for (const [i, directory] of directories.entries())
      print(`${i === 0 ? 'sender' : 'receiver'}\n${profileText(join(directory, 'main.cpuprofile'), 40)}\n`);
  for (const directory of directories) removeDirectory(directory);
  const perEntry = (/** @type {number} */ ms) => (ms / entries) * 1000;
  return {
    what: 'stream, two bare processes',
    entries,
    'entries/s received': (entries / seen.streamedMs) * 1000,
    'bytes an entry': seen.bytes / entries,
    'receiver main CPU µs': perEntry(seen.receiver.mainMs),
    'receiver CPU µs': perEntry(seen.receiver.totalMs),
    'senders CPU µs': perEntry(seen.sender.totalMs),
    'CPU allows /s': 1e6 / Math.max(perEntry(seen.receiver.mainMs), perEntry(seen.sender.mainMs)),
  };
}

/**
 * Starts the node again and watches its log and its indexes fill.
 * @param {BenchCluster} cluster @param {import('../lib/cluster.mjs').BenchMember} away @param {readonly import('../lib/cluster.mjs').BenchMember[]} others
 * @param {string} what @param {boolean} profile @param {(text: string) => void} print
 * @returns {Promise<import('../lib/report.mjs').Row>}
 */
async function returned(cluster, away, others, what, profile, print) {
  const sentBefore = await sentTo(others, away.nodeId);
  const target = sumOf(await others[0].node.metrics()).tail;
  const cpu = others.map(({ node }) => threadCpu(node.pid));
  // Its metrics tell of shards only when they are open, and then the stream may be under way.
  const ends = await logEnds(away.settings.main, join(away.directory, 'data'));
  const firstTail = ends.reduce((sum, { tail }) => sum + tail, 0);
  const spawnedMs = performance.now();
  const node = await away.start();
  if (profile) await node.startProfile();
  const begun = threadCpu(node.pid);
  /** @type {number | undefined} */
  let movedMs;
  /** @type {number | undefined} */
  let receivedMs;
  let appliedAtReceived = 0;
  let received = cpuSince(node.pid, begun);
  for (;;) {
    const nowMs = performance.now();
    // The log of a snapshot's receiver does not move before it is whole: the senders tell when it begins.
    if (movedMs === undefined && (await sentTo(others, away.nodeId)).entries > sentBefore.entries) movedMs = nowMs;
    const seen = sumOf(await node.metrics());
    if (receivedMs === undefined && seen.tail >= target) {
      receivedMs = performance.now();
      appliedAtReceived = seen.applied;
      received = cpuSince(node.pid, begun);
    }
    if (receivedMs !== undefined && seen.applied >= target) break;
    node.assertAlive();
    if (nowMs - spawnedMs > RETURN_MS) throw new Error(`${seen.tail} of ${target} entries after ${RETURN_MS} ms`);
    await sleep(LOOK_EVERY_MS);
  }
  const appliedMs = performance.now();
  await cluster.settled();
  await applied(cluster);
  const settledMs = performance.now();
  const { rssBytes, peakBytes } = memoryOf(node.pid);
  if (profile) for (const file of await node.stopProfile()) print(`${what}\n${profileText(file, 40)}\n`);
  const { different } = await cluster.digests();
  const sent = await sentTo(others, away.nodeId);
  const entries = sent.entries - sentBefore.entries;
  const streamMs = receivedMs - (movedMs ?? spawnedMs);
  const used = others.map((member, i) => cpuSince(member.node.pid, cpu[i]));
  const perEntry = (/** @type {number} */ ms) => (ms / Math.max(1, entries)) * 1000;
  const missed = target - firstTail;
  return {
    what,
    entries,
    'of missed': `${((entries / Math.max(1, missed)) * 100).toFixed(1)} %`,
    'bytes an entry': (sent.bytes - sentBefore.bytes) / Math.max(1, entries),
    'entries/s received': (entries / streamMs) * 1000,
    'indexed by then': `${Math.round((Math.max(0, appliedAtReceived - firstTail) / Math.max(1, missed)) * 100)} %`,
    'entries/s until indexed': (entries / (appliedMs - (movedMs ?? spawnedMs))) * 1000,
    'spawn to first entry ms': (movedMs ?? receivedMs) - spawnedMs,
    'to received ms': receivedMs - spawnedMs,
    'to indexed ms': appliedMs - spawnedMs,
    'to in sync ms': settledMs - spawnedMs,
    'receiver main CPU µs': perEntry(received.mainMs),
    'receiver CPU µs': perEntry(received.totalMs),
    'senders CPU µs': perEntry(used.reduce((sum, { totalMs }) => sum + totalMs, 0)),
    'receiver MiB at most': peakBytes / 2 ** 20,
    'receiver MiB in sync': rssBytes / 2 ** 20,
    'copies that differ': different,
  };
}

/** @param {import('../lib/node.mjs').Samples} samples */
function sumOf(samples) {
  const tail = samples.sum('spector_log_tail_offset');
  return { tail, applied: tail - samples.sum('spector_index_lag_entries') };
}

/** Compactions that a node's log tells of. @param {string} directory */
function compactions(directory) {
  return readFileSync(`${directory}/node.log`, 'utf8').split(COMPACTED).length - 1;
}
