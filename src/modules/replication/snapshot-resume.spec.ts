import { afterEach, describe, expect, it } from '@jest/globals';
import type { NodeUuid } from '../../kernel/peer.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { entryId, entryOffset } from '../log/core/entry-codec.js';
import { liveDocuments, shardDigest } from '../shard/core/rows.js';
import { BULK_PLACES } from './bulk-places.js';
import { CopyPair, FOLLOWER, PRIMARY } from './testing/copy-pair.js';

const SHARD = 0;
const SUCCESSOR = 'c3'.repeat(16);
const DOCUMENTS = 40;
const NEVER = new AbortController().signal;

describe('a snapshot whose receiver crashes', () => {
  let pair: CopyPair;
  let followerLog: MemoryLogStore | undefined;
  afterEach(async () => {
    pair.primary?.close();
    pair.follower?.close();
    await pair.primaryLog.close();
    await followerLog?.close();
  });

  it('goes on where it was, with what changed meanwhile; the log goes on from there', async () => {
    const log = await MemoryLogStore.open({ hasher: nodeHasher });
    pair = new CopyPair(log);
    pair.primary = await pair.open(PRIMARY, log);
    await pair.until(() => pair.primary?.role === 'primary');
    for (const text of ['old', 'new']) for (let i = 0; i < DOCUMENTS; i++) await pair.put(i, text);
    await pair.compact();

    followerLog = await MemoryLogStore.open({ hasher: nodeHasher });
    pair.follower = await pair.open(FOLLOWER, followerLog);
    let chunks = 0;
    pair.onSent = (message) => {
      if (message.kind === 'chunk' && ++chunks === 4) pair.follower?.close();
      return message;
    };
    await pair.until(() => chunks >= 4);
    const before = pair.sent;
    followerLog = await followerLog.crash(100);
    expect(followerLog.state(SHARD).tail).toBe(0);
    pair.onSent = (message) => message;
    for (const i of [0, 3, 17, 90]) await pair.put(i, 'newest');

    pair.follower = await pair.open(FOLLOWER, followerLog);
    await pair.until(() => pair.isCaughtUp);
    expect(pair.resumed).toHaveLength(1);
    const [kept] = pair.resumed;
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan(DOCUMENTS);
    // All but what is here, and of that what changed.
    expect(pair.sent - before).toBeLessThanOrEqual(DOCUMENTS + 4 - kept + 3);
    expect(liveDocuments(pair.follower.counters())).toBe(DOCUMENTS + 1);
    expect(shardDigest(pair.follower.counters())).toEqual(shardDigest(pair.primary.counters()));
    expect(pair.follower.summary().chain).toEqual(pair.primary.summary().chain);
    await pair.put(5, 'last');
    await pair.until(() => pair.isCaughtUp);
    expect(shardDigest(pair.follower.counters())).toEqual(shardDigest(pair.primary.counters()));
    expect((await followerLog.scrub(SHARD, NEVER, 0)).damages).toEqual([]);
  }, 30_000);
});

describe('a snapshot that broke twice, of a primary that is lost then', () => {
  let pair: CopyPair;
  let logs: MemoryLogStore[];
  afterEach(async () => {
    pair.primary?.close();
    pair.follower?.close();
    for (const log of logs) await log.close();
  });

  /** The snapshot comes in, up to so many chunks; then the stream breaks. */
  async function receive(count: number): Promise<void> {
    let chunks = 0;
    pair.onSent = (message) => {
      if (message.kind === 'chunk' && ++chunks === count) setImmediate(() => pair.part());
      return message;
    };
    pair.parted = false;
    await pair.until(() => pair.parted);
    pair.onSent = (message) => message;
  }

  it('is begun anew by one that lacks what the second transfer was of: no row of the lost branch stays', async () => {
    logs = await Promise.all([0, 1, 2].map(() => MemoryLogStore.open({ hasher: nodeHasher })));
    const [log, successorLog, followerLog] = logs;
    pair = new CopyPair(log);
    pair.primary = await pair.open(PRIMARY, log);
    await pair.until(() => pair.primary?.role === 'primary');
    for (const text of ['old', 'new']) for (let i = 0; i < DOCUMENTS; i++) await pair.put(i, text);
    pair.follower = await pair.open(SUCCESSOR, successorLog);
    await pair.until(() => pair.isCaughtUp);
    pair.follower.close();
    await pair.compact();
    const start = log.state(SHARD).start.offset;

    pair.follower = await pair.open(FOLLOWER, followerLog);
    await receive(6);
    // Of rows that are there already; beyond the end of the log that goes on.
    for (let round = 0; round < 3; round++) for (const i of [0, 1, 10]) await pair.put(i, 'only here');
    await receive(6);
    expect(pair.resumed).toHaveLength(1);

    pair.primary.close();
    pair.primaryLog = successorLog;
    pair.members = [SUCCESSOR];
    pair.mapEpoch = 2;
    pair.primary = await pair.open(SUCCESSOR, successorLog);
    await pair.until(() => pair.primary?.role === 'primary');
    await pair.compact(start);
    pair.parted = false;
    await pair.until(() => pair.isCaughtUp);
    expect(shardDigest(pair.follower.counters())).toEqual(shardDigest(pair.primary.counters()));
    expect(pair.follower.summary().chain).toEqual(pair.primary.summary().chain);
    for (let i = 100; i < 110; i++) await pair.put(i, 'later');
    await pair.until(() => pair.isCaughtUp);
    for (const i of [0, 1, 10]) {
      const { offset = 0 } = pair.follower.row(1, `doc-${i}`) ?? {};
      expect(entryId(await followerLog.read(SHARD, offset))).toBe(`doc-${i}`);
    }
    expect(pair.resumed).toHaveLength(1);
  }, 30_000);
});

