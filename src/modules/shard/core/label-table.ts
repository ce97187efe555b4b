import { assert } from '../../../kernel/assert.js';
import { utf8Into } from '../../../kernel/bytes.js';
import { idHash } from '../../../kernel/id-bytes.js';
import { IdSlots } from '../../../kernel/id-slots.js';
import { OP_ID_BYTES, type Version } from '../../../kernel/version.js';
import { grown } from './grown.js';
import type { IdColumns, LabelTies } from './id-columns.js';
import { IdKeys } from './id-keys.js';
import { IndexDamagedError } from './index-damaged-error.js';
import { firstAfter, LabelOrder } from './label-order.js';
import { LabelRecords } from './label-records.js';

/** The label of an id that has none. */
export const NO_LABEL = -1;

/** Bytes of UTF-8 that a UTF-16 code unit takes at most. */
const BYTES_PER_UNIT = 3;

/**
 * Who the labels of a collection are: id, log offset and version of each live one. A label is a small integer that names
 * one version of one document in every index of the collection. No object is kept for a label: a million of them is
 * nothing to the collector.
 *
 * Life of a label: `add` takes a free one or the next; `remove` ends it (the id may get another label at once);
 * `release` makes the number free again, once no index remembers it.
 */
export class LabelTable implements LabelTies, IdColumns {
  /** Live labels by label. */
  readonly records: LabelRecords;
  /** Live labels by id. */
  readonly #slots = new IdSlots();
  readonly #free: number[] = [];
  readonly #order = new LabelOrder();
  readonly #keys: IdKeys;
  /** 16 bytes a label. */
  #opIds: Uint8Array<ArrayBuffer>;
  /** The id that is asked for, in UTF-8. */
  #asked = new Uint8Array(BYTES_PER_UNIT * 64);
  #askedLength = 0;
  readonly #isAsked = (label: number): boolean => this.records.compareIdTo(label, this.#asked, this.#askedLength) === 0;

  private constructor(records: LabelRecords, opIds: Uint8Array<ArrayBuffer>) {
    this.records = records;
    this.#keys = new IdKeys(records);
    this.#opIds = opIds;
  }

  static empty(): LabelTable {
    return new LabelTable(new LabelRecords(), new Uint8Array(0));
  }

  /** Live labels. */
  get size(): number {
    return this.#slots.size;
  }

  /** Every label ever used is below. */
  get high(): number {
    return this.records.high;
  }

  get ids(): IdColumns {
    return this;
  }

  get keys(): Float64Array {
    return this.#keys.keys;
  }

