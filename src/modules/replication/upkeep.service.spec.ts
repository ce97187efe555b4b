import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fromUtf8, utf8 } from '../../kernel/bytes.js';
import { META_SHARD } from '../../kernel/ids.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { shardKey } from '../log/core/keys.js';
import { SCRUB_ROW } from './core/replica-log.js';
import { ReplicationService } from './replication.service.js';
import { ManualTime } from './testing/manual-time.js';
import { UpkeepService } from './upkeep.service.js';

const SETTINGS = {
  nodeId: 'node-1',
  shardCount: 1,
  replicaCount: 0,
  writeConsistency: 'auto',
  partitionMode: 'available',
  rebalanceGraceMs: 1_000,
  moveBytesPerSecond: 2 ** 26,
  heartbeatIntervalMs: 500,
  heartbeatTimeoutMs: 3_000,
  similarity: 'cosine',
  hnswM: 8,
  hnswEfConstruction: 60,
  hnswEfSearch: 50,
  dimensions: 2,
} as const;
const KEPT = { copyGraceMs: 600_000, logRetentionBytes: 2 ** 30, logRetentionMs: 3_600_000 };
const DAY_MS = 24 * 3_600_000;

describe('UpkeepService', () => {
  const ignore = () => undefined;
  const nothing = () => Promise.resolve();
  let time: ManualTime;
  let log: MemoryLogStore;
  let service: ReplicationService;
  let upkeep: UpkeepService;
  let said: string[];

  beforeEach(async () => {
    time = new ManualTime();
    log = await MemoryLogStore.open({ hasher: nodeHasher });
    said = [];
    const say = (_: object, message: string): void => void said.push(message);
    const logger = { info: say, warn: say, error: say };
    service = new ReplicationService(SETTINGS, {
      log,
      hasher: nodeHasher,
      clock: time,
      timers: time,
      random: { bytes: (length) => new Uint8Array(length).fill(7) },
      shards: {
        open: () => Promise.resolve({ replayed: 0, fromCheckpoint: false, offset: 0 }),
        dropShard: nothing,
        defineCollections: nothing,
        apply: () => Promise.resolve(0),
        rewind: nothing,
        markFaulted: ignore,
      },
      logger,
      events: { streamed: ignore, copy: ignore },
    });
    await service.identify();
    await service.openMap(false);
    upkeep = new UpkeepService(KEPT, service, { oldestLoadableCheckpoint: () => 0 }, log, time, logger);
  });
  afterEach(async () => {
    service.stop();
    await log.close();
  });

  it('reads the whole log every day, also when the clock was ahead when it was last read', async () => {
    const key = shardKey(META_SHARD, SCRUB_ROW);
    /** Whether it is read when that was done last at a time of the wall clock; and when it was, as is noted then. */
    async function scrubbedAfter(lastMs: number | undefined): Promise<[boolean, number]> {
      const value = lastMs === undefined ? undefined : utf8(String(lastMs));
      await log.append({ shard: META_SHARD, entries: [], rows: [{ key, value }] });
      said = [];
      await upkeep.round();
      return [said.includes('log scrubbed'), Number(fromUtf8(log.row(key) ?? new Uint8Array(0)))];
    }
    const now = time.wallMs();
    // The first time it counts from now on.
    expect(await scrubbedAfter(undefined)).toEqual([false, now]);
    expect(await scrubbedAfter(now - DAY_MS + 1)).toEqual([false, now - DAY_MS + 1]);
    expect(await scrubbedAfter(now - DAY_MS)).toEqual([true, now]);
    expect(await scrubbedAfter(now)).toEqual([false, now]);
    expect(await scrubbedAfter(now + 3_650 * DAY_MS)).toEqual([true, now]);
  });
});
