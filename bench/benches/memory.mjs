import { setTimeout as sleep } from 'node:timers/promises';
import { clusteredCorpus } from '../lib/corpus.mjs';
import { filledNode } from '../lib/filled.mjs';
import { load } from '../lib/load.mjs';
import { removeDirectory } from '../lib/node.mjs';
import { memoryOf } from '../lib/process-stats.mjs';
import { bodiesOf, KINDS } from '../lib/queries.mjs';
import { truthOf } from '../lib/truth.mjs';
import { firstAnswer } from './restart.mjs';

/** A node gives memory back when it was idle for about ten seconds. */
const SETTLE_MS = 14_000;

/**
 * Resident memory a document: everything the process holds, less what an empty node holds; and the whole.
 * @param {import('../run.mjs').Context} context
 */
export async function memory({ options, progress }) {
  const corpus = clusteredCorpus(options);
  const truth = truthOf(corpus, progress);
  const [shards] = options.shards;
  const [threads] = options.threads;
  const { node, ingest } = await filledNode(corpus, {
    shards,
    threads,
    main: options.main,
    dataRoot: options.dataRoot,
    progress,
  });
  const { directory } = node;
  /** @type {import('../lib/report.mjs').Row[]} */
  const rows = [];
  const note = (/** @type {string} */ when, /** @type {number} */ pid, /** @type {number} */ failures) => {
    const { rssBytes, peakBytes, mappedBytes } = memoryOf(pid);
    rows.push({
      when,
      documents: corpus.documents,
      'RSS MiB': rssBytes / 2 ** 20,
      'peak MiB': peakBytes / 2 ** 20,
      'mapped files MiB': mappedBytes / 2 ** 20,
      'empty node MiB': ingest.emptyRssBytes / 2 ** 20,
      'B/doc over empty': (rssBytes - ingest.emptyRssBytes) / corpus.documents,
      'B/doc of all': rssBytes / corpus.documents,
      errors: failures,
    });
  };
  note('after ingest', node.pid, ingest.failed);
  const settled = async (/** @type {string} */ when, /** @type {number} */ pid) => {
    progress(`waiting ${SETTLE_MS / 1000} s`);
    await sleep(SETTLE_MS);
    note(`${when}, settled`, pid, 0);
  };
  await settled('after ingest', node.pid);
  const bodies = bodiesOf(corpus, KINDS[0]);
  const target = { path: '/api/v1/search', bodies, clients: options.clients, count: bodies.length * 5, keepEvery: 0 };
  const searched = await load({ ...target, host: node.host, port: node.port });
  note(`after ${bodies.length * 5} searches`, node.pid, searched.errors);
  await settled('after searches', node.pid);
  await node.stop();
  const again = await firstAnswer(corpus, truth, { main: options.main, directory, shards, threads });
  note('after restart', again.node.pid, again.row.errors);
  const searchedAgain = await load({ ...target, host: again.node.host, port: again.node.port });
  note(`after restart and ${bodies.length * 5} searches`, again.node.pid, searchedAgain.errors);
  await settled('after restart and searches', again.node.pid);
  await again.node.stop();
  removeDirectory(directory);
  return rows;
}
