import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type {
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedHandleCall,
  sendUnaryData,
} from '@grpc/grpc-js';
import type { DescMethod, Message } from '@bufbuild/protobuf';
import { isObservable, lastValueFrom } from 'rxjs';
import { assert } from '../../kernel/assert.js';
import { NodeError } from '../../kernel/errors.js';
import type { Logger } from '../logging/logger.js';
import type { ServerCall } from './grpc-call.js';
import { callController } from './grpc-call.js';
import { grpcFailureOf } from './grpc-errors.js';

/**
 * A method's implementation, of Nest or plain: it takes the request (an async iterable of requests when the client
 * streams, the raw call when both do) and the call, and gives the answer (an async iterable when the server streams), now
 * or later. An Observable is taken for its last value or its error: that is how Nest's filters report one.
 */
export type Implementation = (request: unknown, call: ServerCall) => unknown;

/**
 * Runs implementations as grpc-js handlers: whatever they throw becomes a status, streams keep back-pressure, and
 * streams that are open when the server stops are told so.
 */
export class GrpcCalls {
  readonly #log: Logger;
  readonly #streams = new Set<ServerCall>();
  #stopping = false;
  #underWay = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Requests with one answer that are being worked on. */
  get underWay(): number {
    return this.#underWay;
  }

  /** The grpc-js handler of one method; a bidirectional implementation gets the raw call. */
  handler(method: DescMethod, run: Implementation): UntypedHandleCall {
    switch (method.methodKind) {
      case 'unary':
        return (call: ServerUnaryCall<Message, Message>, callback: sendUnaryData<Message>) =>
          void this.#answerOnce(call, callback, () => run(call.request, call));
      case 'client_streaming':
        return (call: ServerReadableStream<Message, Message>, callback: sendUnaryData<Message>) =>
          void this.#answerOnce(call, callback, () => run(call.iterator({ destroyOnReturn: false }), call));
      case 'server_streaming':
        return (call: ServerWritableStream<Message, Message>) =>
          void this.#answerStream(call, () => run(call.request, call));
      case 'bidi_streaming':
        return (call: ServerDuplexStream<Message, Message>) => {
          this.#opened(call);
          try {
            run(call, call);
          } catch (error) {
            this.fail(call, error);
          }
        };
    }
  }

  /** Ends a stream with the status of an error. */
  fail(call: ServerCall & { emit(event: 'error', status: unknown): unknown }, error: unknown): void {
    call.emit('error', this.#status(call, error));
  }

  /** Aborts the signals of open streams: they end with DRAINING instead of holding the server. */
  stop(): void {
    this.#stopping = true;
    for (const call of this.#streams)
      callController(call).abort(new NodeError('DRAINING', 'The node is shutting down'));
  }

  async #answerOnce(call: ServerCall, callback: sendUnaryData<Message>, run: () => unknown): Promise<void> {
    this.#underWay++;
    try {
      callback(null, (await settled(run())) as Message);
    } catch (error) {
      callback(this.#status(call, error));
    } finally {
      this.#underWay--;
    }
  }

  async #answerStream(call: ServerWritableStream<Message, Message>, run: () => unknown): Promise<void> {
    this.#opened(call);
    const { signal } = callController(call);
    try {
      const messages = await settled(run());
      assert(isAsyncIterable(messages), `${call.getPath()} must answer with an async iterable`);
      for await (const message of messages) {
        if (call.cancelled) return;
        if (!call.write(message)) await once(call, 'drain', { signal });
      }
      signal.throwIfAborted();
      call.end();
    } catch (error) {
      this.fail(call, signal.reason instanceof NodeError ? signal.reason : error);
    }
  }

  #opened(call: ServerCall): void {
    this.#streams.add(call);
    call.on('cancelled', () => this.#streams.delete(call));
    if (this.#stopping) this.stop();
  }

  #status(call: ServerCall, error: unknown) {
    const instance = randomUUID();
    const { status, failure } = grpcFailureOf(error, instance);
    if (failure.unexpected && !call.cancelled)
      this.#log.error({ error, instance, method: call.getPath() }, 'a gRPC call failed unexpectedly');
    return status;
  }
}

async function settled(answer: unknown): Promise<unknown> {
  const value = await answer;
  return isObservable(value) ? lastValueFrom(value) : value;
}

function isAsyncIterable(value: unknown): value is AsyncIterable<Message> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}
