import { assert } from '../../../kernel/assert.js';
import { grown } from './grown.js';
import type { CandidateColumns, KeywordCandidates, ShardSearchAnswer } from './search.js';

/**
 * Many search answers as one array of numbers and one list of texts, so that a hop between threads costs two objects
 * instead of eight arrays a leg. Ids of a leg are one text, joined by line feeds: an id holds no control characters.
 *
 * An answer is: shard, documents, flags (1 vector, 2 keyword, 4 NOT_READY, 8 FAULTED), then its legs; a leg is: count,
 * then the columns one after the other; a keyword leg goes on with complete, number of terms, the sums, frequencies, lengths.
 */
export interface PackedAnswers {
  readonly numbers: Float64Array<ArrayBuffer>;
  readonly texts: readonly string[];
}

const VECTOR = 1;
const KEYWORD = 2;
const NOT_READY = 4;
const FAULTED = 8;

export class SearchPacker {
  #numbers = new Float64Array(4_096);
  #at = 0;
  #texts: string[] = [];

  add(answers: readonly ShardSearchAnswer[]): void {
    this.#number(answers.length);
    for (const { shard, documents, vector, keyword, failed } of answers) {
      this.#number(shard);
      this.#number(documents);
      this.#number(
        (vector === undefined ? 0 : VECTOR) |
          (keyword === undefined ? 0 : KEYWORD) |
          (failed === 'NOT_READY' ? NOT_READY : 0) |
          (failed === 'FAULTED' ? FAULTED : 0),
      );
      if (vector !== undefined) this.#columns(vector);
      if (keyword !== undefined) {
        this.#columns(keyword);
        this.#number(keyword.complete ? 1 : 0);
        this.#number(keyword.statistics.documentFrequencies.length);
        this.#number(keyword.statistics.documents);
        this.#number(keyword.statistics.totalLength);
        this.#column(keyword.statistics.documentFrequencies);
        this.#column(keyword.frequencies);
        this.#column(keyword.lengths);
      }
    }
  }

  /** What was added, in memory of its own; the packer is empty again. */
  take(): PackedAnswers {
    const packed = { numbers: this.#numbers.slice(0, this.#at), texts: this.#texts };
    this.#at = 0;
    this.#texts = [];
    return packed;
  }

  #columns(columns: CandidateColumns): void {
    this.#number(columns.ids.length);
    this.#texts.push(columns.ids.join('\n'));
    this.#column(columns.offsets);
    this.#column(columns.versionMs);
    this.#column(columns.versionCounter);
    this.#column(columns.scores);
  }

  #number(value: number): void {
    this.#reserve(1);
    this.#numbers[this.#at++] = value;
  }

  #column(values: Float64Array | Uint32Array | readonly number[]): void {
    this.#reserve(values.length);
    this.#numbers.set(values, this.#at);
    this.#at += values.length;
  }

  #reserve(room: number): void {
    this.#numbers = grown(this.#numbers, this.#at + room);
  }
}

/** Takes answers out in the order they were added; columns are views of the packed numbers. */
export class SearchUnpacker {
  readonly #packed: PackedAnswers;
  #at = 0;
  #text = 0;

  constructor(packed: PackedAnswers) {
    this.#packed = packed;
  }

  next(): readonly ShardSearchAnswer[] {
    const answers: ShardSearchAnswer[] = [];
    for (let left = this.#number(); left > 0; left--) answers.push(this.#answer());
    return answers;
  }

  #answer(): ShardSearchAnswer {
    const shard = this.#number();
    const documents = this.#number();
    const flags = this.#number();
    if ((flags & NOT_READY) !== 0) return { shard, documents, failed: 'NOT_READY' };
    if ((flags & FAULTED) !== 0) return { shard, documents, failed: 'FAULTED' };
    return {
      shard,
      documents,
      ...((flags & VECTOR) === 0 ? {} : { vector: this.#columns() }),
      ...((flags & KEYWORD) === 0 ? {} : { keyword: this.#keyword() }),
    };
  }

  #columns(): CandidateColumns {
    const count = this.#number();
    assert(this.#text < this.#packed.texts.length, 'every leg has its ids');
    const text = this.#packed.texts[this.#text++];
    return {
      ids: count === 0 ? [] : text.split('\n'),
      offsets: this.#column(count),
      versionMs: this.#column(count),
      versionCounter: this.#column(count),
      scores: this.#column(count),
    };
  }

  #keyword(): KeywordCandidates {
    const columns = this.#columns();
    const count = columns.ids.length;
    const complete = this.#number() === 1;
    const terms = this.#number();
    const documents = this.#number();
    const totalLength = this.#number();
    return {
      ...columns,
      complete,
      statistics: { documents, totalLength, documentFrequencies: [...this.#column(terms)] },
      frequencies: this.#column(count * terms),
      lengths: this.#column(count),
    };
  }

  #number(): number {
    assert(this.#at < this.#packed.numbers.length, 'packed answers end early');
    return this.#packed.numbers[this.#at++];
  }

  #column(length: number): Float64Array {
    assert(this.#at + length <= this.#packed.numbers.length, 'packed answers end inside a column');
    const column = this.#packed.numbers.subarray(this.#at, this.#at + length);
    this.#at += length;
    return column;
  }
}
