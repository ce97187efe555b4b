import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { Random } from './random.mjs';
import { Vocabulary } from './vocabulary.mjs';

/**
 * Documents, their queries and what the ground truth needs of them.
 *
 * @typedef {object} Corpus
 * @property {string} name
 * @property {string} directory where this corpus and what is computed from it are cached
 * @property {number} documents
 * @property {number} dimensions
 * @property {string} file NDJSON, one document a line
 * @property {number} bytes of `file`
 * @property {readonly string[]} ids by document
 * @property {Float32Array} vectors one row per document: exactly the numbers in `file`
 * @property {readonly string[]} texts title and content
 * @property {readonly Query[]} queries
 * @property {Readonly<Record<string, Attribute>>} attributes by name
 *
 * @typedef {object} Query
 * @property {string} text
 * @property {Float32Array} vector
 *
 * @typedef {object} Attribute
 * @property {number} share of the documents that pass for one value
 * @property {readonly string[]} values by document
 * @property {readonly string[]} asked by query
 */

/** Change it when anything in this file changes what is generated. */
const FORMAT = 3;
const CLUSTERS = 1_000;
/** Deviation of a cluster's members around its centre, in units of the deviation of the centres. */
const SPREAD = 0.35;
const VOCABULARY = 20_000;
const WORDS_MIN = 12;
const WORDS_MAX = 28;
const TITLE_WORDS = 3;
const QUERY_WORDS = 3;
/** Digits after the point in a vector's numbers: what clients send is seldom longer, and the truth is computed from just these. */
const DECIMALS = 5;
/** One document in `parts` passes a filter on one value of the attribute. */
const ATTRIBUTES = { half: 2, tenth: 10, hundredth: 100 };
const CHUNK = 1 << 20;

const WORDNET = fileURLToPath(new URL('../../examples/wordnet/wordnet-10k.ndjson.gz', import.meta.url));
const WORDNET_QUERIES = 500;

export const CACHE = join(tmpdir(), 'spector-bench-cache');

/**
 * The clustered corpus: `documents` unit vectors around 1 000 centres, texts of 12–28 words (20 on average) by Zipf's
 * law, and three attributes that pass a half, a tenth and a hundredth of the documents. Queries are further members of
 * the same clusters with three words by the same law.
 *
 * @param {{ documents: number, dimensions: number, queries: number }} options
 * @returns {Corpus}
 */
export function clusteredCorpus({ documents, dimensions, queries }) {
  const directory = join(CACHE, `clustered-${FORMAT}-${documents}x${dimensions}`);
  const file = join(directory, 'documents.ndjson');
  const random = new Random(documents * 4_099 + dimensions);
  const vocabulary = new Vocabulary(VOCABULARY);
  const centres = new Float64Array(CLUSTERS * dimensions);
  for (let i = 0; i < centres.length; i++) centres[i] = random.gaussian();

  const vectors = new Float32Array(documents * dimensions);
  const ids = [];
  const texts = [];
  /** @type {Record<string, string[]>} */
  const values = {};
  for (const name of Object.keys(ATTRIBUTES)) values[name] = [];
  const writer = existsSync(file) ? undefined : new LineWriter(directory, file);
  for (let document = 0; document < documents; document++) {
    const id = `d${String(document).padStart(8, '0')}`;
    const printed = member(centres, dimensions, random, vectors, document * dimensions);
    const count = WORDS_MIN + random.integer(WORDS_MAX - WORDS_MIN + 1);
    const words = Array.from({ length: count }, () => vocabulary.draw(random));
    const title = words.slice(0, TITLE_WORDS).join(' ');
    const content = words.slice(TITLE_WORDS).join(' ');
    /** @type {Record<string, string>} */
    const metadata = {};
    for (const [name, parts] of Object.entries(ATTRIBUTES)) {
      metadata[name] = `${name}-${random.integer(parts)}`;
      values[name].push(metadata[name]);
    }
    ids.push(id);
    texts.push(`${title}\n${content}`);
    writer?.line(
      `{"id":"${id}","title":"${title}","content":"${content}","metadata":${JSON.stringify(metadata)},"vector":[${printed.join(',')}]}\n`,
    );
  }
  writer?.end();

  const asked = new Random(documents * 31 + dimensions * 7 + 1);
  /** @type {Record<string, Attribute>} */
  const attributes = {};
  for (const [name, parts] of Object.entries(ATTRIBUTES)) {
    attributes[name] = {
      share: 1 / parts,
      values: values[name],
      asked: Array.from({ length: queries }, () => `${name}-${asked.integer(parts)}`),
    };
  }
  return {
    name: `clustered ${documents} × ${dimensions}`,
    directory,
    documents,
    dimensions,
    file,
    bytes: statSync(file).size,
    ids,
    vectors,
    texts,
    queries: Array.from({ length: queries }, () => {
      const vector = new Float32Array(dimensions);
      member(centres, dimensions, asked, vector, 0);
      const words = new Set();
      while (words.size < QUERY_WORDS) words.add(vocabulary.draw(asked));
      return { text: [...words].join(' '), vector };
    }),
    attributes,
  };
}

