import { createRequire } from 'node:module';
import { assert } from '../../../kernel/assert.js';
import type { Similarity } from '../../../kernel/collection.js';
import { LIMITS } from '../../../kernel/limits.js';
import type { Bitmap } from '../core/bitmap.js';
import { grown } from '../core/grown.js';
import type { IdColumns, RecordColumns } from '../core/id-columns.js';
import type { ListsToSum, PostingSums, RankedColumns } from '../core/posting-sums.js';
import type { Ranked } from '../core/top-k.js';
import type { GraphSearch, Near, PageScores, VectorIndex, VectorIndexes, VectorShape } from '../core/vector-index.js';

/** From src/ and from dist/ alike. */
const ADDON = '../../../../dist/native/vector-graph.node';

declare const opaque: unique symbol;
interface Graph {
  readonly [opaque]: 'graph';
}
interface Pages {
  readonly [opaque]: 'pages';
}
interface Postings {
  readonly [opaque]: 'postings';
}

/** The functions of native/addon.cc. */
interface Addon {
  create(similarity: number, dimensions: number, m: number, efConstruction: number, expected: number): Graph;
  add(graph: Graph, label: number, vector: Float32Array, norm: number): void;
  markDead(graph: Graph, label: number): void;
  /** @param asked k and ef of each graph. @param found how many each has; each has room for its k */
  search(
    graphs: readonly Graph[],
    query: Float32Array,
    norm: number,
    asked: Uint32Array,
    allowed: readonly (Uint32Array | undefined)[],
    labels: Uint32Array,
    distances: Float32Array,
    found: Uint32Array,
  ): void;
  sizes(graph: Graph): [size: number, dead: number];
  load(graph: Graph, file: string): void;
  save(graph: Graph, file: string): Promise<void>;
  dispose(graph: Graph): void;
  pages(similarity: number, dimensions: number, pageVectors: number): Pages;
  addPage(pages: Pages, vectors: Float32Array, norms: Float64Array): void;
  /** Gives free memory of the process back. */
  trim(): void;
  scores(pages: Pages, query: Float64Array, norm: number, labels: Uint32Array, count: number, into: Float64Array): void;
  best(
    pages: Pages,
    query: Float64Array,
    norm: number,
    labels: Uint32Array,
    count: number,
    k: number,
    keys: Float64Array,
    records: Uint32Array,
    texts: Uint8Array,
    items: Uint32Array,
    scores: Float64Array,
  ): number;
  /** @returns the bytes it takes; nothing was written when `into` has fewer from `at` on */
  writeLeg(
    records: Uint32Array,
    texts: Uint8Array,
    labels: Uint32Array,
    scores: Float64Array,
    count: number,
    into: Uint8Array,
    at: number,
  ): number;
  postings(): Postings;
  setPage(postings: Postings, index: number, page: Uint32Array): void;
  gather(
    postings: Postings,
    chains: Uint32Array,
    weights: Float64Array,
    lists: number,
    averageLength: number,
    lengths: Uint32Array,
    labels: Uint32Array,
    documents: number,
    allowed: Uint32Array | undefined,
    k: number,
    rest: number,
    ordinals: Uint32Array,
    sums: Float64Array,
    outcome: Uint32Array,
  ): void;
  rank(
    postings: Postings,
    chains: Uint32Array,
    weights: Float64Array,
    lists: number,
    averageLength: number,
    lengths: Uint32Array,
    labels: Uint32Array,
    documents: number,
    allowed: Uint32Array | undefined,
    k: number,
    least: number,
    keys: Float64Array,
    records: Uint32Array,
    texts: Uint8Array,
    termOf: Uint32Array,
    terms: number,
    intoLabels: Uint32Array,
    intoScores: Float64Array,
    intoLengths: Uint32Array,
    intoFrequencies: Uint32Array,
    found: Uint32Array,
  ): number;
  frequencies(
    postings: Postings,
    chains: Uint32Array,
    lists: number,
    ordinals: Uint32Array,
    n: number,
    into: Uint32Array,
  ): void;
}

const SIMILARITIES: Readonly<Record<Similarity, number>> = { cosine: 1, dot: 2, euclidean: 3 };

