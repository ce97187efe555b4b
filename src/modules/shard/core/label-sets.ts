import { Bitmap } from './bitmap.js';
import { grown } from './grown.js';
import { NO_BLOCK, PAGE_BITS, PAGE_MASK, PAGE_SLOTS, SlotArena } from './slot-arena.js';

/** Sets of fewer labels are never bitmaps: the bitmap's own objects cost more. */
const BITMAP_COUNT_MIN = 256;
/** Longer lists are always bitmaps: no longer block fits a page, and inserting into one would be slow. */
const LIST_COUNT_MAX = PAGE_SLOTS >>> 1;

/**
 * Many sets of labels, by number, each in the form that suits its size: one label in place; a sorted list in a block of an
 * arena; a bitmap once that is smaller than the list (more than one label in 32 up to its highest). Adding and removing
 * are exact and at once.
 */
export class LabelSets {
  readonly #arena = new SlotArena();
  readonly #bitmaps = new Map<number, Bitmap>();
  #counts = new Uint32Array(0);
  /** Of one label: the label itself; of a list: its block; else unused. */
  #places = new Uint32Array(0);
  /** Slots of a list's block as a power of two; 0 for other forms. */
  #exponents = new Uint8Array(0);
  readonly #free: number[] = [];
  #end = 0;

  /** Every set's number is below. */
  get end(): number {
    return this.#end;
  }

