import { Listeners } from '../../kernel/listeners.js';
import type { EventsPort, NodeEvent } from './coordinator.js';

/** Listeners a node serves at once. */
export const LISTENERS_MAX = 256;

/** What the node does, told to whoever listens. Nothing internal depends on it: it only informs. */
export class EventsService implements EventsPort {
  readonly #listeners = new Listeners<[event: NodeEvent]>();

  subscribe(listener: (event: NodeEvent) => void): () => void {
    return this.#listeners.add(listener);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  publish(event: NodeEvent): void {
    this.#listeners.tell(event);
  }
}
