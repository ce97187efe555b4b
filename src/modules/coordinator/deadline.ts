import { NodeError } from '../../kernel/errors.js';
import { CallSignal } from './call-signal.js';
import type { CallContext } from './core/requests.js';

/** The time a call has: the smallest of QUERY_TIMEOUT, the caller's and a gRPC deadline wins (api.md, Configuration). */
export class Deadline {
  readonly #signal = new CallSignal();
  readonly #timer: NodeJS.Timeout;
  readonly #caller: AbortSignal;
  readonly #follow = (): void => this.#signal.abort();
  readonly #endsMs: number;
  readonly #parent: Deadline | undefined;
  #expired = false;

  /** @param parent whose end is its end too */
  constructor(call: CallContext, defaultMs: number, parent?: Deadline) {
    this.#parent = parent;
    const ms = Math.min(defaultMs, call.timeoutMs ?? defaultMs);
    this.#endsMs = performance.now() + ms;
    this.#timer = setTimeout(() => {
      this.#expired = true;
      this.#signal.abort();
    }, ms);
    this.#caller = call.signal;
    if (this.#caller.aborted) this.#follow();
    else this.#caller.addEventListener('abort', this.#follow, { once: true });
  }

  /** Aborted when time is up or the client is gone. */
  get signal(): AbortSignal {
    return this.#signal;
  }

  /** Milliseconds left, at least 1. */
  get remainingMs(): number {
    return Math.max(1, Math.ceil(this.#endsMs - performance.now()));
  }

  /** Whether time ran out, as opposed to the client leaving. */
  get expired(): boolean {
    return this.#expired || this.#parent?.expired === true;
  }

  /** An earlier end for one step of the work, so that time is left for the next; `end` it as well. */
  within(ms: number): Deadline {
    return new Deadline({ signal: this.signal }, Math.max(1, Math.min(ms, this.remainingMs)), this);
  }

  /** `work`, or `late` once time is up or the client is gone. */
  race<T, L>(work: Promise<T>, late: () => L): Promise<T | L> {
    const signal = this.#signal;
    if (signal.aborted) {
      // Nobody waits for it any more, nor for its failure.
      work.catch(() => undefined);
      return Promise.resolve(late());
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => resolve(late());
      signal.addEventListener('abort', onAbort);
      work.then(
        (value) => {
          signal.removeEventListener('abort', onAbort);
          resolve(value);
        },
        (error: unknown) => {
          signal.removeEventListener('abort', onAbort);
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      );
    });
  }

  /** As `race`, with the error of api.md. @throws NodeError QUERY_TIMEOUT */
  async before<T>(work: Promise<T>): Promise<T> {
    const late = Symbol('late');
    const result = await this.race<T, typeof late>(work, () => late);
    if (result === late)
      throw new NodeError(
        'QUERY_TIMEOUT',
        'the deadline passed; narrow the request or give it more time with `timeoutMs`',
      );
    return result;
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#caller.removeEventListener('abort', this.#follow);
  }
}
