import { SpectorError } from './spector-error.js';

/** Longest line taken: a document of the greatest size, with its vector as digits. */
const LINE_CHARS_MAX = 16 * 1024 * 1024;

/** The lines of a byte stream, without their ends; a last one without a line end counts. Ends the stream when left early. */
export async function* textLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const text = done ? decoder.decode() : decoder.decode(value, { stream: true });
      ended = done;
      const lines = text.split('\n');
      lines[0] = rest + lines[0];
      rest = lines.pop() ?? '';
      if (rest.length > LINE_CHARS_MAX) {
        throw new SpectorError({
          code: 'BAD_ANSWER',
          status: 200,
          detail: `a line longer than ${LINE_CHARS_MAX} characters`,
          retryable: false,
        });
      }
      for (const line of lines) yield line.endsWith('\r') ? line.slice(0, -1) : line;
      if (!done) continue;
      if (rest !== '') yield rest;
      return;
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => undefined); // A stream that already failed has nothing left to cancel.
  }
}

/** The objects of an NDJSON stream; empty lines are skipped. Throws SpectorError BAD_ANSWER for a line that is not JSON. */
export async function* ndjsonObjects(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<Record<string, unknown>, void, undefined> {
  for await (const line of textLines(stream)) {
    if (line === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new SpectorError({
        code: 'BAD_ANSWER',
        status: 200,
        detail: `a line that is not JSON: ${line.slice(0, 100)}`,
        retryable: false,
        cause,
      });
    }
    if (typeof value !== 'object' || value === null) {
      throw new SpectorError({
        code: 'BAD_ANSWER',
        status: 200,
        detail: `a line that is not an object: ${line.slice(0, 100)}`,
        retryable: false,
      });
    }
    yield value as Record<string, unknown>;
  }
}
