import { assert } from '../../../kernel/assert.js';
import { Bitmap } from './bitmap.js';
import { GraphRebuild } from './graph-rebuild.js';
import { grown } from './grown.js';
import type { LabelTies } from './id-columns.js';
import { TopK, type Ranked } from './top-k.js';
import type { GraphSearch, Near, VectorIndex, VectorIndexes, VectorShape } from './vector-index.js';
import { PAGE_VECTORS, VectorPages } from './vector-pages.js';

/** A set of at most this many vectors is scanned: exact, and no slower than any graph. */
const SCAN_ALWAYS = 200;
/** With a graph that cannot scan by itself, a set of at most this many vectors is. */
export const SCAN_LABELS_MIN = 1_000;
/** The same as a share of all vectors. */
export const SCAN_SHARE_MIN = 0.02;
/** Kept of what a graph found beyond what is wanted: it may take vectors about as near as the last ones for one another. */
export const SPARE = 8;
/** So many at least, though the walk is as wide as what is wanted, and gets wider by them. */
const SPARE_MIN = 4;
/** A graph is rebuilt when its dead labels pass both. */
export const REBUILD_DEAD_SHARE = 0.2;
export const REBUILD_DEAD_MIN = 1_000;

const NONE_FOUND: FoundVectors = { labels: new Uint32Array(0), distances: undefined };

/** A vector that cannot be in this table: of another dimension, or not finite. */
export class VectorRefusedError extends Error {
  override readonly name = 'VectorRefusedError';
}

/**
 * The vector leg of one collection in one shard: the vectors in pages, a graph over them, and the choice between the
 * two for each search.
 *
 * A label that leaves stays in the graph, dead, until the graph is rebuilt in the background: only then its number is
 * `released`. Invariants: `#present` holds exactly the live labels with a vector; `#inGraph` exactly the labels in the
 * graph, dead ones included; every present label is in the graph.
 */
export class VectorTable {
  readonly shape: VectorShape;
  readonly #indexes: VectorIndexes;
  readonly #released: (label: number) => void;
  readonly #pages: VectorPages;
  readonly #best: TopK;
  readonly #ties: LabelTies;
  #graph: VectorIndex;
  #present = new Bitmap();
  #inGraph = new Bitmap();
  #size = 0;
  /** Room for what one search finds. */
  #items = new Uint32Array(0);
  #scores = new Float64Array(0);
  #rebuild: GraphRebuild | undefined;