/**
 * WordNet: real glosses with real word vectors. The last 500 documents are held out and asked instead: their vectors,
 * with their titles as texts.
 * @returns {Corpus | undefined} undefined when the file is not there
 */
export function wordnetCorpus() {
  if (!existsSync(WORDNET)) return undefined;
  const directory = join(CACHE, `wordnet-${FORMAT}`);
  const file = join(directory, 'documents.ndjson');
  const lines = gunzipSync(readFileSync(WORDNET)).toString('utf8').trimEnd().split('\n');
  const stored = lines.slice(0, -WORDNET_QUERIES);
  if (!existsSync(file)) {
    mkdirSync(directory, { recursive: true });
    writeFileSync(`${file}.new`, stored.map((line) => `${line}\n`).join(''));
    renameSync(`${file}.new`, file);
  }
  const documents = stored.map((line) => JSON.parse(line));
  const dimensions = documents[0].vector.length;
  const vectors = new Float32Array(documents.length * dimensions);
  documents.forEach((document, i) => vectors.set(document.vector, i * dimensions));
  return {
    name: `wordnet ${documents.length} × ${dimensions}`,
    directory,
    documents: documents.length,
    dimensions,
    file,
    bytes: statSync(file).size,
    ids: documents.map(({ id }) => id),
    vectors,
    texts: documents.map(({ title, content }) => `${title}\n${content}`),
    queries: lines.slice(-WORDNET_QUERIES).map((line) => {
      const { title, vector } = JSON.parse(line);
      return { text: title, vector: Float32Array.from(vector) };
    }),
    attributes: {},
  };
}

/** Part of a corpus' lines, as a file of its own. @param {Corpus} corpus @param {number} from @param {number} to */
export function linesOf(corpus, from, to) {
  const file = join(corpus.directory, `documents-${from}-${to}.ndjson`);
  if (!existsSync(file)) {
    const lines = readFileSync(corpus.file, 'utf8').split('\n').slice(from, to);
    writeFileSync(`${file}.new`, lines.map((line) => `${line}\n`).join(''));
    renameSync(`${file}.new`, file);
  }
  return file;
}

/** The distinct lower-case terms of a text as the keyword leg counts them; written anew, so that it can disagree. @param {string} text */
export function termsOf(text) {
  const runs =
    text
      .toLowerCase()
      .normalize('NFC')
      .match(/[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu) ?? [];
  return runs.filter((run) => [...run].length >= 2 && !STOP_WORDS.has(run));
}

const STOP_WORDS = new Set(
  'a an and are as at be but by for from if in into is it no not of on or such that the their then there these they this to was will with'.split(
    ' ',
  ),
);

/**
 * One more member of a random cluster, of unit length.
 * @returns {number[]} the rounded numbers, as printed
 * @param {Float64Array} centres @param {number} dimensions @param {Random} random @param {Float32Array} into @param {number} at
 */
function member(centres, dimensions, random, into, at) {
  const centre = random.integer(CLUSTERS) * dimensions;
  const raw = new Array(dimensions);
  let sum = 0;
  for (let i = 0; i < dimensions; i++) {
    raw[i] = centres[centre + i] + SPREAD * random.gaussian();
    sum += raw[i] * raw[i];
  }
  const scale = 10 ** DECIMALS;
  const length = Math.sqrt(sum);
  for (let i = 0; i < dimensions; i++) {
    raw[i] = Math.round((raw[i] / length) * scale) / scale;
    into[at + i] = raw[i];
  }
  return raw;
}

/** Writes a file in chunks and gives it its name when it is whole. */
class LineWriter {
  #file;
  #fd;
  #chunk = '';

  /** @param {string} directory @param {string} file */
  constructor(directory, file) {
    mkdirSync(directory, { recursive: true });
    this.#file = file;
    this.#fd = openSync(`${file}.new`, 'w');
  }

  /** @param {string} line */
  line(line) {
    this.#chunk += line;
    if (this.#chunk.length >= CHUNK) this.#flush();
  }

  end() {
    this.#flush();
    closeSync(this.#fd);
    renameSync(`${this.#file}.new`, this.#file);
  }

  #flush() {
    writeSync(this.#fd, this.#chunk);
    this.#chunk = '';
  }
}

/** Forgets every cached corpus and truth. */
export function dropCache() {
  rmSync(CACHE, { recursive: true, force: true });
}
