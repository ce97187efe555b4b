import { NodeError } from '../../kernel/errors.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import type { Link } from '../../kernel/link.js';
import { SHARD_CALL_WIRE } from './core/shard-call-wire.js';
import type { ShardAnswer, ShardAsk, ShardCall } from './core/shard-calls.js';
import { decodeWire, encodeWire, WireError } from '../../kernel/wire.js';
import { Outbox } from './outbox.js';
import {
  Parts,
  partsOf,
  type AnswerMessage,
  type AnswerPart,
  type CallPart,
  type QueryLinks,
  type QueryMessage,
} from './query-stream.js';
import type { PeerShards, ShardAccess, ShardCallOptions } from './shard-access.js';

/** Calls under way to one node: beyond that a caller is told at once rather than queued (architecture, bounds). */
export const CALLS_MAX = 8_192;
/** Bytes that wait to be taken by one node. */
export const CALL_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes of one answer. */
export const ANSWER_BYTES_MAX = 256 * 1024 * 1024;
/** What a node said of its load is believed for so long. */
const LOAD_MS = 1_000;
/** Streams of one run of a process. */
const STREAMS_OF_A_RUN = 2 ** 24;

/** The shards of other nodes, over one stream to each. */
export class ShardCallClients implements PeerShards {
  readonly #clients = new Map<NodeUuid, ShardCallClient>();
  #streams = 0;
  #closed = false;

  /** @param bootCount of this node: generations of streams rise over restarts as well */
  constructor(
    private readonly links: QueryLinks,
    private readonly bootCount: () => number,
  ) {}

  of(node: NodeUuid): ShardAccess {
    let client = this.#clients.get(node);
    if (client === undefined) {
      client = new ShardCallClient(node, this.links, () => this.bootCount() * STREAMS_OF_A_RUN + ++this.#streams);
      this.#clients.set(node, client);
      if (this.#closed) client.close();
    }
    return client;
  }

  reportedLoad(node: NodeUuid): number {
    return this.#clients.get(node)?.reportedLoad ?? 0;
  }

  generation(node: NodeUuid): number {
    return this.#clients.get(node)?.generation ?? 0;
  }

  /** Calls under way to all nodes, for the metrics. */
  get underWay(): number {
    let calls = 0;
    for (const client of this.#clients.values()) calls += client.underWay;
    return calls;
  }

  forget(node: NodeUuid): void {
    this.#clients.get(node)?.close();
    this.#clients.delete(node);
  }

  close(): void {
    this.#closed = true;
    for (const client of this.#clients.values()) client.close();
  }
}

interface Call {
  readonly kind: ShardCall;
  readonly parts: Parts;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly end: () => void;
}

interface Stream {
  readonly link: Link<QueryMessage>;
  readonly outbox: Outbox<CallPart | number>;
  readonly calls: Map<number, Call>;
}

/** The calls to one node: numbered, answered in any order, and all failed when their stream breaks. */
export class ShardCallClient implements ShardAccess {
  #stream: Stream | undefined;
  #nextId = 1;
  /** Of the newest stream; of one that is over, the next. */
  #generation = 0;
  #load = 0;
  #loadAtMs = -LOAD_MS;
  #closed = false;

  constructor(
    private readonly node: NodeUuid,
    private readonly links: QueryLinks,
    private readonly nextGeneration: () => number,
  ) {}

  get underWay(): number {
    return this.#stream?.calls.size ?? 0;
  }

  get reportedLoad(): number {
    return performance.now() - this.#loadAtMs < LOAD_MS ? this.#load : 0;
  }

  get generation(): number {
    return this.#stream === undefined ? this.#generation + 1 : this.#generation;
  }

  call<C extends ShardCall>(kind: C, ask: ShardAsk<C>, options: ShardCallOptions): Promise<ShardAnswer<C>> {
    const { signal, timeoutMs } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) throw new PeerError('TIMEOUT', 'nobody waits any more');
      if (this.#closed) throw new PeerError('RESET', 'this node is closing its connections');
      const stream = (this.#stream ??= this.#open());
      if (stream.calls.size >= CALLS_MAX || stream.outbox.bytes >= CALL_BYTES_MAX) {
        const detail = `${stream.calls.size} calls wait for node ${this.node}; try again a little later`;
        throw new NodeError('OVERLOADED', detail, { retryAfterMs: 100 });
      }
      const body = encodeWire(SHARD_CALL_WIRE[kind].ask, ask);
      const id = this.#nextId++;
      const abort = (): void => {
        this.#giveUp(stream, id);
        reject(new PeerError('TIMEOUT', 'nobody waits any more'));
      };
      const timer = setTimeout(() => {
        this.#giveUp(stream, id);
        reject(new PeerError('TIMEOUT', `node ${this.node} did not answer within ${timeoutMs} ms`));
      }, timeoutMs);
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
      };
      signal?.addEventListener('abort', abort, { once: true });
      stream.calls.set(id, { kind, parts: new Parts(), resolve: resolve as (answer: unknown) => void, reject, end });
      for (const part of partsOf(body)) stream.outbox.put({ id, kind, timeoutMs, ...part }, part.body.length + 16);
    });
  }

  close(): void {
    this.#closed = true;
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.link.close();
    if (stream !== undefined) fail(stream, () => new PeerError('RESET', 'this node is closing its connections'));
  }

  #open(): Stream {
    const generation = this.nextGeneration();
    this.#generation = generation;
    const calls = new Map<number, Call>();
    const stream: Stream = {
      calls,
      link: this.links.open(this.node, {
        message: (message) => this.#answered(stream, message),
        ended: (error) => this.#ended(stream, error),
      }),
      outbox: new Outbox<CallPart | number>(
        (items) =>
          stream.link.send({
            generation,
            calls: items.filter((item) => typeof item !== 'number'),
            cancelled: items.filter((item) => typeof item === 'number'),
          }),
        () => stream.link.drained(),
      ),
    };
    return stream;
  }

  #answered(stream: Stream, { answers, load }: AnswerMessage): void {
    this.#load = load;
    this.#loadAtMs = performance.now();
    for (const answer of answers) this.#answer(stream, answer);
  }

