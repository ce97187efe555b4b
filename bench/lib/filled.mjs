import { BenchNode, freshDirectory } from './node.mjs';
import { cpuSince, directoryBytes, memoryOf, threadCpu } from './process-stats.mjs';

/** The index may be this far behind the log after a bulk. */
const CATCH_UP_MS = 300_000;

/**
 * @typedef {object} IngestReport
 * @property {number} documents
 * @property {number} storedMs until the bulk was answered: everything durable
 * @property {number} searchableMs until a search that waits for the whole session was answered
 * @property {number} perSecond documents a second until searchable
 * @property {number} failed
 * @property {import('./process-stats.mjs').CpuOf} cpu
 * @property {number} emptyRssBytes of the node before the first document
 * @property {number} rssBytes
 * @property {number} peakBytes
 * @property {number} diskBytes
 */

/**
 * Starts a node on a fresh directory and loads a corpus as one NDJSON bulk.
 * @param {import('./corpus.mjs').Corpus} corpus
 * @param {{ main: string, shards: number, threads: number, profile?: boolean, dataRoot: string | undefined, progress: (text: string) => void }} settings
 * @returns {Promise<{ node: BenchNode, ingest: IngestReport }>}
 */
export async function filledNode(corpus, { main, shards, threads, profile = false, dataRoot, progress }) {
  const directory = freshDirectory(dataRoot);
  const node = await BenchNode.start({ main, directory, shards, threads, profile });
  await node.ready();
  progress(`loading ${corpus.documents} documents, ${shards} shards, ${threads} index threads`);
  const ingest = await measuredIngest(node, corpus, corpus.file, corpus.documents);
  progress(`loaded: ${Math.round(ingest.perSecond)} documents/s`);
  return { node, ingest };
}

/**
 * @param {BenchNode} node @param {import('./corpus.mjs').Corpus} corpus @param {string} file @param {number} documents
 * @returns {Promise<IngestReport>}
 */
export async function measuredIngest(node, corpus, file, documents) {
  const emptyRssBytes = memoryOf(node.pid).rssBytes;
  const cpu = threadCpu(node.pid);
  const startedMs = performance.now();
  const answer = await node.ingest(file);
  const storedMs = performance.now() - startedMs;
  if (answer.total !== documents || answer.success !== documents) {
    throw new Error(
      `the bulk stored ${answer.success} of ${documents} documents: ${JSON.stringify(answer.errors).slice(0, 1_000)}`,
    );
  }
  await searchable(node, corpus.queries[0], answer.session);
  const searchableMs = performance.now() - startedMs;
  return {
    documents,
    storedMs,
    searchableMs,
    perSecond: (documents / searchableMs) * 1000,
    failed: answer.failed,
    cpu: cpuSince(node.pid, cpu),
    emptyRssBytes,
    ...memoryOf(node.pid),
    diskBytes: directoryBytes(node.directory),
  };
}

/**
 * Waits until a search sees everything that a session wrote.
 * @param {BenchNode} node @param {import('./corpus.mjs').Query} query @param {string} session
 */
async function searchable(node, { text, vector }, session) {
  const deadline = performance.now() + CATCH_UP_MS;
  for (;;) {
    const { status, body } = await node.call('POST', '/api/v1/search', { text, vector: [...vector], session });
    if (status === 200) return;
    if (body?.code !== 'NOT_CAUGHT_UP' || performance.now() > deadline) {
      throw new Error(`a search with the session of the bulk was answered ${status}: ${JSON.stringify(body)}`);
    }
  }
}
