import { isUtf8 } from 'node:buffer';
import { NodeError } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import type { BulkItem } from '../coordinator/core/requests.js';
import type { BulkSchemas } from './core/bulk-item.js';
import { bulkItemOf, invalidItem } from './core/bulk-item.js';
import { scanJson, stringEnd } from './core/json-scan.js';
import { isJsonSpace } from './core/json-space.js';
import { shown } from './core/shown.js';
import { faultSentence, parseJson, scanError } from './http/json-body.js';
import { Turns } from './http/turns.js';

/** Fields of an envelope that are read; the known ones are far fewer, the others are refused by name. */
const MEMBERS_MAX = 32;

/** A parsed JSON bulk. */
export interface BulkEnvelopeText {
  /** What stands beside `documents`. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly runs: readonly Run[];
}

/**
 * Neighbouring elements of `documents`, in two columns, because a body may hold millions; and not all in one, since an array
 * of millions that grows is copied at once, with the loop held.
 */
interface Run {
  /** Parsed, or the NodeError that refuses the element: parsed JSON is never one. */
  readonly values: readonly unknown[];
  /** Bytes of each element's text. */
  readonly bytes: readonly number[];
}

/** Bytes of neighbouring elements that are parsed in one go. */
const RUN_BYTES = 32 * 1024;

/**
 * Parses `{"documents": […], …}` piece by piece, giving the event loop turns: a parser holds it for most of a second
 * on 8 MiB. The whole text must be JSON before anything of it is stored; an element beyond a limit is refused alone.
 * @throws NodeError INVALID_REQUEST with the position when it is not such an object
 */
export async function parseBulkEnvelope(bytes: Buffer): Promise<BulkEnvelopeText> {
  if (!isUtf8(bytes)) throw new NodeError('INVALID_REQUEST', 'the body is not valid UTF-8');
  const reader = new EnvelopeReader(bytes);
  await reader.read();
  if (reader.runs === undefined) {
    throw new NodeError('INVALID_REQUEST', '`documents` is missing: an array of documents is needed');
  }
  return { options: reader.options, runs: reader.runs };
}

/** The bulk items of a parsed envelope, pulled by who stores them. */
export async function* envelopeItems(envelope: BulkEnvelopeText, schemas: BulkSchemas): AsyncGenerator<BulkItem> {
  const turns = new Turns();
  for (const { values, bytes } of envelope.runs) {
    for (let i = 0; i < values.length; i++) {
      yield elementItem(values[i], bytes[i] ?? 0, schemas);
      const pause = turns.pause();
      if (pause !== undefined) await pause;
    }
  }
}

function elementItem(value: unknown, bytes: number, schemas: BulkSchemas): BulkItem {
  if (value instanceof NodeError) return invalidItem(value);
  try {
    return bulkItemOf(value, bytes, schemas);
  } catch (error) {
    if (!(error instanceof NodeError)) throw error;
    return invalidItem(error, value);
  }
}

class EnvelopeReader {
  readonly options: Record<string, unknown> = {};
  runs: Run[] | undefined;
  private at = 0;
  private readonly turns = new Turns();
  /** Neighbouring elements not parsed yet: where each starts and ends. */
  private run: { from: number; to: number }[] = [];

  constructor(private readonly bytes: Buffer) {}

  async read(): Promise<void> {
    this.space();
    if (this.bytes[this.at] !== 0x7b) throw this.notAnObject();
    this.at++;
    this.space();
    if (!this.take(0x7d)) {
      for (let members = 1; ; members++) {
        if (members > MEMBERS_MAX)
          throw new NodeError(
            'INVALID_REQUEST',
            `the body has more than ${MEMBERS_MAX} fields: documents go into \`documents\``,
          );
        await this.member();
        if (!this.separated(0x7d)) break;
      }
    }
    this.space();
    if (this.at < this.bytes.length) throw this.fault();
  }

  private async member(): Promise<void> {
    this.space();
    if (this.bytes[this.at] !== 0x22) throw this.fault();
    const name = parseJson(this.skip(), 'the body') as string;
    this.space();
    if (!this.take(0x3a)) throw this.fault();
    this.space();
    if (name === 'documents') await this.documents();
    else
      Object.defineProperty(this.options, name, {
        value: parseJson(this.skip(), 'the body'),
        enumerable: true,
        configurable: true,
      });
  }

