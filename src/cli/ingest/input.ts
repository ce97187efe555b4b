import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';

/** Bytes at either end of a file that go into its identity. */
const IDENTITY_BYTES = 64 * 1024;

/** What tells a file from another, or from itself after a change: size, time of change, both ends; 32 hex digits. */
export async function fileIdentity(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { size, mtimeMs } = await file.stat();
    const hash = createHash('sha256').update(`${size} ${mtimeMs} `);
    const buffer = Buffer.alloc(Math.min(IDENTITY_BYTES, size));
    for (const position of [0, Math.max(0, size - IDENTITY_BYTES)]) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
      hash.update(buffer.subarray(0, bytesRead));
    }
    return hash.digest('hex').slice(0, 32);
  } finally {
    await file.close();
  }
}

/** The bytes of an input, uncompressed; gzip is known by its first two bytes, not by its name. */
export interface Input {
  /** From `offset` (uncompressed) on, as it was opened. */
  readonly chunks: AsyncIterable<Buffer>;
  /** Share of the input read so far, 0–1; undefined when its length is not known. */
  fraction(): number | undefined;
  close(): void;
}

/** Opens a file at an offset of its uncompressed bytes. Rejects as the file system does. */
export async function openFile(path: string, offset: number): Promise<Input> {
  const file = await open(path, 'r');
  let size: number;
  let gzip: boolean;
  try {
    size = (await file.stat()).size;
    const magic = Buffer.alloc(2);
    const { bytesRead } = await file.read(magic, 0, 2, 0);
    gzip = isGzip(magic.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
  // A plain file is opened where to go on; a compressed one must be read from its start.
  const raw = createReadStream(path, gzip ? {} : { start: offset });
  let read = gzip ? 0 : offset;
  raw.on('data', (chunk) => (read += chunk.length));
  raw.pause();
  const chunks = gzip ? skipped(inflated(raw), offset) : raw;
  return { chunks, fraction: () => (size === 0 ? 1 : Math.min(1, read / size)), close: () => raw.destroy() };
}

/** The input that arrives on a stream, e.g. stdin. */
export function openStream(stream: Readable): Input {
  async function* chunks(): AsyncGenerator<Buffer, void, undefined> {
    const iterator: AsyncIterator<Buffer | string, undefined> = stream[Symbol.asyncIterator]();
    const head: Buffer[] = [];
    let length = 0;
    while (length < 2) {
      const { done, value } = await iterator.next();
      if (done === true) break;
      const chunk = toBuffer(value);
      head.push(chunk);
      length += chunk.length;
    }
    async function* rest(): AsyncGenerator<Buffer, void, undefined> {
      yield* head;
      for (let item = await iterator.next(); item.done !== true; item = await iterator.next())
        yield toBuffer(item.value);
    }
    yield* isGzip(Buffer.concat(head)) ? inflated(Readable.from(rest())) : rest();
  }
  return { chunks: chunks(), fraction: () => undefined, close: () => stream.destroy() };
}

function toBuffer(chunk: Buffer | string): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}

function isGzip(bytes: Uint8Array): boolean {
  return bytes.length >= 2 && bytes[0] === 0x1f && bytes[1] === 0x8b;
}

function inflated(raw: Readable): AsyncIterable<Buffer> {
  // The error also reaches whoever reads the result; the callback is what keeps it from being thrown twice.
  return pipeline(raw, createGunzip(), (error) => {
    if (error) raw.destroy();
  });
}

async function* skipped(chunks: AsyncIterable<Buffer>, offset: number): AsyncGenerator<Buffer, void, undefined> {
  let left = offset;
  for await (const chunk of chunks) {
    if (left < chunk.length) yield left === 0 ? chunk : chunk.subarray(left);
    left = Math.max(0, left - chunk.length);
  }
}
