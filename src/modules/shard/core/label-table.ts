import { assert } from '../../../kernel/assert.js';
import { OP_ID_BYTES, type Version } from '../../../kernel/version.js';
import { grown } from './grown.js';
import { IdKeys } from './id-keys.js';
import { firstAfter, LabelOrder } from './label-order.js';

/** The label of an id that has none. */
export const NO_LABEL = -1;

/**
 * Who the labels of a collection are: id, log offset and version of each live one, in columns. A label is a small
 * integer that names one version of one document in every index of the collection.
 *
 * Life of a label: `add` takes a free one or the next; `remove` ends it (the id may get another label at once);
 * `release` makes the number free again, once no index remembers it.
 */
export class LabelTable {
  /** Live labels by id. */
  readonly #labels = new Map<string, number>();
  /** Id by label; the empty text while a label is not live. */
  readonly #ids: string[] = [];
  readonly #free: number[] = [];
  readonly #order = new LabelOrder();
  readonly #keys = new IdKeys(this.#ids);
  #offsets = new Float64Array(0);
  #ms = new Float64Array(0);
  #counters = new Uint16Array(0);
  #opIds = new Uint8Array(0);

  /** Live labels. */
  get size(): number {
    return this.#labels.size;
  }

  /** Every label ever used is below. */
  get high(): number {
    return this.#ids.length;
  }

  labelOf(id: string): number {
    return this.#labels.get(id) ?? NO_LABEL;
  }

  /** Id of a live label; the empty text for any other. */
  idOf(label: number): string {
    return this.#ids[label] ?? '';
  }

  isLive(label: number): boolean {
    return this.idOf(label) !== '';
  }

  /** Log offset of the entry that holds the document. */
  offsetOf(label: number): number {
    return this.#offsets[label];
  }

  msOf(label: number): number {
    return this.#ms[label];
  }

  counterOf(label: number): number {
    return this.#counters[label];
  }

  versionOf(label: number): Version {
    const start = label * OP_ID_BYTES;
    return {
      hlc: { ms: this.#ms[label], counter: this.#counters[label] },
      opId: this.#opIds.slice(start, start + OP_ID_BYTES),
    };
  }

  /** Negative, 0 or positive as `version` is lower than, equal to or greater than the label's. */
  compareVersion(version: Version, label: number): number {
    const byHlc = version.hlc.ms - this.#ms[label] || version.hlc.counter - this.#counters[label];
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
    assert(id !== '' && !this.#labels.has(id), 'an id has at most one live label');
    const label = this.#free.pop() ?? this.#ids.length;
    this.#reserve(label + 1);
    this.#labels.set(id, label);
    this.#ids[label] = id;
    this.#keys.set(label);
    this.#offsets[label] = offset;
    this.#ms[label] = version.hlc.ms;
    this.#counters[label] = version.hlc.counter;
    this.#opIds.set(version.opId, label * OP_ID_BYTES);
    this.#order.changed(label);
    return label;
  }

  /** The same version was written again further on. */
  repoint(label: number, offset: number): void {
    this.#offsets[label] = offset;
  }

  /** Ends a live label; its number is not free yet. */
  remove(label: number): void {
    assert(this.isLive(label), `label ${label} is not live`);
    this.#labels.delete(this.#ids[label]);
    this.#ids[label] = '';
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
    const sorted = this.#order.labels(this.#ids);
    const labels: number[] = [];
    for (let at = after === undefined ? 0 : firstAfter(sorted, this.#ids, after); at < sorted.length; at++) {
      if (!accept(sorted[at])) continue;
      if (labels.length === limit) return { labels, more: true };
      labels.push(sorted[at]);
    }
    return { labels, more: false };
  }

  /** The columns as they are, for a checkpoint: views, valid until the next change. */
  columns(): LabelColumns {
    const high = this.high;
    return {
      ids: this.#ids,
      offsets: this.#offsets.subarray(0, high),
      ms: this.#ms.subarray(0, high),
      counters: this.#counters.subarray(0, high),
      opIds: this.#opIds.subarray(0, high * OP_ID_BYTES),
    };
  }

  /**
   * A table from the columns of a checkpoint, which it takes over.
   * @param isFree whether a label that is not live can be used again
   */
  static fromColumns(columns: LabelColumns, isFree: (label: number) => boolean): LabelTable {
    const table = new LabelTable();
    table.#offsets = columns.offsets;
    table.#ms = columns.ms;
    table.#counters = columns.counters;
    table.#opIds = columns.opIds;
    for (let label = 0; label < columns.ids.length; label++) {
      const id = columns.ids[label];
      table.#ids.push(id);
      if (id !== '') {
        table.#labels.set(id, label);
        table.#keys.set(label);
      } else if (isFree(label)) table.#free.push(label);
    }
    return table;
  }

  #reserve(labels: number): void {
    if (labels <= this.#offsets.length) return;
    this.#offsets = grown(this.#offsets, labels);
    const room = this.#offsets.length;
    this.#ms = grown(this.#ms, room);
    this.#counters = grown(this.#counters, room);
    this.#opIds = grown(this.#opIds, room * OP_ID_BYTES);
  }
}

/** By label; see LabelTable. */
export interface LabelColumns {
  readonly ids: readonly string[];
  readonly offsets: Float64Array<ArrayBuffer>;
  readonly ms: Float64Array<ArrayBuffer>;
  readonly counters: Uint16Array<ArrayBuffer>;
  /** 16 bytes a label. */
  readonly opIds: Uint8Array<ArrayBuffer>;
}
