import { compareIds } from '../../../kernel/ids.js';

/** Above this share of changed labels sorting all of them again is cheaper than merging. */
const MERGE_SHARE_MAX = 0.25;

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

  /**
   * All live labels by id, ascending; valid until the next change.
   * @param ids id by label; the empty text for a label that is not live
   */
  labels(ids: readonly string[]): Uint32Array {
    if (this.#sorted === undefined) this.#sorted = sortAll(ids);
    else if (this.#changed.size > 0) this.#sorted = merge(this.#sorted, this.#changed, ids);
    this.#changed = new Set();
    return this.#sorted;
  }
}

/** Index of the first label in `sorted` whose id is greater than `after`. */
export function firstAfter(sorted: Uint32Array, ids: readonly string[], after: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareIds(ids[sorted[middle]], after) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function sortAll(ids: readonly string[]): Uint32Array {
  const live: number[] = [];
  for (let label = 0; label < ids.length; label++) if (ids[label] !== '') live.push(label);
  return Uint32Array.from(live.sort((a, b) => compareIds(ids[a], ids[b])));
}

function merge(sorted: Uint32Array, changed: ReadonlySet<number>, ids: readonly string[]): Uint32Array {
  const added = sortAllOf(changed, ids);
  const kept = sorted.filter((label) => !changed.has(label));
  const merged = new Uint32Array(kept.length + added.length);
  let from = 0;
  let at = 0;
  for (const label of added) {
    const to = firstAfter(kept, ids, ids[label]);
    merged.set(kept.subarray(from, to), at);
    at += to - from;
    from = to;
    merged[at++] = label;
  }
  merged.set(kept.subarray(from), at);
  return merged;
}

function sortAllOf(labels: Iterable<number>, ids: readonly string[]): number[] {
  const live: number[] = [];
  for (const label of labels) if (ids[label] !== '') live.push(label);
  return live.sort((a, b) => compareIds(ids[a], ids[b]));
}