describe('a snapshot whose follower goes before it begins', () => {
  it('gives its place back: others are not told for ever that the node is busy', async () => {
    const log = await MemoryLogStore.open({ hasher: nodeHasher });
    const pair = new CopyPair(log);
    pair.primary = await pair.open(PRIMARY, log);
    await pair.until(() => pair.primary?.role === 'primary');
    for (const text of ['old', 'new']) await pair.put(1, text);
    await pair.compact();
    const view = log.view.bind(log);
    for (let gone = 0; gone < BULK_PLACES; gone++) {
      let asked = false;
      let letGo: () => void = () => undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      log.view = async (shard) => {
        asked = true;
        await held;
        return view(shard);
      };
      const store = await MemoryLogStore.open({ hasher: nodeHasher });
      pair.follower = await pair.open(FOLLOWER, store);
      await pair.until(() => asked);
      pair.follower.close();
      letGo();
      await new Promise((resolve) => setImmediate(resolve));
      await store.close();
    }
    log.view = view;
    const store = await MemoryLogStore.open({ hasher: nodeHasher });
    pair.follower = await pair.open(FOLLOWER, store);
    await pair.until(() => pair.isCaughtUp);
    expect(shardDigest(pair.follower.counters())).toEqual(shardDigest(pair.primary.counters()));
    for (const copy of [pair.primary, pair.follower]) copy.close();
    for (const each of [log, store]) await each.close();
  }, 30_000);
});

describe('a snapshot that takes the place of a log whose index is behind', () => {
  it('has nothing applied that was on its way into the index then', async () => {
    const [log, followerLog] = [
      await MemoryLogStore.open({ hasher: nodeHasher }),
      await MemoryLogStore.open({ hasher: nodeHasher }),
    ];
    const pair = new CopyPair(log);
    pair.primary = await pair.open(PRIMARY, log);
    await pair.until(() => pair.primary?.role === 'primary');
    for (let i = 0; i < 3; i++) await pair.put(i, 'old');
    const onTheWay: (() => void)[] = [];
    let rebuilds = 0;
    pair.index = {
      apply: (entries) =>
        new Promise((resolve) => onTheWay.push(() => resolve(entryOffset(entries[entries.length - 1])))),
      rewind: () => Promise.resolve(),
      rebuild: () => {
        rebuilds++;
        return new Promise(() => undefined);
      },
    };
    pair.follower = await pair.open(FOLLOWER, followerLog);
    await pair.until(() => pair.isCaughtUp);
    expect(onTheWay.length).toBeGreaterThan(0);
    pair.part();
    for (const text of ['new', 'newer']) for (let i = 0; i < 3; i++) await pair.put(i, text);
    await pair.compact();
    pair.parted = false;
    await pair.until(() => rebuilds > 0 && pair.isCaughtUp);
    for (const done of onTheWay) done();
    await new Promise((resolve) => setImmediate(resolve));
    expect(pair.follower.position.applied).toBe(0);
    for (const copy of [pair.primary, pair.follower]) copy.close();
    for (const each of [log, followerLog]) await each.close();
  }, 30_000);
});

describe('what a copy lacks is sent', () => {
  let pair: CopyPair;

  /** A copy that begins with nothing catches up from the log; how long was waited between two batches, at most. */
  async function caughtUp(members: readonly NodeUuid[]): Promise<number> {
    const [log, followerLog] = [
      await MemoryLogStore.open({ hasher: nodeHasher }),
      await MemoryLogStore.open({ hasher: nodeHasher }),
    ];
    pair = new CopyPair(log);
    pair.primary = await pair.open(PRIMARY, log);
    await pair.until(() => pair.primary?.role === 'primary');
    for (let i = 0; i < DOCUMENTS; i++) await pair.put(i, 'text');
    pair.members = members;
    pair.waits = [];
    pair.follower = await pair.open(FOLLOWER, followerLog);
    await pair.until(() => pair.isCaughtUp);
    pair.primary.close();
    pair.follower.close();
    for (const store of [log, followerLog]) await store.close();
    return Math.max(0, ...pair.waits);
  }

  it('at the pace of moves while it is being built, and as fast as it takes it when it is a member', async () => {
    // 8 MB in all, at 4 MiB a second.
    expect(await caughtUp([PRIMARY])).toBeGreaterThan(1_000);
    expect(await caughtUp([PRIMARY, FOLLOWER])).toBe(0);
  }, 30_000);
});
