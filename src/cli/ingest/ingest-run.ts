import { type BulkAnswer, RETRYABLE_CODES, type SpectorClient, SpectorError } from '../../client/index.js';
import { batches, type Batch, type Position } from './batches.js';

/** A line that was not stored. */
export interface FailedLine {
  /** Of the input, from 1. */
  readonly line: number;
  readonly id: string | null;
  readonly code: string;
  readonly detail: string;
}

export interface IngestOptions {
  readonly client: SpectorClient;
  readonly chunks: AsyncIterable<Buffer>;
  readonly collection: string | undefined;
  /** Lines a request. */
  readonly batch: number;
  /** Requests under way at once. */
  readonly concurrency: number;
  /** Prefix of the idempotency keys; the same run over the same input repeats them. */
  readonly run: string;
  readonly start: Position;
  readonly signal: AbortSignal;
  /** Told after each batch below which nothing is outstanding, in order; awaited. */
  readonly settled: (progress: IngestProgress) => Promise<void>;
}

export interface IngestProgress {
  readonly position: Position;
  /** Since the start of this run. */
  readonly success: number;
  readonly failed: number;
  /** Of the batch that was settled. */
  readonly failures: readonly FailedLine[];
}

/**
 * Sends an input batch by batch, several at once, and reports them in order. Lines about one id keep their order:
 * a batch waits for those under way that share an id with it. Resolves at the end of the input; rejects with the first
 * error, after the requests under way have ended, so that what was reported is what is certain.
 */
export async function runIngest(options: IngestOptions): Promise<void> {
  const underWay = new Map<Batch, Promise<void>>();
  const answers = new Map<Batch, readonly FailedLine[]>();
  const order: Batch[] = [];
  const failures: unknown[] = [];
  let success = 0;
  let failed = 0;

  const settle = async (): Promise<void> => {
    for (let [head] = order; head !== undefined && answers.has(head); [head] = order) {
      order.shift();
      const lines = answers.get(head) ?? [];
      answers.delete(head);
      success += head.lines.length + head.oversized.length - lines.length;
      failed += lines.length;
      await options.settled({ position: head.end, success, failed, failures: lines });
    }
  };
  const send = async (batch: Batch): Promise<void> => {
    try {
      answers.set(batch, await sendBatch(batch, options));
    } catch (error) {
      failures.push(error);
    } finally {
      underWay.delete(batch);
    }
  };
  const mustWait = (batch: Batch): boolean =>
    underWay.size >= options.concurrency || [...underWay.keys()].some((other) => shareAnId(other, batch));

  try {
    for await (const batch of batches(options.chunks, options.start, options.batch)) {
      while (failures.length === 0 && mustWait(batch)) await Promise.race(underWay.values());
      await settle();
      options.signal.throwIfAborted();
      if (failures.length > 0) break;
      order.push(batch);
      underWay.set(batch, send(batch));
    }
  } catch (error) {
    failures.push(error);
  }
  await Promise.all(underWay.values());
  await settle();
  if (failures.length > 0) throw failures[0];
}

async function sendBatch(batch: Batch, options: IngestOptions): Promise<readonly FailedLine[]> {
  const tooLong = batch.oversized.map((line) => ({
    line,
    id: null,
    code: 'PAYLOAD_TOO_LARGE',
    detail: 'the line is longer than 4 MiB; it was not sent',
  }));
  if (batch.lines.length === 0) return tooLong;
  const answer: BulkAnswer = await options.client.bulkNdjson(batch.body, {
    ...(options.collection === undefined ? {} : { collection: options.collection }),
    idempotencyKey: `${options.run}:${batch.start.line}`,
    signal: options.signal,
  });
  // What may succeed later is no fault of the line: the run ends here and can be taken up again.
  const later = answer.errors.find((error) => RETRYABLE_CODES.has(error.code));
  if (later !== undefined)
    throw new SpectorError({
      code: later.code,
      status: 0,
      detail: `line ${batch.lines[later.index]}: ${later.detail}`,
      retryable: true,
    });
  const refused = answer.errors.map(({ index, id, code, detail }) => ({
    line: batch.lines[index] ?? 0,
    id,
    code,
    detail,
  }));
  return [...tooLong, ...refused].sort((a, b) => a.line - b.line);
}

function shareAnId(a: Batch, b: Batch): boolean {
  const [few, many] = a.ids.size < b.ids.size ? [a.ids, b.ids] : [b.ids, a.ids];
  for (const id of few) if (many.has(id)) return true;
  return false;
}
