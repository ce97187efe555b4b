import type { CallOptions, StatusObject } from '@grpc/grpc-js';
import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodUnary,
  MessageShape,
  DescMessage,
} from '@bufbuild/protobuf';
import type { Clock } from '../../kernel/clock.js';
import type { PeerFailure } from '../../kernel/peer.js';
import { PeerError } from '../../kernel/peer.js';
import { LogLimit } from '../logging/log-limit.js';
import type { Logger } from '../logging/logger.js';
import { methodDefinition } from './package-definition.js';
import { PeerChannel } from './peer-channel.js';
import type { PeerCredentials } from './peer-credentials.js';
import type { DialDepth } from './peer-dial.js';
import { PeerDuplex } from './peer-duplex.js';
import { neverConnected, peerErrorOf } from './peer-errors.js';
import type { PeerLink, PeerLinkEvents } from './peer-link.js';

/**
 * The purposes for which two nodes connect (architecture, NestJS on the page): one HTTP/2 connection each, so that bulk
 * never stands in the way of heartbeats.
 */
export type PeerConnection = 'control' | 'query' | 'replication';

export interface PeerTarget {
  /** `host:port`. */
  readonly address: string;
  /** When it is known, whoever answers must be it. */
  readonly nodeId?: string | undefined;
}

export interface PeerCallOptions {
  readonly timeoutMs: number;
  /** Ends the call early: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface PeerChannelsOptions {
  readonly credentials: PeerCredentials;
  readonly clock: Clock;
  readonly log: Logger;
  /** Counts questions that were not answered. */
  readonly failed?: (connection: PeerConnection, reason: PeerFailure) => void;
}

/** Why the last attempt to connect failed, and when the next may be made. */
interface Backoff {
  readonly failures: number;
  readonly untilMs: number;
  readonly error: PeerError;
}

const BACKOFF_MIN_MS = 200;
const BACKOFF_MAX_MS = 1_000;
const BACKOFF_FACTOR = 1.6;
/** Probes come 200 ms apart and must each see for themselves (replication 5.1). */
const CONTROL_BACKOFF_MS = 100;
/** Addresses whose failures are remembered; the oldest is forgotten first. */
const BACKOFFS_MAX = 1_024;
const REPEAT_LOG_MS = 30_000;
/** Refusals of whoever calls, not of what it says. */
const OF_THE_CALLER: ReadonlySet<unknown> = new Set(['UNAUTHENTICATED', 'FORBIDDEN']);
/** SNI when the node's id is not known yet: an IP address is not allowed there, and nobody looks at it. */
const ANY_NODE = 'spector-node';

/**
 * This node's connections to others. Channels are made when first used and replaced when they break; an address that
 * cannot be connected to keeps no channel, and is tried again after 200 ms to 1 s (control: 100 ms), refusing calls at
 * once until then. Nothing is queued for a peer that is not there, and nothing is repeated.
 */
export class PeerChannels {
  readonly #options: PeerChannelsOptions;
  readonly #channels = new Map<string, PeerChannel>();
  readonly #backoffs = new Map<string, Backoff>();
  readonly #limit: LogLimit;
  #closed = false;

  constructor(options: PeerChannelsOptions) {
    this.#options = options;
    this.#limit = new LogLimit(options.clock, REPEAT_LOG_MS);
  }

