import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { termsOf } from './corpus.mjs';

/** Results compared. */
export const TOP = 10;
/** Candidates of a leg of a hybrid search: max(2 · (0 + 10), 50). */
export const LEG = 50;
const RRF_K = 60;
const K1 = 1.2;
const B = 0.75;
/** Change it when the truth is computed differently. */
const FORMAT = 2;
const NOBODY = -1;

/**
 * What is right, by brute force: document numbers of the best 50 of each leg for each query, without a filter and with
 * each attribute's.
 *
 * @typedef {object} Truth
 * @property {(filter: string | undefined, query: number) => Int32Array} vector
 * @property {(filter: string | undefined, query: number) => Int32Array} keyword
 * @property {(filter: string | undefined, query: number) => number[]} hybrid the 10 best after the fusion
 */

/**
 * Cached beside the corpus.
 * @param {import('./corpus.mjs').Corpus} corpus @param {(text: string) => void} progress
 * @returns {Truth}
 */
export function truthOf(corpus, progress) {
  const filters = [undefined, ...Object.keys(corpus.attributes)];
  const file = join(corpus.directory, `truth-${FORMAT}-${corpus.queries.length}.i32`);
  const cells = filters.length * corpus.queries.length * 2 * LEG;
  /** @type {Int32Array} */
  let table;
  if (existsSync(file)) {
    const bytes = readFileSync(file);
    table = new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    if (table.length !== cells) throw new Error(`${file} has ${table.length} cells instead of ${cells}; remove it`);
  } else {
    progress(`computing the truth for ${corpus.queries.length} queries over ${corpus.name}`);
    table = compute(corpus, filters, cells);
    writeFileSync(`${file}.new`, table);
    renameSync(`${file}.new`, file);
  }
  const byId = orderOfIds(corpus.ids);
  /** @param {string | undefined} filter @param {number} query @param {0 | 1} leg */
  const row = (filter, query, leg) => {
    const at = ((filters.indexOf(filter) * corpus.queries.length + query) * 2 + leg) * LEG;
    const cellsOfRow = table.subarray(at, at + LEG);
    const end = cellsOfRow.indexOf(NOBODY);
    return end < 0 ? cellsOfRow : cellsOfRow.subarray(0, end);
  };
  return {
    vector: (filter, query) => row(filter, query, 0),
    keyword: (filter, query) => row(filter, query, 1),
    hybrid: (filter, query) => fuse(row(filter, query, 0), row(filter, query, 1), byId),
  };
}

/** @param {import('./corpus.mjs').Corpus} corpus @param {(string | undefined)[]} filters @param {number} cells */
function compute(corpus, filters, cells) {
  const table = new Int32Array(cells).fill(NOBODY);
  const byId = orderOfIds(corpus.ids);
  const keywords = new KeywordOracle(corpus.texts);
  const lengths = norms(corpus.vectors, corpus.dimensions);
  const scores = new Float64Array(corpus.documents);
  corpus.queries.forEach((query, q) => {
    cosine(corpus, lengths, query.vector, scores);
    const text = keywords.scores(query.text);
    filters.forEach((filter, f) => {
      const attribute = filter === undefined ? undefined : corpus.attributes[filter];
      const passes = (/** @type {number} */ document) => attribute?.values[document] === attribute?.asked[q];
      const at = (f * corpus.queries.length + q) * 2 * LEG;
      table.set(
        best(all(corpus.documents), (document) => scores[document], passes, byId),
        at,
      );
      table.set(
        best(text.keys(), (document) => text.get(document) ?? 0, passes, byId),
        at + LEG,
      );
    });
  });
  return table;
}

function* all(/** @type {number} */ count) {
  for (let i = 0; i < count; i++) yield i;
}

/**
 * The best LEG, ties by id: a sorted list with insertion; few documents get past its end.
 * @param {Iterable<number>} documents @param {(document: number) => number} score @param {(document: number) => boolean} passes
 * @param {Uint32Array} byId
 */