  private async documents(): Promise<void> {
    if (!this.take(0x5b)) {
      throw new NodeError(
        'INVALID_REQUEST',
        `\`documents\` must be an array, not ${shown(parseJson(this.skip(), 'the body'))}`,
      );
    }
    this.runs = [];
    this.space();
    if (this.take(0x5d)) return;
    do {
      const pause = this.turns.pause();
      if (pause !== undefined) await pause;
      this.space();
      const from = this.at;
      this.skip();
      this.element(from, this.at);
    } while (this.separated(0x5d));
    this.parseRun();
  }

  /** Takes an element: into the run, or alone when it is refused. */
  private element(from: number, to: number): void {
    const problem = scanJson(this.bytes, from, to);
    const tooLarge = to - from > LIMITS.lineBytesMax;
    if (problem === undefined && !tooLarge) {
      this.run.push({ from, to });
      if (to - (this.run[0]?.from ?? to) >= RUN_BYTES) this.parseRun();
      return;
    }
    this.parseRun();
    const refused =
      problem === undefined
        ? new NodeError('PAYLOAD_TOO_LARGE', `the document is longer than ${LIMITS.lineBytesMax} bytes of JSON`)
        : scanError(problem, 'the document');
    this.runs?.push({ values: [refused], bytes: [to - from] });
  }

  private parseRun(): void {
    const first = this.run[0];
    const last = this.run.at(-1);
    if (first === undefined || last === undefined) return;
    let values: unknown[];
    try {
      values = JSON.parse(`[${this.bytes.toString('utf8', first.from, last.to)}]`) as unknown[];
    } catch {
      throw this.fault();
    }
    const run = this.run;
    if (values.length !== run.length) throw this.fault();
    this.runs?.push({ values, bytes: run.map(({ from, to }) => to - from) });
    this.run = [];
  }

  /** Moves behind the value at hand and returns its bytes; its inside is not checked. */
  private skip(): Buffer {
    const from = this.at;
    let depth = 0;
    while (this.at < this.bytes.length) {
      const byte = this.bytes[this.at];
      if (byte === 0x22) this.at = stringEnd(this.bytes, this.at, this.bytes.length);
      else if (byte === 0x7b || byte === 0x5b) {
        depth++;
        this.at++;
      } else if (byte === 0x7d || byte === 0x5d) {
        if (depth === 0) break;
        depth--;
        this.at++;
      } else if (depth === 0 && (byte === 0x2c || byte === 0x3a || isJsonSpace(byte))) break;
      else {
        this.at++;
        continue;
      }
      if (depth === 0) break;
    }
    if (this.at === from) throw this.fault();
    return this.bytes.subarray(from, this.at);
  }

  /** True after a comma, false after the closing byte; anything else is a fault. */
  private separated(close: number): boolean {
    this.space();
    if (this.take(0x2c)) return true;
    if (this.take(close)) return false;
    throw this.fault();
  }

  private take(byte: number): boolean {
    if (this.bytes[this.at] !== byte) return false;
    this.at++;
    return true;
  }

  private space(): void {
    while (isJsonSpace(this.bytes[this.at])) this.at++;
  }

  private notAnObject(): NodeError {
    if (this.at === this.bytes.length)
      return new NodeError('INVALID_REQUEST', 'the body is missing: a JSON object is needed');
    return new NodeError('INVALID_REQUEST', 'the body must be a JSON object with an array `documents`');
  }

  /** The error of malformed JSON; the part that was walked tells where. */
  private fault(): NodeError {
    const from = this.run[0]?.from ?? Math.min(this.at, this.bytes.length);
    const problem = scanJson(this.bytes, 0, Math.min(this.bytes.length, this.at + 1));
    if (problem !== undefined)
      return new NodeError('INVALID_REQUEST', `the body is not valid JSON near position ${from}`);
    return new NodeError(
      'INVALID_REQUEST',
      `the body is not valid JSON: ${faultSentence(this.bytes.toString('utf8'))}`,
    );
  }
}
