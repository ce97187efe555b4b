import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { equalBytes } from '../../kernel/bytes.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { loosePrefix } from '../log/core/keys.js';
import { LogDamagedError, type Damage } from '../log/log-store.js';
import { encodeDocument } from '../shard/core/document-codec.js';
import { liveDocuments, shardDigest } from '../shard/core/rows.js';
import { CopyHealing } from './copy-healing.js';
import { NO_FELLOWS, type FellowFacts } from './fellows.js';
import { LocalCopies } from './local-copies.js';
import { NO_REPLICA_PEERS } from './replica-peers-none.js';
import type { ShardIndexes } from './replication-ports.js';
import type { ShardReplica } from './shard-replica.js';
import { CopyPair, FOLLOWER, PRIMARY } from './testing/copy-pair.js';
import { logDocuments } from './testing/logged-documents.js';

const SHARD = 0;
/** Both logs go so far together; the branch beyond takes more than one part to be cut off. */
const FORK = 10;
const BRANCH = 1_200;
const LOOSE = loosePrefix(SHARD);
const payload = encodeDocument({ content: 'text' });
const ignore = () => undefined;

const NO_INDEXES: ShardIndexes = {
  open: () => Promise.reject(new Error('no shard is opened')),
  dropShard: () => Promise.resolve(),
  defineCollections: () => Promise.resolve(),
  apply: () => Promise.resolve(0),
  rewind: () => Promise.resolve(),
  markFaulted: ignore,
};

/** What the node of a copy tells of itself. */
function factsOf(copy: ShardReplica): FellowFacts {
  const positions = new Map([[SHARD, { ...copy.standing(), documents: 0 }]]);
  return { live: true, gone: false, refused: false, heardMs: 0, reluctant: false, full: false, positions };
}

function documents(prefix: string, count: number): { readonly id: string; readonly payload: Uint8Array }[] {
  return Array.from({ length: count }, (_, i) => ({ id: `${prefix}-${i}`, payload }));
}

describe('healing a copy that failed while its log is cut (2.12, 6.3)', () => {
  let [there, here]: MemoryLogStore[] = [];
  let pair: CopyPair;
  let copies: LocalCopies;
  let healing: CopyHealing;
  let opened: number;

  beforeEach(async () => {
    [there, here] = [
      await MemoryLogStore.open({ hasher: nodeHasher }),
      await MemoryLogStore.open({ hasher: nodeHasher }),
    ];
    for (const store of [there, here]) await logDocuments(store, 1, 1_000, documents('common', FORK));
    await logDocuments(here, 2, 2_000, documents('branch', BRANCH));
    await logDocuments(there, 3, 3_000, documents('base', 1));
    pair = new CopyPair(there);
    const primary = await pair.open(PRIMARY, there);
    pair.primary = primary;
    await pair.until(() => pair.primary?.role === 'primary');
    opened = 0;
    copies = new LocalCopies({
      log: here,
      hasher: nodeHasher,
      shards: NO_INDEXES,
      open: async () => {
        opened++;
        return (pair.follower = await pair.open(FOLLOWER, here));
      },
      damaged: ignore,
    });
    const logger = { info: ignore, warn: ignore, error: ignore };
    const ports = { log: here, hasher: nodeHasher, timers: pair.timers, logger };
    healing = new CopyHealing(ports, {
      peers: () => ({
        ...NO_REPLICA_PEERS,
        fetch: (_from, request) => primary.onFetch(request),
      }),
      fellows: () => ({ ...NO_FELLOWS, all: () => new Map([[PRIMARY, factsOf(primary)]]) }),
      leader: () => primary.leader,
      self: () => ({ node: FOLLOWER, bootCount: 1 }),
      isFaulted: () => copies.fault(SHARD) !== undefined,
      hasRoom: () => true,
      isResting: () => false,
      idle: (shard) => copies.idle(shard),
      reopen: (shard) => copies.reopen(shard),
      healed: ignore,
    });
    pair.onFault = (error) => {
      copies.markFaulted(SHARD, error);
      if (error instanceof LogDamagedError) healing.later(SHARD, [error.damage]);
    };
  });

  afterEach(async () => {
    healing.stop();
    pair.primary?.close();
    pair.follower?.close();
    for (const store of [there, here]) await store.close();
  });

  it('waits until that has ended: one copy cuts it, once', async () => {
    let cutting = false;
    let release: () => void = ignore;
    const held = new Promise<void>((resolve) => (release = resolve));
    const append = here.append.bind(here);
    here.append = async (batch) => {
      if (batch.rows.some(({ key, value }) => value && equalBytes(key.subarray(0, LOOSE.length), LOOSE))) {
        cutting = true;
        await held;
      }
      return append(batch);
    };
    let cuts = 0;
    const truncate = here.truncate.bind(here);
    here.truncate = (shard, to, rows) => {
      cuts++;
      return truncate(shard, to, rows);
    };
    await copies.open(SHARD);
    await pair.until(() => cutting);
    const damage: Damage = { shard: SHARD, offset: 2, problem: 'crc' };
    here.flipByte(SHARD, damage.offset, 100);
    pair.follower?.fail(new LogDamagedError(damage));
    let turns = 0;
    await pair.until(() => turns++ > 200);
    expect(healing.isHealing(SHARD)).toBe(true);
    expect(opened).toBe(1);
    release();
    await pair.until(() => opened === 2 && pair.isCaughtUp && pair.primary?.merged.length === 1);
    expect(copies.fault(SHARD)).toBeUndefined();
    expect(cuts).toBe(1);
    await pair.until(() => pair.follower?.loose === 0);
    const [primary, follower] = [pair.primary?.counters(), pair.follower?.counters()];
    expect(follower && liveDocuments(follower)).toBe(FORK + BRANCH + 1);
    expect(primary && shardDigest(primary)).toEqual(follower && shardDigest(follower));
  }, 30_000);
});