/**
 * A VectorIndex on the graph in native/graph.h. Against hnswlib-node it takes typed arrays, filters by bits, keeps
 * vectors of a cosine collection in half the memory, and has no locks that one thread would not need.
 */
class NativeVectorIndex implements VectorIndex {
  readonly #addon: Addon;
  readonly #shape: VectorShape;
  readonly #graph: Graph;
  readonly #searches: GraphSearches;
  #size: number;
  #dead: number;
  #saving = false;
  #disposed = false;

  constructor(addon: Addon, shape: VectorShape, graph: Graph) {
    this.#addon = addon;
    this.#shape = shape;
    this.#graph = graph;
    this.#searches = new GraphSearches(addon);
    [this.#size, this.#dead] = addon.sizes(graph);
  }

  get size(): number {
    return this.#size;
  }

  get dead(): number {
    return this.#dead;
  }

  add(label: number, vector: Float32Array, norm: number): void {
    assert(!this.#saving, 'a graph that is being saved must not change');
    this.#addon.add(this.#graph, label, vector, norm);
    this.#size += 1;
  }

  markDead(label: number): void {
    assert(!this.#saving, 'a graph that is being saved must not change');
    this.#addon.markDead(this.#graph, label);
    this.#dead += 1;
  }

  search(query: Float32Array, k: number, ef: number, allowed?: Bitmap): Near {
    const [near] = this.#searches.search(query, this.#shape, [{ graph: this, k, ef, allowed }]);
    return near;
  }

  /** For the addon. */
  static handleOf(index: VectorIndex): Graph {
    assert(#graph in index, 'a graph of the addon is searched by it');
    return index.#graph;
  }

  async save(file: string): Promise<void> {
    assert(!this.#saving, 'a graph is saved by one at a time');
    this.#saving = true;
    try {
      await this.#addon.save(this.#graph, file);
    } finally {
      this.#saving = false;
    }
  }

  dispose(): void {
    assert(!this.#saving, 'a graph that is being saved must not be disposed');
    if (this.#disposed) return;
    this.#disposed = true;
    this.#addon.dispose(this.#graph);
  }
}

/** Searches graphs, and has the room for what they find. */
class GraphSearches {
  readonly #addon: Addon;
  #asked = new Uint32Array(0);
  #found = new Uint32Array(0);
  #labels = new Uint32Array(0);
  #distances = new Float32Array(0);

  constructor(addon: Addon) {
    this.#addon = addon;
  }

  /** Of graphs of one shape; views, valid until the next search. */
  search(query: Float32Array, { similarity }: VectorShape, searches: readonly GraphSearch[]): Near[] {
    const asked = (this.#asked = grown(this.#asked, 2 * searches.length));
    const found = (this.#found = grown(this.#found, searches.length));
    let most = 0;
    searches.forEach(({ graph, k, ef }, i) => {
      asked[2 * i] = Math.min(k, graph.size - graph.dead);
      asked[2 * i + 1] = Math.min(ef, LIMITS.efMax);
      most += asked[2 * i];
    });
    const labels = (this.#labels = grown(this.#labels, most));
    const distances = (this.#distances = grown(this.#distances, most));
    this.#addon.search(
      searches.map(({ graph }) => NativeVectorIndex.handleOf(graph)),
      query,
      similarity === 'cosine' ? euclideanLength(query) : 1,
      asked,
      searches.map(({ allowed }) => allowed?.words),
      labels,
      distances,
      found,
    );
    let at = 0;
    return searches.map((_, i) => {
      const end = at + found[i];
      const near = { labels: labels.subarray(at, end), distances: distances.subarray(at, end) };
      at += asked[2 * i];
      return near;
    });
  }
}

class NativePageScores implements PageScores {
  readonly #addon: Addon;
  readonly #pages: Pages;
  /** What the addon reads. */
  readonly #kept: [Float32Array, Float64Array][] = [];

  constructor(addon: Addon, shape: Pick<VectorShape, 'dimensions' | 'similarity'>, pageVectors: number) {
    this.#addon = addon;
    this.#pages = addon.pages(SIMILARITIES[shape.similarity], shape.dimensions, pageVectors);
  }

  addPage(vectors: Float32Array, norms: Float64Array): void {
    this.#addon.addPage(this.#pages, vectors, norms);
    this.#kept.push([vectors, norms]);
  }

  score(query: Float64Array, norm: number, labels: Uint32Array, count: number, into: Float64Array): void {
    this.#addon.scores(this.#pages, query, norm, labels, count, into);
  }

  best(
    query: Float64Array,
    norm: number,
    labels: Uint32Array,
    k: number,
    { keys, records: { words, texts } }: IdColumns,
    { items, scores }: Ranked,
  ): number {
    return this.#addon.best(this.#pages, query, norm, labels, labels.length, k, keys, words, texts, items, scores);
  }
}

class NativePostingSums implements PostingSums {
  readonly #addon: Addon;
  readonly #postings: Postings;
  /** What the addon reads. */
  readonly #kept: Uint32Array[] = [];

  constructor(addon: Addon) {
    this.#addon = addon;
    this.#postings = addon.postings();
  }

  setPage(index: number, page: Uint32Array): void {
    this.#addon.setPage(this.#postings, index, page);
    this.#kept[index] = page;
  }

  gather(of: ListsToSum, rest: number, ordinals: Uint32Array, sums: Float64Array, outcome: Uint32Array): void {
    this.#addon.gather(
      this.#postings,
      of.chains,
      of.weights,
      of.lists,
      of.averageLength,
      of.lengths,
      of.labels,
      of.documents,
      of.allowed,
      of.k,
      rest,
      ordinals,
      sums,
      outcome,
    );
  }

  rank(
    of: ListsToSum,
    least: number,
    { keys, records: { words, texts } }: IdColumns,
    into: RankedColumns,
    found: Uint32Array,
  ): number {
    return this.#addon.rank(
      this.#postings,
      of.chains,
      of.weights,
      of.lists,
      of.averageLength,
      of.lengths,
      of.labels,
      of.documents,
      of.allowed,
      of.k,
      least,
      keys,
      words,
      texts,
      into.termOf,
      into.terms,
      into.labels,
      into.scores,
      into.lengths,
      into.frequencies,
      found,
    );
  }

  frequencies(
    { chains, lists }: Pick<ListsToSum, 'chains' | 'lists'>,
    ordinals: Uint32Array,
    n: number,
    into: Uint32Array,
  ): void {
    this.#addon.frequencies(this.#postings, chains, lists, ordinals, n, into);
  }
}

const loadedAddon = load();

/** Native graphs; undefined where `npm run build` could not make the addon. */
export const nativeVectorIndexes: VectorIndexes | undefined =
  loadedAddon === undefined ? undefined : indexesOf(loadedAddon);

/** Gives memory that is free back to the system, where the addon and its C library can. */
export function trimMemory(): void {
  loadedAddon?.trim();
}

function load(): Addon | undefined {
  try {
    return createRequire(import.meta.url)(ADDON) as Addon;
  } catch {
    return undefined;
  }
}

function indexesOf(addon: Addon): VectorIndexes {
  const create = (shape: VectorShape, expected: number): Graph =>
    addon.create(
      SIMILARITIES[shape.similarity],
      shape.dimensions,
      shape.hnsw.m,
      shape.hnsw.efConstruction,
      Math.ceil(expected),
    );
  const searches = new GraphSearches(addon);
  return {
    name: 'native',
    scanPerCandidate: undefined,
    create: (shape, expected) => new NativeVectorIndex(addon, shape, create(shape, expected)),
    load: (shape, file, size, dead) => {
      const graph = create(shape, 0);
      addon.load(graph, file);
      const index = new NativeVectorIndex(addon, shape, graph);
      if (index.size !== size || index.dead !== dead) {
        throw new Error(`${file} holds ${index.size} vectors, ${index.dead} dead, instead of ${size}, ${dead} dead`);
      }
      return index;
    },
    searchAll: (query, shape, all) => searches.search(query, shape, all),
    scores: (shape, pageVectors) => new NativePageScores(addon, shape, pageVectors),
    postingSums: () => new NativePostingSums(addon),
    writeLeg: ({ words, texts }: RecordColumns, labels, scores, into, at) =>
      addon.writeLeg(words, texts, labels, scores, labels.length, into, at),
  };
}

function euclideanLength(vector: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < vector.length; i++) sum += vector[i] * vector[i];
  return Math.sqrt(sum);
}
