type Listener = NonNullable<Parameters<AbortSignal['addEventListener']>[1]>;

/**
 * What an AbortSignal is to those who wait for one, without the engine's event machinery, whose making, listening and
 * collecting cost more than a small search does. For signals that stay among this node's own calls: interfaces of Node.js
 * that take a signal want a real one.
 */
export class CallSignal implements AbortSignal {
  onabort: ((this: AbortSignal, event: Event) => unknown) | null = null;
  #listeners: Listener[] | undefined;
  #aborted = false;
  #reason: unknown;

  get aborted(): boolean {
    return this.#aborted;
  }

  get reason(): unknown {
    return this.#reason;
  }

  /** Tells the listeners, once. */
  abort(reason: unknown = new DOMException('This operation was aborted', 'AbortError')): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    this.dispatchEvent(new Event('abort'));
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#reason;
  }

  /** Only `abort` ever happens, and only once: options change nothing. */
  addEventListener(type: string, listener: Listener | null): void {
    if (type !== 'abort' || listener === null || this.#aborted) return;
    if (this.#listeners === undefined) this.#listeners = [listener];
    else if (!this.#listeners.includes(listener)) this.#listeners.push(listener);
  }

  removeEventListener(type: string, listener: Listener | null): void {
    const listeners = this.#listeners;
    if (type !== 'abort' || listener === null || listeners === undefined) return;
    const at = listeners.indexOf(listener);
    if (at >= 0) listeners.splice(at, 1);
  }

  dispatchEvent(event: Event): boolean {
    const listeners = this.#listeners ?? [];
    this.#listeners = undefined;
    this.onabort?.(event);
    for (const listener of listeners) {
      if (typeof listener === 'function') listener(event);
      else listener.handleEvent(event);
    }
    return true;
  }
}
