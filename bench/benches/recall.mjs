import { clusteredCorpus, wordnetCorpus } from '../lib/corpus.mjs';
import { filledNode } from '../lib/filled.mjs';
import { load } from '../lib/load.mjs';
import { removeDirectory } from '../lib/node.mjs';
import { bodiesOf, KINDS, truthFor } from '../lib/queries.mjs';
import { numbersOf, recallOf } from '../lib/recall.mjs';
import { TOP, truthOf } from '../lib/truth.mjs';

const SHARD_COUNTS = [1, 2, 4, 9];
const CLIENTS = 4;

/** recall@10 at defaults, and exact answers, for several shard counts, on the clustered corpus and on WordNet. @param {import('../run.mjs').Context} context */
export async function recall({ options, given, progress, print }) {
  const rows = [];
  const [threads] = options.threads;
  for (const corpus of [wordnetCorpus(), clusteredCorpus(options)]) {
    if (corpus === undefined) {
      print('examples/wordnet/wordnet-10k.ndjson.gz is not there: WordNet is left out');
      continue;
    }
    const truth = truthOf(corpus, progress);
    const documentOf = numbersOf(corpus.ids);
    for (const shards of given.has('shards') ? options.shards : SHARD_COUNTS) {
      const { node } = await filledNode(corpus, {
        shards,
        threads,
        main: options.main,
        dataRoot: options.dataRoot,
        progress,
      });
      for (const kind of KINDS) {
        const right = truthFor(truth, kind);
        if (right === undefined || (kind.filter !== undefined && corpus.attributes[kind.filter] === undefined))
          continue;
        progress(`${corpus.name}, ${shards} shards: ${kind.name}`);
        const row = { corpus: corpus.name, shards, search: kind.name };
        const answers = await every(node, bodiesOf(corpus, kind));
        const exact = await every(node, bodiesOf(corpus, kind, { params: { exact: true } }).slice(0, 200));
        for (const problem of [...answers.problems, ...exact.problems]) print(`${kind.name}: ${problem}`);
        const found = recallOf(answers.kept, right, corpus.ids, documentOf);
        const different = exact.kept.filter(({ request, body }) => {
          const ids = Array.from(right(request))
            .slice(0, TOP)
            .map((document) => corpus.ids[document]);
          return (
            JSON.stringify(ids) !== JSON.stringify(body.results.map((/** @type {{ id: string }} */ hit) => hit.id))
          );
        });
        rows.push({
          ...row,
          queries: found.checked,
          'recall@10': found.recall.toFixed(4),
          errors: answers.errors + exact.errors + found.wrong,
          'exact answers': exact.kept.length,
          'exact, but other than the truth': different.length,
        });
      }
      await node.stop();
      removeDirectory(node.directory);
    }
  }
  return rows;
}

/** Each query once. @param {import('../lib/node.mjs').BenchNode} node @param {string[]} bodies */
function every(node, bodies) {
  return load({
    host: node.host,
    port: node.port,
    path: '/api/v1/search',
    bodies,
    clients: CLIENTS,
    count: bodies.length,
    keepEvery: 1,
  });
}
