import { fromUtf8 } from '../../../kernel/bytes.js';
import { compareIdBytes } from '../../../kernel/id-bytes.js';
import type { Hlc } from '../../../kernel/version.js';
import { grown } from './grown.js';
import type { RecordColumns } from './id-columns.js';
import { IndexDamagedError } from './index-damaged-error.js';

/** Of one record: log offset and milliseconds of the version, as float64; then, as u32, the words below. */
const FLOATS = 4;
const WORDS = 8;
const OFFSET = 0;
const MS = 1;
const ID_START = 4;
const ID_LENGTH = 5;
const HASH = 6;
const COUNTER = 7;

/** Bytes of the texts of ended labels are taken out when they are this many, and more than half of all. */
const DEAD_TEXT_MIN = 1 << 16;
/** Longer ids are copied by the engine. */
const COPIED_BY_HAND = 32;

/**
 * What a table knows of each label, in records of 32 bytes: a candidate of a search costs one line of memory, and another
 * for the text of its id, which is kept in UTF-8 with all others.
 */
export class LabelRecords implements RecordColumns {
  #floats: Float64Array<ArrayBuffer> = new Float64Array(0);
  #words = new Uint32Array(this.#floats.buffer);
  #texts: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #textsEnd = 0;
  #deadText = 0;
  #high = 0;

  /** Every label ever used is below. */
  get high(): number {
    return this.#high;
  }

  get words(): Uint32Array {
    return this.#words;
  }

  get texts(): Uint8Array {
    return this.#texts;
  }

  isLive(label: number): boolean {
    return label < this.#high && this.#words[label * WORDS + ID_LENGTH] > 0;
  }

  /** Log offset of the entry that holds the document. */
  offsetOf(label: number): number {
    return this.#floats[label * FLOATS + OFFSET];
  }

  msOf(label: number): number {
    return this.#floats[label * FLOATS + MS];
  }

  counterOf(label: number): number {
    return this.#words[label * WORDS + COUNTER];
  }

  /** `idHash` of its id. */
  hashOf(label: number): number {
    return this.#words[label * WORDS + HASH];
  }

  idLengthOf(label: number): number {
    return this.#words[label * WORDS + ID_LENGTH];
  }

  /** Byte `at` of its id; 0 past the end. */
  idByteOf(label: number, at: number): number {
    const word = label * WORDS;
    return at < this.#words[word + ID_LENGTH] ? this.#texts[this.#words[word + ID_START] + at] : 0;
  }

