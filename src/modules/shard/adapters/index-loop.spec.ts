import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exactVectorIndexes } from '../../../../test/contract/exact-vector-index.js';
import { ShardLog, specOf } from '../../../../test/contract/shard-log.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { encodeFrames } from '../core/frames.js';
import type { IndexReply, IndexRequest, ReplyMessage } from '../core/index-messages.js';
import { SearchPacker } from '../core/packed-searches.js';
import { answersIn } from '../core/search-answer.js';
import { encodeSearch } from '../core/search-wire.js';
import { IndexLoop } from './index-loop.js';
import { LocalIndexHost } from './local-index-host.js';

describe('IndexLoop', () => {
  let directory: string;
  let turns: (readonly IndexReply[])[];
  let loop: IndexLoop;
  let log: ShardLog;
  /** Milliseconds that pass at each look at the clock. */
  let stepMs: number;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'index-loop-'));
    turns = [];
    stepMs = 0;
    let nowMs = 0;
    const clock = { monotonicMs: () => (nowMs += stepMs) };
    const host = new LocalIndexHost({ hasher: nodeHasher, clock, indexes: exactVectorIndexes });
    // As over a port: what is added to a message after it left is lost.
    loop = new IndexLoop(host, clock, ({ replies }) => turns.push([...replies]));
    log = new ShardLog();
    ask(
      { id: 1, kind: 'define', collections: [specOf(1, 2)] },
      { id: 2, kind: 'open', shard: 0, checkpoint: undefined },
    );
    await replies(2);
    turns.length = 0;
  });

  afterEach(async () => {
    loop.close();
    await rm(directory, { recursive: true });
  });

  const ask = (...requests: IndexRequest[]): void => loop.deliver({ requests, cancelled: [], searches: undefined });

  const replies = async (count: number): Promise<readonly IndexReply[]> => {
    while (turns.flat().length < count) await new Promise(setImmediate);
    return turns.flat();
  };

  const count = (id: number): IndexRequest => ({ id, kind: 'count', shard: 0, collectionId: 1, filter: undefined });

  const write = (id: number, documents: number): IndexRequest => ({
    id,
    kind: 'apply',
    shard: 0,
    frames: encodeFrames(Array.from({ length: documents }, (_, i) => log.upsert(`${id}-${i}`, { content: 'red' }))),
  });

  it("gives the answers of a turn's searches in one piece, without those of a search that failed", () => {
    const messages: ReplyMessage[] = [];
    const host = new LocalIndexHost({
      hasher: nodeHasher,
      clock: { monotonicMs: () => 0 },
      indexes: exactVectorIndexes,
    });
    host.defineCollections([specOf(1, 2)]);
    host.openShard(0, undefined);
    const searching = new IndexLoop(host, { monotonicMs: () => 0 }, (message) => messages.push(message));
    const search = encodeSearch({
      collectionId: 1,
      exact: true,
      vector: { values: Float32Array.of(1, 0), k: 1, ef: 1 },
    });
    host.apply(0, encodeFrames([log.upsert('a', { vector: Float32Array.of(1, 0) })]), Infinity);
    const packer = new SearchPacker();
    for (const id of [1, 2, 3]) packer.add(id, [7, 0], id === 2 ? search.subarray(1) : search);
    searching.deliver({ requests: [], cancelled: [], searches: packer.take() });
    return new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve))).then(() => {
      searching.close();
      expect(messages).toHaveLength(1);
      const [{ replies, searches, ends, bytes = new Uint8Array(0) }] = messages;
      expect([replies.map(({ id }) => id), searches]).toEqual([[2], [1, 3]]);
      const view = new DataView(bytes.buffer);
      expect(ends.map((end, i) => answersIn(view, i === 0 ? 0 : ends[i - 1], end).map(({ shard }) => shard))).toEqual([
        [7, 0],
        [7, 0],
      ]);
    });
  });

  it('answers many requests of one message with one message', async () => {
    ask(count(10), count(11), count(12));
    await replies(3);
    expect(turns).toHaveLength(1);
    expect(turns[0].map(({ id }) => id)).toEqual([10, 11, 12]);
  });

  it('reads before it applies, and applies in order', async () => {
    ask(write(10, 3), count(11), write(12, 2));
    expect(await replies(3)).toEqual([
      { id: 11, kind: 'count', answer: 0 },
      { id: 10, kind: 'apply', answer: 3 },
      { id: 12, kind: 'apply', answer: 5 },
    ]);
  });

  it('leaves what is queued to be applied when it is held back, also in the middle, and takes it when it comes again', async () => {
    stepMs = 1;
    const [long, short] = [write(10, 50), write(12, 2)];
    ask(long, short);
    // For one slice, which is not enough for the first message.
    await new Promise(setImmediate);
    ask({ id: 13, kind: 'hold', shard: 0 });
    const notOpen = expect.objectContaining({ reason: 'NOT_OPEN' });
    expect(await replies(3)).toEqual([
      { id: 10, error: notOpen },
      { id: 12, error: notOpen },
      { id: 13, kind: 'hold', answer: undefined },
    ]);
    turns.length = 0;
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    ask(count(14));
    const [counted] = (await replies(1)).map((reply) => ('error' in reply ? undefined : reply.answer));
    expect(counted).toBeGreaterThan(0);
    expect(counted).toBeLessThan(50);
    turns.length = 0;
    ask(long, short);
    expect(await replies(2)).toEqual([
      { id: 10, kind: 'apply', answer: 50 },
      { id: 12, kind: 'apply', answer: 52 },
    ]);
  });

  it('gives turns of shards far behind to the one nearest to its end, and leaves all others, and each fourth, as they are', async () => {
    const logs = new Map([1, 2, 3].map((shard) => [shard, new ShardLog(shard)]));
    for (const shard of logs.keys()) ask({ id: shard, kind: 'open', shard, checkpoint: undefined });
    await replies(3);
    turns.length = 0;
    stepMs = 2;
    const one = (id: number, shard: number, behind: number): IndexRequest => {
      const frames = encodeFrames([logs.get(shard)?.upsert(`${id}`, { content: 'red' }) ?? new Uint8Array(0)]);
      return { id, kind: 'apply', shard, frames, behind };
    };
    const MIB = 1024 * 1024;
    ask(one(10, 1, 5 * MIB), one(20, 2, 4 * MIB), one(21, 2, 3 * MIB), one(30, 3, 0), one(31, 3, MIB / 2));
    ask(one(11, 1, 2.5 * MIB), one(22, 2, 2 * MIB));
    expect((await replies(7)).map(({ id }) => id)).toEqual([20, 21, 30, 22, 31, 10, 11]);
    turns.length = 0;
    ask(one(12, 1, 5 * MIB), one(13, 1, 5 * MIB));
    ask(...Array.from({ length: 12 }, (_, i) => one(40 + i, 2, 4 * MIB)));
    const order = (await replies(14)).map(({ id }) => id);
    // Of eight turns one is kept, three are lent and four are the other's own.
    expect(order.indexOf(13) - order.indexOf(12)).toBe(8);
  });

  it('lets reads in between the slices of a long apply', async () => {
    stepMs = 1;
    ask(write(10, 30));
    const seen: unknown[] = [];
    for (let id = 11; !turns.flat().some((reply) => reply.id === 10); id++) {
      ask(count(id));
      await new Promise(setImmediate);
    }
    for (const reply of turns.flat()) if ('answer' in reply && reply.kind === 'count') seen.push(reply.answer);
    expect(seen.length).toBeGreaterThan(5);
    expect(seen).toEqual([...seen].sort((a, b) => Number(a) - Number(b)));
    expect(new Set(seen).size).toBeGreaterThan(3);
  });

  it('applies although reads never end', async () => {
    stepMs = 1;
    ask(...Array.from({ length: 400 }, (_, i) => count(100 + i)), write(10, 5));
    const all = await replies(401);
    const position = all.findIndex(({ id }) => id === 10);
    expect(position).toBeGreaterThan(0);
    expect(position).toBeLessThan(300);
  });

  it('drops a read that was cancelled before its turn', async () => {
    loop.deliver({ requests: [count(10), count(11)], cancelled: [10], searches: undefined });
    expect((await replies(1)).map(({ id }) => id)).toEqual([11]);
    await new Promise(setImmediate);
    expect(turns.flat()).toHaveLength(1);
  });

  it('keeps what is to be applied until a checkpoint is written, not until it is synced, and answers reads meanwhile', async () => {
    ask(write(10, 3));
    await replies(1);
    ask({ id: 11, kind: 'checkpoint', shard: 0, directory, previous: undefined }, write(12, 2), count(13));
    const all = await replies(4);
    expect(all.map(({ id }) => id)).toEqual([10, 13, 12, 11]);
    expect(all[3]).toMatchObject({ answer: { offset: 3 } });
  });

  it('says why it could not', async () => {
    const damaged = log.upsert('x', { content: 'red' }).slice();
    damaged[damaged.length - 1] ^= 1;
    ask(
      { id: 10, kind: 'count', shard: 7, collectionId: 1, filter: undefined },
      { id: 11, kind: 'checkpoint', shard: 0, directory: join(directory, 'missing', 'deep'), previous: undefined },
      { id: 12, kind: 'apply', shard: 7, frames: encodeFrames([]) },
      { id: 13, kind: 'close', shard: 0 },
    );
    const byId = new Map((await replies(4)).map((reply) => [reply.id, reply]));
    expect(byId.get(10)).toMatchObject({ error: { reason: 'NOT_OPEN' } });
    expect(byId.get(11)).toMatchObject({ kind: 'checkpoint' });
    expect(byId.get(12)).toMatchObject({ error: { reason: 'NOT_OPEN' } });
    ask(
      { id: 14, kind: 'open', shard: 0, checkpoint: undefined },
      { id: 15, kind: 'apply', shard: 0, frames: encodeFrames([damaged]) },
    );
    await replies(6);
    expect(turns.flat().find(({ id }) => id === 15)).toMatchObject({
      error: { reason: 'ENTRY_REFUSED', message: expect.stringContaining('crc') },
    });
  });

  it('answers what waited for a shard that is closed', async () => {
    stepMs = 1;
    ask(write(10, 50));
    ask({ id: 11, kind: 'close', shard: 0 });
    const all = await replies(2);
    expect(all.find(({ id }) => id === 10)).toMatchObject({ error: { reason: 'NOT_OPEN' } });
  });
});
