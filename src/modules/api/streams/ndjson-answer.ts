import type { FastifyReply } from 'fastify';
import { NodeError } from '../../../kernel/errors.js';
import { failureOf } from '../../../platform/errors/failure.js';
import type { Logger } from '../../../platform/logging/logger.js';
import { LineWriter } from './line-writer.js';
import type { OpenStreams } from './open-streams.js';

export const NDJSON_CONTENT_TYPE = 'application/x-ndjson; charset=utf-8';

/**
 * Milliseconds a following stream may take to its first line before the answer begins without it: until then an error
 * is a proper status, and a stream that waits for news must not keep the client waiting for headers.
 */
const FIRST_LINE_MS = 200;

/** A lasting answer of lines. */
export interface NdjsonAnswer<T> {
  /** What its head says beside the usual; awaited before the items are made. */
  readonly headers?: (signal: AbortSignal) => Promise<Readonly<Record<string, string>> | undefined>;
  /** Makes the items; must end when the signal aborts. */
  readonly items: (signal: AbortSignal) => AsyncIterable<T>;
  readonly line: (item: T) => object;
  /** Whether it waits for more at the end. */
  readonly follow: boolean;
}

/**
 * Answers with NDJSON, as fast as the client reads and no faster. An error before the first line rejects and becomes a
 * problem document; a later one is told in a last line `{"error": {code, detail, retryable}}`.
 */
export async function sendNdjson<T>(
  reply: FastifyReply,
  streams: OpenStreams,
  answer: NdjsonAnswer<T>,
  log: Logger,
): Promise<void> {
  streams.admit();
  const { signal, close } = streams.open(reply);
  let iterator: AsyncIterator<T> | undefined;
  try {
    const headers = await answer.headers?.(signal);
    iterator = answer.items(signal)[Symbol.asyncIterator]();
    let next = iterator.next();
    await (answer.follow ? Promise.race([next, delay(FIRST_LINE_MS, signal)]) : next);
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': NDJSON_CONTENT_TYPE, 'cache-control': 'no-store', ...headers });
    if (reply.request.method === 'HEAD') {
      next.catch((error: unknown) => log.debug({ error }, 'a stream asked for by HEAD failed'));
      reply.raw.end();
      return;
    }
    reply.raw.flushHeaders();
    const writer = new LineWriter(reply.raw, signal);
    try {
      for (let result = await next; result.done !== true; result = await next) {
        await writer.write(`${JSON.stringify(answer.line(result.value))}\n`);
        next = iterator.next();
      }
    } catch (error) {
      if (!signal.aborted) await writer.write(`${JSON.stringify({ error: told(error, log) })}\n`);
    }
    // That it ends since the node stops is no end of what there is to tell.
    if (signal.reason instanceof NodeError)
      await writer.write(`${JSON.stringify({ error: told(signal.reason, log) })}\n`);
    writer.end();
  } finally {
    close();
    await iterator?.return?.();
  }
}

function told(error: unknown, log: Logger): object {
  const { code, detail, retryable, unexpected } = failureOf(error);
  if (unexpected) log.error({ error }, 'a stream failed unexpectedly');
  return { code, detail, retryable };
}

/** Resolves after `ms`, or at once when the signal aborts; holds no process open. */
function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
