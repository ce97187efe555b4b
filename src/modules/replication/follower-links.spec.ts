import { describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { CopyPair, FOLLOWER, PRIMARY } from './testing/copy-pair.js';

const SHARD = 0;

describe('a follower whose stream ends while its hello is looked at', () => {
  it('follows no more: no log is kept for it', async () => {
    const log = await MemoryLogStore.open({ hasher: nodeHasher });
    const followerLog = await MemoryLogStore.open({ hasher: nodeHasher });
    const pair = new CopyPair(log);
    pair.primary = await pair.open(PRIMARY, log);
    await pair.until(() => pair.primary?.role === 'primary');
    await pair.put(1, 'old');
    pair.follower = await pair.open(FOLLOWER, followerLog);
    await pair.until(() => pair.isCaughtUp);
    pair.part();
    await pair.put(1, 'new');

    const scan = log.scan.bind(log);
    let asked = false;
    let letGo: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    log.scan = async (...where) => {
      asked = true;
      await held;
      return scan(...where);
    };
    pair.parted = false;
    await pair.until(() => asked);
    pair.part();
    pair.follower.close();
    letGo();
    await new Promise((resolve) => setImmediate(resolve));

    expect(followerLog.state(SHARD).tail).toBeLessThan(log.state(SHARD).tail);
    expect(pair.primary.floor).toBe(log.state(SHARD).tail);
    expect(pair.primary.demoteSlowest()).toBeUndefined();
    pair.primary.close();
    for (const each of [log, followerLog]) await each.close();
  }, 30_000);
});
