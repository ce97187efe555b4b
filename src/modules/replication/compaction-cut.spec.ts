import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import type { Pace } from '../log/adapters/pace.js';
import { encodeDocument } from '../shard/core/document-codec.js';
import { liveDocuments, shardDigest } from '../shard/core/rows.js';
import { CopyPair, compactCopy, FOLLOWER, PRIMARY } from './testing/copy-pair.js';
import { logDocuments } from './testing/logged-documents.js';

const SHARD = 0;
/** Both logs go so far together; the follower's branch is compacted beyond that. */
const FORK = 10;
const START = 15;

const ten = Array.from({ length: 10 }, (_, i) => ({
  id: `doc-${i}`,
  payload: encodeDocument({ content: 'text'.repeat(100) }),
}));

describe('a branch that is to be cut off below what a compaction leaves of its log (2.5, 6.3)', () => {
  let [there, here]: MemoryLogStore[] = [];
  let pair: CopyPair;
  let stop: AbortController;
  let compaction: Promise<unknown> | undefined;

  beforeEach(async () => {
    // Between two parts of its work a compaction stands still; it begins all the same.
    const pace: Pace = {
      monotonicMs: () => 0,
      sleep: (_ms, signal) =>
        here.state(SHARD).start.offset === 0
          ? Promise.resolve()
          : new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
    };
    [there, here] = [
      await MemoryLogStore.open({ hasher: nodeHasher }),
      await MemoryLogStore.open({ hasher: nodeHasher, pace }),
    ];
    for (const store of [there, here]) await logDocuments(store, 1, 1_000, ten);
    await logDocuments(here, 2, 2_000, ten);
    await logDocuments(here, 2, 2_500, ten);
    await logDocuments(there, 3, 3_000, ten.slice(0, 2));
    pair = new CopyPair(there);
    pair.primary = await pair.open(PRIMARY, there);
    await pair.until(() => pair.primary?.role === 'primary');
    stop = new AbortController();
    compaction = undefined;
  });

  afterEach(async () => {
    stop.abort();
    await compaction;
    pair.primary?.close();
    pair.follower?.close();
    for (const store of [there, here]) await store.close();
  });

  async function follow(): Promise<void> {
    pair.follower = await pair.open(FOLLOWER, here);
  }

  /** Begins to compact the follower's log; resolves when its start has moved, or will not. */
  async function compact(): Promise<void> {
    if (pair.follower === undefined) return;
    const ended = compactCopy(pair.follower, here, { upTo: START, signal: stop.signal, bytesPerSecond: 1 });
    let running = true;
    compaction = ended.finally(() => {
      running = false;
    });
    while (running && here.state(SHARD).start.offset < START) await new Promise((resolve) => setImmediate(resolve));
  }

  async function merged(): Promise<void> {
    await pair.until(() => pair.isCaughtUp && pair.follower?.loose === 0 && pair.primary?.merged.length === 1);
    if (pair.primary === undefined || pair.follower === undefined) return;
    expect(pair.follower.fault).toBeUndefined();
    expect(liveDocuments(pair.follower.counters())).toBe(ten.length);
    expect(shardDigest(pair.follower.counters())).toEqual(shardDigest(pair.primary.counters()));
  }

  it('is replaced by a snapshot when the compaction still runs', async () => {
    pair.parted = true;
    await follow();
    await compact();
    expect(here.state(SHARD).start.offset).toBe(START);
    pair.parted = false;
    await merged();
    expect(pair.sent).toBeGreaterThanOrEqual(ten.length);
  });

  it('is replaced by a snapshot when the compaction begins between the hello and its answer', async () => {
    const answers: string[] = [];
    pair.onSent = async (message) => {
      if (message.kind !== 'answer') return message;
      answers.push(message.answer.kind);
      if (answers.length === 1) await compact();
      return message;
    };
    await follow();
    await merged();
    expect(answers).toEqual(['diverged', 'snapshot', 'accept']);
  });

  it('is cut when that was decided before the compaction came to its beginning, which comes to nothing', async () => {
    const truncate = here.truncate.bind(here);
    let cut = 0;
    here.truncate = async (shard, to, rows) => {
      await compact();
      expect(here.state(SHARD).start.offset).toBe(0);
      await truncate(shard, to, rows);
      cut = to;
    };
    await follow();
    await merged();
    expect(cut).toBe(FORK);
    // Nothing of it is left that would keep the next one away.
    await compact();
    expect(here.state(SHARD).start.offset).toBe(START);
  });

  it.each(['damaged', 'closed'])('is no business of a copy that is %s: its log stays as it is', async (end) => {
    await follow();
    await merged();
    if (end === 'closed') pair.follower?.close();
    else pair.follower?.fail(new Error('damaged'));
    await compact();
    expect(here.state(SHARD).start.offset).toBe(0);
  });
});
