import { utf8Into } from '../../../kernel/bytes.js';
import { utf8Length } from '../../../kernel/ids.js';
import type { KeywordMatches } from './keyword-index.js';
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

/** Who the labels of an answer are. */
export interface CandidateLabels {
  idOf(label: number): string;
  offsetOf(label: number): number;
  msOf(label: number): number;
  counterOf(label: number): number;
}

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

  vector(labels: CandidateLabels, { items, scores }: Ranked): void {
    this.#flags |= VECTOR;
    this.#leg(labels, items, scores);
  }

  keyword(labels: CandidateLabels, found: KeywordMatches): void {
    this.#flags |= KEYWORD;
    this.#leg(labels, found.labels, found.scores);
    const { frequencies, lengths, statistics, complete } = found;
    const { documents, totalLength, documentFrequencies } = statistics;
    this.#reserve(KEYWORD_BYTES + 4 * (documentFrequencies.length + frequencies.length + lengths.length));
    const view = this.#view;
    view.setUint32(this.#at, documentFrequencies.length, true);
    view.setUint32(this.#at + 4, complete ? 1 : 0, true);
    view.setFloat64(this.#at + 8, documents, true);
    view.setFloat64(this.#at + 16, totalLength, true);
    this.#at += KEYWORD_BYTES;
    this.#counts(documentFrequencies);
    this.#counts(frequencies);
    this.#counts(lengths);
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

  #leg(labels: CandidateLabels, items: Uint32Array, scores: Float64Array): void {
    const count = items.length;
    this.#reserve(LEG_BYTES + CANDIDATE_BYTES * count);
    const view = this.#view;
    const start = this.#at;
    const offsets = start + LEG_BYTES + 8 * count;
    const ms = offsets + 8 * count;
    const counters = ms + 16 * count;
    view.setUint32(start, count, true);
    for (let row = 0; row < count; row++) {
      const label = items[row];
      view.setFloat64(start + LEG_BYTES + 8 * row, scores[row], true);
      view.setFloat64(offsets + 8 * row, labels.offsetOf(label), true);
      view.setFloat64(ms + 8 * row, labels.msOf(label), true);
      view.setUint16(counters + 2 * row, labels.counterOf(label), true);
    }
    this.#at = start + LEG_BYTES + CANDIDATE_BYTES * count;
    this.#ids(labels, items, ms + 8 * count);
    this.#view.setUint32(start + 4, this.#at - (start + LEG_BYTES + CANDIDATE_BYTES * count), true);
  }

  /**
   * All at once: the ids lie far apart in memory, and one by one each would be waited for.
   * @param hashes where they and, behind them, the ends of the ids go
   */
  #ids(labels: CandidateLabels, items: Uint32Array, hashes: number): void {
    const ids: string[] = [];
    for (let row = 0; row < items.length; row++) ids.push(labels.idOf(items[row]));
    const all = ids.join('');
    this.#reserve(3 * all.length);
    const bytes = this.#bytes;
    const view = this.#view;
    const first = this.#at;
    this.#at += utf8Into(all, bytes.subarray(first));
    const isAscii = this.#at - first === all.length;
    const ends = hashes + 4 * ids.length;
    let at = first;
    for (let row = 0; row < ids.length; row++) {
      const end = at + (isAscii ? ids[row].length : utf8Length(ids[row]));
      // FNV-1a.
      let hash = 0x811c9dc5;
      for (; at < end; at++) hash = Math.imul(hash ^ bytes[at], 0x0100_0193);
      view.setUint32(hashes + 4 * row, hash >>> 0, true);
      view.setUint32(ends + 4 * row, end - first, true);
    }
  }

  #counts(values: Uint32Array | readonly number[]): void {
    const view = this.#view;
    for (let i = 0; i < values.length; i++) view.setUint32(this.#at + 4 * i, values[i], true);
    this.#at += 4 * values.length;
  }

  #reserve(room: number): void {
    if (this.#at + room <= this.#bytes.length) return;
    const bytes = new Uint8Array(Math.max(2 * this.#bytes.length, this.#at + room));
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}
