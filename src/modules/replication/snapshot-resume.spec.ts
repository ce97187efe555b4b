import { afterEach, describe, expect, it } from '@jest/globals';
import type { NodeUuid } from '../../kernel/peer.js';
import { systemClock } from '../../platform/clock/system-clock.js';
import { systemRandom } from '../../platform/clock/system-random.js';
import { systemTimers } from '../../platform/clock/system-timers.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { entryCollectionId, entryId, entryOffset } from '../log/core/entry-codec.js';
import { documentKey } from '../log/core/keys.js';
import { encodeDocument } from '../shard/core/document-codec.js';
import { decodeRow, liveDocuments, shardDigest } from '../shard/core/rows.js';
import type { Timers } from '../../kernel/timers.js';
import { BULK_PLACES, BulkPlaces } from './bulk-places.js';
import { MovePace } from './core/move-pace.js';
import type { PeerView } from './core/peer-view.js';
import type { FollowerMessage, PrimaryMessage } from './core/protocol.js';
import { NO_REPLICA_PEERS } from './replica-peers-none.js';
import type { Link, LinkEvents } from '../../kernel/link.js';
import type { ReplicaPeers } from './replica-peers.js';
import type { ReplicaIndex } from './replica-ports.js';
import { ShardReplica } from './shard-replica.js';
import { TurnShare } from './turn-share.js';

const SHARD = 0;
const PRIMARY = 'a1'.repeat(16);
const FOLLOWER = 'b2'.repeat(16);
const SUCCESSOR = 'c3'.repeat(16);
const DOCUMENTS = 40;
const ALONE: PeerView = { get: () => undefined, nodes: () => [] };
const NEVER = new AbortController().signal;

/** Two copies of a shard with a stream between them; the set is the primary alone. Each may be another one later. */
class Pair {
  primary: ShardReplica | undefined;
  follower: ShardReplica | undefined;
  followerLog: MemoryLogStore | undefined;
  /** Snapshot entries sent, and rows that a resumed transfer did not send again. */
  sent = 0;
  resumed: number[] = [];
  members: readonly NodeUuid[] = [PRIMARY];
  mapEpoch = 1;
  /** Of the follower. */
  index: ReplicaIndex | undefined;
  /** No stream begins. */
  parted = false;
  /** Ends the stream. */
  part: () => void = () => undefined;
  /** How long was waited between two messages; the waits themselves are cut short. */
  waits: number[] = [];
  readonly timers: Timers = {
    ...systemTimers,
    after: (ms, run) => {
      this.waits.push(ms);
      return systemTimers.after(0, run);
    },
  };
  /** Is told of each chunk before it arrives. */
  onChunk: () => void = () => undefined;

  constructor(public primaryLog: MemoryLogStore) {}

  async open(self: NodeUuid, log: MemoryLogStore): Promise<ShardReplica> {
    return ShardReplica.open(SHARD, self, 1, log.state(SHARD).tail, {
      log,
      hasher: nodeHasher,
      clock: systemClock,
      timers: this.timers,
      random: systemRandom,
      times: { heartbeatMs: 500, failoverAfterMs: 1_800 },
      index: self === FOLLOWER ? this.index : undefined,
      peers: self === PRIMARY ? NO_REPLICA_PEERS : this.#toPrimary(),
      view: () => ALONE,
      plan: () => ({
        configured: { mapEpoch: this.mapEpoch, members: this.members },
        leaving: false,
        epochFloor: 0,
        isDropped: () => false,
        room: 'upserts' as const,
      }),
      bulk: new BulkPlaces(),
      moves: new MovePace(4 * 2 ** 20),
      turns: new TurnShare(systemClock, this.timers),
      report: {
        map: () => undefined,
        sweep: () => undefined,
        fault: (error) => {
          throw error;
        },
        durable: () => undefined,
        role: () => undefined,
        held: () => undefined,
        received: () => undefined,
        streamed: (_to, entries) => {
          this.sent += entries;
        },
        resumed: (rows) => void this.resumed.push(rows),
        broken: () => undefined,
      },
    });
  }

