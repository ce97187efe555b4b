import { IdSlots } from '../../../kernel/id-slots.js';
import type { Candidates } from '../../shard/core/search-answer.js';

/** A shard's candidates for one leg. */
export interface ShardLeg<L extends Candidates = Candidates> {
  readonly shard: number;
  readonly leg: L;
}

/** Gives a shard's candidates other scores than they came with. */
export interface Scorer<L extends Candidates> {
  of(leg: L, row: number): number;
  /** Those of all rows, into `scores` from `at` on. */
  all(leg: L, scores: Float64Array, at: number): void;
}

/** Rows of one shard: more than any answer may have. */
const ROWS = 2 ** 20;

/**
 * One leg merged over all shards: places from 0, best first, documents distinct. Candidates stay in the answers they came
 * in: only the few that win are ever looked at again.
 */
export class MergedLeg<L extends Candidates = Candidates> {
  readonly #sources: readonly ShardLeg<L>[];
  /** By place: source × ROWS + row. */
  readonly #from: readonly number[];
  /** By place. */
  readonly scores: Float64Array;

  constructor(sources: readonly ShardLeg<L>[], from: readonly number[], scores: Float64Array) {
    this.#sources = sources;
    this.#from = from;
    this.scores = scores;
  }

  get length(): number {
    return this.#from.length;
  }

  shard(place: number): number {
    return this.#sources[Math.floor(this.#from[place] / ROWS)].shard;
  }

  /** Where the candidate is, with `row`. */
  leg(place: number): L {
    return this.#sources[Math.floor(this.#from[place] / ROWS)].leg;
  }

  row(place: number): number {
    return this.#from[place] % ROWS;
  }

  id(place: number): string {
    return this.leg(place).id(this.row(place));
  }

  /** Equal for equal ids. */
  idHash(place: number): number {
    return this.leg(place).hash(this.row(place));
  }

  compareId(place: number, other: MergedLeg, otherPlace: number): number {
    return this.leg(place).compareId(this.row(place), other.leg(otherPlace), other.row(otherPlace));
  }
}

export const NO_LEG: MergedLeg<never> = new MergedLeg([], [], new Float64Array(0));

/**
 * Merges one leg over all shards (replication 7.4): the best `size` by score, ties by id. Of a document that two shards
 * returned (it is moving) the highest version stays.
 */
export function mergeLeg<L extends Candidates>(
  sources: readonly ShardLeg<L>[],
  size: number,
  scorer?: Scorer<L>,
): MergedLeg<L> {
  pool.fill(sources, scorer);
  const from = pool.best(size);
  const scores = new Float64Array(from.length);
  for (let place = 0; place < from.length; place++) {
    const at = from[place];
    scores[place] = pool.scores[at];
    const source = pool.sourceOf[at];
    from[place] = source * ROWS + (at - pool.starts[source]);
  }
  pool.clear();
  return new MergedLeg(sources, from, scores);
}

/** All candidates of a leg, shard after shard. Its memory is used again by every merge: each is one turn. */
class Pool {
  #sources: readonly ShardLeg[] = [];
  #count = 0;
  /** By candidate. */
  scores = new Float64Array(1_024);
  sourceOf = new Uint16Array(1_024);
  /** Candidates, each shard's from its start on, best first. */
  #order = new Uint32Array(1_024);
  /** By shard: its first candidate; of the last shard the end. */
  starts = new Uint32Array(64);
  /** By shard: where in `#order` its best one left is. */
  #heads = new Uint32Array(64);
  /** Shards with candidates left, as a heap: the one with the best head first. */
  #heap = new Uint32Array(64);
  readonly #byId = new IdSlots();

