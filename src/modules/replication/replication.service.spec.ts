import { describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { NO_FELLOWS } from './fellows.js';
import { ReplicationService } from './replication.service.js';
import { NO_REPLICA_PEERS } from './replica-peers-none.js';
import { ManualTime } from './testing/manual-time.js';
import { LONE_NODE } from './testing/lone-node.js';

describe('ReplicationService', () => {
  it('ticks once at a time, also after a provisional cluster was given up', async () => {
    const time = new ManualTime();
    let told = 0;
    const ignore = () => undefined;
    const nothing = () => Promise.resolve();
    const service = new ReplicationService(LONE_NODE, {
      log: await MemoryLogStore.open({ hasher: nodeHasher }),
      hasher: nodeHasher,
      clock: time,
      timers: time,
      random: { bytes: (length) => new Uint8Array(length).fill(7) },
      shards: {
        open: () => Promise.reject(new Error('no shard is opened')),
        dropShard: nothing,
        defineCollections: nothing,
        apply: () => Promise.resolve(0),
        rewind: nothing,
        markFaulted: ignore,
      },
      logger: { info: ignore, warn: ignore, error: ignore },
      events: { streamed: ignore, copy: ignore },
    });
    await service.identify();
    service.connect(NO_REPLICA_PEERS, { ...NO_FELLOWS, tell: (_, atOnce) => (told += atOnce ? 0 : 1) });
    await service.openMap(false);
    const toldIn = async (ms: number): Promise<number> => {
      const before = told;
      await time.pass(ms);
      return told - before;
    };
    const usual = await toldIn(2_000);
    expect(usual).toBeGreaterThan(10);
    await service.surrender();
    expect(await toldIn(2_000)).toBe(usual);
    service.stop();
  });
});
