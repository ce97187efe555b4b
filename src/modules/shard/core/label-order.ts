/** Above this share of changed labels sorting all of them again is cheaper than merging. */
const MERGE_SHARE_MAX = 0.25;

/** What the order needs of a table. */
export interface OrderedLabels {
  readonly high: number;
  isLive(label: number): boolean;
  /** Order of two live labels: by id. */
  compare(a: number, b: number): number;
}

/**
 * The live labels of a table in the order of their ids, for scrolling. Built when first asked for; after that the labels
 * that changed since are merged in: O(n) to copy, O(m log n) comparisons for m changes. A table nobody scrolls pays
 * nothing.
 */
export class LabelOrder {
  #sorted: Uint32Array | undefined;
  #changed = new Set<number>();

  /** A label came to life or died. */
  changed(label: number): void {
    if (this.#sorted === undefined) return;
    this.#changed.add(label);
    if (this.#changed.size > 1_024 && this.#changed.size > this.#sorted.length * MERGE_SHARE_MAX) this.reset();
  }

  /** Forgets everything. */
  reset(): void {
    this.#sorted = undefined;
    this.#changed = new Set();
  }

  /** All live labels by id, ascending; valid until the next change. */
  labels(table: OrderedLabels): Uint32Array {
    if (this.#sorted === undefined) this.#sorted = sortedLive(allOf(table), table);
    else if (this.#changed.size > 0) this.#sorted = merge(this.#sorted, this.#changed, table);
    this.#changed = new Set();
    return this.#sorted;
  }
}

/** Index of the first label in `sorted` that `isAfter`; all that are stand at the end. */
export function firstAfter(sorted: Uint32Array, isAfter: (label: number) => boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isAfter(sorted[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}

function* allOf({ high }: OrderedLabels): Generator<number> {
  for (let label = 0; label < high; label++) yield label;
}

function sortedLive(labels: Iterable<number>, table: OrderedLabels): Uint32Array {
  const live: number[] = [];
  for (const label of labels) if (table.isLive(label)) live.push(label);
  return Uint32Array.from(live).sort((a, b) => table.compare(a, b));
}

function merge(sorted: Uint32Array, changed: ReadonlySet<number>, table: OrderedLabels): Uint32Array {
  const added = sortedLive(changed, table);
  const kept = sorted.filter((label) => !changed.has(label));
  const merged = new Uint32Array(kept.length + added.length);
  let from = 0;
  let at = 0;
  for (const label of added) {
    const to = firstAfter(kept, (other) => table.compare(other, label) > 0);
    merged.set(kept.subarray(from, to), at);
    at += to - from;
    from = to;
    merged[at++] = label;
  }
  merged.set(kept.subarray(from), at);
  return merged;
}