  #answer({ calls }: Stream, { id, body, more, failure }: AnswerPart): void {
    // One that was given up.
    const call = calls.get(id);
    if (call === undefined) return;
    if (failure !== undefined) {
      this.#settled(calls, id, call);
      const { code, detail } = failure;
      // Of the request, and not of that node.
      call.reject(code === 'LIMIT_EXCEEDED' ? new NodeError(code, detail) : new PeerError('REJECTED', detail, code));
      return;
    }
    call.parts.add(body);
    if (call.parts.length > ANSWER_BYTES_MAX) {
      this.#settled(calls, id, call);
      call.reject(new PeerError('RESET', `the answer of node ${this.node} is too large`));
    } else if (!more) {
      this.#settled(calls, id, call);
      try {
        call.resolve(decodeWire(SHARD_CALL_WIRE[call.kind].answer as never, call.parts.whole()));
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
        call.reject(new PeerError('RESET', `the answer of node ${this.node} cannot be read: ${error.message}`));
      }
    }
  }

  #settled(calls: Map<number, Call>, id: number, call: Call): void {
    calls.delete(id);
    call.end();
  }

  /** Nobody waits for it any more, and the node is told. */
  #giveUp(stream: Stream, id: number): void {
    const call = stream.calls.get(id);
    if (call === undefined) return;
    this.#settled(stream.calls, id, call);
    stream.outbox.put(id, 8);
  }

  /** What was under way may have been done; the next call opens another stream. */
  #ended(stream: Stream, error: Error | undefined): void {
    if (this.#stream === stream) this.#stream = undefined;
    fail(stream, () =>
      error instanceof PeerError
        ? new PeerError(error.reason, error.message, error.code, { cause: error })
        : new PeerError('RESET', `the connection to node ${this.node} broke`, undefined, error && { cause: error }),
    );
  }
}

function fail({ calls, outbox }: Stream, error: () => PeerError): void {
  outbox.close();
  for (const call of calls.values()) {
    call.end();
    call.reject(error());
  }
  calls.clear();
}