  fill(sources: readonly ShardLeg[], scorer: Scorer<Candidates> | undefined): void {
    this.#sources = sources;
    this.#reserve(sources);
    let at = 0;
    for (let source = 0; source < sources.length; source++) {
      const { leg } = sources[source];
      const start = at;
      this.starts[source] = start;
      if (scorer === undefined) leg.scores(this.scores, at);
      else scorer.all(leg, this.scores, at);
      for (const end = start + leg.count; at < end; at++) {
        this.sourceOf[at] = source;
        // Answers come best first; new sums may have changed that a little.
        let place = at;
        for (; place > start && this.#isBefore(at, this.#order[place - 1]); place--)
          this.#order[place] = this.#order[place - 1];
        this.#order[place] = at;
      }
    }
    this.starts[sources.length] = at;
    this.#count = at;
  }

  /** The `size` best candidates, of each document the one of the highest version. */
  best(size: number): number[] {
    const superseded = this.#sources.length > 1 ? this.#superseded() : undefined;
    let shards = 0;
    for (let source = 0; source < this.#sources.length; source++) {
      this.#heads[source] = this.starts[source];
      if (this.starts[source] < this.starts[source + 1]) this.#heap[shards++] = source;
    }
    for (let at = (shards >>> 1) - 1; at >= 0; at--) this.#sink(at, shards);
    const best: number[] = [];
    while (shards > 0 && best.length < size) {
      const source = this.#heap[0];
      const candidate = this.#order[this.#heads[source]++];
      if (superseded?.has(candidate) !== true) best.push(candidate);
      if (this.#heads[source] === this.starts[source + 1]) this.#heap[0] = this.#heap[--shards];
      this.#sink(0, shards);
    }
    return best;
  }

  /** Lets the answers go. */
  clear(): void {
    this.#sources = [];
  }

  /** By score descending, then by id. */
  #isBefore(a: number, b: number): boolean {
    const scoreOfA = this.scores[a];
    const scoreOfB = this.scores[b];
    return scoreOfA > scoreOfB || (scoreOfA === scoreOfB && this.#compareIds(a, b) < 0);
  }

  #compareIds(a: number, b: number): number {
    const sourceOfA = this.sourceOf[a];
    const sourceOfB = this.sourceOf[b];
    const legOfB = this.#sources[sourceOfB].leg;
    return this.#sources[sourceOfA].leg.compareId(a - this.starts[sourceOfA], legOfB, b - this.starts[sourceOfB]);
  }

  #sink(from: number, shards: number): void {
    const heap = this.#heap;
    if (from >= shards) return;
    const source = heap[from];
    const head = this.#order[this.#heads[source]];
    let at = from;
    for (let child = 2 * at + 1; child < shards; child = 2 * at + 1) {
      if (child + 1 < shards && this.#isBefore(this.#head(heap[child + 1]), this.#head(heap[child]))) child++;
      if (!this.#isBefore(this.#head(heap[child]), head)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = source;
  }

  #head(source: number): number {
    return this.#order[this.#heads[source]];
  }

  /** Candidates whose document another shard returned in a newer version, or as new and better; undefined for none. */
  #superseded(): Set<number> | undefined {
    let superseded: Set<number> | undefined;
    let candidate = 0;
    const isSame = (other: number): boolean => this.#compareIds(candidate, other) === 0;
    this.#byId.reset(this.#count);
    for (; candidate < this.#count; candidate++) {
      const hash = this.#hash(candidate);
      const other = this.#byId.find(hash, isSame);
      if (other >= 0) {
        superseded ??= new Set();
        const isNewer = this.#compareVersions(candidate, other) || this.scores[candidate] - this.scores[other];
        superseded.add(isNewer > 0 ? other : candidate);
        if (isNewer <= 0) continue;
        this.#byId.remove(hash, other);
      }
      this.#byId.add(hash, candidate);
    }
    return superseded;
  }

  #hash(candidate: number): number {
    const source = this.sourceOf[candidate];
    return this.#sources[source].leg.hash(candidate - this.starts[source]);
  }

  #compareVersions(a: number, b: number): number {
    const sourceOfA = this.sourceOf[a];
    const sourceOfB = this.sourceOf[b];
    const [legOfA, rowOfA] = [this.#sources[sourceOfA].leg, a - this.starts[sourceOfA]];
    const [legOfB, rowOfB] = [this.#sources[sourceOfB].leg, b - this.starts[sourceOfB]];
    const ms = legOfA.versionMs(rowOfA) - legOfB.versionMs(rowOfB);
    return ms === 0 ? legOfA.versionCounter(rowOfA) - legOfB.versionCounter(rowOfB) : ms;
  }

  #reserve(sources: readonly ShardLeg[]): void {
    let candidates = 0;
    for (const { leg } of sources) candidates += leg.count;
    if (candidates > this.scores.length) {
      this.scores = new Float64Array(2 * candidates);
      this.sourceOf = new Uint16Array(2 * candidates);
      this.#order = new Uint32Array(2 * candidates);
    }
    if (sources.length < this.starts.length) return;
    this.starts = new Uint32Array(2 * sources.length);
    this.#heads = new Uint32Array(2 * sources.length);
    this.#heap = new Uint32Array(2 * sources.length);
  }
}

const pool = new Pool();
