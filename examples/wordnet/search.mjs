/**
 * A search of each kind with the client: node examples/wordnet/search.mjs [words]
 *
 * Needs the built client (`npm run build`) and a node that holds the corpus.
 */
import { SpectorClient, SpectorError } from 'spector-node/client';

const words = process.argv.slice(2).join(' ') || 'sailing vessel';
const client = new SpectorClient({ nodes: process.env.SPECTOR_URL ?? 'http://127.0.0.1:7070' });

/** @param {string} title @param {import('spector-node/client').SearchAnswer} answer */
function print(title, { results, queryTimeMs }) {
  console.log(`\n${title} (${queryTimeMs.toFixed(1)} ms)`);
  for (const { score, id, title: words, content } of results)
    console.log(`  ${score.toFixed(4)}  ${id}  ${words}: ${content}`);
}

try {
  const byWords = await client.search({ text: words, topK: 5, withContent: true });
  print(`Keyword: ${words}`, byWords);
  const [best] = byWords.results;
  if (best !== undefined) {
    const { vector } = await client.get(best.id, { withVector: true });
    print(`Vector: like ${best.id} (${best.title})`, await client.search({ vector, topK: 5, withContent: true }));
    print('Hybrid: both', await client.search({ text: words, vector, topK: 5, withContent: true }));
  }
} catch (error) {
  if (!(error instanceof SpectorError)) throw error;
  console.error(`${error.code}: ${error.detail}`);
  process.exitCode = 1;
}
