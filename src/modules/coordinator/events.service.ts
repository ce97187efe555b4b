import { Listeners } from '../../kernel/listeners.js';
import type { EventsPort, NodeEvent } from './coordinator.js';

/** What the node does, told to whoever listens. Nothing internal depends on it: it only informs. */
export class EventsService implements EventsPort {
  readonly #listeners = new Listeners<[event: NodeEvent]>();

  subscribe(listener: (event: NodeEvent) => void): () => void {
    return this.#listeners.add(listener);
  }

  publish(event: NodeEvent): void {
    this.#listeners.tell(event);
  }
}