  labelOf(id: string): number {
    if (this.#slots.size === 0) return NO_LABEL;
    return this.#slots.find(this.#ask(id), this.#isAsked);
  }

  /** Id of a live label; the empty text for any other. */
  idOf(label: number): string {
    return this.records.idOf(label);
  }

  isLive(label: number): boolean {
    return this.records.isLive(label);
  }

  /** Log offset of the entry that holds the document. */
  offsetOf(label: number): number {
    return this.records.offsetOf(label);
  }

  versionOf(label: number): Version {
    const start = label * OP_ID_BYTES;
    return {
      hlc: { ms: this.records.msOf(label), counter: this.records.counterOf(label) },
      opId: this.#opIds.slice(start, start + OP_ID_BYTES),
    };
  }

  /** Negative, 0 or positive as `version` is lower than, equal to or greater than the label's. */
  compareVersion(version: Version, label: number): number {
    const byHlc = version.hlc.ms - this.records.msOf(label) || version.hlc.counter - this.records.counterOf(label);
    if (byHlc !== 0) return byHlc;
    const start = label * OP_ID_BYTES;
    for (let i = 0; i < OP_ID_BYTES; i++) {
      if (version.opId[i] !== this.#opIds[start + i]) return version.opId[i] - this.#opIds[start + i];
    }
    return 0;
  }

  /** Order of two live labels wherever order can reach an output: by id. */
  readonly compare = (a: number, b: number): number => this.#keys.compare(a, b);

  /** Gives an id that has none a label. */
  add(id: string, version: Version, offset: number): number {
    const hash = this.#ask(id);
    assert(id !== '' && this.#slots.find(hash, this.#isAsked) === NO_LABEL, 'an id has at most one live label');
    const label = this.#free.pop() ?? this.high;
    this.records.put(label, this.#asked, this.#askedLength, hash, version.hlc, offset);
    this.#opIds = grown(this.#opIds, this.high * OP_ID_BYTES);
    this.#opIds.set(version.opId, label * OP_ID_BYTES);
    this.#slots.add(hash, label);
    this.#keys.set(label);
    this.#order.changed(label);
    return label;
  }

  /** The same version was written again further on. */
  repoint(label: number, offset: number): void {
    this.records.setOffset(label, offset);
  }

  /** Ends a live label; its number is not free yet. */
  remove(label: number): void {
    assert(this.isLive(label), `label ${label} is not live`);
    this.#slots.remove(this.records.hashOf(label), label);
    this.records.end(label);
    this.#order.changed(label);
  }

  /** Frees the number of an ended label. */
  release(label: number): void {
    assert(!this.isLive(label), `label ${label} is live`);
    this.#free.push(label);
  }

  /**
   * Live labels with an id greater than `after`, by id, for which `accept` says yes, at most `limit`.
   * `more` tells whether there are others.
   */
  scroll(
    after: string | undefined,
    limit: number,
    accept: (label: number) => boolean,
  ): { readonly labels: number[]; readonly more: boolean } {
    const sorted = this.#order.labels(this);
    const labels: number[] = [];
    for (let at = after === undefined ? 0 : this.#firstAfter(sorted, after); at < sorted.length; at++) {
      if (!accept(sorted[at])) continue;
      if (labels.length === limit) return { labels, more: true };
      labels.push(sorted[at]);
    }
    return { labels, more: false };
  }

  /** The table as it is, for a checkpoint: views, valid until the next change. */
  bytes(): LabelBytes {
    return { ...this.records.bytes(), opIds: this.#opIds.subarray(0, this.high * OP_ID_BYTES) };
  }

  /**
   * A table from what `bytes` gave.
   * @param isFree whether a label that is not live can be used again
   * @throws IndexDamagedError
   */
  static from({ records, texts, opIds }: LabelBytes, isFree: (label: number) => boolean): LabelTable {
    const table = new LabelTable(LabelRecords.from(records, texts), opIds.slice());
    if (opIds.length !== table.high * OP_ID_BYTES)
      throw new IndexDamagedError(`${table.high} labels have ${opIds.length} bytes of operation ids`);
    for (let label = 0; label < table.high; label++) {
      if (table.isLive(label)) {
        table.#slots.add(table.records.hashOf(label), label);
        table.#keys.set(label);
      } else if (isFree(label)) table.#free.push(label);
    }
    return table;
  }

  #firstAfter(sorted: Uint32Array, after: string): number {
    this.#ask(after);
    return firstAfter(sorted, (label) => this.records.compareIdTo(label, this.#asked, this.#askedLength) > 0);
  }

  /** Lays an id ready. @returns its hash */
  #ask(id: string): number {
    if (BYTES_PER_UNIT * id.length > this.#asked.length) this.#asked = new Uint8Array(BYTES_PER_UNIT * id.length);
    this.#askedLength = written(id, this.#asked);
    return idHash(this.#asked, 0, this.#askedLength);
  }
}

/** A table as bytes, in the machine's order; see LabelRecords. */
export interface LabelBytes {
  readonly records: Uint8Array;
  /** Of the ids, in UTF-8. */
  readonly texts: Uint8Array;
  /** 16 bytes a label. */
  readonly opIds: Uint8Array;
}

/** Writes `text` in UTF-8: most ids are short and ASCII, and a call of the encoder costs more than they do. */
function written(text: string, into: Uint8Array): number {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) return utf8Into(text, into);
    into[i] = unit;
  }
  return text.length;
}
