import { type RawLine, rawLines } from './lines.js';

/** A batch ends at this size even with few lines. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024;

/** A position in an input: lines and uncompressed bytes before it. */
export interface Position {
  readonly line: number;
  readonly offset: number;
}

/** Lines to send in one request. */
export interface Batch {
  /** NDJSON without empty lines. */
  readonly body: Buffer;
  /** Line of the input, from 1, of each line of `body`. */
  readonly lines: readonly number[];
  /** Ids the lines are about, as far as they can be told. */
  readonly ids: ReadonlySet<string>;
  /** Lines too long to send. */
  readonly oversized: readonly number[];
  readonly start: Position;
  /** Where the next batch begins. */
  readonly end: Position;
}

/**
 * Cuts an input into batches. Where they are cut depends on the input, the start and `linesMax` alone, so that a run
 * taken up again makes the same batches, with the same idempotency keys.
 */
export async function* batches(
  chunks: AsyncIterable<Buffer>,
  start: Position,
  linesMax: number,
): AsyncGenerator<Batch, void, undefined> {
  const collector = new BatchCollector(start);
  for await (const line of rawLines(chunks, start.offset === 0)) {
    collector.add(line);
    if (collector.full(linesMax)) yield collector.take();
  }
  if (!collector.empty()) yield collector.take();
}

class BatchCollector {
  #start: Position;
  #end: Position;
  #parts: Buffer[] = [];
  #bytes = 0;
  #lines: number[] = [];
  #ids = new Set<string>();
  #oversized: number[] = [];

  constructor(start: Position) {
    this.#start = start;
    this.#end = start;
  }

  add(line: RawLine): void {
    this.#end = { line: this.#end.line + 1, offset: this.#end.offset + line.bytes };
    if (line.content === undefined) this.#oversized.push(this.#end.line);
    else if (!isBlank(line.content)) {
      this.#parts.push(line.content, LINE_END);
      this.#bytes += line.content.length + 1;
      this.#lines.push(this.#end.line);
      const id = lineId(line.content);
      if (id !== undefined) this.#ids.add(id);
    }
  }

  full(linesMax: number): boolean {
    return this.#lines.length >= linesMax || this.#bytes >= BATCH_BYTES_MAX || this.#oversized.length >= linesMax;
  }

  empty(): boolean {
    return this.#end.line === this.#start.line;
  }

  take(): Batch {
    const batch = {
      body: Buffer.concat(this.#parts),
      lines: this.#lines,
      ids: this.#ids,
      oversized: this.#oversized,
      start: this.#start,
      end: this.#end,
    };
    this.#start = this.#end;
    this.#parts = [];
    this.#bytes = 0;
    this.#lines = [];
    this.#ids = new Set();
    this.#oversized = [];
    return batch;
  }
}

const LINE_END = Buffer.from('\n');

function isBlank(line: Buffer): boolean {
  for (const byte of line) if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false;
  return true;
}

/** The id a line is about; undefined when it is no JSON object with one: the node will say so. */
function lineId(line: Buffer): string | undefined {
  try {
    const value: unknown = JSON.parse(line.toString());
    return typeof value === 'object' && value !== null && 'id' in value && typeof value.id === 'string'
      ? value.id
      : undefined;
  } catch {
    return undefined; // The node refuses the line by its number; here it only has no id to keep in order.
  }
}
