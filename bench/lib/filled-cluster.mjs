import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { BenchCluster } from './cluster.mjs';

const APPLY_MS = 600_000;
const AGAIN_MS = 30_000;
const POLL_MS = 50;

/**
 * Starts a cluster on fresh directories and loads a corpus as one NDJSON bulk through its first node.
 * @param {import('./corpus.mjs').Corpus} corpus
 * @param {import('./cluster.mjs').ClusterSettings & { progress: (text: string) => void }} settings
 */
export async function filledCluster(corpus, { progress, ...settings }) {
  const cluster = await BenchCluster.start(settings);
  progress(
    `loading ${corpus.documents} documents: ${settings.nodes} nodes, ${settings.shards} shards, replicaCount ${settings.replicas}`,
  );
  await fill(cluster, corpus.file, corpus.documents);
  return cluster;
}

/**
 * Loads a file and waits until every copy has it in its indexes. What is refused while a primary changes is sent again.
 * @param {BenchCluster} cluster @param {string} file @param {number} documents
 */
export async function fill(cluster, file, documents) {
  const [{ node }] = cluster.living;
  const { success, errors } = await node.ingest(file, { some: true });
  if (success + errors.length !== documents)
    throw new Error(`the bulk stored ${success} of ${documents}: ${JSON.stringify(errors).slice(0, 500)}`);
  await again(node, file, errors);
  await applied(cluster);
  await cluster.settled();
}

/**
 * Sends the refused lines of a bulk again, one by one, until each is stored.
 * @param {import('./node.mjs').BenchNode} node @param {string} file @param {readonly { index: number, code: string }[]} errors
 */
export async function again(node, file, errors) {
  if (errors.length === 0) return;
  const lines = readFileSync(file, 'utf8').split('\n');
  const deadline = performance.now() + AGAIN_MS;
  for (const { index, code } of errors) {
    for (;;) {
      const { status, body } = await node.call('POST', '/api/v1/ingest', JSON.parse(lines[index]));
      if (status < 300) break;
      if (performance.now() > deadline)
        throw new Error(`line ${index} was refused with ${code}, and again: ${JSON.stringify(body)}`);
      await sleep(POLL_MS);
    }
  }
}

/** Waits until the indexes of every living node hold everything its logs do. @param {BenchCluster} cluster */
export async function applied(cluster) {
  const deadline = performance.now() + APPLY_MS;
  for (;;) {
    const positions = await cluster.positions();
    if (positions.every(({ tail, applied: reached }) => reached === tail)) return;
    if (performance.now() > deadline) throw new Error(`not everything was indexed after ${APPLY_MS} ms`);
    await sleep(POLL_MS);
  }
}
