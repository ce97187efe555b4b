import { assert } from '../../../kernel/assert.js';
import type { Bitmap } from './bitmap.js';
import type { FilterClause, FilterScalar } from './filter.js';
import type { LabelSets } from './label-sets.js';
import { SortedValues } from './sorted-values.js';
import type { Bounds } from './sorted-values.js';

type RangeClause = Extract<FilterClause, { readonly kind: 'range' }>;

/** A key that is there without a value: an empty object or array. */
export const VALUELESS = Symbol('valueless');
export type AttributeValue = FilterScalar | typeof VALUELESS;

/** Values nobody has any more are kept until there are this many, and a quarter of all. */
const UNUSED_MIN = 64;
/** About what a value costs beside its characters. */
const VALUE_BYTES = 72;

/** One dotted key: which labels have it, and which have each of its values. */
export class AttributeKey {
  readonly name: string;
  /** The set of labels that have the key. */
  readonly present: number;
  readonly #sets: LabelSets;
  readonly #values = new Map<AttributeValue, number>();
  readonly #numbers = new SortedValues<number>((value) => this.#known(value));
  readonly #strings = new SortedValues<string>((value) => this.#known(value));
  #unused = 0;
  #units = 0;

  constructor(name: string, sets: LabelSets) {
    this.name = name;
    this.#sets = sets;
    this.present = sets.create();
  }

  /** Values, unused ones included, with their sets. */
  get values(): ReadonlyMap<AttributeValue, number> {
    return this.#values;
  }

  /** An estimate. */
  get bytes(): number {
    return this.#values.size * VALUE_BYTES + this.#units + this.#numbers.bytes + this.#strings.bytes;
  }

  /** The set of a value, made when there is none. */
  setOf(value: AttributeValue): number {
    const known = this.#values.get(value);
    if (known !== undefined) return known;
    const set = this.#sets.create();
    this.#values.set(value, set);
    this.#unused++;
    if (typeof value === 'number') this.#numbers.add(value);
    else if (typeof value === 'string') {
      this.#strings.add(value);
      this.#units += value.length;
    }
    return set;
  }

  /** To be called when a label came into a value's set that was empty. */
  used(): void {
    this.#unused--;
  }

  /** To be called when the last label left a value's set. @param forget is told of the sets given back */
  emptied(forget: (set: number) => void): void {
    this.#unused++;
    if (this.#unused < UNUSED_MIN || this.#unused * 4 < this.#values.size) return;
    this.#numbers.retain((set) => this.#sets.count(set) > 0);
    this.#strings.retain((set) => this.#sets.count(set) > 0);
    for (const [value, set] of this.#values) {
      if (this.#sets.count(set) > 0) continue;
      this.#values.delete(value);
      if (typeof value === 'string') this.#units -= value.length;
      this.#sets.release(set);
      forget(set);
    }
    this.#unused = 0;
  }

  /** Gives back all sets; the key must not be used again. */
  release(forget: (set: number) => void): void {
    this.#sets.release(this.present);
    for (const set of this.#values.values()) {
      this.#sets.release(set);
      forget(set);
    }
  }

  /** Adds to `into` the labels that have any of `values`. */
  match(values: readonly FilterScalar[], into: Bitmap): void {
    for (const value of values) {
      const set = this.#values.get(value);
      if (set !== undefined) this.#sets.addTo(set, into);
    }
  }

  /** Adds to `into` the labels that have a value within the bounds (see `matches`). */
  range(clause: RangeClause, into: Bitmap): void {
    const bounds = [clause.gt, clause.gte, clause.lt, clause.lte];
    const add = (set: number): void => this.#sets.addTo(set, into);
    // Bounds of two types let nothing through.
    if (!bounds.some((bound) => typeof bound === 'string')) this.#numbers.range(clause as Bounds<number>, add);
    if (!bounds.some((bound) => typeof bound === 'number')) this.#strings.range(clause as Bounds<string>, add);
  }

  #known(value: AttributeValue): number {
    const set = this.#values.get(value);
    assert(set !== undefined, 'a sorted value has a set');
    return set;
  }
}