  /**
   * @param ties order of live labels with equal scores
   * @param released is told of each label that no graph remembers any more
   */
  constructor(
    shape: VectorShape,
    indexes: VectorIndexes,
    ties: LabelTies,
    released: (label: number) => void,
    loaded?: LoadedVectors,
  ) {
    this.shape = shape;
    this.#indexes = indexes;
    this.#ties = ties;
    this.#released = released;
    this.#best = new TopK(0, ties.compare);
    this.#pages =
      loaded?.pages ?? new VectorPages(shape.dimensions, shape.similarity, indexes.scores?.(shape, PAGE_VECTORS));
    this.#graph = loaded?.graph ?? indexes.create(shape, 0);
    if (loaded !== undefined) {
      this.#present = loaded.present;
      this.#inGraph = loaded.inGraph;
      this.#size = loaded.present.count();
      assert(this.#inGraph.count() === this.#graph.size, 'a loaded graph holds the labels its checkpoint names');
    }
  }

  /** Live vectors. */
  get size(): number {
    return this.#size;
  }

  /** Labels that wait for the next rebuild. */
  get deadLabels(): number {
    return this.#graph.dead;
  }

  /** Live labels with a vector; not to be changed. */
  get present(): Bitmap {
    return this.#present;
  }

  /** @throws VectorRefusedError */
  add(label: number, vector: Float32Array): void {
    this.check(vector);
    const norm = this.#pages.set(label, vector);
    this.#graph.add(label, vector, norm);
    this.#inGraph.set(label);
    this.#present.set(label);
    this.#size += 1;
    this.#rebuild?.add(label);
  }

  /** @throws VectorRefusedError when `vector` cannot be added */
  check(vector: Float32Array): void {
    const { dimensions } = this.shape;
    if (vector.length !== dimensions) {
      throw new VectorRefusedError(
        `a vector of ${vector.length} dimensions in a collection of ${dimensions} dimensions`,
      );
    }
    // Finite float32 numbers cannot add up to anything else in double precision.
    let sum = 0;
    for (let i = 0; i < dimensions; i++) sum += vector[i];
    if (!Number.isFinite(sum)) throw new VectorRefusedError('a vector holds a number that is not finite');
  }

  /** Takes a label out, if it is here. Returns true when its number is free at once: no graph holds it. */
  remove(label: number): boolean {
    if (this.#present.has(label)) {
      this.#present.clear(label);
      this.#size -= 1;
      this.#graph.markDead(label);
      this.#rebuild?.remove(label);
    }
    return !this.#inGraph.has(label);
  }

  /**
   * What may be among the best `k` labels by similarity, to be ranked before the next search.
   * @param allowed leaves every other label out
   * @param exact scans, whatever it takes
   */
  find(query: Float32Array, k: number, ef: number, allowed: Bitmap | undefined, exact: boolean): FoundVectors {
    const [found] = VectorTable.findAll(query, k, ef, exact, [{ table: this, allowed }]);
    return found;
  }

  /** As `find`, in tables of one shape: their graphs are searched side by side where that is sooner. */
  static findAll(
    query: Float32Array,
    k: number,
    ef: number,
    exact: boolean,
    tables: readonly { readonly table: VectorTable; readonly allowed: Bitmap | undefined }[],
  ): FoundVectors[] {
    const plans = tables.map(({ table, allowed }) => table.#plan(k, ef, allowed, exact));
    const walks = plans.flatMap(({ walk }) => walk ?? []);
    const near = walks.length === 0 ? [] : tables[0].table.#searchAll(query, walks);
    let walked = 0;
    return plans.map(({ among, wanted, walk }) => {
      if (wanted === 0) return NONE_FOUND;
      const found = walk && near[walked++];
      // A graph can lose its way to some vectors; what it does not find, a scan does.
      return found !== undefined && found.labels.length >= wanted
        ? found
        : { labels: among.toArray(), distances: undefined };
    });
  }

  /**
   * The best `k` of what was found, by similarity, ties in the order of the table; views, valid until the next ranking.
   * @param farthest leaves out what a graph found farther away
   */
  rank(query: Float32Array, k: number, { labels, distances }: FoundVectors, farthest = Infinity): Ranked {
    let count = labels.length;
    if (distances !== undefined) while (count > 0 && distances[count - 1] > farthest) count--;
    return this.#rank(query, Math.min(k, count), labels.subarray(0, count));
  }

  /** Whether dead labels have piled up so far that `work` has something to do. */
  get needsWork(): boolean {
    return (
      this.#rebuild !== undefined ||
      this.#graph.dead > Math.max(REBUILD_DEAD_MIN, REBUILD_DEAD_SHARE * this.#graph.size)
    );
  }

  /** Rebuilds the graph a little, until `expired` says yes. Searches go on over the old graph until the new one is whole. */
  work(expired: () => boolean): void {
    if (!this.needsWork) return;
    this.#rebuild ??= new GraphRebuild(
      this.#indexes.create(this.shape, this.#size),
      this.#pages,
      this.#present.toArray(),
    );
    while (!this.#rebuild.isDone) {
      this.#rebuild.step((label) => this.#present.has(label));
      if (expired()) return;
    }
    const { graph, labels } = this.#rebuild;
    this.#rebuild = undefined;
    const gone = this.#inGraph.andNot(labels);
    this.#graph.dispose();
    this.#graph = graph;
    this.#inGraph = labels;
    gone.forEach(this.#released);
  }

  /** What a checkpoint keeps; views, valid until the next change. */
  parts(high: number): {
    readonly pages: Iterable<Float32Array>;
    readonly inGraph: Bitmap;
    readonly graph: VectorIndex;
  } {
    return { pages: this.#pages.parts(high), inGraph: this.#inGraph, graph: this.#graph };
  }

  dispose(): void {
    this.#rebuild?.graph.dispose();
    this.#rebuild = undefined;
    this.#graph.dispose();
  }

  /** What is to be found, among what, and what its graph is asked for that; without `walk` all of it is scanned. */
  #plan(k: number, ef: number, allowed: Bitmap | undefined, exact: boolean): FindPlan {
    const among = allowed === undefined ? this.#present : allowed.clone().and(this.#present);
    const matches = allowed === undefined ? this.#size : among.count();
    const wanted = Math.min(k, matches);
    const width = Math.max(ef, wanted);
    if (wanted === 0 || exact || matches <= this.#scanLimit(matches, width)) return { among, wanted, walk: undefined };
    const spare = Math.max(SPARE_MIN, Math.min(SPARE, width - wanted));
    const walk = { graph: this.#graph, k: wanted + spare, ef: width, allowed: allowed && among };
    return { among, wanted, walk };
  }

  #searchAll(query: Float32Array, walks: readonly GraphSearch[]): readonly Near[] {
    return (
      this.#indexes.searchAll?.(query, this.shape, walks) ??
      walks.map(({ graph, k, ef, allowed }) => graph.search(query, k, ef, allowed))
    );
  }

  /** Sets of up to this many vectors are scanned here. */
  #scanLimit(matches: number, width: number): number {
    const { scanPerCandidate } = this.#indexes;
    if (scanPerCandidate === undefined) return SCAN_ALWAYS;
    const passRate = matches / this.#size;
    return Math.max(SCAN_LABELS_MIN, SCAN_SHARE_MIN * this.#size, (scanPerCandidate * width) / passRate);
  }

  #rank(query: Float32Array, k: number, labels: Uint32Array): Ranked {
    const { length } = labels;
    const { compare, ids } = this.#ties;
    if (ids !== undefined) {
      const most = Math.min(k, length);
      const items = (this.#items = grown(this.#items, most));
      const scores = (this.#scores = grown(this.#scores, most));
      const found = this.#pages.best(query, labels, k, ids, { items, scores });
      if (found !== undefined) return { items: items.subarray(0, found), scores: scores.subarray(0, found) };
    }
    const scores = (this.#scores = grown(this.#scores, length));
    this.#pages.scores(query, labels, length, scores);
    const best = this.#best;
    best.reset(k, compare);
    for (let i = 0; i < length; i++) best.push(labels[i], scores[i]);
    return best.drain();
  }
}

interface FindPlan {
  readonly among: Bitmap;
  readonly wanted: number;
  readonly walk: GraphSearch | undefined;
}

/** Labels that a table found. */
export interface FoundVectors {
  readonly labels: Uint32Array;
  /** From the query, ascending (`Near`); undefined when every label there is was taken. */
  readonly distances: Float32Array | undefined;
}

/** A table's state as a checkpoint gave it back. */
export interface LoadedVectors {
  readonly pages: VectorPages;
  readonly graph: VectorIndex;
  /** Live labels with a vector. */
  readonly present: Bitmap;
  readonly inGraph: Bitmap;
}
