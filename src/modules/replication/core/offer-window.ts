/**
 * Entry bytes of loose rows that may be offered ahead of what the primary's disk has of them (replication 6.4): what one copy
 * makes a primary hold in memory, beside a message, out of the 32 MiB its writers have as well (3).
 */
export const OFFER_BYTES_MAX = 4 * 1024 * 1024;

/** What was offered on one stream, and how much of that the primary says is settled. */
export class OfferWindow {
  #offered = 0;
  #taken: number | undefined = 0;

  /** More may be offered. */
  get isOpen(): boolean {
    return this.#taken === undefined || this.#offered - this.#taken < OFFER_BYTES_MAX;
  }

  offered(bytes: number): void {
    this.#offered += bytes;
  }

  /** @param taken of all that was offered; undefined: the primary does not count it, and is not waited for (8.5) */
  told(taken: number | undefined): void {
    this.#taken = taken;
  }
}
