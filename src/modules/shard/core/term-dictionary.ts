import { fromUtf8, utf8 } from '../../../kernel/bytes.js';

/** V8 keeps a slice of at least this length as a view of its whole text. */
const SLICE_UNITS_MIN = 13;
/** About what an entry costs beside its characters: hash table, string header, name slot. */
const ENTRY_BYTES = 64;

/** Terms and their numbers: dense, from 0, given again after `release`. */
export class TermDictionary {
  readonly #ids = new Map<string, number>();
  readonly #names: (string | undefined)[] = [];
  readonly #free: number[] = [];
  #units = 0;

  /** Terms in the dictionary. */
  get size(): number {
    return this.#ids.size;
  }

  /** Every id is below. */
  get end(): number {
    return this.#names.length;
  }

  /** An estimate. */
  get bytes(): number {
    return this.#ids.size * ENTRY_BYTES + this.#units;
  }

  /** The term's id, or undefined. */
  find(term: string): number | undefined {
    return this.#ids.get(term);
  }

  /** The term of an id in use. */
  name(id: number): string | undefined {
    return this.#names[id];
  }

  /** Gives a term that is not in the dictionary an id. */
  add(term: string): number {
    // A term cut from a document would keep the document's whole text in memory: take its characters instead.
    const own = term.length < SLICE_UNITS_MIN ? term : fromUtf8(utf8(term));
    const id = this.#free.pop() ?? this.#names.length;
    this.#names[id] = own;
    this.#ids.set(own, id);
    this.#units += own.length;
    return id;
  }

  release(id: number): void {
    const name = this.#names[id];
    if (name === undefined) return;
    this.#ids.delete(name);
    this.#names[id] = undefined;
    this.#units -= name.length;
    this.#free.push(id);
  }
}
