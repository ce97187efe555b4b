import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { bytesIn, equalBytes, fromUtf8 } from '../../kernel/bytes.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { entryId, entryOrigin } from '../log/core/entry-codec.js';
import { LogDamagedError, OffsetCompactedError, type RowChange } from '../log/log-store.js';
import { encodeDocument } from '../shard/core/document-codec.js';
import { liveDocuments, shardDigest } from '../shard/core/rows.js';
import { conflictPrefix, type Conflict } from './core/conflict-row.js';
import { OFFER_BYTES_MAX } from './core/offer-window.js';
import { BATCH_BYTES } from './follower-feed.js';
import { CopyPair, FOLLOWER, PRIMARY } from './testing/copy-pair.js';
import { logDocuments } from './testing/logged-documents.js';

const SHARD = 0;
const DOCUMENTS = 150;
const payload = encodeDocument({ content: 'x'.repeat(64 * 1024) });
const BRANCH_BYTES = DOCUMENTS * payload.length;
/** What is on its way to the primary's disk at most, of one follower; a merged entry also names where it comes from. */
const BOUND = 1.01 * (OFFER_BYTES_MAX + BATCH_BYTES);

const CONFLICTS = conflictPrefix(SHARD);

/** Documents of the conflicts among rows. */
function listedIn(rows: readonly RowChange[]): string[] {
  const conflicts = rows.filter(({ key }) => equalBytes(key.subarray(0, CONFLICTS.length), CONFLICTS));
  return conflicts.map(({ value }) => (JSON.parse(fromUtf8(value ?? new Uint8Array(0))) as Conflict).id);
}

/** Documents of the entries that come from another branch. */
function mergedIn(entries: readonly { readonly bytes: Uint8Array }[]): string[] {
  return entries.filter(({ bytes }) => entryOrigin(bytes) !== undefined).map(({ bytes }) => entryId(bytes));
}

function documents(prefix: string): { readonly id: string; readonly payload: Uint8Array }[] {
  return Array.from({ length: DOCUMENTS }, (_, i) => ({ id: `${prefix}-${i}`, payload }));
}

