import { NodeError } from '../../../kernel/errors.js';
import {
  IndexThreadError,
  type IndexAnswer,
  type IndexAsk,
  type IndexCall,
  type IndexFailure,
  type IndexReply,
  type IndexRequest,
} from '../core/index-messages.js';
import { SearchPacker } from '../core/packed-searches.js';
import type { IndexTransport, OpenIndexTransport } from './index-transport.js';

/** Reads a thread may have waiting: at 100 µs each, a second of work. Above, callers are turned away at once. */
const READS_MAX = 10_000;
const READS: ReadonlySet<IndexCall> = new Set<IndexCall>(['search', 'statistics', 'count', 'scroll', 'keys']);
const RETRY_AFTER_MS = 250;

/** An index thread as the main thread sees it: calls that become promises, gathered into one message per turn. */
export class IndexThread {
  readonly #open: OpenIndexTransport;
  readonly #died: (error: Error) => void;
  readonly #pending = new Map<number, PendingCall>();
  #transport: IndexTransport;
  #requests: IndexRequest[] = [];
  #cancelled: number[] = [];
  #transfer: ArrayBuffer[] = [];
  readonly #searches = new SearchPacker();
  #scheduled: NodeJS.Immediate | undefined;
  #nextId = 1;
  #alive = true;
  #closed = false;
  #revivals: (() => void)[] = [];

  /** @param died is told when the thread ended by itself; every call that waited was rejected with DIED. Then `restart`. */
  constructor(open: OpenIndexTransport, died: (error: Error) => void) {
    this.#open = open;
    this.#died = died;
    this.#transport = this.#connect();
  }

  /** Calls without an answer so far. */
  get waiting(): number {
    return this.#pending.size;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /**
   * Asks, in order with what was asked before.
   * @param signal rejects the call with its reason; a read that was not begun is dropped
   * @throws IndexThreadError, NodeError OVERLOADED
   */
  call<C extends IndexCall>(kind: C, ask: IndexAsk<C>, signal?: AbortSignal): Promise<IndexAnswer<C>> {
    if (this.#closed || !this.#alive) {
      const message = this.#closed ? 'the index is closed' : 'the index thread is not running';
      return Promise.reject(new IndexThreadError({ reason: 'DIED', message }));
    }
    if (signal?.aborted === true) return Promise.reject(reasonOf(signal));
    if (READS.has(kind) && this.#pending.size >= READS_MAX) {
      const problem = 'too many searches and reads wait for this node';
      return Promise.reject(new NodeError('OVERLOADED', problem, { retryAfterMs: RETRY_AFTER_MS }));
    }
    const id = this.#nextId++;
    if ('search' in ask) this.#searches.add(id, ask.shards, ask.search);
    else this.#requests.push({ ...ask, id, kind } as IndexRequest);
    if ('frames' in ask) this.#transfer.push(ask.frames.buffer);
    this.#schedule();
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#pending.delete(id);
        this.#cancelled.push(id);
        this.#schedule();
        if (signal !== undefined) reject(reasonOf(signal));
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#pending.set(id, {
        resolve: (answer) => {
          signal?.removeEventListener('abort', abort);
          resolve(answer as IndexAnswer<C>);
        },
        reject: (failure) => {
          signal?.removeEventListener('abort', abort);
          reject(new IndexThreadError(failure));
        },
      });
    });
  }

  /** Sends what was gathered now instead of at the end of the turn. */
  flush(): void {
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
    if (this.#requests.length === 0 && this.#cancelled.length === 0 && this.#searches.isEmpty) return;
    const searches = this.#searches.isEmpty ? undefined : this.#searches.take();
    const message = { requests: this.#requests, cancelled: this.#cancelled, searches };
    const transfer = this.#transfer;
    this.#requests = [];
    this.#cancelled = [];
    this.#transfer = [];
    this.#transport.post(message, transfer);
  }

  /** Starts the thread again, empty, after it died. */
  restart(): void {
    if (this.#closed) return;
    this.#alive = true;
    this.#transport = this.#connect();
    this.#revive();
  }

  /** Resolves when the thread runs, at once if it does, or when it is closed. */
  revived(): Promise<void> {
    if (this.#alive || this.#closed) return Promise.resolve();
    return new Promise((resolve) => this.#revivals.push(resolve));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    await this.#transport.close();
    this.#rejectAll({ reason: 'DIED', message: 'the index is closed' });
    this.#revive();
  }

  #connect(): IndexTransport {
    return this.#open({
      replies: (replies) => {
        for (const reply of replies) this.#settle(reply);
      },
      died: (error) => {
        if (this.#closed) return;
        this.#alive = false;
        this.#requests = [];
        this.#cancelled = [];
        this.#transfer = [];
        this.#searches.take();
        this.#rejectAll({ reason: 'DIED', message: `an index thread ended: ${error.message}` });
        this.#died(error);
      },
    });
  }

  #revive(): void {
    const revivals = this.#revivals;
    this.#revivals = [];
    for (const revive of revivals) revive();
  }

  #settle(reply: IndexReply): void {
    const call = this.#pending.get(reply.id);
    if (call === undefined) return;
    this.#pending.delete(reply.id);
    if ('error' in reply) call.reject(reply.error);
    else call.resolve(reply.answer);
  }

  #rejectAll(failure: IndexFailure): void {
    const calls = [...this.#pending.values()];
    this.#pending.clear();
    for (const call of calls) call.reject(failure);
  }

  #schedule(): void {
    this.#scheduled ??= setImmediate(() => this.flush());
  }
}

interface PendingCall {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (failure: IndexFailure) => void;
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason));
}
