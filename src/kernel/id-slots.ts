/** At most this share of the places is taken. */
const LOAD_MAX = 0.7;
const PLACES_MIN = 16;

/**
 * Numbers (of labels, of candidates) by the hash of the id each stands for: open addressing with linear probing, eight bytes
 * a place. What it takes to know an id again, once the hashes are equal, is the caller's.
 */
export class IdSlots {
  /** By place: the hash, and number + 1, which is 0 where none is. */
  #memory = new Uint32Array(2 * PLACES_MIN);
  #places = PLACES_MIN;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#memory.byteLength;
  }

  /** Empties it, with room for `items` at least; memory is kept. */
  reset(items: number): void {
    this.#places = placesFor(items);
    this.#size = 0;
    if (2 * this.#places > this.#memory.length) this.#memory = new Uint32Array(2 * this.#places);
    else this.#memory.fill(0, 0, 2 * this.#places);
  }

  /** The number with this hash of which `isIt` says yes, or −1. */
  find(hash: number, isIt: (item: number) => boolean): number {
    const memory = this.#memory;
    const last = this.#places - 1;
    for (let at = hash & last; ; at = (at + 1) & last) {
      const item = memory[2 * at + 1] - 1;
      if (item < 0 || (memory[2 * at] === hash && isIt(item))) return item;
    }
  }

  /** A number that is not here yet. */
  add(hash: number, item: number): void {
    this.#size++;
    if (this.#size > this.#places * LOAD_MAX) this.#grow();
    this.#place(hash, item + 1);
  }

  /** A number that is here. What stands behind it moves up, so that every search still ends at a free place. */
  remove(hash: number, item: number): void {
    const memory = this.#memory;
    const last = this.#places - 1;
    let gap = hash & last;
    while (memory[2 * gap + 1] !== item + 1) gap = (gap + 1) & last;
    for (let at = (gap + 1) & last; memory[2 * at + 1] !== 0; at = (at + 1) & last) {
      const wanted = memory[2 * at] & last;
      if (((at - wanted) & last) < ((at - gap) & last)) continue;
      memory[2 * gap] = memory[2 * at];
      memory[2 * gap + 1] = memory[2 * at + 1];
      gap = at;
    }
    memory[2 * gap + 1] = 0;
    this.#size--;
  }

  #place(hash: number, itemPlusOne: number): void {
    const memory = this.#memory;
    const last = this.#places - 1;
    let at = hash & last;
    while (memory[2 * at + 1] !== 0) at = (at + 1) & last;
    memory[2 * at] = hash;
    memory[2 * at + 1] = itemPlusOne;
  }

  #grow(): void {
    const before = this.#memory.subarray(0, 2 * this.#places);
    this.#places = placesFor(this.#size);
    this.#memory = new Uint32Array(2 * this.#places);
    for (let at = 0; at < before.length; at += 2) if (before[at + 1] !== 0) this.#place(before[at], before[at + 1]);
  }
}

/** A power of two. */
function placesFor(items: number): number {
  let places = PLACES_MIN;
  while (places * LOAD_MAX < items) places *= 2;
  return places;
}
