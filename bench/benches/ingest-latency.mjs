import { clusteredCorpus, linesOf } from '../lib/corpus.mjs';
import { measuredIngest } from '../lib/filled.mjs';
import { load } from '../lib/load.mjs';
import { BenchNode, freshDirectory, removeDirectory } from '../lib/node.mjs';
import { profileText } from '../lib/profile.mjs';
import { bodiesOf, KINDS } from '../lib/queries.mjs';

/**
 * What one client waits for a hybrid search while the second half of the corpus is loaded at full speed; and, to
 * compare, while nothing else happens.
 * @param {import('../run.mjs').Context} context
 */
export async function ingestLatency({ options, progress, print, quiet }) {
  const corpus = clusteredCorpus(options);
  const half = Math.floor(corpus.documents / 2);
  const first = linesOf(corpus, 0, half);
  const second = linesOf(corpus, half, corpus.documents);
  const bodies = bodiesOf(corpus, KINDS[0]);
  const rows = [];
  for (const threads of options.threads) {
    const directory = freshDirectory(options.dataRoot);
    const node = await BenchNode.start({
      main: options.main,
      directory,
      shards: options.shards[0],
      threads,
      profile: options.profile,
    });
    await node.ready();
    await quiet();
    progress(`loading the first half, ${threads} index threads`);
    const alone = await measuredIngest(node, corpus, first, half);
    const target = { host: node.host, port: node.port, path: '/api/v1/search', bodies, clients: 1, keepEvery: 0 };
    await quiet();
    progress('searching while nothing else happens');
    const idle = await load({ ...target, seconds: Math.min(options.seconds, 5), warmup: options.warmup });
    await quiet();
    progress('searching while the second half is loaded');
    if (options.profile) await node.startProfile();
    // Long enough for any load; ended when the ingest is.
    const expectedSeconds = Math.max(1, ((corpus.documents - half) / alone.perSecond) * 0.9);
    const [during, busy] = await Promise.all([
      measuredIngest(node, corpus, second, corpus.documents - half),
      load({ ...target, seconds: expectedSeconds }),
    ]);
    if (options.profile) for (const file of await node.stopProfile()) print(profileText(file, 30));
    for (const problem of [...idle.problems, ...busy.problems]) print(problem);
    for (const [what, seen, perSecond] of /** @type {const} */ ([
      ['idle', idle, undefined],
      ['during ingest', busy, during.perSecond],
    ])) {
      rows.push({
        'one client': what,
        'index threads': threads,
        'searches/s': seen.perSecond,
        errors: seen.errors,
        'p50 ms': seen.p50Ms,
        'p95 ms': seen.p95Ms,
        'p99 ms': seen.p99Ms,
        'max ms': seen.maxMs,
        'ingest docs/s': perSecond,
        'ingest alone docs/s': perSecond === undefined ? undefined : alone.perSecond,
      });
    }
    await node.stop();
    removeDirectory(directory);
  }
  return rows;
}
