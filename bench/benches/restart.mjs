import { setTimeout as sleep } from 'node:timers/promises';
import { clusteredCorpus, linesOf } from '../lib/corpus.mjs';
import { filledNode, measuredIngest } from '../lib/filled.mjs';
import { BenchNode, removeDirectory } from '../lib/node.mjs';
import { truthOf } from '../lib/truth.mjs';

const SUFFIX_SHARE = 0.1;
const GIVE_UP_MS = 300_000;
const POLL_MS = 10;

/**
 * From the spawn of the process to the first right answer: after SIGTERM, which leaves a checkpoint; and after SIGKILL
 * with a tenth of the corpus behind the checkpoint, to be replayed from the log.
 * @param {import('../run.mjs').Context} context
 */
export async function restart({ options, progress, quiet }) {
  const corpus = clusteredCorpus(options);
  const truth = truthOf(corpus, progress);
  const rows = [];
  for (const threads of options.threads) {
    const shards = options.shards[0];
    const { node } = await filledNode(corpus, {
      shards,
      threads,
      main: options.main,
      dataRoot: options.dataRoot,
      progress,
    });
    const { directory } = node;
    const stoppedMs = await node.stop();
    progress(`stopped in ${Math.round(stoppedMs)} ms; starting again`);
    await quiet();
    const clean = await firstAnswer(corpus, truth, { main: options.main, directory, shards, threads });
    rows.push({ after: 'SIGTERM, checkpoint', 'index threads': threads, ...clean.row, 'stop ms': stoppedMs });

    const suffix = Math.floor(corpus.documents * SUFFIX_SHARE);
    progress(`storing ${suffix} documents once more, then SIGKILL`);
    await measuredIngest(clean.node, corpus, linesOf(corpus, 0, suffix), suffix);
    await clean.node.kill();
    await quiet();
    const killed = await firstAnswer(corpus, truth, { main: options.main, directory, shards, threads });
    rows.push({ after: `SIGKILL, ${suffix} documents to replay`, 'index threads': threads, ...killed.row });
    await killed.node.stop();
    removeDirectory(directory);
  }
  return rows;
}

/**
 * @param {import('../lib/corpus.mjs').Corpus} corpus @param {import('../lib/truth.mjs').Truth} truth
 * @param {{ main: string, directory: string, shards: number, threads: number }} settings
 */
export async function firstAnswer(corpus, truth, settings) {
  const node = await BenchNode.start(settings);
  const listeningMs = performance.now() - node.spawnedMs;
  let readyMs = 0;
  let refused = 0;
  let wrong = 0;
  const query = corpus.queries[0];
  const right = corpus.ids[truth.vector(undefined, 0)[0]];
  for (;;) {
    if (readyMs === 0 && (await node.call('GET', '/readyz')).status === 200)
      readyMs = performance.now() - node.spawnedMs;
    const { status, body } = await node.call('POST', '/api/v1/search', { vector: [...query.vector], topK: 10 });
    if (status === 200 && !body.partial && body.results[0]?.id === right) break;
    if (status === 200) wrong++;
    else refused++;
    node.assertAlive();
    if (performance.now() - node.spawnedMs > GIVE_UP_MS)
      throw new Error(`no right answer after ${GIVE_UP_MS} ms: ${status} ${JSON.stringify(body).slice(0, 500)}`);
    await sleep(POLL_MS);
  }
  const answeredMs = performance.now() - node.spawnedMs;
  if (readyMs === 0) {
    await node.ready();
    readyMs = performance.now() - node.spawnedMs;
  }
  const { body } = await node.call('POST', '/api/v1/documents/count', {});
  return {
    node,
    row: {
      documents: corpus.documents,
      'listening ms': listeningMs,
      'ready ms': readyMs,
      'first right answer ms': answeredMs,
      'refused before': refused,
      errors: wrong + Math.abs(corpus.documents - body.count),
    },
  };
}
