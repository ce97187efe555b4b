import { fromUtf8 } from '../../../kernel/bytes.js';
import { codeUnitRank } from '../../../kernel/id-bytes.js';
import type { KeywordStatistics } from './search.js';

/** Sizes of what `ShardSearchAnswer` describes: before the legs, of a leg before its candidates, of a candidate, of a keyword leg's own. */
export const HEADER_BYTES = 16;
export const LEG_BYTES = 8;
export const CANDIDATE_BYTES = 34;
export const KEYWORD_BYTES = 28;

export const VECTOR = 1;
export const KEYWORD = 2;
export const NOT_READY = 4;
export const FAULTED = 8;

/** Why a shard gives no legs. */
export type SearchFailure = 'NOT_READY' | 'FAULTED';

/**
 * What one shard answers to a search, as the bytes its index thread wrote. They travel as they are, from the thread over
 * the node to the coordinator of another one, and are read in place: a candidate becomes a value only when a merge looks
 * at it. Little-endian, without gaps; u32 where nothing else is said:
 *
 * length of it all, shard, live documents, flags; the vector leg; the keyword leg.
 * A leg: n, bytes of its ids; n scores, offsets and version ms (f64); n hashes and ends of ids, n version counters (u16);
 * the ids (UTF-8). A keyword leg goes on: t terms; documents and total length of the index, the best score left out
 * (f64), t document frequencies; n × t frequencies, n lengths.
 */
export class ShardSearchAnswer {
  readonly #view: DataView;
  readonly #start: number;

  /** @param start of the answer in `view`; it is believed, see `received` */
  constructor(view: DataView, start = 0) {
    this.#view = view;
    this.#start = start;
  }

  /** Of a shard that cannot answer. */
  static failed(shard: number, failure: SearchFailure): ShardSearchAnswer {
    const view = new DataView(new ArrayBuffer(HEADER_BYTES));
    view.setUint32(0, HEADER_BYTES, true);
    view.setUint32(4, shard, true);
    view.setUint32(12, failure === 'FAULTED' ? FAULTED : NOT_READY, true);
    return new ShardSearchAnswer(view);
  }

