import type { ErrorCode } from '../../kernel/errors.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { Link, LinkEvents } from '../../kernel/link.js';
import type { ShardCall } from './core/shard-calls.js';

/**
 * What goes over the one long-lived stream that a node keeps to another for questions about shards: the calls of one
 * turn of the loop in one message, the answers of one turn in another. A body larger than a message goes in parts, the
 * last without `more`.
 */
export interface CallPart {
  /** Of the caller's; unique in the stream. */
  readonly id: number;
  readonly kind: ShardCall;
  /** Milliseconds the caller waits from now on. */
  readonly timeoutMs: number;
  readonly body: Uint8Array;
  readonly more: boolean;
}

export interface QueryMessage {
  /**
   * Rises with every stream of this caller. What arrives on an older stream than one that was heard of is not done: a
   * write that was given up and sent again on the new one could still come out of the old one.
   */
  readonly generation: number;
  readonly calls: readonly CallPart[];
  /** Nobody waits for these any more. */
  readonly cancelled: readonly number[];
}

export interface CallFailure {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly retryAfterMs?: number;
}

export interface AnswerPart {
  readonly id: number;
  readonly body: Uint8Array;
  readonly more: boolean;
  /** Instead of a body. */
  readonly failure?: CallFailure;
}

export interface AnswerMessage {
  readonly answers: readonly AnswerPart[];
  /** Calls under way at the answering node, of all callers and its own. */
  readonly load: number;
}

/** Opens streams to other nodes. Implementations: gRPC, and links in memory. */
export interface QueryLinks {
  open(node: NodeUuid, events: LinkEvents<AnswerMessage>): Link<QueryMessage>;
}

/** Bytes of the bodies of one message: well below what a message may have (4 MiB). */
export const MESSAGE_BYTES = 1024 * 1024;

/** Collects the parts of a body. */
export class Parts {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(part: Uint8Array): void {
    this.#parts.push(part);
    this.#length += part.length;
  }

  whole(): Uint8Array {
    if (this.#parts.length === 1) return this.#parts[0];
    const whole = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}

/** Cuts a body into parts of at most `MESSAGE_BYTES`; views. */
export function* partsOf(body: Uint8Array): Generator<{ readonly body: Uint8Array; readonly more: boolean }> {
  let at = 0;
  do {
    const part = body.subarray(at, at + MESSAGE_BYTES);
    at += part.length;
    yield { body: part, more: at < body.length };
  } while (at < body.length);
}
