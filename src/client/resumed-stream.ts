import { Deadline } from './deadline.js';
import { ndjsonObjects } from './ndjson.js';
import { retryDelayMs } from './retry-policy.js';
import { errorOfProblem, SpectorError } from './spector-error.js';
import { connectionError, type Call, type Transport } from './transport.js';

/**
 * The items of a stream that goes on over broken connections: each time it is opened again where the last item ended.
 * @param next the call to open, given how many items came so far
 * @param again whether to open it again when the node ends it in good order
 */
export async function* resumedStream<T>(
  transport: Transport,
  next: () => Call,
  items: (stream: ReadableStream<Uint8Array>, headers: Headers) => AsyncGenerator<T, void, undefined>,
  again: boolean,
  retries: number,
): AsyncGenerator<T, void, undefined> {
  let failures = 0;
  for (;;) {
    const call = next();
    const opened = await transport.open(call);
    let failure: SpectorError;
    try {
      for await (const item of items(opened.stream, opened.headers)) {
        failures = 0;
        yield item;
      }
      if (!again) return;
      failure = connectionError(new Error('the node ended the stream'), opened.node);
    } catch (error) {
      if (call.signal?.aborted === true) throw call.signal.reason;
      failure = error instanceof SpectorError ? error : connectionError(error, opened.node);
      if (!failure.retryable) throw failure;
    } finally {
      opened.release();
    }
    if (++failures > retries) throw failure;
    await new Deadline(Infinity, call.signal).wait(retryDelayMs(failure, failures, 1, Math.random()));
  }
}

/** Objects of an NDJSON stream; a last line `{"error": {code, detail, retryable}}` ends it with that error. */
export async function* streamedObjects(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<Record<string, unknown>, void, undefined> {
  for await (const item of ndjsonObjects(stream)) {
    const { error } = item;
    if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') {
      throw errorOfProblem(error.code, error, 200, '');
    }
    yield item;
  }
}