  /** The answer that `bytes` are, from another node; undefined when they are none. Nothing of it reads elsewhere. */
  static received(bytes: Uint8Array): ShardSearchAnswer | undefined {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length < HEADER_BYTES || view.getUint32(0, true) !== bytes.length) return undefined;
    const flags = view.getUint32(12, true);
    let end: number | undefined = HEADER_BYTES;
    if ((flags & VECTOR) !== 0) end = Candidates.endOf(view, end);
    if ((flags & KEYWORD) !== 0 && end !== undefined) end = KeywordCandidates.endOf(view, end);
    return end === bytes.length ? new ShardSearchAnswer(view) : undefined;
  }

  get shard(): number {
    return this.#view.getUint32(this.#start + 4, true);
  }

  /** Live documents of the collection in this shard, with or without text and vector. */
  get documents(): number {
    return this.#view.getUint32(this.#start + 8, true);
  }

  /** Set instead of legs when the shard cannot answer. */
  get failed(): SearchFailure | undefined {
    const flags = this.#flags;
    if ((flags & NOT_READY) !== 0) return 'NOT_READY';
    return (flags & FAULTED) !== 0 ? 'FAULTED' : undefined;
  }

  /** All of it; a view. */
  get bytes(): Uint8Array {
    const { buffer, byteOffset } = this.#view;
    return new Uint8Array(buffer, byteOffset + this.#start, this.#view.getUint32(this.#start, true));
  }

  /** Best first, scores recomputed in double precision from the stored float32 vectors. */
  vector(): Candidates | undefined {
    return (this.#flags & VECTOR) === 0 ? undefined : new Candidates(this.#view, this.#start + HEADER_BYTES);
  }

  /** Best first, by the statistics the shard ranked by. */
  keyword(): KeywordCandidates | undefined {
    const flags = this.#flags;
    if ((flags & KEYWORD) === 0) return undefined;
    const first = this.#start + HEADER_BYTES;
    return new KeywordCandidates(this.#view, (flags & VECTOR) === 0 ? first : new Candidates(this.#view, first).end);
  }

  get #flags(): number {
    return this.#view.getUint32(this.#start + 12, true);
  }
}

/** The answers that `view` holds from `start` to `end`, one after the other. */
export function answersIn(view: DataView, start: number, end: number): readonly ShardSearchAnswer[] {
  const answers: ShardSearchAnswer[] = [];
  for (let at = start; at < end; at += view.getUint32(at, true)) answers.push(new ShardSearchAnswer(view, at));
  return answers;
}

/** One leg of an answer, read in place: a row is a candidate, best first. */
export class Candidates {
  protected readonly view: DataView;
  readonly count: number;
  readonly #scores: number;
  readonly #offsets: number;
  readonly #ms: number;
  readonly #hashes: number;
  readonly #ends: number;
  readonly #counters: number;
  readonly #ids: number;
  /** Where the next thing begins. */
  readonly end: number;

  constructor(view: DataView, at: number) {
    const count = view.getUint32(at, true);
    this.view = view;
    this.count = count;
    this.#scores = at + LEG_BYTES;
    this.#offsets = this.#scores + 8 * count;
    this.#ms = this.#offsets + 8 * count;
    this.#hashes = this.#ms + 8 * count;
    this.#ends = this.#hashes + 4 * count;
    this.#counters = this.#ends + 4 * count;
    this.#ids = this.#counters + 2 * count;
    this.end = this.#ids + view.getUint32(at + 4, true);
  }

  /** Where a leg that begins at `at` ends; undefined when it does not fit, or holds what no leg does. */
  static endOf(view: DataView, at: number): number | undefined {
    if (at + LEG_BYTES > view.byteLength) return undefined;
    const count = view.getUint32(at, true);
    const idBytes = view.getUint32(at + 4, true);
    if (at + LEG_BYTES + CANDIDATE_BYTES * count + idBytes > view.byteLength) return undefined;
    const leg = new Candidates(view, at);
    return leg.#isSound(idBytes) ? leg.end : undefined;
  }

  score(row: number): number {
    return this.view.getFloat64(this.#scores + 8 * row, true);
  }

  /** Those of all rows, into `into` from `at` on. */
  scores(into: Float64Array, at: number): void {
    for (let row = 0; row < this.count; row++) into[at + row] = this.view.getFloat64(this.#scores + 8 * row, true);
  }

  /** Log offset of the candidate's entry. */
  offset(row: number): number {
    return this.view.getFloat64(this.#offsets + 8 * row, true);
  }

  /** hlc of the candidate's version, with `versionCounter`: for the dedup by highest version (replication 7.4). */
  versionMs(row: number): number {
    return this.view.getFloat64(this.#ms + 8 * row, true);
  }

  versionCounter(row: number): number {
    return this.view.getUint16(this.#counters + 2 * row, true);
  }

  /** Equal for equal ids. */
  hash(row: number): number {
    return this.view.getUint32(this.#hashes + 4 * row, true);
  }

  id(row: number): string {
    const { buffer, byteOffset } = this.view;
    const start = this.#idStart(row);
    return fromUtf8(new Uint8Array(buffer, byteOffset + start, this.#idEnd(row) - start));
  }

  /** Order of two candidates' ids, as `compareIds` has it. */
  compareId(row: number, other: Candidates, otherRow: number): number {
    let a = this.#idStart(row);
    let b = other.#idStart(otherRow);
    const endOfA = this.#idEnd(row);
    const endOfB = other.#idEnd(otherRow);
    for (; a < endOfA && b < endOfB; a++, b++) {
      const byteOfA = this.view.getUint8(a);
      const byteOfB = other.view.getUint8(b);
      if (byteOfA !== byteOfB) return codeUnitRank(byteOfA) - codeUnitRank(byteOfB);
    }
    return endOfA - a - (endOfB - b);
  }

  #idStart(row: number): number {
    return row === 0 ? this.#ids : this.#idEnd(row - 1);
  }

  #idEnd(row: number): number {
    return this.#ids + this.view.getUint32(this.#ends + 4 * row, true);
  }

  #isSound(idBytes: number): boolean {
    let units = 0;
    for (let at = this.#ids; at < this.end; at++) units |= this.view.getUint8(at);
    let end = this.#ids;
    for (let row = 0; row < this.count; row++) {
      const start = end;
      end = this.#idEnd(row);
      if (end < start || end > this.end || (units >= 0x80 && !isText(this, row))) return false;
      if (!Number.isFinite(this.score(row)) || !isCount(this.offset(row)) || !isCount(this.versionMs(row)))
        return false;
    }
    return end - this.#ids === idBytes;
  }
}

export class KeywordCandidates extends Candidates {
  /** The shard's own sums, in the order of the request's terms. */
  readonly statistics: KeywordStatistics;
  /**
   * No matching document of the shard that is not among the candidates scores more, by the statistics it ranked by; −∞ when
   * all are. One that scores the same as the last candidate comes after it.
   */
  readonly bestLeftOut: number;
  readonly #terms: number;
  readonly #frequencies: number;
  readonly #lengths: number;

  constructor(view: DataView, at: number) {
    super(view, at);
    const from = this.end;
    const terms = view.getUint32(from, true);
    this.#terms = terms;
    this.bestLeftOut = view.getFloat64(from + 20, true);
    const documentFrequencies: number[] = [];
    for (let t = 0; t < terms; t++) documentFrequencies.push(view.getUint32(from + KEYWORD_BYTES + 4 * t, true));
    this.statistics = {
      documents: view.getFloat64(from + 4, true),
      totalLength: view.getFloat64(from + 12, true),
      documentFrequencies,
    };
    this.#frequencies = from + KEYWORD_BYTES + 4 * terms;
    this.#lengths = this.#frequencies + 4 * terms * this.count;
  }

  static override endOf(view: DataView, at: number): number | undefined {
    const from = Candidates.endOf(view, at);
    if (from === undefined || from + KEYWORD_BYTES > view.byteLength) return undefined;
    if (!isCount(view.getFloat64(from + 4, true)) || !isCount(view.getFloat64(from + 12, true))) return undefined;
    if (Number.isNaN(view.getFloat64(from + 20, true))) return undefined;
    const count = view.getUint32(at, true);
    const terms = view.getUint32(from, true);
    const end = from + KEYWORD_BYTES + 4 * (terms + terms * count + count);
    return end > view.byteLength ? undefined : end;
  }

  /** How often a candidate has the term at `term` of the request's. */
  frequency(row: number, term: number): number {
    return this.view.getUint32(this.#frequencies + 4 * (row * this.#terms + term), true);
  }

  /** Terms in a candidate's text. */
  length(row: number): number {
    return this.view.getUint32(this.#lengths + 4 * row, true);
  }
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isText(leg: Candidates, row: number): boolean {
  try {
    leg.id(row);
    return true;
  } catch {
    return false;
  }
}
