import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { NodeError } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';

/**
 * Bytes of a refused body that are read and thrown away before the answer: a client that is still sending would see a
 * reset connection instead of the answer.
 */
const DISCARDED_MAX = 64 * 1024 * 1024;
/** Milliseconds such a client gets. */
const DISCARD_MS_MAX = 5_000;

/** Receives the body, or why there is none. */
type BodyCallback = (error: Error | null, body?: Buffer) => void;

/** Collects a whole body of at most LIMITS.bodyBytesMax, counted after decompression; PAYLOAD_TOO_LARGE above. */
export function readBody(request: IncomingMessage, callback: BodyCallback): void {
  const source = decoded(request);
  if (source instanceof NodeError) {
    refuse(request, source, callback);
    return;
  }
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > LIMITS.bodyBytesMax) {
    refuse(request, tooLarge(), callback);
    return;
  }
  collect(request, source, callback);
}

function collect(request: IncomingMessage, source: Readable, callback: BodyCallback): void {
  const chunks: Buffer[] = [];
  let length = 0;
  let settled = false;
  const settle = (finish: () => void) => {
    if (settled) return;
    settled = true;
    source.off('data', onData);
    finish();
  };
  const onData = (chunk: Buffer) => {
    length += chunk.length;
    if (length > LIMITS.bodyBytesMax) {
      settle(() => {
        if (source !== request) request.unpipe();
        refuse(request, tooLarge(), callback);
      });
      return;
    }
    chunks.push(chunk);
  };
  source.on('data', onData);
  source.once('end', () => {
    settle(() => {
      callback(null, chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, length));
    });
  });
  const fail = (error: Error) => {
    settle(() => {
      callback(bodyError(error));
    });
  };
  source.once('error', fail);
  if (source !== request) request.once('error', fail);
}

/** The stream of a body, decompressed when it says it is gzip; an error for other encodings. */
export function decoded(request: IncomingMessage): Readable | NodeError {
  const encoding = request.headers['content-encoding']?.trim().toLowerCase() ?? 'identity';
  if (encoding === 'identity') return request;
  if (encoding !== 'gzip' && encoding !== 'x-gzip') {
    return new NodeError('UNSUPPORTED_MEDIA_TYPE', 'content-encoding must be gzip, or be left out');
  }
  const gunzip = createGunzip();
  request.once('error', (error) => gunzip.destroy(error));
  return request.pipe(gunzip);
}

/** What a body's stream failed with, as an error for the client. */
export function bodyError(error: Error): NodeError {
  if (error instanceof NodeError) return error;
  const compressed = 'code' in error && typeof error.code === 'string' && error.code.startsWith('Z_');
  return new NodeError(
    'INVALID_REQUEST',
    compressed ? 'the body is not valid gzip' : 'the request ended before its body was complete',
    {
      cause: error,
    },
  );
}

/** Reads away what is left of a request's body, within bounds, and then calls back. */
export function discardBody(request: IncomingMessage, done: () => void): void {
  if (request.readableEnded || request.destroyed) {
    done();
    return;
  }
  let length = 0;
  const stop = () => {
    clearTimeout(timer);
    request.off('data', onData).off('end', stop).off('error', stop).off('close', stop);
    done();
  };
  const onData = (chunk: Buffer) => {
    length += chunk.length;
    if (length > DISCARDED_MAX) stop();
  };
  const timer = setTimeout(stop, DISCARD_MS_MAX);
  request.on('data', onData).on('end', stop).on('error', stop).on('close', stop).resume();
}

function refuse(request: IncomingMessage, error: NodeError, callback: BodyCallback): void {
  discardBody(request, () => {
    callback(error);
  });
}

function tooLarge(): NodeError {
  return new NodeError(
    'PAYLOAD_TOO_LARGE',
    `the body is larger than ${LIMITS.bodyBytesMax} bytes: split it, or stream NDJSON to /api/v1/ingest/bulk`,
  );
}

/** The chunks of a body, pulled; what its stream fails with is an error for the client. The stream survives an early end. */
export async function* chunksOf(source: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of source.iterator({ destroyOnReturn: false })) yield chunk as Buffer;
  } catch (error) {
    throw bodyError(error as Error);
  }
}
