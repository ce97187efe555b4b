import type { EventsPort, NodeEvent } from './coordinator.js';

/** Listeners a node serves at once. */
export const LISTENERS_MAX = 256;

/** What the node does, told to whoever listens. Nothing internal depends on it: it only informs. */
export class EventsService implements EventsPort {
  readonly #listeners = new Set<(event: NodeEvent) => void>();

  subscribe(listener: (event: NodeEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  publish(event: NodeEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
