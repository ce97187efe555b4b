import { NodeError } from '../../kernel/errors.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { Link, LinkEvents } from '../../kernel/link.js';
import { documentSegments, DocumentFormatError } from '../shard/core/document-codec.js';
import { CallSignal } from './call-signal.js';
import { SHARD_CALL_WIRE } from './core/shard-call-wire.js';
import type { ShardAsk, ShardCall, ShardWrite, WriteRelay } from './core/shard-calls.js';
import { decodeWire, encodeWire, WireError, type Codec } from '../../kernel/wire.js';
import { Outbox } from './outbox.js';
import {
  Parts,
  partsOf,
  type AnswerMessage,
  type AnswerPart,
  type CallPart,
  type QueryMessage,
} from './query-stream.js';
import type { ShardAccess } from './shard-access.js';

/** Calls of one node under way here. */
export const SERVED_MAX = 8_192;
/** Bytes of one call, and of the answers a caller has not taken yet. */
export const ASK_BYTES_MAX = 64 * 1024 * 1024;
export const ANSWERS_BYTES_MAX = 64 * 1024 * 1024;
const WAIT_MS_MAX = 120_000;

/** The shards of this node, the calls under way there, and whom it knows. */
export type ServedShards = ShardAccess & {
  readonly underWay: number;
  /** Whether the map has such a node. */
  readonly knows: (node: NodeUuid) => boolean;
};

export interface ShardCallReport {
  /** Something that cannot be read was refused. */
  refused(from: NodeUuid, problem: string): void;
  /** A call failed with an error that is not foreseen. */
  failed(kind: ShardCall, error: unknown): void;
}

/** Answers other nodes' questions about the shards of this one. */
export class ShardCallServer {
  /** The newest stream of each caller. */
  readonly #generations = new Map<NodeUuid, number>();

  constructor(
    private readonly local: ServedShards,
    private readonly report: ShardCallReport,
  ) {}

  /** A node opened a stream. @throws NodeError INVALID_REQUEST out of `message` when it says what cannot be read */
  onQuery(from: NodeUuid, link: Link<AnswerMessage>): LinkEvents<QueryMessage> {
    // A write of another node that came over this one: its own streams are shut up to the generation it names.
    const shut = ({ from: node, generation }: WriteRelay): void => {
      if (node !== from) this.#generations.set(node, Math.max(this.#generations.get(node) ?? 0, generation));
    };
    const stream = new ServedStream(this.local, link, this.report, shut);
    return {
      message: (message) => {
        const newest = this.#generations.get(from) ?? 0;
        if (message.generation < newest) {
          stream.end();
          throw new NodeError('SHARD_UNAVAILABLE', 'a newer stream of this node is open');
        }
        this.#generations.set(from, message.generation);
        try {
          stream.receive(message);
        } catch (error) {
          if (!(error instanceof WireError || error instanceof DocumentFormatError)) throw error;
          stream.end();
          this.report.refused(from, error.message);
          throw new NodeError('INVALID_REQUEST', `a question about shards cannot be read: ${error.message}`, {
            cause: error,
          });
        }
      },
      ended: () => stream.end(),
    };
  }
}

/** One stream: its calls end with it. */
class ServedStream {
  readonly #calls = new Map<number, CallSignal>();
  readonly #asks = new Map<number, Parts>();
  readonly #outbox: Outbox<AnswerPart>;
  #asking = 0;
  #ended = false;

  constructor(
    private readonly local: ServedShards,
    link: Link<AnswerMessage>,
    private readonly report: ShardCallReport,
    private readonly shut: (relay: WriteRelay) => void,
  ) {
    this.#outbox = new Outbox<AnswerPart>(
      (answers) => link.send({ answers, load: local.underWay }),
      () => link.drained(),
    );
  }

  /** @throws WireError, DocumentFormatError */
  receive({ calls, cancelled }: QueryMessage): void {
    for (const call of calls) this.#part(call);
    for (const id of cancelled) {
      this.#calls.get(id)?.abort();
      this.#calls.delete(id);
      this.#asking -= this.#asks.get(id)?.length ?? 0;
      this.#asks.delete(id);
    }
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#outbox.close();
    this.#asks.clear();
    for (const signal of this.#calls.values()) signal.abort();
    this.#calls.clear();
  }

  #part(call: CallPart): void {
    const { id, body, more } = call;
    const before = this.#asks.get(id);
    if (before === undefined && !more) {
      this.#start(call, body);
      return;
    }
    const parts = before ?? new Parts();
    parts.add(body);
    this.#asking += body.length;
    if (this.#asking > ASK_BYTES_MAX) throw new WireError('the questions under way are too large');
    if (more) this.#asks.set(id, parts);
    else {
      this.#asks.delete(id);
      this.#asking -= parts.length;
      this.#start(call, parts.whole());
    }
  }

  #start({ id, kind, timeoutMs }: CallPart, body: Uint8Array): void {
    const wire: { readonly ask: Codec<ShardAsk<ShardCall>>; readonly answer: Codec<never> } = SHARD_CALL_WIRE[
      kind
    ] as never;
    const ask = decodeWire(wire.ask, body);
    if (kind === 'write') {
      const { writes, relay } = ask as ShardAsk<'write'>;
      for (const write of writes) checkWrite(write);
      if (relay !== undefined && relay.to === undefined && this.local.knows(relay.from)) this.shut(relay);
    }
    if (this.#calls.size >= SERVED_MAX || this.#outbox.bytes > ANSWERS_BYTES_MAX) {
      this.#fail(id, new NodeError('OVERLOADED', 'too many calls wait at this node', { retryAfterMs: 100 }));
      return;
    }
    const signal = new CallSignal();
    this.#calls.set(id, signal);
    const options = { timeoutMs: Math.min(Math.max(1, timeoutMs), WAIT_MS_MAX), signal };
    this.local.call<ShardCall>(kind, ask, options).then(
      (answer) => {
        if (this.#over(id)) return;
        for (const part of partsOf(encodeWire(wire.answer, answer as never)))
          this.#outbox.put({ id, ...part }, part.body.length + 16);
      },
      (error: unknown) => {
        if (this.#over(id)) return;
        if (!(error instanceof NodeError)) this.report.failed(kind, error);
        this.#fail(id, error);
      },
    );
  }

  /** Whether nobody waits for the call any more; it is over now in any case. */
  #over(id: number): boolean {
    return !this.#calls.delete(id) || this.#ended;
  }

  #fail(id: number, error: unknown): void {
    const known = error instanceof NodeError;
    const failure = {
      code: known ? error.code : ('INTERNAL' as const),
      detail: known ? error.message : 'an internal error; see the log of the node',
      ...(known && error.retryAfterMs !== undefined ? { retryAfterMs: error.retryAfterMs } : {}),
    };
    this.#outbox.put({ id, body: new Uint8Array(0), more: false, failure }, 64);
  }
}

/** What would be logged must be a document: the index of every copy reads it. */
function checkWrite({ op, payload, opId }: ShardWrite): void {
  if (opId.length !== 16) throw new WireError('an operation id has 16 bytes');
  if (op !== 'UPSERT') return;
  const { vector } = documentSegments(payload);
  if (vector?.some((component) => !Number.isFinite(component)) === true) throw new WireError('a vector is not finite');
}
