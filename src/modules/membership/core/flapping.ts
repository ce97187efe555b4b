/** So many changes between up and down within the window make a node flap (replication 5.8). */
export const FLAPPING_TRANSITIONS = 3;
export const FLAPPING_WINDOW_MS = 60_000;

/** The last changes of one node between up and down. */
export class Transitions {
  readonly #atMs: number[] = [];

  add(nowMs: number): void {
    this.#atMs.push(nowMs);
    if (this.#atMs.length > FLAPPING_TRANSITIONS) this.#atMs.shift();
  }

  flapping(nowMs: number): boolean {
    return this.#atMs.length >= FLAPPING_TRANSITIONS && nowMs - this.#atMs[0] < FLAPPING_WINDOW_MS;
  }
}
