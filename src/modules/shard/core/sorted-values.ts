/** More values than this, and a 32nd of the sorted ones, are sorted in; fewer are looked at one by one. */
const RECENT_MIN = 256;

/** Bounds of a range; absent ones do not bound. */
export interface Bounds<V> {
  readonly gt?: V;
  readonly gte?: V;
  readonly lt?: V;
  readonly lte?: V;
}

/**
 * Distinct values of one type with the number of each one's set, for ranges. New values wait unsorted; a range sorts them
 * in when there are many: ingest pays nothing, and searches in between do not sort everything again each time.
 */
export class SortedValues<V extends number | string> {
  #values: V[] = [];
  #sets: number[] = [];
  #recent: V[] = [];
  readonly #setOf: (value: V) => number;

  /** @param setOf the number of the set of a value that was added */
  constructor(setOf: (value: V) => number) {
    this.#setOf = setOf;
  }

  get bytes(): number {
    return this.#values.length * 16 + this.#recent.length * 8;
  }

  /** Adds a value that is not there yet. */
  add(value: V): void {
    this.#recent.push(value);
  }

  /** Calls `visit` with the set of every value within the bounds, in no particular order. */
  range(bounds: Bounds<V>, visit: (set: number) => void): void {
    if (this.#recent.length > Math.max(RECENT_MIN, this.#values.length >>> 5)) this.#sortIn();
    const { gt, gte, lt, lte } = bounds;
    let from = gte === undefined ? 0 : this.#firstAbove(gte, true);
    if (gt !== undefined) from = Math.max(from, this.#firstAbove(gt, false));
    let to = lt === undefined ? this.#values.length : this.#firstAbove(lt, true);
    if (lte !== undefined) to = Math.min(to, this.#firstAbove(lte, false));
    for (let i = from; i < to; i++) visit(this.#sets[i]);
    for (const value of this.#recent) {
      if (
        (gt === undefined || value > gt) &&
        (gte === undefined || value >= gte) &&
        (lt === undefined || value < lt) &&
        (lte === undefined || value <= lte)
      ) {
        visit(this.#setOf(value));
      }
    }
  }

  /** Forgets the values whose set `keep` refuses. */
  retain(keep: (set: number) => boolean): void {
    const kept = this.#sets.map(keep);
    this.#values = this.#values.filter((_, i) => kept[i]);
    this.#sets = this.#sets.filter((_, i) => kept[i]);
    this.#recent = this.#recent.filter((value) => keep(this.#setOf(value)));
  }

  /** The first sorted place whose value is above `bound`, or, inclusive, at or above it. */
  #firstAbove(bound: V, inclusive: boolean): number {
    let low = 0;
    let high = this.#values.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const value = this.#values[middle];
      if (inclusive ? value < bound : value <= bound) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #sortIn(): void {
    const values: V[] = [];
    const sets: number[] = [];
    let at = 0;
    const sortedUpTo = (end: number): void => {
      for (; at < end; at++) {
        values.push(this.#values[at]);
        sets.push(this.#sets[at]);
      }
    };
    for (const value of ascending(this.#recent)) {
      if (at < this.#values.length && this.#values[at] < value) sortedUpTo(this.#firstAbove(value, true));
      values.push(value);
      sets.push(this.#setOf(value));
    }
    sortedUpTo(this.#values.length);
    this.#values = values;
    this.#sets = sets;
    this.#recent = [];
  }
}

/** Sorted without a comparator, several times faster: numbers as a typed array, texts by code units, as ever. */
function ascending<V extends number | string>(values: readonly V[]): Iterable<V> {
  return typeof values[0] === 'number'
    ? (Float64Array.from(values as readonly number[]).sort() as Iterable<number> as Iterable<V>)
    : [...values].sort();
}