  get bytes(): number {
    let bytes = this.#arena.bytes + this.#counts.length * 9 + this.#free.length * 8;
    for (const bitmap of this.#bitmaps.values()) bytes += bitmap.bytes + 200;
    return bytes;
  }

  /** The number of a new, empty set. */
  create(): number {
    const set = this.#free.pop() ?? this.#end++;
    this.#counts = grown(this.#counts, set + 1);
    this.#places = grown(this.#places, set + 1);
    this.#exponents = grown(this.#exponents, set + 1);
    return set;
  }

  /** Takes a set's number back; whatever is in it goes. */
  release(set: number): void {
    this.#drop(set);
    this.#counts[set] = 0;
    this.#free.push(set);
  }

  count(set: number): number {
    return this.#counts[set];
  }

  has(set: number, label: number): boolean {
    const count = this.#counts[set];
    if (count === 0) return false;
    if (this.#exponents[set] > 0) {
      const { page, from } = this.#list(set);
      const at = lowerBound(page, from, from + count, label);
      return at < from + count && page[at] === label;
    }
    return this.#bitmaps.get(set)?.has(label) ?? this.#places[set] === label;
  }

  /** False when the label was there. */
  add(set: number, label: number): boolean {
    if (this.has(set, label)) return false;
    const count = this.#counts[set];
    const bitmap = this.#bitmaps.get(set);
    // A set that was dense among the first labels need not be among many.
    const outgrown = bitmap !== undefined && label >= bitmap.capacity && isSparse(count, label);
    if (outgrown) this.#toList(set, bitmap);
    this.#counts[set] = count + 1;
    if (bitmap !== undefined && !outgrown) bitmap.set(label);
    else if (count === 0) this.#places[set] = label;
    else this.#insert(set, count, label);
    return true;
  }

  /** False when the label was not there. */
  remove(set: number, label: number): boolean {
    if (!this.has(set, label)) return false;
    const count = --this.#counts[set];
    const bitmap = this.#bitmaps.get(set);
    if (bitmap !== undefined) {
      bitmap.clear(label);
      if (count < BITMAP_COUNT_MIN / 2 || isSparse(count, bitmap.capacity)) this.#toList(set, bitmap);
    } else if (this.#exponents[set] > 0) this.#delete(set, count, label);
    return true;
  }

  /** Adds a set's labels to `bitmap`. */
  addTo(set: number, bitmap: Bitmap): void {
    const count = this.#counts[set];
    if (count === 0) return;
    const whole = this.#bitmaps.get(set);
    if (whole !== undefined) bitmap.or(whole);
    else if (this.#exponents[set] === 0) bitmap.set(this.#places[set]);
    else {
      const { page, from } = this.#list(set);
      for (let i = from; i < from + count; i++) bitmap.set(page[i]);
    }
  }

  /** Fills an empty set with labels, which are ascending. */
  load(set: number, labels: Uint32Array): void {
    const count = labels.length;
    this.#counts[set] = count;
    const highest = count === 0 ? 0 : labels[count - 1];
    if (count > LIST_COUNT_MAX || (count >= BITMAP_COUNT_MIN && count * 32 > highest)) {
      const bitmap = new Bitmap(highest + 1);
      for (const label of labels) bitmap.set(label);
      this.#bitmaps.set(set, bitmap);
    } else this.#fill(set, labels);
  }

  /** A set's labels, ascending. */
  labels(set: number): Uint32Array {
    const whole = this.#bitmaps.get(set);
    if (whole !== undefined) return whole.toArray();
    const count = this.#counts[set];
    if (this.#exponents[set] === 0) return this.#places.slice(set, set + count);
    const { page, from } = this.#list(set);
    return page.slice(from, from + count);
  }

  /** Inserts into a list of `count`, or makes one of a single label. */
  #insert(set: number, count: number, label: number): void {
    const exponent = this.#exponents[set];
    if (exponent === 0) {
      const other = this.#places[set];
      this.#places[set] = this.#arena.allocate(2);
      this.#exponents[set] = 1;
      const { page, from } = this.#list(set);
      page[from] = Math.min(label, other);
      page[from + 1] = Math.max(label, other);
      return;
    }
    const { page, from } = this.#list(set);
    const highest = Math.max(label, page[from + count - 1]);
    if (count >= LIST_COUNT_MAX || (count >= BITMAP_COUNT_MIN && count * 32 > highest)) {
      const bitmap = new Bitmap(highest + 1);
      for (let i = from; i < from + count; i++) bitmap.set(page[i]);
      bitmap.set(label);
      this.#drop(set);
      this.#bitmaps.set(set, bitmap);
      return;
    }
    const at = lowerBound(page, from, from + count, label) - from;
    const target = count === 1 << exponent ? this.#resize(set, exponent + 1, count) : { page, from };
    target.page.copyWithin(target.from + at + 1, target.from + at, target.from + count);
    target.page[target.from + at] = label;
  }

  /** Deletes from a list, which keeps `count`. */
  #delete(set: number, count: number, label: number): void {
    const { page, from } = this.#list(set);
    const at = lowerBound(page, from, from + count + 1, label);
    page.copyWithin(at, at + 1, from + count + 1);
    if (count === 1) {
      const last = page[from];
      this.#drop(set);
      this.#places[set] = last;
    } else if (count * 4 <= 1 << this.#exponents[set]) this.#resize(set, this.#exponents[set] - 1, count);
  }

  /** Moves a list's `count` labels to a block of another size. */
  #resize(set: number, exponent: number, count: number): Block {
    const old = this.#list(set);
    const address = this.#arena.allocate(1 << exponent);
    const page = this.#arena.pages[address >>> PAGE_BITS];
    const from = address & PAGE_MASK;
    // The first page may have been replaced by a longer one: read the old block through the arena again.
    page.set(this.#list(set).page.subarray(old.from, old.from + count), from);
    this.#arena.release(this.#places[set], 1 << this.#exponents[set]);
    this.#places[set] = address;
    this.#exponents[set] = exponent;
    return { page, from };
  }

  #toList(set: number, bitmap: Bitmap): void {
    const labels = bitmap.toArray();
    this.#drop(set);
    this.#fill(set, labels);
  }

  /** Gives a set that has no form yet that of a list, or of a single label. */
  #fill(set: number, labels: Uint32Array): void {
    if (labels.length < 2) {
      this.#places[set] = labels[0] ?? 0;
      return;
    }
    const exponent = 32 - Math.clz32(labels.length - 1);
    this.#places[set] = this.#arena.allocate(1 << exponent);
    this.#exponents[set] = exponent;
    const { page, from } = this.#list(set);
    page.set(labels, from);
  }

  /** Frees what a set's form takes; its count stays. */
  #drop(set: number): void {
    if (this.#exponents[set] > 0) this.#arena.release(this.#places[set], 1 << this.#exponents[set]);
    this.#bitmaps.delete(set);
    this.#exponents[set] = 0;
    this.#places[set] = NO_BLOCK;
  }

  #list(set: number): Block {
    const address = this.#places[set];
    return { page: this.#arena.pages[address >>> PAGE_BITS], from: address & PAGE_MASK };
  }
}

interface Block {
  readonly page: Uint32Array;
  readonly from: number;
}

/** Whether a bitmap of so many labels is better a list: well below where a list becomes a bitmap, so that it stays one. */
function isSparse(count: number, span: number): boolean {
  return count <= LIST_COUNT_MAX / 2 && count * 64 < span;
}

/** The first place in page[from … to) whose label is not below `label`; `to` when there is none. */
function lowerBound(page: Uint32Array, from: number, to: number, label: number): number {
  // Labels mostly come in ascending order.
  if (to > from && page[to - 1] < label) return to;
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (page[middle] < label) low = middle + 1;
    else high = middle;
  }
  return low;
}
