/** At most this share of the places is taken. */
const LOAD_MAX = 0.6;
const PLACES_MIN = 16;

/**
 * Labels by the hash of their id: open addressing with linear probing, four bytes a place. What it takes to know an id
 * again is the caller's: the hash of a label, and whether a label is the one that is looked for.
 */
export class IdSlots {
  readonly #hashOf: (label: number) => number;
  /** Label + 1; 0 where no label is. */
  #places = new Uint32Array(PLACES_MIN);
  #size = 0;

  constructor(hashOf: (label: number) => number) {
    this.#hashOf = hashOf;
  }

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#places.byteLength;
  }

  /** The label with this hash of which `isIt` says yes, or −1. */
  find(hash: number, isIt: (label: number) => boolean): number {
    const last = this.#places.length - 1;
    for (let at = hash & last; ; at = (at + 1) & last) {
      const label = this.#places[at] - 1;
      if (label < 0 || (this.#hashOf(label) === hash && isIt(label))) return label;
    }
  }

  /** A label that is not here yet. */
  add(label: number): void {
    this.#size++;
    if (this.#size > this.#places.length * LOAD_MAX) this.#grow();
    this.#place(label);
  }

  /** A label that is here. What stands behind it moves up, so that every search still ends at a free place. */
  remove(label: number): void {
    const last = this.#places.length - 1;
    let gap = this.#hashOf(label) & last;
    while (this.#places[gap] !== label + 1) gap = (gap + 1) & last;
    for (let at = (gap + 1) & last; this.#places[at] !== 0; at = (at + 1) & last) {
      const wanted = this.#hashOf(this.#places[at] - 1) & last;
      if (((at - wanted) & last) < ((at - gap) & last)) continue;
      this.#places[gap] = this.#places[at];
      gap = at;
    }
    this.#places[gap] = 0;
    this.#size--;
  }

  #place(label: number): void {
    const last = this.#places.length - 1;
    let at = this.#hashOf(label) & last;
    while (this.#places[at] !== 0) at = (at + 1) & last;
    this.#places[at] = label + 1;
  }

  #grow(): void {
    const before = this.#places;
    this.#places = new Uint32Array(2 * before.length);
    for (const place of before) if (place !== 0) this.#place(place - 1);
  }
}