  /** Id of a live label; the empty text for any other. */
  idOf(label: number): string {
    if (!this.isLive(label)) return '';
    const start = this.#words[label * WORDS + ID_START];
    return textOf(this.#texts, start, start + this.#words[label * WORDS + ID_LENGTH]);
  }

  /** Writes the bytes of its id to `into` from `at` on, where there is room. @returns where they end */
  writeId(label: number, into: Uint8Array, at: number): number {
    const start = this.#words[label * WORDS + ID_START];
    const length = this.#words[label * WORDS + ID_LENGTH];
    if (length > COPIED_BY_HAND) into.set(this.#texts.subarray(start, start + length), at);
    else for (let i = 0; i < length; i++) into[at + i] = this.#texts[start + i];
    return at + length;
  }

  /** Order of its id against the id in the first `length` bytes of `id`. */
  compareIdTo(label: number, id: Uint8Array, length: number): number {
    const start = this.#words[label * WORDS + ID_START];
    return compareIdBytes(this.#texts, start, start + this.#words[label * WORDS + ID_LENGTH], id, 0, length);
  }

  /** Order of the ids of two labels. */
  compareIds(a: number, b: number): number {
    const startOfA = this.#words[a * WORDS + ID_START];
    const startOfB = this.#words[b * WORDS + ID_START];
    const endOfA = startOfA + this.#words[a * WORDS + ID_LENGTH];
    const endOfB = startOfB + this.#words[b * WORDS + ID_LENGTH];
    return compareIdBytes(this.#texts, startOfA, endOfA, this.#texts, startOfB, endOfB);
  }

  /** Makes a label that is not live live: its id is the first `length` bytes of `id`, at least one. */
  put(label: number, id: Uint8Array, length: number, hash: number, hlc: Hlc, offset: number): void {
    this.#reserve(label + 1, length);
    this.#texts.set(id.subarray(0, length), this.#textsEnd);
    const word = label * WORDS;
    this.#words[word + ID_START] = this.#textsEnd;
    this.#words[word + ID_LENGTH] = length;
    this.#words[word + HASH] = hash;
    this.#words[word + COUNTER] = hlc.counter;
    this.#floats[label * FLOATS + OFFSET] = offset;
    this.#floats[label * FLOATS + MS] = hlc.ms;
    this.#textsEnd += length;
  }

  setOffset(label: number, offset: number): void {
    this.#floats[label * FLOATS + OFFSET] = offset;
  }

  /** Ends a live label. */
  end(label: number): void {
    this.#deadText += this.#words[label * WORDS + ID_LENGTH];
    this.#words[label * WORDS + ID_LENGTH] = 0;
    if (this.#deadText > DEAD_TEXT_MIN && 2 * this.#deadText > this.#textsEnd) this.#closeGaps();
  }

  /** The records and the texts of the ids, for a checkpoint: views, valid until the next change. */
  bytes(): { readonly records: Uint8Array; readonly texts: Uint8Array } {
    return {
      records: new Uint8Array(this.#words.buffer, 0, this.#high * WORDS * 4),
      texts: this.#texts.subarray(0, this.#textsEnd),
    };
  }

  /** From copies of what `bytes` gave. @throws IndexDamagedError */
  static from(records: Uint8Array, texts: Uint8Array): LabelRecords {
    if (records.length % (WORDS * 4) !== 0) throw new IndexDamagedError(`records of ${records.length} bytes`);
    const loaded = new LabelRecords();
    loaded.#floats = new Float64Array(records.length / 8);
    loaded.#words = new Uint32Array(loaded.#floats.buffer);
    new Uint8Array(loaded.#floats.buffer).set(records);
    loaded.#texts = texts.slice();
    loaded.#textsEnd = texts.length;
    loaded.#high = records.length / (WORDS * 4);
    let live = 0;
    for (let label = 0; label < loaded.#high; label++) {
      const length = loaded.#words[label * WORDS + ID_LENGTH];
      if (length > 0 && loaded.#words[label * WORDS + ID_START] + length > texts.length)
        throw new IndexDamagedError(`the id of label ${label} ends outside`);
      live += length;
    }
    loaded.#deadText = texts.length - live;
    return loaded;
  }

  #reserve(labels: number, idLength: number): void {
    this.#high = Math.max(this.#high, labels);
    if (labels * FLOATS > this.#floats.length) {
      this.#floats = grown(this.#floats, labels * FLOATS);
      this.#words = new Uint32Array(this.#floats.buffer);
    }
    this.#texts = grown(this.#texts, this.#textsEnd + idLength);
  }

  #closeGaps(): void {
    const texts = new Uint8Array(this.#textsEnd - this.#deadText);
    let at = 0;
    for (let label = 0; label < this.#high; label++) {
      if (!this.isLive(label)) continue;
      const next = this.writeId(label, texts, at);
      this.#words[label * WORDS + ID_START] = at;
      at = next;
    }
    this.#texts = texts;
    this.#textsEnd = at;
    this.#deadText = 0;
  }
}

/** Most ids are short and ASCII: a decoder costs more than they do. */
function textOf(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > COPIED_BY_HAND) return fromUtf8(bytes.subarray(start, end));
  let text = '';
  for (let at = start; at < end; at++) {
    if (bytes[at] >= 0x80) return fromUtf8(bytes.subarray(start, end));
    text += String.fromCharCode(bytes[at]);
  }
  return text;
}
