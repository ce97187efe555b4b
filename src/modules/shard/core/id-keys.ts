import { grown } from './grown.js';

/** Bytes of an id that fit its key exactly in a float64. */
const KEY_BYTES = 6;
/** Bytes from this one on are not in the order of ids: they look alike to a key, and end it. */
const BYTE_SATURATED = 0xee;

/** The ids of labels, in UTF-8. */
export interface IdTexts {
  readonly high: number;
  isLive(label: number): boolean;
  idLengthOf(label: number): number;
  /** Byte `at` of the id; 0 past its end. */
  idByteOf(label: number, at: number): number;
  compareIds(a: number, b: number): number;
}

/**
 * A number for each label, ordered as the ids are wherever two numbers differ: ties between documents of equal score are
 * then mostly broken by two loads and a comparison instead of walking two texts (a fortieth of the time). The key of an
 * id is its first bytes after what all ids have in common, so that `doc-000001` and `doc-000002` differ too. The
 * common part only ever shrinks; when it does, all keys are made anew: at most as often as an id has bytes, and
 * hardly ever after the first few ids.
 */
export class IdKeys {
  readonly #ids: IdTexts;
  #keys = new Float64Array(0);
  /** Bytes of the common part; undefined before the first id. */
  #common: Uint8Array | undefined;

  constructor(ids: IdTexts) {
    this.#ids = ids;
  }

  /** By label. A view, valid until the next `set`. */
  get keys(): Float64Array {
    return this.#keys;
  }

  /** To be called when a label has got an id. */
  set(label: number): void {
    this.#common ??= this.#bytesOf(label);
    const common = this.#sharedWith(label, this.#common);
    if (common < this.#common.length) this.#shrink(common, this.#common);
    this.#keys = grown(this.#keys, label + 1);
    this.#keys[label] = this.#keyOf(label, common);
  }

  /** The order of two live labels' ids. */
  compare(a: number, b: number): number {
    return this.#keys[a] - this.#keys[b] || this.#ids.compareIds(a, b);
  }

  #bytesOf(label: number): Uint8Array {
    const bytes = new Uint8Array(this.#ids.idLengthOf(label));
    for (let at = 0; at < bytes.length; at++) bytes[at] = this.#ids.idByteOf(label, at);
    return bytes;
  }

  #sharedWith(label: number, common: Uint8Array): number {
    const length = Math.min(common.length, this.#ids.idLengthOf(label));
    let at = 0;
    while (at < length && this.#ids.idByteOf(label, at) === common[at]) at++;
    return at;
  }

  #shrink(length: number, common: Uint8Array): void {
    this.#common = common.slice(0, length);
    const labels = Math.min(this.#keys.length, this.#ids.high);
    for (let label = 0; label < labels; label++)
      if (this.#ids.isLive(label)) this.#keys[label] = this.#keyOf(label, length);
  }

  /** The bytes of the id from `from` on as digits of base 256; an id that ends has zeros. */
  #keyOf(label: number, from: number): number {
    let key = 0;
    let open = true;
    for (let at = from; at < from + KEY_BYTES; at++) {
      const byte = open ? Math.min(this.#ids.idByteOf(label, at), BYTE_SATURATED) : 0;
      if (byte === BYTE_SATURATED) open = false;
      key = key * 256 + byte;
    }
    return key;
  }
}
