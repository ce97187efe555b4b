/**
 * The kinds of search that are measured.
 * @typedef {object} Kind
 * @property {string} name
 * @property {'hybrid' | 'vector' | 'keyword'} mode
 * @property {string | undefined} filter attribute
 * @property {'common' | undefined} words
 */

/** @param {string} name @param {Kind['mode']} mode @param {string} [filter] @param {Kind['words']} [words] @returns {Kind} */
function kind(name, mode, filter, words) {
  return { name, mode, filter, words };
}

/** @type {readonly Kind[]} */
export const KINDS = [
  kind('hybrid', 'hybrid'),
  kind('vector', 'vector'),
  kind('keyword', 'keyword'),
  kind('keyword, common words', 'keyword', undefined, 'common'),
  kind('hybrid, 50 % pass', 'hybrid', 'half'),
  kind('hybrid, 10 % pass', 'hybrid', 'tenth'),
  kind('hybrid, 1 % pass', 'hybrid', 'hundredth'),
  kind('vector, 50 % pass', 'vector', 'half'),
];

/** The hundred most common words, three to a query: the longest postings there are. */
const COMMON = 100;

/**
 * Bodies of one kind of search, one per query.
 * @param {import('./corpus.mjs').Corpus} corpus @param {Kind} kind @param {object} [extra] further fields
 * @returns {string[]}
 */
export function bodiesOf(corpus, { mode, filter, words }, extra = {}) {
  const common = words === 'common' ? commonWords(corpus.texts) : [];
  return corpus.queries.map(({ text, vector }, i) =>
    JSON.stringify({
      ...(mode === 'vector' ? {} : { text: words === 'common' ? common[i % common.length] : text }),
      // As printed in the corpus: the shortest decimal of the float32, not of the double it becomes.
      ...(mode === 'keyword' ? {} : { vector: Array.from(vector, (value) => Number(value.toFixed(7))) }),
      topK: 10,
      ...(filter === undefined
        ? {}
        : { filter: { must: [{ key: filter, match: { value: corpus.attributes[filter].asked[i] } }] } }),
      ...extra,
    }),
  );
}

/** @param {readonly string[]} texts @returns {string[]} */
function commonWords(texts) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const text of texts) for (const word of text.split(/\s/)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const common = [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, COMMON)
    .map(([word]) => word);
  return common.map((word, i) =>
    [word, common[(i * 7 + 13) % common.length], common[(i * 31 + 41) % common.length]].join(' '),
  );
}

/** What is right for a kind. @param {import('./truth.mjs').Truth} truth @param {Kind} kind @returns {((request: number) => ArrayLike<number>) | undefined} */
export function truthFor(truth, { mode, filter, words }) {
  if (words !== undefined) return undefined;
  return (request) => truth[mode](filter, request);
}
