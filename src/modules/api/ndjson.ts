import { NodeError } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import type { BulkItem } from '../coordinator/core/requests.js';
import type { BulkSchemas } from './core/bulk-item.js';
import { bulkItemOf, invalidItem } from './core/bulk-item.js';
import { isJsonSpace } from './core/json-space.js';
import { parseJson } from './http/json-body.js';
import { Turns } from './http/turns.js';

const NEWLINE = 0x0a;

/** A line without its end, or one that was longer than LIMITS.lineBytesMax and was not kept. */
export type Line = Buffer | 'too-long';

/**
 * Splits a stream of bytes into lines (LF or CRLF; the last one may lack it) in constant memory. Lines of white space
 * alone are left out. A line is a view of its chunk: use it before asking for the next.
 */
export async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Line> {
  const kept = new KeptLine();
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const line = kept.complete(chunk.subarray(from, end));
      from = end + 1;
      if (line === 'too-long' || !isBlank(line)) yield line;
    }
    kept.keep(chunk.subarray(from));
  }
  const last = kept.complete(Buffer.alloc(0));
  if (last === 'too-long' || !isBlank(last)) yield last;
}

/** The beginning of a line whose end has not come yet. */
class KeptLine {
  private parts: Buffer[] = [];
  private length = 0;

  keep(part: Buffer): void {
    this.length += part.length;
    if (this.length > LIMITS.lineBytesMax) this.parts = [];
    else if (part.length > 0) this.parts.push(part);
  }

  complete(rest: Buffer): Line {
    if (this.length === 0) return rest.length > LIMITS.lineBytesMax ? 'too-long' : rest;
    this.keep(rest);
    const line = this.length > LIMITS.lineBytesMax ? 'too-long' : Buffer.concat(this.parts, this.length);
    this.parts = [];
    this.length = 0;
    return line;
  }
}

function isBlank(line: Buffer): boolean {
  for (const byte of line) if (!isJsonSpace(byte)) return false;
  return true;
}

/**
 * The bulk items of an NDJSON stream, pulled by who stores them: nothing is read ahead of what the stream buffers. A
 * bad line becomes an `invalid` item and the lines after it are read on; so does the end of a stream that cannot be read
 * any further, as the last one: what came before it is stored. Blank lines are not counted: the index of an item is its
 * position among the others.
 */
export async function* ndjsonItems(chunks: AsyncIterable<Buffer>, schemas: BulkSchemas): AsyncGenerator<BulkItem> {
  const turns = new Turns();
  try {
    for await (const line of linesOf(chunks)) {
      yield lineItem(line, schemas);
      const pause = turns.pause();
      if (pause !== undefined) await pause;
    }
  } catch (error) {
    if (!(error instanceof NodeError)) throw error;
    yield invalidItem(error);
  }
}

function lineItem(line: Line, schemas: BulkSchemas): BulkItem {
  if (line === 'too-long') {
    return invalidItem(new NodeError('PAYLOAD_TOO_LARGE', `the line is longer than ${LIMITS.lineBytesMax} bytes`));
  }
  let value: unknown;
  try {
    value = parseJson(line, 'the line');
    return bulkItemOf(value, line.length, schemas);
  } catch (error) {
    if (!(error instanceof NodeError)) throw error;
    return invalidItem(error, value);
  }
}
