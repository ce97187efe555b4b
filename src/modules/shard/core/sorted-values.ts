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
  #recentValues: V[] = [];
  #recentSets: number[] = [];

  get bytes(): number {
    return (this.#values.length + this.#recentValues.length) * 16;
  }

  /** Adds a value that is not there yet. */
  add(value: V, set: number): void {
    this.#recentValues.push(value);
    this.#recentSets.push(set);
  }

  /** Calls `visit` with the set of every value within the bounds, in no particular order. */
  range(bounds: Bounds<V>, visit: (set: number) => void): void {
    if (this.#recentValues.length > Math.max(RECENT_MIN, this.#values.length >>> 5)) this.#sortIn();
    const { gt, gte, lt, lte } = bounds;
    let from = gte === undefined ? 0 : this.#firstAbove(gte, true);
    if (gt !== undefined) from = Math.max(from, this.#firstAbove(gt, false));
    let to = lt === undefined ? this.#values.length : this.#firstAbove(lt, true);
    if (lte !== undefined) to = Math.min(to, this.#firstAbove(lte, false));
    for (let i = from; i < to; i++) visit(this.#sets[i]);
    for (let i = 0; i < this.#recentValues.length; i++) {
      const value = this.#recentValues[i];
      if (
        (gt === undefined || value > gt) &&
        (gte === undefined || value >= gte) &&
        (lt === undefined || value < lt) &&
        (lte === undefined || value <= lte)
      ) {
        visit(this.#recentSets[i]);
      }
    }
  }

  /** Forgets the values whose set `keep` refuses. */
  retain(keep: (set: number) => boolean): void {
    const values = [...this.#values, ...this.#recentValues];
    const sets = [...this.#sets, ...this.#recentSets];
    const sorted = this.#values.length;
    this.#values = [];
    this.#sets = [];
    this.#recentValues = [];
    this.#recentSets = [];
    for (let i = 0; i < values.length; i++) {
      if (!keep(sets[i])) continue;
      (i < sorted ? this.#values : this.#recentValues).push(values[i]);
      (i < sorted ? this.#sets : this.#recentSets).push(sets[i]);
    }
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
    const recent = this.#recentValues.map((value, i) => ({ value, set: this.#recentSets[i] }));
    recent.sort((a, b) => (a.value < b.value ? -1 : a.value > b.value ? 1 : 0));
    const values: V[] = [];
    const sets: number[] = [];
    let at = 0;
    for (const { value, set } of recent) {
      for (; at < this.#values.length && this.#values[at] < value; at++) {
        values.push(this.#values[at]);
        sets.push(this.#sets[at]);
      }
      values.push(value);
      sets.push(set);
    }
    for (; at < this.#values.length; at++) {
      values.push(this.#values[at]);
      sets.push(this.#sets[at]);
    }
    this.#values = values;
    this.#sets = sets;
    this.#recentValues = [];
    this.#recentSets = [];
  }
}
