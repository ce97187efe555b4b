import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { SpectorClient } from '../../client/index.js';
import { LogTail } from './log-tail.js';

interface Entry {
  readonly offset: number;
  readonly op: 'UPSERT' | 'DELETE' | 'BARRIER';
  readonly id?: string;
  readonly version: string;
}

/** One shard as REST shows it: a log, its digest, and what it was compacted to. */
class Shard {
  readonly entries: Entry[] = [{ offset: 1, op: 'BARRIER', version: 'v1' }];
  start = 0;

  write(id: string, op: 'UPSERT' | 'DELETE'): void {
    const offset = this.entries.length + 1;
    this.entries.push({ offset, op, id, version: `v${offset}` });
  }

  /** Version of a document after the entry at `offset`; undefined without one. */
  versionAt(id: string, offset: number): string | undefined {
    const last = this.entries.findLast((entry) => entry.id === id && entry.offset <= offset);
    return last?.op === 'UPSERT' ? last.version : undefined;
  }

  get tail(): number {
    return this.entries.length;
  }

  client(): SpectorClient {
    return new SpectorClient({
      nodes: 'http://shard',
      retries: 0,
      fetch: (url) => Promise.resolve(this.answer(new URL(url))),
    });
  }

  private answer(url: URL): Response {
    if (url.pathname.endsWith('/digest'))
      return Response.json({ offset: this.tail, chain: `c${this.tail}`, live: '', replicas: [] });
    const from = Number(url.searchParams.get('from'));
    if (from <= this.start) {
      return Response.json(
        { code: 'OFFSET_COMPACTED', status: 410, detail: '', retryable: false, start: this.start },
        { status: 410, headers: { 'content-type': 'application/problem+json' } },
      );
    }
    const limit = Number(url.searchParams.get('limit') ?? Infinity);
    const lines = this.entries.filter(({ offset }) => offset >= from).slice(0, limit);
    return new Response(
      lines
        .map(
          (entry) =>
            `${JSON.stringify({ ...entry, collection: entry.id === undefined ? undefined : 'c', epoch: 1, chain: `c${entry.offset}`, bytes: 0 })}\n`,
        )
        .join(''),
    );
  }
}

const { signal } = new AbortController();
const IDS = ['a', 'b', 'c', 'd'];

describe('LogTail', () => {
  it('settles at an offset whose state is exactly what was seen, whatever is written meanwhile', async () => {
    const write = fc.record({
      id: fc.constantFrom(...IDS),
      op: fc.constantFrom('UPSERT' as const, 'UPSERT' as const, 'DELETE' as const),
    });
    const writes = fc.array(write, { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        writes,
        fc.array(writes, { minLength: IDS.length, maxLength: IDS.length }),
        fc.array(writes, { maxLength: 5 }),
        fc.boolean(),
        async (before, during, after, late) => {
          const shard = new Shard();
          for (const { id, op } of before) shard.write(id, op);
          const client = shard.client();
          const tail = await LogTail.begin(client, 0, signal);
          const seen = new Map<string, string | undefined>();
          const see = (id: string, version: string | undefined): void => {
            seen.set(id, version);
            tail.see('c', id, version);
          };
          for (const [i, id] of IDS.entries()) {
            // An index that lags shows the state before the last writes.
            const version = shard.versionAt(id, late && i === 0 ? Math.max(1, shard.tail - 2) : shard.tail);
            if (version !== undefined) see(id, version);
            for (const { id: other, op } of during[i]) shard.write(other, op);
          }
          await tail.endScroll();
          for (let round = 0; !tail.settled; round++) {
            for (const { id } of tail.stale()) see(id, shard.versionAt(id, shard.tail));
            for (const { id, op } of after[round] ?? []) shard.write(id, op);
            await tail.advance();
            expect(round).toBeLessThan(20);
          }
          const { offset, chain } = tail.position;
          expect(chain).toBe(`c${offset}`);
          for (const id of IDS)
            expect({ id, version: seen.get(id) }).toEqual({ id, version: shard.versionAt(id, offset) });
        },
      ),
      { numRuns: 100 },
    );
  });

  it('begins above what was compacted', async () => {
    const shard = new Shard();
    for (let i = 0; i < 10; i++) shard.write('a', 'UPSERT');
    shard.start = 8;
    const tail = await LogTail.begin(shard.client(), 0, signal);
    expect(tail.stale()).toMatchObject([{ id: 'a', version: 'v11' }]);
    shard.start = 11;
    const compacted = await LogTail.begin(shard.client(), 0, signal);
    await compacted.endScroll();
    expect(compacted.settled).toBe(true);
  });
});
