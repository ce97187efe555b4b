import type { KeywordMatches } from './keyword-index.js';
import type { LabelRecords } from './label-records.js';
import {
  answersIn,
  CANDIDATE_BYTES,
  FAULTED,
  HEADER_BYTES,
  KEYWORD,
  KEYWORD_BYTES,
  LEG_BYTES,
  NOT_READY,
  VECTOR,
  type SearchFailure,
  type ShardSearchAnswer,
} from './search-answer.js';
import type { Ranked } from './top-k.js';
import type { LegWriter } from './vector-index.js';

const FIRST_BYTES = 16_384;
/** Memory that few answers need is not kept. */
const KEPT_BYTES = 1 << 20;

/**
 * Writes answers of shards one after the other (`ShardSearchAnswer` says how): `begin`, then the legs that were asked for
 * in that order, then `end`.
 */
export class SearchAnswerWriter {
  #bytes = new Uint8Array(FIRST_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;
  #start = 0;
  #flags = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.#at;
  }

  begin(shard: number, documents: number): void {
    this.#reserve(HEADER_BYTES);
    this.#start = this.#at;
    this.#flags = 0;
    this.#view.setUint32(this.#at + 4, shard, true);
    this.#view.setUint32(this.#at + 8, documents, true);
    this.#at += HEADER_BYTES;
  }

  /** @param faster writes a leg sooner */
  vector(labels: LabelRecords, { items, scores }: Ranked, faster?: LegWriter): void {
    this.#flags |= VECTOR;
    this.#leg(labels, items, scores, faster);
  }

  /** @param least leaves out what scores less */
  keyword(labels: LabelRecords, found: KeywordMatches, least: number, faster?: LegWriter): void {
    this.#flags |= KEYWORD;
    const { scores, leftOut, statistics } = found;
    let count = scores.length;
    while (count > 0 && scores[count - 1] < least) count--;
    this.#leg(labels, found.labels.subarray(0, count), scores.subarray(0, count), faster);
    const { documents, totalLength, documentFrequencies } = statistics;
    const terms = documentFrequencies.length;
    this.#reserve(KEYWORD_BYTES + 4 * (terms + count * terms + count));
    const view = this.#view;
    view.setUint32(this.#at, terms, true);
    view.setFloat64(this.#at + 4, documents, true);
    view.setFloat64(this.#at + 12, totalLength, true);
    view.setFloat64(this.#at + 20, count < scores.length ? scores[count] : leftOut, true);
    this.#at += KEYWORD_BYTES;
    this.#counts(documentFrequencies, terms);
    this.#counts(found.frequencies, count * terms);
    this.#counts(found.lengths, count);
  }

  end(): void {
    this.#view.setUint32(this.#start, this.#at - this.#start, true);
    this.#view.setUint32(this.#start + 12, this.#flags, true);
  }

  /** The answer of a shard that cannot answer. */
  fail(shard: number, failure: SearchFailure): void {
    this.begin(shard, 0);
    this.#flags = failure === 'FAULTED' ? FAULTED : NOT_READY;
    this.end();
  }

  /** Forgets what was written beyond `length`. */
  backTo(length: number): void {
    this.#at = length;
  }

  /** What was written, in memory of its own; the writer is empty again. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.slice(0, this.#at);
    this.#at = 0;
    if (this.#bytes.length > KEPT_BYTES) {
      this.#bytes = new Uint8Array(FIRST_BYTES);
      this.#view = new DataView(this.#bytes.buffer);
    }
    return taken;
  }

  /** As `take`, to be read. */
  answers(): readonly ShardSearchAnswer[] {
    const bytes = this.take();
    return answersIn(new DataView(bytes.buffer), 0, bytes.length);
  }

  #leg(labels: LabelRecords, items: Uint32Array, scores: Float64Array, faster: LegWriter | undefined): void {
    if (faster !== undefined) {
      let taken = faster(labels, items, scores, this.#bytes, this.#at);
      if (this.#at + taken > this.#bytes.length) {
        this.#reserve(taken);
        taken = faster(labels, items, scores, this.#bytes, this.#at);
      }
      this.#at += taken;
      return;
    }
    const count = items.length;
    const start = this.#at;
    const rows = start + LEG_BYTES;
    let ids = 0;
    for (let row = 0; row < count; row++) ids += labels.idLengthOf(items[row]);
    this.#reserve(LEG_BYTES + CANDIDATE_BYTES * count + ids);
    const view = this.#view;
    const offsets = rows + 8 * count;
    const ms = offsets + 8 * count;
    const hashes = ms + 8 * count;
    const ends = hashes + 4 * count;
    const counters = ends + 4 * count;
    const first = rows + CANDIDATE_BYTES * count;
    let at = first;
    for (let row = 0; row < count; row++) {
      const label = items[row];
      view.setFloat64(rows + 8 * row, scores[row], true);
      view.setFloat64(offsets + 8 * row, labels.offsetOf(label), true);
      view.setFloat64(ms + 8 * row, labels.msOf(label), true);
      view.setUint32(hashes + 4 * row, labels.hashOf(label), true);
      view.setUint16(counters + 2 * row, labels.counterOf(label), true);
      at = labels.writeId(label, this.#bytes, at);
      view.setUint32(ends + 4 * row, at - first, true);
    }
    view.setUint32(start, count, true);
    view.setUint32(start + 4, at - first, true);
    this.#at = at;
  }

  #counts(values: Uint32Array | readonly number[], count: number): void {
    const view = this.#view;
    for (let i = 0; i < count; i++) view.setUint32(this.#at + 4 * i, values[i], true);
    this.#at += 4 * count;
  }

  #reserve(room: number): void {
    if (this.#at + room <= this.#bytes.length) return;
    const bytes = new Uint8Array(Math.max(2 * this.#bytes.length, this.#at + room));
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}
