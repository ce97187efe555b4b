import { describe, expect, it } from '@jest/globals';
import { type Fetch, SpectorClient } from '../../client/index.js';
import { type IngestOptions, type IngestProgress, runIngest } from './ingest-run.js';

interface Request {
  readonly key: string;
  readonly ids: readonly string[];
  /** Gives the answer; until then the request is under way. */
  readonly answer: (failed?: readonly { index: number; code: string }[]) => void;
  readonly refuse: (code: string, status: number) => void;
}

/** A node whose bulk requests are answered by hand. */
class Bulks {
  readonly requests: Request[] = [];
  #wake: (() => void) | undefined;

  readonly fetch: Fetch = (_url, init) =>
    new Promise((resolve) => {
      const lines = Buffer.from(init.body as Uint8Array)
        .toString()
        .trim()
        .split('\n');
      const ids = lines.map((line) => (JSON.parse(line) as { id: string }).id);
      this.requests.push({
        key: (init.headers as Record<string, string>)['idempotency-key'],
        ids,
        answer: (failed = []) => {
          const errors = failed.map((error) => ({ ...error, id: ids[error.index], detail: 'no' }));
          resolve(
            Response.json({
              total: ids.length,
              success: ids.length - errors.length,
              failed: errors.length,
              errors,
              session: 's',
            }),
          );
        },
        refuse: (code, status) =>
          resolve(
            new Response(JSON.stringify({ code, status, detail: 'no', retryable: false }), {
              status,
              headers: { 'content-type': 'application/problem+json' },
            }),
          ),
      });
      this.#wake?.();
    });

  /** Resolves when so many requests have come. */
  async came(count: number): Promise<void> {
    while (this.requests.length < count) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

async function* chunksOf(ids: readonly string[]): AsyncGenerator<Buffer> {
  for (const id of ids) yield Buffer.from(`${JSON.stringify({ id, title: id })}\n`);
}

function start(
  bulks: Bulks,
  ids: readonly string[],
  change: Partial<IngestOptions> = {},
): { readonly done: Promise<void>; readonly settled: IngestProgress[] } {
  const settled: IngestProgress[] = [];
  const done = runIngest({
    client: new SpectorClient({ nodes: 'http://node', fetch: bulks.fetch, retries: 0 }),
    chunks: chunksOf(ids),
    collection: undefined,
    batch: 1,
    concurrency: 3,
    run: 'r',
    start: { line: 0, offset: 0 },
    signal: new AbortController().signal,
    settled: (progress) => {
      settled.push(progress);
      return Promise.resolve();
    },
    ...change,
  });
  done.catch(() => undefined); // Looked at by the test.
  return { done, settled };
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

describe('runIngest', () => {
  it('keeps so many requests under way, and reports in order whatever the order of answers', async () => {
    const bulks = new Bulks();
    const { done, settled } = start(bulks, ['a', 'b', 'c', 'd']);
    await bulks.came(3);
    await turn();
    expect(bulks.requests.map(({ ids }) => ids[0])).toEqual(['a', 'b', 'c']);
    bulks.requests[2].answer();
    await bulks.came(4);
    expect(settled).toEqual([]);
    bulks.requests[1].answer([{ index: 0, code: 'INVALID_REQUEST' }]);
    bulks.requests[3].answer();
    await turn();
    expect(settled).toEqual([]);
    bulks.requests[0].answer();
    await done;
    expect(settled.map(({ position, success, failed }) => [position.line, success, failed])).toEqual([
      [1, 1, 0],
      [2, 1, 1],
      [3, 2, 1],
      [4, 3, 1],
    ]);
    expect(settled[1].failures).toEqual([{ line: 2, id: 'b', code: 'INVALID_REQUEST', detail: 'no' }]);
    expect(bulks.requests.map(({ key }) => key)).toEqual(['r:0', 'r:1', 'r:2', 'r:3']);
  });

  it('keeps the order of lines about one id', async () => {
    const bulks = new Bulks();
    const { done } = start(bulks, ['a', 'b', 'a', 'c']);
    await bulks.came(2);
    await turn();
    expect(bulks.requests).toHaveLength(2);
    bulks.requests[1].answer();
    await turn();
    expect(bulks.requests).toHaveLength(2);
    bulks.requests[0].answer();
    await bulks.came(4);
    expect(bulks.requests.map(({ ids }) => ids[0])).toEqual(['a', 'b', 'a', 'c']);
    bulks.requests[2].answer();
    bulks.requests[3].answer();
    await done;
  });

  it('stops at the first failure, and tells only what is certain', async () => {
    const bulks = new Bulks();
    const { done, settled } = start(bulks, ['a', 'b', 'c', 'd', 'e']);
    await bulks.came(3);
    bulks.requests[1].refuse('FORBIDDEN', 403);
    await turn();
    bulks.requests[0].answer();
    bulks.requests[2].answer();
    await expect(done).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(settled.map(({ position }) => position.line)).toEqual([1]);
    expect(bulks.requests).toHaveLength(3);
  });

  it('takes what may succeed later for the end of the run, not for a bad line', async () => {
    const bulks = new Bulks();
    const { done, settled } = start(bulks, ['a', 'b'], { concurrency: 1 });
    await bulks.came(1);
    bulks.requests[0].answer([{ index: 0, code: 'INSUFFICIENT_STORAGE' }]);
    await expect(done).rejects.toMatchObject({ code: 'INSUFFICIENT_STORAGE', retryable: true });
    expect(settled).toEqual([]);
  });

  it('ends when the user wants it to', async () => {
    const bulks = new Bulks();
    const user = new AbortController();
    const { done, settled } = start(bulks, ['a', 'b', 'c'], { concurrency: 1, signal: user.signal });
    await bulks.came(1);
    user.abort(new Error('enough'));
    bulks.requests[0].answer();
    await expect(done).rejects.toThrow('enough');
    expect(bulks.requests).toHaveLength(1);
    expect(settled.length).toBeLessThanOrEqual(1);
  });
});
