import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Message } from '@bufbuild/protobuf';
import { NodeError } from '../../kernel/errors.js';
import { PeerError, PeerRefusal } from '../../kernel/peer.js';
import { callController } from './grpc-call.js';
import { grpcFailureOf } from './grpc-errors.js';
import type { PeerLink, PeerLinkEvents } from './peer-link.js';

/** The server's end of a stream. */
export interface PeerServerLink<Sent> extends PeerLink<Sent> {
  /** Ends the stream with an error's status, and tells the events so. */
  fail(error: NodeError | PeerRefusal): void;
}

/**
 * Serves one bidirectional call as a link. `ended` without an error can also be a break: HTTP/2 ends what was read either
 * way, and there is no waiting for the reason. A message of which `open`'s events throw a NodeError or a PeerRefusal ends
 * the stream with that status; anything else they throw is a programmer's error, and is not caught.
 */
export function servePeerStream<Received extends Message, Sent extends Message>(
  call: ServerDuplexStream<Received, Sent>,
  open: (link: PeerServerLink<Sent>) => PeerLinkEvents<Received>,
): void {
  const stream = new PeerStream<Received, Sent>(call);
  stream.serve(open(stream));
}

class PeerStream<Received extends Message, Sent extends Message> implements PeerServerLink<Sent> {
  readonly #call: ServerDuplexStream<Received, Sent>;
  #events: PeerLinkEvents<Received> | undefined;
  #open = true;
  #drains: (() => void)[] = [];

  constructor(call: ServerDuplexStream<Received, Sent>) {
    this.#call = call;
  }

  serve(events: PeerLinkEvents<Received>): void {
    const call = this.#call;
    this.#events = events;
    call.on('data', (message: Received) => this.#receive(message));
    call.on('drain', () => this.#release());
    // The other side closed it; a break ends what was read as well, and may only be reported after this.
    call.on('end', () => {
      this.#end(call.cancelled ? brokenOff(call.getPeer()) : undefined);
      call.end();
    });
    call.on('error', () => this.#end(new PeerError('RESET', `the stream from ${call.getPeer()} failed`)));
    const { signal } = callController(call);
    const aborted = () => {
      if (signal.reason instanceof NodeError) this.fail(signal.reason);
      else this.#end(brokenOff(call.getPeer()));
    };
    signal.addEventListener('abort', aborted, { once: true });
    if (signal.aborted) aborted();
  }

  send(message: Sent): boolean {
    return this.#open ? this.#call.write(message) : true;
  }

  drained(): Promise<void> {
    if (!this.#open || !this.#call.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve) => this.#drains.push(resolve));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#release();
    this.#call.end();
  }

  cancel(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#release();
    this.#call.emit('error', grpcFailureOf(new NodeError('SHARD_UNAVAILABLE', 'The stream was broken off'), '').status);
  }

  fail(error: NodeError | PeerRefusal): void {
    if (!this.#open) return;
    this.#end(error);
    this.#call.emit('error', grpcFailureOf(error, '').status);
  }

  #receive(message: Received): void {
    if (!this.#open) return;
    try {
      this.#events?.message(message);
    } catch (error) {
      if (!(error instanceof NodeError || error instanceof PeerRefusal)) throw error;
      this.fail(error);
    }
  }

  #end(error: Error | undefined): void {
    if (!this.#open) return;
    this.#open = false;
    this.#release();
    this.#events?.ended(error);
  }

  #release(): void {
    for (const resolve of this.#drains.splice(0)) resolve();
  }
}

function brokenOff(peer: string): PeerError {
  return new PeerError('RESET', `${peer} broke off the stream`);
}