describe('the rows of a branch that are offered to a primary whose disk stands still (6.4)', () => {
  let [there, here]: MemoryLogStore[] = [];
  let pair: CopyPair;
  /** Of entries offered, and the most there were in the primary's memory. */
  let offered: number;
  let most: number;
  let ends: number;
  let holds: boolean;
  let release: () => void;

  beforeEach(async () => {
    [offered, most, ends, holds] = [0, 0, 0, false];
    const held = new Promise<void>((resolve) => {
      release = () => {
        holds = false;
        resolve();
      };
    });
    const delay = (): Promise<void> => (holds ? held : Promise.resolve());
    there = await MemoryLogStore.open({ hasher: nodeHasher, delay });
    here = await MemoryLogStore.open({ hasher: nodeHasher });
    for (const store of [there, here]) await logDocuments(store, 1, 1_000, [{ id: 'first', payload }]);
    pair = new CopyPair(there);
    pair.onAsked = (message) => {
      if (message.kind !== 'offer') return;
      offered += bytesIn(message.offer.entries);
      if (message.offer.last) ends++;
    };
  });

  afterEach(async () => {
    release();
    pair.primary?.close();
    pair.follower?.close();
    for (const store of [there, here]) await store.close();
  });

  /** Both copies begin, and the disk of the primary stands still. */
  async function begin(): Promise<void> {
    pair.primary = await pair.open(PRIMARY, there);
    await pair.until(() => pair.primary?.role === 'primary' && pair.primary.inFlight.bytes === 0);
    holds = true;
    pair.follower = await pair.open(FOLLOWER, here);
  }

  async function until(done: () => boolean): Promise<void> {
    await pair.until(() => {
      most = Math.max(most, pair.primary?.inFlight.bytes ?? 0);
      return done();
    });
  }

  /** Nothing more is offered for so many turns. */
  async function stalled(): Promise<void> {
    let [turns, before] = [0, -1];
    await until(() => {
      turns = offered > 0 && offered === before ? turns + 1 : 0;
      before = offered;
      return turns > 50;
    });
  }

  async function merged(): Promise<void> {
    await until(() => pair.isCaughtUp && pair.follower?.loose === 0 && pair.primary?.merged.length === 1);
    if (pair.primary === undefined || pair.follower === undefined) return;
    expect(shardDigest(pair.follower.counters())).toEqual(shardDigest(pair.primary.counters()));
  }

  it('wait for it at their follower, and leave room for writers; all of them are merged', async () => {
    await logDocuments(here, 2, 5_000, documents('branch'));
    await logDocuments(there, 3, 3_000, [{ id: 'second', payload }]);
    await begin();
    await stalled();
    expect(offered).toBeGreaterThanOrEqual(OFFER_BYTES_MAX);
    const write = pair.put(1, 'text');
    release();
    await write;
    await merged();
    expect(most).toBeLessThan(BOUND);
    expect(most).toBeGreaterThan(OFFER_BYTES_MAX / 2);
    expect(offered).toBeGreaterThan(BRANCH_BYTES);
    expect(ends).toBe(1);
    expect(pair.primary && liveDocuments(pair.primary.counters())).toBe(DOCUMENTS + 3);
  }, 30_000);

  it('wait also where they lose: what lies on the other side is listed as a conflict first', async () => {
    await logDocuments(here, 2, 3_000, documents('both'));
    await logDocuments(there, 3, 5_000, documents('both'));
    await begin();
    await stalled();
    expect(offered).toBeGreaterThanOrEqual(OFFER_BYTES_MAX);
    expect(offered).toBeLessThan(BOUND);
    release();
    await merged();
    expect(listedIn(await there.rows(CONFLICTS, undefined, 10 * DOCUMENTS))).toHaveLength(DOCUMENTS);
    expect(offered).toBeGreaterThan(BRANCH_BYTES);
    expect(ends).toBe(1);
  }, 30_000);

  it('are in the log no sooner than what they beat is listed as a conflict', async () => {
    await logDocuments(here, 2, 5_000, documents('both'));
    await logDocuments(there, 3, 3_000, documents('both'));
    const asked: string[] = [];
    const append = there.append.bind(there);
    there.append = (batch) => {
      asked.push(...listedIn(batch.rows).map((id) => `listed ${id}`));
      asked.push(...mergedIn(batch.entries).map((id) => `merged ${id}`));
      return append(batch);
    };
    await begin();
    release();
    await merged();
    expect(asked).toHaveLength(2 * DOCUMENTS);
    for (const { id } of documents('both'))
      expect(asked.indexOf(`listed ${id}`)).toBeLessThan(asked.indexOf(`merged ${id}`));
  }, 30_000);

  it.each([
    ['is damaged', (offset: number) => new LogDamagedError({ shard: SHARD, offset, problem: 'crc' })],
    // Where compaction was, what the disk lost looks like what that took.
    ['is gone', (offset: number) => new OffsetCompactedError(SHARD, offset, offset)],
  ])(
    'take the place of nothing that %s, and so cannot be listed',
    async (_, problem) => {
      await logDocuments(here, 2, 5_000, documents('both'));
      await logDocuments(there, 3, 3_000, documents('both'));
      there.readSync = (_shard, offset) => {
        throw problem(offset);
      };
      await begin();
      release();
      await expect(merged()).rejects.toThrow(LogDamagedError);
      await there.sync();
      expect(mergedIn((await there.scan(SHARD, 1, 10 * DOCUMENTS, 1e9)).map((bytes) => ({ bytes })))).toEqual([]);
    },
    30_000,
  );

  it('are offered anew on the next stream, and are merged once it has taken them', async () => {
    await logDocuments(here, 2, 5_000, documents('branch'));
    await logDocuments(there, 3, 3_000, [{ id: 'second', payload }]);
    await begin();
    await stalled();
    pair.part();
    const before = offered;
    pair.parted = false;
    await until(() => offered > before);
    await stalled();
    expect(ends).toBe(0);
    release();
    await merged();
    expect(most).toBeLessThan(BOUND);
    expect(ends).toBe(1);
  }, 30_000);

  it('do not wait for a primary of an older version, which does not count what it takes', async () => {
    await logDocuments(here, 2, 5_000, documents('branch'));
    await logDocuments(there, 3, 3_000, [{ id: 'second', payload }]);
    pair.onSent = (message) => {
      if (message.kind !== 'batch') return message;
      const { taken: _, ...batch } = message.batch;
      return { ...message, batch };
    };
    await begin();
    await until(() => ends === 1);
    expect(holds).toBe(true);
    expect(offered).toBeGreaterThan(BRANCH_BYTES);
    release();
    await merged();
  }, 30_000);
});
