import { NodeError } from '../../kernel/errors.js';
import type { CallContext } from './core/requests.js';

/** The time a call has: the smallest of QUERY_TIMEOUT, the caller's and a gRPC deadline wins (api.md, Configuration). */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #stop: () => void;
  readonly #endsMs: number;
  #expired = false;

  readonly #parent: Deadline | undefined;

  /** @param parent whose end is its end too */
  constructor(call: CallContext, defaultMs: number, parent?: Deadline) {
    this.#parent = parent;
    const ms = Math.min(defaultMs, call.timeoutMs ?? defaultMs);
    this.#endsMs = performance.now() + ms;
    this.#timer = setTimeout(() => {
      this.#expired = true;
      this.#controller.abort();
    }, ms);
    const follow = (): void => this.#controller.abort();
    if (call.signal.aborted) follow();
    call.signal.addEventListener('abort', follow, { once: true });
    this.#stop = () => call.signal.removeEventListener('abort', follow);
  }

  /** Aborted when time is up or the client is gone. */
  get signal(): AbortSignal {
    return this.#controller.signal;
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
    if (this.signal.aborted) return Promise.resolve(late());
    return new Promise((resolve, reject) => {
      const onAbort = (): void => resolve(late());
      this.signal.addEventListener('abort', onAbort, { once: true });
      work.then(resolve, reject).finally(() => this.signal.removeEventListener('abort', onAbort));
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
    this.#stop();
  }
}