function best(documents, score, passes, byId) {
  /** @type {{ document: number, score: number }[]} */
  const kept = [];
  for (const document of documents) {
    const own = score(document);
    if (kept.length === LEG) {
      const last = kept[LEG - 1];
      if (own < last.score || (own === last.score && byId[document] > byId[last.document])) continue;
    }
    if (!passes(document)) continue;
    let at = kept.length;
    while (
      at > 0 &&
      (own > kept[at - 1].score || (own === kept[at - 1].score && byId[document] < byId[kept[at - 1].document]))
    )
      at--;
    kept.splice(at, 0, { document, score: own });
    if (kept.length > LEG) kept.pop();
  }
  return kept.map(({ document }) => document);
}

/**
 * Reciprocal rank fusion, ties by id. @param {Int32Array} vector @param {Int32Array} keyword @param {Uint32Array} byId
 * @returns {number[]}
 */
function fuse(vector, keyword, byId) {
  /** @type {Map<number, number>} */
  const scores = new Map();
  for (const leg of [vector, keyword]) {
    leg.forEach((document, i) => scores.set(document, (scores.get(document) ?? 0) + 1 / (RRF_K + i + 1)));
  }
  return [...scores]
    .sort(([a, left], [b, right]) => right - left || byId[a] - byId[b])
    .slice(0, TOP)
    .map(([document]) => document);
}

/** Place of each document in the order of ids. @param {readonly string[]} ids */
function orderOfIds(ids) {
  const sorted = ids.map((_, document) => document).sort((a, b) => (ids[a] < ids[b] ? -1 : 1));
  const order = new Uint32Array(ids.length);
  sorted.forEach((document, place) => (order[document] = place));
  return order;
}

/** @param {Float32Array} vectors @param {number} dimensions */
function norms(vectors, dimensions) {
  const lengths = new Float64Array(vectors.length / dimensions);
  for (let row = 0; row < lengths.length; row++) {
    let sum = 0;
    for (let i = row * dimensions; i < (row + 1) * dimensions; i++) sum += vectors[i] * vectors[i];
    lengths[row] = Math.sqrt(sum);
  }
  return lengths;
}

/** @param {import('./corpus.mjs').Corpus} corpus @param {Float64Array} lengths @param {Float32Array} query @param {Float64Array} into */
function cosine({ vectors, dimensions }, lengths, query, into) {
  const point = Float64Array.from(query);
  const whole = dimensions - (dimensions % 4);
  for (let row = 0; row < lengths.length; row++) {
    const at = row * dimensions;
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let i = 0; i < whole; i += 4) {
      a += vectors[at + i] * point[i];
      b += vectors[at + i + 1] * point[i + 1];
      c += vectors[at + i + 2] * point[i + 2];
      d += vectors[at + i + 3] * point[i + 3];
    }
    for (let i = whole; i < dimensions; i++) a += vectors[at + i] * point[i];
    into[row] = (a + b + c + d) / lengths[row];
  }
}

/** BM25 by the formula over whole postings. */
class KeywordOracle {
  /** @type {Map<string, Map<number, number>>} term → document → frequency */
  #postings = new Map();
  #lengths;
  #average;
  #documents = 0;

  /** @param {readonly string[]} texts */
  constructor(texts) {
    this.#lengths = new Uint32Array(texts.length);
    let total = 0;
    texts.forEach((text, document) => {
      const terms = termsOf(text);
      this.#lengths[document] = terms.length;
      total += terms.length;
      this.#documents++;
      for (const term of terms) {
        let postings = this.#postings.get(term);
        if (postings === undefined) this.#postings.set(term, (postings = new Map()));
        postings.set(document, (postings.get(document) ?? 0) + 1);
      }
    });
    this.#average = total / this.#documents;
  }

  /** @param {string} text @returns {Map<number, number>} */
  scores(text) {
    const scores = new Map();
    for (const term of [...new Set(termsOf(text))].sort()) {
      const postings = this.#postings.get(term) ?? new Map();
      const idf = Math.log(1 + (this.#documents - postings.size + 0.5) / (postings.size + 0.5));
      for (const [document, frequency] of postings) {
        const part =
          (idf * (frequency * (K1 + 1))) / (frequency + K1 * (1 - B + (B * this.#lengths[document]) / this.#average));
        scores.set(document, (scores.get(document) ?? 0) + part);
      }
    }
    return scores;
  }
}
