import type { Client, ClientDuplexStream, MethodDefinition, StatusObject } from '@grpc/grpc-js';
import { status as Status } from '@grpc/grpc-js';
import type { Message } from '@bufbuild/protobuf';
import type { Metadata } from '@grpc/grpc-js';
import type { PeerError } from '../../kernel/peer.js';
import type { PeerLink, PeerLinkEvents } from './peer-link.js';

/** A stream that was closed in good order gets this long to end on the other side. */
const CLOSE_TIMEOUT_MS = 1_000;

/** What the stream needs from the channel it is opened on. */
export interface DuplexOpening {
  readonly client: Promise<Client>;
  readonly method: MethodDefinition<Message, Message>;
  readonly metadata: () => Metadata;
  /** The PeerError of a status other than OK. */
  readonly failure: (status: StatusObject) => PeerError;
}

/** The client's end of a stream. What is sent before it is open waits in order. */
export class PeerDuplex<Sent extends Message, Received extends Message> implements PeerLink<Sent> {
  readonly #events: PeerLinkEvents<Received>;
  #call: ClientDuplexStream<Message, Message> | undefined;
  #waiting: Sent[] = [];
  #state: 'open' | 'closed' | 'ended' = 'open';
  #drains: (() => void)[] = [];

  constructor(opening: DuplexOpening, events: PeerLinkEvents<Received>) {
    this.#events = events;
    opening.client.then(
      (client) => this.#open(client, opening),
      (error: unknown) => this.#end(error as PeerError),
    );
  }

  send(message: Sent): boolean {
    if (this.#state !== 'open') return true;
    if (this.#call !== undefined) return this.#call.write(message);
    this.#waiting.push(message);
    return false;
  }

  drained(): Promise<void> {
    if (this.#state !== 'open' || this.#call?.writableNeedDrain === false) return Promise.resolve();
    return new Promise((resolve) => this.#drains.push(resolve));
  }

  close(): void {
    if (this.#state !== 'open') return;
    this.#state = 'closed';
    this.#release();
    const call = this.#call;
    if (call === undefined) return;
    call.end();
    const cut = setTimeout(() => call.cancel(), CLOSE_TIMEOUT_MS);
    cut.unref();
    call.once('status', () => clearTimeout(cut));
  }

  cancel(): void {
    if (this.#state === 'open') {
      this.#state = 'closed';
      this.#release();
    }
    this.#call?.cancel();
  }

  #open(client: Client, { method, metadata, failure }: DuplexOpening): void {
    if (this.#state !== 'open') return;
    const { path, requestSerialize, responseDeserialize } = method;
    const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata());
    this.#call = call;
    call.on('data', (message: Received) => {
      if (this.#state === 'open') this.#events.message(message);
    });
    call.on('drain', () => this.#release());
    // The end comes after the last message; a status other than OK does not wait for them.
    call.on('end', () => undefined);
    call.on('error', () => undefined);
    call.on('status', (status: StatusObject) => {
      if (status.code !== Status.OK) this.#end(failure(status));
      else if (call.readableEnded) this.#end(undefined);
      else call.once('end', () => this.#end(undefined));
    });
    for (const message of this.#waiting) call.write(message);
    this.#waiting = [];
    if (!call.writableNeedDrain) this.#release();
  }

  #end(error: PeerError | undefined): void {
    const told = this.#state === 'open';
    this.#state = 'ended';
    this.#waiting = [];
    this.#release();
    if (told) this.#events.ended(error);
  }

  #release(): void {
    for (const resolve of this.#drains.splice(0)) resolve();
  }
}
