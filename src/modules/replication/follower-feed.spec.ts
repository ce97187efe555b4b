import { beforeEach, describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { encodeEntry } from '../log/core/entry-codec.js';
import { CHAIN_ZERO } from '../log/core/entry.js';
import type { AppendEntry } from '../log/log-store.js';
import type { EntriesBatch, PrimaryMessage } from './core/protocol.js';
import { FollowerFeed, type FeedSource } from './follower-feed.js';

const EPOCH = { num: 1, uuid: new Uint8Array(16).fill(1) };

/** Entries 1 to `count` of a log. */
function entriesUpTo(count: number): readonly AppendEntry[] {
  const entries: AppendEntry[] = [];
  let chain: Uint8Array = CHAIN_ZERO;
  for (let offset = 1; offset <= count; offset++) {
    const version = { hlc: { ms: offset, counter: 0 }, opId: new Uint8Array(16) };
    const plain = { op: 'BARRIER', shard: 1, epoch: EPOCH, offset, version, collectionId: 0, id: '' } as const;
    const entry = encodeEntry({ ...plain, payload: new Uint8Array(0) }, chain, nodeHasher);
    chain = entry.chain;
    entries.push({ offset, epoch: EPOCH, bytes: entry.bytes });
  }
  return entries;
}

describe('FollowerFeed', () => {
  const log = entriesUpTo(6);
  let sent: EntriesBatch[];
  /** When a message was as large as a packet. */
  let ballasts: number[];
  let highWaterMark: number;
  let durable: number;
  let nowMs: number;
  /** Whoever waits for the connection to take more. */
  let drained: (() => void) | undefined;
  let isFull: boolean;
  let feed: FollowerFeed;

  beforeEach(() => {
    sent = [];
    ballasts = [];
    [highWaterMark, durable, nowMs, drained, isFull] = [0, 0, 0, undefined, false];
    const source: FeedSource = {
      durable: () => durable,
      scan: (from, limit) => Promise.resolve(log.slice(from - 1, from - 1 + limit).map(({ bytes }) => bytes)),
      head: () => ({ epoch: EPOCH, highWaterMark, tail: 6, inSync: [], floor: 0 }),
      monotonicMs: () => nowMs,
      broken: (error) => {
        throw error;
      },
      sent: () => undefined,
      paced: () => undefined,
    };
    const link = {
      send: (message: PrimaryMessage) => {
        if (message.kind === 'batch') sent.push(message.batch);
        if (message.kind === 'batch' && message.ballast) ballasts.push(nowMs);
        return !isFull;
      },
      drained: () => new Promise<void>((resolve) => (drained = resolve)),
      close: () => undefined,
    };
    feed = new FollowerFeed(link, source, 1, CHAIN_ZERO);
  });

  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const told = () => sent.map(({ prevOffset, entries, highWaterMark: mark }) => [prevOffset, entries.length, mark]);

  it('sends fresh entries before they are durable, what lies between from the log, in order', async () => {
    durable = 2;
    feed.credit(1_000_000);
    await settled();
    feed.logged(log.slice(2, 4));
    await settled();
    expect(told()).toEqual([
      [0, 2, 0],
      [2, 2, 0],
    ]);
  });

  it('sends no more than it has credit for, and a first entry for any', async () => {
    durable = 6;
    feed.credit(1);
    await settled();
    expect(sent).toHaveLength(1);
    feed.credit(-sent[0].entries.reduce((sum, { length }) => sum + length, 0));
    await settled();
    expect(sent).toHaveLength(1);
  });

  it('tells the high-water mark at once when asked, and every half second otherwise', async () => {
    nowMs = 499;
    feed.tick();
    expect(sent).toEqual([]);
    highWaterMark = 3;
    // Also while the feed looks whether there is something to send.
    feed.tell();
    await settled();
    expect(told()).toEqual([[0, 0, 3]]);
    for (nowMs of [998, 999]) {
      feed.tick();
      await settled();
    }
    expect(sent).toHaveLength(2);
  });

  it('makes one keep-alive in two seconds as large as a packet', async () => {
    for (nowMs = 500; nowMs <= 6_000; nowMs += 500) {
      feed.tick();
      await settled();
    }
    expect(ballasts).toEqual([2_000, 4_000, 6_000]);
    expect(sent).toHaveLength(12);
  });

  it('tells a mark that moved while the connection was full as soon as it is not', async () => {
    isFull = true;
    durable = 2;
    feed.credit(1_000_000);
    await settled();
    highWaterMark = 2;
    feed.tell();
    expect(told()).toEqual([[0, 2, 0]]);
    drained?.();
    await settled();
    expect(told()).toEqual([
      [0, 2, 0],
      [2, 0, 2],
    ]);
    await settled();
    expect(sent).toHaveLength(2);
  });

  it('says nothing more once it is closed', async () => {
    durable = 6;
    feed.close();
    feed.credit(1_000_000);
    feed.tell();
    feed.logged(log);
    await settled();
    expect(sent).toEqual([]);
  });
});
