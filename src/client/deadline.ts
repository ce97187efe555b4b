import { SpectorError } from './spector-error.js';

/** Longest delay a timer takes; a greater one would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** One limit of time and one way to give up for a whole call: its attempts, its waits and the reading of its answer. */
export class Deadline {
  readonly #endsAt: number;
  readonly #outer: AbortSignal | undefined;

  /** @param timeoutMs Infinity for none */
  constructor(
    readonly timeoutMs: number,
    outer: AbortSignal | undefined,
  ) {
    this.#endsAt = performance.now() + timeoutMs;
    this.#outer = outer;
  }

  /** Milliseconds left; never negative. */
  remainingMs(): number {
    return Math.max(0, this.#endsAt - performance.now());
  }

  /** Throws what the caller's signal says when it is aborted. */
  throwIfAborted(): void {
    this.#outer?.throwIfAborted();
  }

  aborted(): boolean {
    return this.#outer?.aborted ?? false;
  }

  /** A signal for one attempt, which ends with the deadline, after `limitMs`, or with the caller's signal. Release it. */
  attempt(limitMs: number): {
    readonly signal: AbortSignal;
    readonly controller: AbortController;
    readonly release: () => void;
  } {
    const controller = new AbortController();
    const outer = this.#outer;
    const abort = (): void => controller.abort(outer?.reason);
    if (outer?.aborted) abort();
    else outer?.addEventListener('abort', abort, { once: true });
    const ms = Math.min(limitMs, this.remainingMs());
    const timer = Number.isFinite(ms)
      ? setTimeout(() => controller.abort(this.#timeout(ms)), Math.min(ms, TIMER_MS_MAX))
      : undefined;
    return {
      signal: controller.signal,
      controller,
      release: () => {
        clearTimeout(timer);
        outer?.removeEventListener('abort', abort);
      },
    };
  }

  /** Waits; ends early, throwing the reason, when the caller's signal aborts. */
  async wait(ms: number): Promise<void> {
    this.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const outer = this.#outer;
      const abort = (): void => {
        clearTimeout(timer);
        reject(outer?.reason as Error);
      };
      const timer = setTimeout(() => {
        outer?.removeEventListener('abort', abort);
        resolve();
      }, ms);
      outer?.addEventListener('abort', abort, { once: true });
    });
  }

  #timeout(ms: number): SpectorError {
    return new SpectorError({
      code: 'TIMEOUT',
      status: 0,
      detail: `no answer within ${Math.round(ms)} ms`,
      retryable: true,
    });
  }
}
