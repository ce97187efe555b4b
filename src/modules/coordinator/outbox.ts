import { MESSAGE_BYTES } from './query-stream.js';

/** A part of a message, and what it weighs. */
interface Waiting<T> {
  readonly item: T;
  readonly bytes: number;
}

/**
 * What one side of a stream has to say: everything of one turn of the loop leaves in one message (of about 1 MiB at
 * most), and nothing while the other side is not taking it.
 */
export class Outbox<T> {
  #waiting: Waiting<T>[] = [];
  #bytes = 0;
  #busy = false;
  #closed = false;

  /**
   * @param send takes a message; false when it waits in a buffer
   * @param drained resolves when the buffer is empty
   */
  constructor(
    private readonly send: (items: readonly T[]) => boolean,
    private readonly drained: () => Promise<void>,
  ) {}

  /** Bytes that were not taken yet. */
  get bytes(): number {
    return this.#bytes;
  }

  put(item: T, bytes: number): void {
    if (this.#closed) return;
    this.#waiting.push({ item, bytes });
    this.#bytes += bytes;
    if (this.#busy) return;
    this.#busy = true;
    setImmediate(() => void this.#flush());
  }

  /** Takes back what was not sent. */
  close(): readonly T[] {
    this.#closed = true;
    const waiting = this.#waiting.map(({ item }) => item);
    this.#waiting = [];
    this.#bytes = 0;
    return waiting;
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      let bytes = 0;
      let count = 0;
      while (count < this.#waiting.length && (count === 0 || bytes + this.#waiting[count].bytes <= MESSAGE_BYTES))
        bytes += this.#waiting[count++].bytes;
      const message = this.#waiting.splice(0, count);
      this.#bytes -= bytes;
      if (!this.send(message.map(({ item }) => item))) await this.drained();
    }
    this.#busy = false;
  }
}
