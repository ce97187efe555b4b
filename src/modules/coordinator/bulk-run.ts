import { NodeError, type ErrorCode } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import type { BulkAnswer, BulkError, BulkItem, WriteOptions } from './core/requests.js';
import { laterPosition, type Position } from './core/positions.js';
import type { WriteCall, Writer, Written } from './writer.js';

/**
 * Operations and bytes of one bulk request under way at once: enough to fill batches, few enough that the searches beside it
 * wait for little (a turn of the loop, and what the collector carries over, grow with them).
 */
export const BULK_OPS_MAX = 256;
export const BULK_OPS_MIN = 32;
export const BULK_BYTES_MAX = 8 * 1024 * 1024;
/** An overloaded shard is asked again for this long before a line fails. */
const OVERLOAD_TRIES = 600;
const OVERLOAD_PAUSE_MS = 50;
const PROGRESS_MS = 1_000;

/** How far a bulk request is. */
export interface BulkProgress {
  readonly total: number;
  readonly success: number;
  readonly failed: number;
}

/**
 * One bulk request: pulls items no faster than they are stored. Operations on different ids run side by side;
 * operations on one id keep the order of their lines.
 */
export class BulkRun {
  readonly #positions = new Map<number, Position>();
  readonly #lastOfId = new Map<string, Promise<void>>();
  readonly #codes = new Set<ErrorCode>();
  #errors: BulkError[] = [];
  #total = 0;
  #success = 0;
  #failed = 0;
  #ops = 0;
  #bytes = 0;
  #wake: (() => void) | undefined;
  #progressAtMs = 0;
  /** Operations let under way at once: halved when a shard is overloaded, grown again while all goes well. */
  #window = BULK_OPS_MAX;

  constructor(
    private readonly writer: Writer,
    private readonly options: WriteOptions,
    private readonly signal: AbortSignal,
    private readonly onProgress: (progress: BulkProgress) => void,
  ) {}

  /** Stores everything; resolves when each item is stored or listed as failed. */
  async run(items: AsyncIterable<BulkItem>): Promise<Omit<BulkAnswer, 'session'>> {
    try {
      for await (const item of items) {
        const index = this.#total++;
        if (item.kind === 'invalid') this.#fail(index, item.id ?? null, item.code, item.detail);
        else {
          await this.#room(item.bytes);
          this.#start(index, item);
        }
        if (this.signal.aborted) break;
        this.#tell();
      }
    } finally {
      // Also when the client went away in the middle: what it sent is stored before the request ends.
      while (this.#ops > 0) await this.#change();
    }
    this.#errors.sort((a, b) => a.index - b.index);
    return {
      total: this.#total,
      success: this.#success,
      failed: this.#failed,
      errors: this.#errors.slice(0, LIMITS.bulkErrorsMax),
    };
  }

  /** Where the written entries are, for the session. */
  get positions(): ReadonlyMap<number, Position> {
    return this.#positions;
  }

  /** Of everything that failed, also of what is not listed. */
  get codes(): ReadonlySet<ErrorCode> {
    return this.#codes;
  }

  #start(index: number, item: Exclude<BulkItem, { kind: 'invalid' }>): void {
    this.#ops++;
    this.#bytes += item.bytes;
    const before = this.#lastOfId.get(item.id);
    const done = this.#store(index, item, before).then(() => {
      this.#ops--;
      this.#bytes -= item.bytes;
      if (this.#lastOfId.get(item.id) === done) this.#lastOfId.delete(item.id);
      this.#wake?.();
    });
    this.#lastOfId.set(item.id, done);
  }

  /** Never rejects: what fails is in the answer. */
  async #store(
    index: number,
    item: Exclude<BulkItem, { kind: 'invalid' }>,
    before: Promise<void> | undefined,
  ): Promise<void> {
    if (before !== undefined) await before;
    for (let attempt = 1; ; attempt++) {
      try {
        this.#stored(await this.#write(index, item));
        return;
      } catch (error) {
        const overloaded = error instanceof NodeError && error.code === 'OVERLOADED';
        if (!overloaded || attempt === OVERLOAD_TRIES || this.signal.aborted) {
          if (error instanceof NodeError) this.#fail(index, item.id, error.code, error.message);
          else this.#fail(index, item.id, 'INTERNAL', 'an internal error; see the log of the node');
          return;
        }
        this.#window = Math.max(BULK_OPS_MIN, this.#window / 2);
        await new Promise((resolve) => setTimeout(resolve, OVERLOAD_PAUSE_MS));
      }
    }
  }

  #stored({ shard, epoch, reign, offset }: Written): void {
    this.#success++;
    this.#window = Math.min(BULK_OPS_MAX, this.#window + 1 / BULK_OPS_MIN);
    const before = this.#positions.get(shard);
    this.#positions.set(shard, laterPosition(before, { epoch, reign, offset }));
  }

  #write(index: number, item: Exclude<BulkItem, { kind: 'invalid' }>): Promise<Written> {
    const { collection, consistency, idempotencyKey } = this.options;
    const call: WriteCall = {
      collection,
      consistency,
      key: item.kind === 'delete' && item.key !== undefined ? item.key : keyOfLine(idempotencyKey, index),
      condition:
        item.kind === 'delete' && item.version !== undefined ? { kind: 'version', version: item.version } : undefined,
      timeoutMs: undefined,
    };
    switch (item.kind) {
      case 'upsert':
        return this.writer.upsert(item.id, item.fields, call);
      case 'patch':
        return this.writer.patch(item.id, item.patch, call);
      case 'delete':
        return this.writer.delete(item.id, call);
    }
  }

  #fail(index: number, id: string | null, code: BulkError['code'], detail: string): void {
    this.#failed++;
    this.#codes.add(code);
    this.#errors.push({ index, id, code, detail });
    // Completions are nearly in line order: keep twice what is told, cut to the first ones now and then.
    if (this.#errors.length >= 2 * LIMITS.bulkErrorsMax) {
      this.#errors.sort((a, b) => a.index - b.index);
      this.#errors = this.#errors.slice(0, LIMITS.bulkErrorsMax);
    }
  }

  async #room(bytes: number): Promise<void> {
    while (this.#ops > 0 && (this.#ops >= this.#window || this.#bytes + bytes > BULK_BYTES_MAX)) await this.#change();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }

  #tell(): void {
    const now = performance.now();
    if (now - this.#progressAtMs < PROGRESS_MS) return;
    this.#progressAtMs = now;
    this.onProgress({ total: this.#total, success: this.#success, failed: this.#failed });
  }
}

function keyOfLine(key: string | undefined, index: number): string | undefined {
  return key === undefined ? undefined : `${key}\n${index}`;
}
