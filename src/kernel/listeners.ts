/** Who wants to be told of one thing, in the order they came. What a listener throws ends the telling. */
export class Listeners<Told extends readonly unknown[] = []> {
  readonly #listeners = new Set<(...told: Told) => void>();

  get size(): number {
    return this.#listeners.size;
  }

  /** @returns ends it */
  add(listener: (...told: Told) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Those that come meanwhile are told the next time, those that end meanwhile no more. */
  tell(...told: Told): void {
    for (const listener of [...this.#listeners]) if (this.#listeners.has(listener)) listener(...told);
  }
}
