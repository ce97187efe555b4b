import { clusteredCorpus } from '../lib/corpus.mjs';
import { filledNode } from '../lib/filled.mjs';
import { removeDirectory } from '../lib/node.mjs';
import { profileText } from '../lib/profile.mjs';

/** Durable, searchable bulk ingest of the whole corpus, with each number of index threads. @param {import('../run.mjs').Context} context */
export async function ingest({ options, given, progress, print, quiet }) {
  const corpus = clusteredCorpus(options);
  const rows = [];
  for (const shards of options.shards) {
    for (const threads of given.has('threads') ? options.threads : [1, 2]) {
      await quiet();
      const settings = {
        shards,
        threads,
        profile: options.profile,
        main: options.main,
        dataRoot: options.dataRoot,
        progress,
      };
      const { node, ingest: report } = options.profile
        ? await profiled(corpus, settings, print)
        : await filledNode(corpus, settings);
      const counted = await node.call('POST', '/api/v1/documents/count', {});
      await node.stop();
      removeDirectory(node.directory);
      rows.push({
        shards,
        'index threads': threads,
        documents: report.documents,
        'docs/s searchable': report.perSecond,
        'docs/s stored': (report.documents / report.storedMs) * 1000,
        'bodies MB/s': corpus.bytes / 1e6 / (report.storedMs / 1000),
        errors:
          report.failed +
          (counted.body.count === report.documents ? 0 : Math.abs(report.documents - counted.body.count)),
        'main CPU µs/doc': (report.cpu.mainMs / report.documents) * 1000,
        'index CPU µs/doc': (sum(report.cpu.othersMs.slice(0, Math.max(1, threads))) / report.documents) * 1000,
        'other CPU µs/doc': (sum(report.cpu.othersMs.slice(Math.max(1, threads))) / report.documents) * 1000,
        'RSS B/doc': (report.rssBytes - report.emptyRssBytes) / report.documents,
        'disk B/doc': report.diskBytes / report.documents,
      });
    }
  }
  return rows;
}

/** @param {import('../lib/corpus.mjs').Corpus} corpus @param {Parameters<typeof filledNode>[1]} settings @param {(text: string) => void} print */
async function profiled(corpus, settings, print) {
  const { BenchNode, freshDirectory } = await import('../lib/node.mjs');
  const { measuredIngest } = await import('../lib/filled.mjs');
  const directory = freshDirectory(settings.dataRoot);
  const node = await BenchNode.start({ directory, ...settings });
  await node.ready();
  await node.startProfile();
  const report = await measuredIngest(node, corpus, corpus.file, corpus.documents);
  for (const file of await node.stopProfile()) print(profileText(file, 30));
  return { node, ingest: report };
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
