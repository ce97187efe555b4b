import { compareIds } from '../../../kernel/ids.js';
import { grown } from './grown.js';

/** Characters of an id that fit its key, a byte each, exactly in a float64. */
const KEY_UNITS = 6;
/** Characters from this one on look alike to a key, and end it. */
const UNIT_SATURATED = 0xff;

/**
 * A number for each label, ordered as the ids are wherever two numbers differ: ties between documents of equal score are
 * then mostly broken by two loads and a comparison instead of walking two texts (a fortieth of the time). The key of an
 * id is its first characters after what all ids have in common, so that `doc-000001` and `doc-000002` differ too. The
 * common part only ever shrinks; when it does, all keys are made anew: at most as often as an id has characters, and
 * hardly ever after the first few ids.
 */
export class IdKeys {
  /** Id by label, the caller's; the empty text for labels without. */
  readonly #ids: readonly string[];
  #keys = new Float64Array(0);
  #common: string | undefined;

  constructor(ids: readonly string[]) {
    this.#ids = ids;
  }

  get bytes(): number {
    return this.#keys.byteLength;
  }

  /** To be called when a label was given an id, which the list of ids has already. */
  set(label: number): void {
    const id = this.#ids[label];
    this.#common ??= id;
    if (!id.startsWith(this.#common)) this.#shrink(id, this.#common);
    this.#keys = grown(this.#keys, label + 1);
    this.#keys[label] = keyOf(id, this.#common.length);
  }

  /** The order of two labels' ids. */
  compare(a: number, b: number): number {
    return this.#keys[a] - this.#keys[b] || compareIds(this.#ids[a], this.#ids[b]);
  }

  #shrink(id: string, common: string): void {
    let length = 0;
    while (id[length] === common[length] && length < common.length) length++;
    this.#common = common.slice(0, length);
    for (let label = 0; label < this.#keys.length; label++) {
      const other = this.#ids[label] ?? '';
      if (other !== '') this.#keys[label] = keyOf(other, length);
    }
  }
}

/** The characters of `id` from `from` on as digits of base 256; an id that ends has zeros. */
function keyOf(id: string, from: number): number {
  let key = 0;
  let open = true;
  for (let i = from; i < from + KEY_UNITS; i++) {
    const unit = open && i < id.length ? Math.min(id.charCodeAt(i), UNIT_SATURATED) : 0;
    if (unit === UNIT_SATURATED) open = false;
    key = key * 256 + unit;
  }
  return key;
}