  /** Asks a peer. @throws PeerError, or the reason of the signal */
  async unary<I extends DescMessage, O extends DescMessage>(
    target: PeerTarget,
    connection: PeerConnection,
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    options: PeerCallOptions,
  ): Promise<MessageShape<O>> {
    options.signal?.throwIfAborted();
    const startMs = this.#options.clock.monotonicMs();
    try {
      const channel = this.#channel(target, connection);
      const client = channel.client() ?? (await within(this.#opened(channel, connection), target, options));
      const leftMs = options.timeoutMs - (this.#options.clock.monotonicMs() - startMs);
      if (leftMs <= 0) throw timeout(target);
      const { path, requestSerialize, responseDeserialize } = definitionOf(method);
      return await new Promise<MessageShape<O>>((resolve, reject) => {
        const callOptions: CallOptions = { deadline: Date.now() + leftMs };
        const abort = () => call.cancel();
        const call = client.makeUnaryRequest(
          path,
          requestSerialize as (message: MessageShape<I>) => Buffer,
          responseDeserialize as (bytes: Buffer) => MessageShape<O>,
          request,
          this.#options.credentials.metadata(path, target.nodeId ?? ''),
          callOptions,
          (error, value) => {
            options.signal?.removeEventListener('abort', abort);
            if (value !== undefined) {
              this.#backoffs.delete(channel.key);
              resolve(value);
            } else if (options.signal?.aborted === true) reject(options.signal.reason as Error);
            else reject(this.#failure(error as StatusObject, channel, connection));
          },
        );
        options.signal?.addEventListener('abort', abort);
      });
    } catch (error) {
      if (error instanceof PeerError) this.#options.failed?.(connection, error.reason);
      throw error;
    }
  }

  /** Opens a stream to a peer; when that fails `ended` says why, later. */
  duplex<I extends DescMessage, O extends DescMessage>(
    target: PeerTarget,
    connection: PeerConnection,
    method: DescMethodBiDiStreaming<I, O>,
    events: PeerLinkEvents<MessageShape<O>>,
  ): PeerLink<MessageShape<I>> {
    const definition = definitionOf(method);
    let channel: PeerChannel | undefined;
    let heard = false;
    const open = async () => {
      channel = this.#channel(target, connection);
      return channel.client() ?? (await this.#opened(channel, connection));
    };
    return new PeerDuplex<MessageShape<I>, MessageShape<O>>(
      {
        client: open(),
        method: definition,
        metadata: () => this.#options.credentials.metadata(definition.path, target.nodeId ?? ''),
        failure: (status) =>
          channel === undefined ? peerErrorOf(status, target.address) : this.#failure(status, channel, connection),
      },
      {
        message: (message) => {
          if (!heard && channel !== undefined) this.#backoffs.delete(channel.key);
          heard = true;
          events.message(message);
        },
        ended: (error) => {
          if (error instanceof PeerError) this.#options.failed?.(connection, error.reason);
          events.ended(error);
        },
      },
    );
  }

  /** The node is gone from the view, or has another address: its connections end once their calls have. */
  forget(address: string): void {
    for (const channel of [...this.#channels.values()]) if (channel.address === address) this.#drop(channel);
    for (const key of [...this.#backoffs.keys()]) if (key.endsWith(` ${address}`)) this.#backoffs.delete(key);
  }

  /** No new calls. Those under way go on until their time-outs; streams end with their servers or owners. */
  close(): void {
    this.#closed = true;
    for (const channel of [...this.#channels.values()]) this.#drop(channel);
  }

  /** Connections that are open or being opened: for metrics. */
  get size(): number {
    return this.#channels.size;
  }

  #channel(target: PeerTarget, connection: PeerConnection): PeerChannel {
    if (this.#closed) throw new PeerError('RESET', 'this node closes its connections');
    const nodeId = target.nodeId ?? '';
    // Only TLS binds a connection to a node; elsewhere each call names whom it means.
    const bound = this.#options.credentials.security.kind === 'tls' ? nodeId : '';
    const key = `${connection} ${bound} ${target.address}`;
    const existing = this.#channels.get(key);
    if (existing?.usable === true) return existing;
    if (existing !== undefined) this.#drop(existing);
    const backoff = this.#backoffs.get(key);
    if (backoff !== undefined && this.#options.clock.monotonicMs() < backoff.untilMs) throw again(backoff.error);
    const { credentials } = this.#options;
    const channel = new PeerChannel(
      key,
      target.address,
      this.#depth(backoff),
      () => credentials.channel(bound),
      bound === '' ? ANY_NODE : bound,
    );
    this.#channels.set(key, channel);
    return channel;
  }

  /** A peer that was silent must say something before a channel is made: a stopped process accepts connections. */
  #depth(backoff: Backoff | undefined): DialDepth {
    if (backoff?.error.reason !== 'TIMEOUT') return { kind: 'accept' };
    const { security } = this.#options.credentials;
    return {
      kind: 'answer',
      secureContext: security.kind === 'tls' ? security.certificates.secureContext() : undefined,
    };
  }

  async #opened(channel: PeerChannel, connection: PeerConnection) {
    try {
      await channel.opening;
    } catch (error) {
      if (error instanceof PeerError) this.#couldNotConnect(channel, connection, error);
      throw error;
    }
    return channel.client() ?? channel.opening;
  }

  #failure(status: StatusObject, channel: PeerChannel, connection: PeerConnection): PeerError {
    const error = peerErrorOf(status, channel.address);
    if (neverConnected(status)) this.#couldNotConnect(channel, connection, error);
    // Silence on the connection of heartbeats: the next one must not wait for TCP to repeat what was lost.
    else if (error.reason === 'TIMEOUT' && connection === 'control')
      this.#couldNotConnect(channel, connection, error, 0);
    else if (error.reason === 'REJECTED') {
      this.#backoffs.delete(channel.key);
      if (OF_THE_CALLER.has(error.code)) this.#warn(`this node is refused: ${error.message}`, channel.address);
    }
    return error;
  }

  /** @param waitMs until the next attempt; by default longer with every failure */
  #couldNotConnect(channel: PeerChannel, connection: PeerConnection, error: PeerError, waitMs?: number): void {
    const { key } = channel;
    // Of many calls that waited for one connection, the first reports it.
    if (this.#channels.get(key) !== channel) return;
    this.#drop(channel);
    const failures = (this.#backoffs.get(key)?.failures ?? 0) + 1;
    const delayMs =
      waitMs ??
      (connection === 'control'
        ? CONTROL_BACKOFF_MS
        : Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * BACKOFF_FACTOR ** (failures - 1)));
    this.#backoffs.delete(key);
    if (this.#backoffs.size >= BACKOFFS_MAX)
      for (const oldest of [...this.#backoffs.keys()].slice(0, 1)) this.#backoffs.delete(oldest);
    this.#backoffs.set(key, { failures, untilMs: this.#options.clock.monotonicMs() + delayMs, error });
    if (error.code === 'UNAUTHENTICATED') this.#warn(`no connection: ${error.message}`, channel.address);
    // A server that does not like a certificate just closes the connection.
    else if (error.reason === 'RESET' && this.#options.credentials.security.kind === 'tls')
      this.#warn(
        `no connection: ${error.message}; if this goes on, it refuses the certificate of this node`,
        channel.address,
      );
  }

  #warn(problem: string, address: string): void {
    const suppressed = this.#limit.take(address);
    if (suppressed !== undefined) this.#options.log.warn({ address, suppressed }, problem);
  }

  #drop(channel: PeerChannel): void {
    this.#channels.delete(channel.key);
    channel.close();
  }
}

/** Of its own, so that its stack and whoever adds to it are not shared. */
function again(error: PeerError): PeerError {
  return new PeerError(error.reason, error.message, error.code, { cause: error });
}

function timeout(target: PeerTarget): PeerError {
  return new PeerError('TIMEOUT', `${target.address} did not answer in time`);
}

/** The value, unless the time is over or the signal aborts before. */
async function within<T>(promise: Promise<T>, target: PeerTarget, { timeoutMs, signal }: PeerCallOptions): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let abort: () => void = () => undefined;
  const early = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(timeout(target)), timeoutMs);
    abort = () => reject(signal?.reason as Error);
    signal?.addEventListener('abort', abort);
  });
  try {
    return await Promise.race([promise, early]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

const definitions = new WeakMap<DescMethod, ReturnType<typeof methodDefinition>>();

function definitionOf(method: DescMethod): ReturnType<typeof methodDefinition> {
  let definition = definitions.get(method);
  if (definition === undefined) {
    definition = methodDefinition(method);
    definitions.set(method, definition);
  }
  return definition;
}
