import { setTimeout as sleep } from 'node:timers/promises';
import { clusteredCorpus } from '../lib/corpus.mjs';
import { filledNode } from '../lib/filled.mjs';
import { load } from '../lib/load.mjs';
import { removeDirectory } from '../lib/node.mjs';
import { memoryOf } from '../lib/process-stats.mjs';
import { bodiesOf, KINDS } from '../lib/queries.mjs';
import { truthOf } from '../lib/truth.mjs';
import { firstAnswer } from './restart.mjs';

const SETTLE_MS = 10_000;

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
    const { rssBytes, peakBytes } = memoryOf(pid);
    rows.push({
      when,
      documents: corpus.documents,
      'RSS MiB': rssBytes / 2 ** 20,
      'peak MiB': peakBytes / 2 ** 20,
      'empty node MiB': ingest.emptyRssBytes / 2 ** 20,
      'B/doc over empty': (rssBytes - ingest.emptyRssBytes) / corpus.documents,
      'B/doc of all': rssBytes / corpus.documents,
      errors: failures,
    });
  };
  note('after ingest', node.pid, ingest.failed);
  progress(`waiting ${SETTLE_MS / 1000} s`);
  await sleep(SETTLE_MS);
  note('after ingest, settled', node.pid, 0);
  const bodies = bodiesOf(corpus, KINDS[0]);
  const target = { path: '/api/v1/search', bodies, clients: options.clients, count: bodies.length * 5, keepEvery: 0 };
  const searched = await load({ ...target, host: node.host, port: node.port });
  note(`after ${bodies.length * 5} searches`, node.pid, searched.errors);
  await node.stop();
  const again = await firstAnswer(corpus, truth, { main: options.main, directory, shards, threads });
  note('after restart', again.node.pid, again.row.errors);
  const searchedAgain = await load({ ...target, host: again.node.host, port: again.node.port });
  note(`after restart and ${bodies.length * 5} searches`, again.node.pid, searchedAgain.errors);
  await again.node.stop();
  removeDirectory(directory);
  return rows;
}
