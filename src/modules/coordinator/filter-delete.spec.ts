import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { exactVectorIndexes } from '../../../test/contract/exact-vector-index.js';
import { turnTime } from '../../../test/contract/turn-time.js';
import { NodeError } from '../../kernel/errors.js';
import { ShardReplica } from '../replication/shard-replica.js';
import type { Filter } from '../shard/core/filter.js';
import type { CallContext, WriteOptions } from './core/requests.js';
import { MemoryCluster } from './testing/memory-cluster.js';
import { WriteRouter } from './write-router.js';
import { Writer } from './writer.js';

const NODES = 3;
const SHARDS = 6;
const DOCUMENTS = 60;
const call = (extra: Partial<CallContext> = {}): CallContext => ({ signal: new AbortController().signal, ...extra });
const plain = { collection: 'default', consistency: 'auto' } as const;
const keyed = { ...plain, idempotencyKey: 'a-key' } as const;
const old: Filter = { must: [{ kind: 'match', key: 'age', any: ['old'] }], should: [], mustNot: [] };
const young: Filter = { must: [], should: [], mustNot: old.must };
const every: Filter = { must: [], should: [], mustNot: [] };

describe('a delete by filter under an idempotency key', () => {
  let cluster: MemoryCluster;
  let realTime: () => void;

  const store = (node: number, id: string, age: string) =>
    cluster.nodes[node].documents.ingest({ id, fields: { metadata: { age } } }, undefined, plain, call());
  const remove = (node: number, filter = old, options: WriteOptions = keyed, extra: Partial<CallContext> = {}) =>
    cluster.nodes[node].documents.deleteByFilter(filter, options, call(extra));
  const ids = async (): Promise<string[]> => {
    const request = {
      ...plain,
      consistency: 'any',
      limit: 1_000,
      fields: { title: false, content: false, metadata: false, vector: false },
    } as const;
    const { documents } = await cluster.nodes[0].documents.scroll(request, call());
    return documents.map(({ id }) => id).sort();
  };
  /** As `Writer.delete`, but for what happens around it. */
  const deleting = (
    around: (made: () => ReturnType<Writer['delete']>, nth: number) => ReturnType<Writer['delete']>,
  ) => {
    const own = Object.getOwnPropertyDescriptor(Writer.prototype, 'delete')?.value as Writer['delete'];
    let nth = 0;
    return jest.spyOn(Writer.prototype, 'delete').mockImplementation(function (this: Writer, ...given) {
      return around(() => own.apply(this, given), ++nth);
    });
  };

  beforeAll(() => {
    realTime = turnTime();
  });
  afterAll(() => realTime());
  beforeEach(async () => {
    cluster = await MemoryCluster.start(NODES, SHARDS, exactVectorIndexes, 4);
    for (let i = 0; i < DOCUMENTS; i++) await store(i % NODES, `old-${i}`, 'old');
    await store(0, 'young', 'young');
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await cluster.stop();
  });

  it('is answered again as it was, through any node, and takes nothing that was written or matches since', async () => {
    expect(await remove(0)).toMatchObject({ deleted: DOCUMENTS, failed: 0, errors: [] });
    await store(0, 'old-7', 'old');
    await store(1, 'new', 'old');
    await store(2, 'young', 'old');
    for (let node = 0; node < NODES; node++)
      expect(await remove(node)).toMatchObject({ deleted: DOCUMENTS, failed: 0, errors: [] });
    expect(await ids()).toEqual(['new', 'old-7', 'young']);
    // What came since is another request's.
    expect(await remove(1, old, { ...plain, idempotencyKey: 'other-key' })).toMatchObject({
      deleted: 3,
    });
    expect(await remove(2)).toMatchObject({ deleted: DOCUMENTS });
  });

  it('is the same request with its members in another order', async () => {
    const range = (bounds: object): Filter => ({
      must: [{ kind: 'range', key: 'age', ...bounds }],
      should: [],
      mustNot: [],
    });
    expect(await remove(0, range({ gte: 'o', lt: 'p' }))).toMatchObject({ deleted: DOCUMENTS });
    expect(await remove(1, range({ lt: 'p', gte: 'o' }))).toMatchObject({ deleted: DOCUMENTS });
  });

  it('refuses its key to another filter, collection or document, and deletes nothing for them', async () => {
    await cluster.nodes[0].documents.deleteMany(['old-1'], plain, call());
    expect(await remove(0)).toMatchObject({ deleted: DOCUMENTS - 1 });
    const conflict = { code: 'IDEMPOTENCY_CONFLICT' };
    for (let node = 0; node < NODES; node++) await expect(remove(node, every)).rejects.toMatchObject(conflict);
    const home = cluster.nodes[0].replication.map.ring().shardOf(keyed.idempotencyKey);
    const neighbour = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'].find(
      (id) => cluster.nodes[0].replication.map.ring().shardOf(id) === home,
    );
    await expect(
      cluster.nodes[1].documents.ingest({ id: neighbour ?? '', fields: { title: 'x' } }, undefined, keyed, call()),
    ).rejects.toMatchObject(conflict);
    expect(await ids()).toEqual(['young']);
  });

  it('that was cut off half-way is completed by its repetition, and counted once', async () => {
    // The coordinator ends after some were deleted, and one of them was not answered for any more.
    const cut = deleting(async (made, nth) => {
      if (nth <= 20) return made();
      if (nth === 21) await made();
      throw new NodeError('WRITE_OUTCOME_UNKNOWN', 'it may or may not be stored');
    });
    await expect(remove(0)).rejects.toMatchObject({ code: 'WRITE_OUTCOME_UNKNOWN' });
    cut.mockRestore();
    const left = await ids();
    expect(left.length).toBeGreaterThan(1);
    expect(left.length).toBeLessThan(DOCUMENTS);
    const gone = Array.from({ length: DOCUMENTS }, (_, i) => `old-${i}`).filter((id) => !left.includes(id));
    await store(0, gone[0], 'old');
    await store(1, 'new', 'old');
    expect(await remove(2)).toMatchObject({ deleted: DOCUMENTS, failed: 0 });
    expect(await ids()).toEqual(['new', gone[0], 'young'].sort());
    expect(await remove(1)).toMatchObject({ deleted: DOCUMENTS, failed: 0 });
  });

  it('leaves what changes after it began, without a word', async () => {
    let changed: Promise<unknown> | undefined;
    const changing = deleting(async (made) => {
      changed ??= Promise.all(Array.from({ length: DOCUMENTS }, (_, i) => store(0, `old-${i}`, i < 10 ? 'old' : 'x')));
      await changed;
      return made();
    });
    expect(await remove(0)).toMatchObject({ deleted: 0, failed: 0, errors: [] });
    changing.mockRestore();
    expect(await remove(1)).toMatchObject({ deleted: 0, failed: 0 });
    expect(await ids()).toHaveLength(DOCUMENTS + 1);
  });

  it('runs twice at the same time, and deletes and counts each document once', async () => {
    const answers = await Promise.all([remove(0), remove(1), remove(2)]);
    expect(answers.map(({ deleted, failed }) => [deleted, failed])).toEqual(Array(NODES).fill([DOCUMENTS, 0]));
    expect(await ids()).toEqual(['young']);
  });

  it('deletes nothing before it has begun in every shard, and takes no key before the shard of the key', async () => {
    const home = cluster.nodes[0].replication.map.ring().shardOf(keyed.idempotencyKey);
    const without = async (shard: number): Promise<void> => {
      cluster.primaries[shard] = undefined;
      await expect(remove(0, old, keyed, { timeoutMs: 300 })).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE' });
      cluster.primaries[shard] = shard % NODES;
      expect(await ids()).toHaveLength(DOCUMENTS + 1);
    };
    await without(home);
    expect(await remove(0, young)).toMatchObject({ deleted: 1 });
    await store(0, 'young', 'young');
    await expect(remove(0)).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
    cluster.primaries[(home + 1) % SHARDS] = undefined;
    const other = { ...plain, idempotencyKey: 'other-key' };
    await expect(remove(1, young, other, { timeoutMs: 300 })).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE' });
    cluster.primaries[(home + 1) % SHARDS] = (home + 1) % NODES;
    expect(await ids()).toHaveLength(DOCUMENTS + 1);
    expect(await remove(2, young, other)).toMatchObject({ deleted: 1 });
  });

  it('waits for an index that lacks what was logged before it began, and answers nothing without it', async () => {
    const late = jest.spyOn(ShardReplica.prototype, 'position', 'get');
    late.mockReturnValue({ tail: 1_000, durable: 1_000, applied: 0 });
    await expect(remove(0)).rejects.toMatchObject({ code: 'NOT_CAUGHT_UP' });
    late.mockRestore();
    expect(await remove(0)).toMatchObject({ deleted: DOCUMENTS });
  });

  it('counts what was deleted before once that has the level that is asked for, and its session has seen it', async () => {
    // What of each shard has the level: its place, and nothing behind it.
    const level = new Map<number, number>();
    let holds = true;
    const own = Object.getOwnPropertyDescriptor(WriteRouter.prototype, 'write')?.value as WriteRouter['write'];
    jest.spyOn(WriteRouter.prototype, 'write').mockImplementation(async function (this: WriteRouter, write, timeoutMs) {
      const outcome = await own.call(this, write, timeoutMs);
      if (outcome.kind !== 'written' || !holds) return outcome;
      if (write.op === 'BARRIER' && !level.has(write.shard)) level.set(write.shard, outcome.offset);
      return outcome.offset <= (level.get(write.shard) ?? 0)
        ? outcome
        : { kind: 'refused', code: 'WRITE_OUTCOME_UNKNOWN', detail: 'too few copies have it' };
    });
    const unknown = { code: 'WRITE_OUTCOME_UNKNOWN' };
    await expect(remove(0)).rejects.toMatchObject(unknown);
    for (let turn = 0; turn < SHARDS; turn++) await expect(remove(1)).rejects.toMatchObject(unknown);
    expect(await ids()).toHaveLength(1);
    await expect(remove(2)).rejects.toMatchObject(unknown);
    holds = false;
    const { session, ...answer } = await remove(1);
    expect(answer).toEqual({ deleted: DOCUMENTS, failed: 0, errors: [] });
    const seen = cluster.nodes[0].sessions.read(session);
    for (let shard = 0; shard < SHARDS; shard++) {
      const { tail } = cluster.nodes[shard % NODES].log.state(shard);
      expect([shard, seen.get(shard)?.offset]).toEqual([shard, tail]);
    }
    // Once for each count: it logs nothing more.
    expect((await remove(2)).session).toBe(session);
  });

  it('says what failed, and tries that again when it is repeated, as a bulk does', async () => {
    const failing = deleting((made, nth) =>
      nth === 3 ? Promise.reject(new NodeError('NO_QUORUM', 'too few copies')) : made(),
    );
    expect(await remove(0)).toMatchObject({ deleted: DOCUMENTS - 1, failed: 1, errors: [{ code: 'NO_QUORUM' }] });
    failing.mockRestore();
    expect(await remove(1)).toMatchObject({ deleted: DOCUMENTS, failed: 0, errors: [] });
  });
});
