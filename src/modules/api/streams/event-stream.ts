import type { ServerResponse } from 'node:http';
import type { NodeEvent } from '../../coordinator/coordinator.js';

/** Bytes that may wait for a slow listener; then events are dropped and it is told how many. */
export const WAITING_BYTES_MAX = 256 * 1024;
/** Milliseconds between heartbeats: proxies close connections that are silent for longer. */
export const HEARTBEAT_MS = 15_000;

/** Kinds of events by their beginnings (api.md, events). */
export const EVENT_KINDS = ['cluster', 'document', 'search', 'heartbeat'] as const;

/** Which events a listener asked for; everything when it did not say. */
export type EventFilter = readonly string[];

export function matchesEvent(filter: EventFilter, type: string): boolean {
  return filter.length === 0 || filter.some((kind) => type === kind || type.startsWith(`${kind}.`));
}

/**
 * One listener of server-sent events. Never waits: when the listener does not keep up, events are dropped and one
 * `missed` event says how many, once it reads again.
 */
export class EventStream {
  private sequence = 0;
  private missed = 0;

  constructor(
    private readonly response: ServerResponse,
    private readonly filter: EventFilter,
  ) {
    response.on('drain', () => {
      this.tellMissed();
    });
  }

  /** Sends an event if it was asked for. */
  send(event: NodeEvent): void {
    if (!matchesEvent(this.filter, event.type)) return;
    this.write(event.type, event.data);
  }

  /** Sends a heartbeat whatever was asked for: it shows that the connection lives. */
  heartbeat(data: Readonly<Record<string, unknown>>): void {
    this.write('heartbeat', data);
  }

  private write(type: string, data: Readonly<Record<string, unknown>>): void {
    if (this.response.destroyed || this.response.writableEnded) return;
    if (this.response.writableLength > WAITING_BYTES_MAX) {
      this.missed++;
      return;
    }
    this.sequence++;
    this.response.write(`id: ${this.sequence}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  private tellMissed(): void {
    if (this.missed === 0) return;
    const { missed } = this;
    this.missed = 0;
    this.write('missed', { missed });
  }
}
