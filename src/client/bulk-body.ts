import { jsonBody } from './json-body.js';
import { SpectorError, RETRYABLE_CODES } from './spector-error.js';
import type { Answer } from './transport.js';
import type { BulkAnswer, BulkLine } from './types/documents.js';

/** Whether an answer, whatever its status, tells line by line what became of a bulk request. */
export function isBulkAnswer(answer: Answer): boolean {
  const { json } = answer;
  return (
    typeof json === 'object' &&
    json !== null &&
    'total' in json &&
    'success' in json &&
    'failed' in json &&
    'errors' in json
  );
}

/** The bulk answer alone: when no line was stored it comes inside a problem document. */
export function bulkAnswerOf(answer: Answer): BulkAnswer {
  const { total, success, failed, errors, session } = answer.json as BulkAnswer;
  return { total, success, failed, errors, session };
}

/** Whether sending the same lines again, with the same key, may store more of them. */
export function mayStoreMore(answer: Answer): boolean {
  return isBulkAnswer(answer) && (answer.json as BulkAnswer).errors.some((error) => RETRYABLE_CODES.has(error.code));
}

/** Enough that a chunk is worth a write, little enough that nothing waits long. */
const CHUNK_CHARS = 64 * 1024;

/** Lines as a stream of bytes, made when the node takes them. */
export class LineStream {
  readonly body: ReadableStream<Uint8Array>;
  readonly #lines: AsyncIterator<BulkLine | string, unknown>;
  readonly #encoder = new TextEncoder();
  readonly #idleMs: number;
  readonly #abort: AbortController;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sourceError: { readonly error: unknown } | undefined;

  /**
   * @param idleMs aborts when the node takes no line, though some are ready, and gives no answer for that long; a slow
   *   source is no reason
   * @param abort aborted: the source is closed and the body fails. The request is to carry the same signal.
   */
  constructor(source: AsyncIterable<BulkLine | string>, idleMs: number, abort: AbortController) {
    this.#lines = source[Symbol.asyncIterator]();
    this.#idleMs = idleMs;
    this.#abort = abort;
    this.body = new ReadableStream<Uint8Array>(
      {
        // fetch does not cancel the body of an aborted upload, and would read it on for ever.
        start: (controller) =>
          abort.signal.addEventListener('abort', () => controller.error(abort.signal.reason), { once: true }),
        pull: (controller) => this.#pull(controller),
        cancel: () => this.close(),
      },
      { highWaterMark: 1 },
    );
  }

  /** What the source threw, if it did: the reason why the upload failed. */
  get sourceError(): { readonly error: unknown } | undefined {
    return this.#sourceError;
  }

  /** Ends the watch and closes the source; does not wait for it, since it may be waiting for something itself. */
  close(): void {
    clearTimeout(this.#timer);
    this.#lines.return?.().catch((error: unknown) => (this.#sourceError ??= { error }));
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    clearTimeout(this.#timer);
    let text = '';
    let ended = false;
    try {
      while (!ended && text.length < CHUNK_CHARS) {
        const { done, value } = await this.#lines.next();
        if (done === true) ended = true;
        else text += `${typeof value === 'string' ? value : jsonBody(value)}\n`;
      }
    } catch (error) {
      this.#sourceError = { error };
      throw error;
    }
    if (this.#abort.signal.aborted) return;
    if (text !== '') controller.enqueue(this.#encoder.encode(text));
    if (ended) controller.close();
    const detail = `the node took no more lines, and gave no answer, for ${this.#idleMs} ms`;
    const stalled = new SpectorError({ code: 'TIMEOUT', status: 0, detail, retryable: true });
    this.#timer = setTimeout(() => this.#abort.abort(stalled), this.#idleMs);
  }
}
