/** Followers a node catches up in bulk at once (replication 4.6): more would only make each of them slower. */
export const BULK_PLACES = 2;

/** The places for bulk catch-ups of one node. */
export class BulkPlaces {
  #free: number;

  constructor(places = BULK_PLACES) {
    this.#free = places;
  }

  /** Takes a place, to be given back by calling the answer; undefined when none is free. */
  take(): (() => void) | undefined {
    if (this.#free === 0) return undefined;
    this.#free--;
    let taken = true;
    return () => {
      if (taken) this.#free++;
      taken = false;
    };
  }
}