  async until(done: () => boolean): Promise<void> {
    for (const endMs = systemClock.monotonicMs() + 20_000; !done();) {
      if (systemClock.monotonicMs() > endMs) throw new Error('it takes too long');
      this.primary?.tick();
      const leader = this.primary?.leader;
      if (leader !== undefined) this.follower?.announced(leader);
      this.follower?.tick();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async put(i: number, text: string): Promise<void> {
    const payload = encodeDocument({ content: text.repeat(50_000) });
    const outcome = await this.primary?.write({ op: 'UPSERT', collectionId: 1, id: `doc-${i}`, payload, level: 'one' });
    expect(outcome?.kind).toBe('written');
  }

  /** What was overwritten up to an offset, or the tail, is gone: a follower that begins needs a snapshot. */
  async compact(upTo?: number): Promise<void> {
    const log = this.primaryLog;
    const isLive = (offset: number, entry: Uint8Array): boolean => {
      const row = log.row(documentKey(1, SHARD, entryCollectionId(entry), entryId(entry)));
      return row !== undefined && decodeRow(row).offset === offset;
    };
    const to = upTo ?? log.state(SHARD).tail;
    this.primary?.compacted((await log.compact(SHARD, to, isLive, NEVER, 0)).bytes, to);
  }

  #toPrimary(): ReplicaPeers {
    return { ...NO_REPLICA_PEERS, follow: (_to, _shard, events) => this.#stream(events) };
  }

  #stream(events: LinkEvents<PrimaryMessage>): Link<FollowerMessage> {
    let open = !this.parted;
    if (!open) setImmediate(() => events.ended(undefined));
    const later = (arrive: () => void): true => {
      setImmediate(() => {
        if (open) arrive();
      });
      return true;
    };
    const close = (): void => {
      open = false;
    };
    const served = this.parted
      ? undefined
      : this.primary?.onFollow(FOLLOWER, {
          send: (message) =>
            later(() => {
              if (message.kind === 'chunk') this.onChunk();
              events.message(message);
            }),
          drained: () => Promise.resolve(),
          close,
        });
    this.part = () => {
      this.parted = true;
      close();
      served?.ended(undefined);
      events.ended(undefined);
    };
    return {
      send: (message) => later(() => served?.message(message)),
      drained: () => Promise.resolve(),
      close: () => {
        close();
        served?.ended(undefined);
      },
    };
  }
}

describe('a snapshot whose receiver crashes', () => {
  let pair: Pair;
  afterEach(async () => {
    pair.primary?.close();
    pair.follower?.close();
    await pair.primaryLog.close();
    await pair.followerLog?.close();
  });

  it('goes on where it was, with what changed meanwhile; the log goes on from there', async () => {
    const log = await MemoryLogStore.open({ hasher: nodeHasher });
    pair = new Pair(log);
    pair.primary = await pair.open(PRIMARY, log);
    await pair.until(() => pair.primary?.role === 'primary');
    for (const text of ['old', 'new']) for (let i = 0; i < DOCUMENTS; i++) await pair.put(i, text);
    await pair.compact();

    pair.followerLog = await MemoryLogStore.open({ hasher: nodeHasher });
    pair.follower = await pair.open(FOLLOWER, pair.followerLog);
    let chunks = 0;
    pair.onChunk = () => {
      chunks++;
      if (chunks === 4) pair.follower?.close();
    };
    await pair.until(() => chunks >= 4);
    const before = pair.sent;
    pair.followerLog = await pair.followerLog.crash(100);
    expect(pair.followerLog.state(SHARD).tail).toBe(0);
    pair.onChunk = () => undefined;
    for (const i of [0, 3, 17, 90]) await pair.put(i, 'newest');

    pair.follower = await pair.open(FOLLOWER, pair.followerLog);
    await pair.until(() => pair.follower?.position.durable === pair.primary?.position.tail);
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
    await pair.until(() => pair.follower?.position.durable === pair.primary?.position.tail);
    expect(shardDigest(pair.follower.counters())).toEqual(shardDigest(pair.primary.counters()));
    expect((await pair.followerLog.scrub(SHARD, NEVER, 0)).damages).toEqual([]);
  }, 30_000);
});

describe('a snapshot that broke twice, of a primary that is lost then', () => {
  let pair: Pair;
  let logs: MemoryLogStore[];
  afterEach(async () => {
    pair.primary?.close();
    pair.follower?.close();
    for (const log of logs) await log.close();
  });

  /** The snapshot comes in, up to so many chunks; then the stream breaks. */
  async function receive(count: number): Promise<void> {
    let chunks = 0;
    pair.onChunk = () => {
      chunks++;
      if (chunks === count) setImmediate(() => pair.part());
    };
    pair.parted = false;
    await pair.until(() => pair.parted);
    pair.onChunk = () => undefined;
  }

  const caughtUp = (): boolean => pair.follower?.position.durable === pair.primary?.position.tail;

  it('is begun anew by one that lacks what the second transfer was of: no row of the lost branch stays', async () => {
    logs = await Promise.all([0, 1, 2].map(() => MemoryLogStore.open({ hasher: nodeHasher })));
    const [log, successorLog, followerLog] = logs;
    pair = new Pair(log);
    pair.primary = await pair.open(PRIMARY, log);
    await pair.until(() => pair.primary?.role === 'primary');
    for (const text of ['old', 'new']) for (let i = 0; i < DOCUMENTS; i++) await pair.put(i, text);
    pair.follower = await pair.open(SUCCESSOR, successorLog);
    await pair.until(caughtUp);
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
    await pair.until(caughtUp);
    expect(shardDigest(pair.follower.counters())).toEqual(shardDigest(pair.primary.counters()));
    expect(pair.follower.summary().chain).toEqual(pair.primary.summary().chain);
    for (let i = 100; i < 110; i++) await pair.put(i, 'later');
    await pair.until(caughtUp);
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
    const pair = new Pair(log);
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
    await pair.until(() => pair.follower?.position.durable === pair.primary?.position.tail);
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
    const pair = new Pair(log);
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
    const caughtUp = (): boolean => pair.follower?.position.durable === pair.primary?.position.tail;
    await pair.until(caughtUp);
    expect(onTheWay.length).toBeGreaterThan(0);
    pair.part();
    for (const text of ['new', 'newer']) for (let i = 0; i < 3; i++) await pair.put(i, text);
    await pair.compact();
    pair.parted = false;
    await pair.until(() => rebuilds > 0 && caughtUp());
    for (const done of onTheWay) done();
    await new Promise((resolve) => setImmediate(resolve));
    expect(pair.follower.position.applied).toBe(0);
    for (const copy of [pair.primary, pair.follower]) copy.close();
    for (const each of [log, followerLog]) await each.close();
  }, 30_000);
});

describe('what a copy lacks is sent', () => {
  let pair: Pair;

  /** A copy that begins with nothing catches up from the log; how long was waited between two batches, at most. */
  async function caughtUp(members: readonly NodeUuid[]): Promise<number> {
    const [log, followerLog] = [
      await MemoryLogStore.open({ hasher: nodeHasher }),
      await MemoryLogStore.open({ hasher: nodeHasher }),
    ];
    pair = new Pair(log);
    pair.primary = await pair.open(PRIMARY, log);
    await pair.until(() => pair.primary?.role === 'primary');
    for (let i = 0; i < DOCUMENTS; i++) await pair.put(i, 'text');
    pair.members = members;
    pair.waits = [];
    pair.follower = await pair.open(FOLLOWER, followerLog);
    await pair.until(() => pair.follower?.position.durable === pair.primary?.position.tail);
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
