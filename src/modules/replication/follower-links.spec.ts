import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import type { NodeUuid } from '../../kernel/peer.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { shardDigest, ZERO_COUNTERS } from '../shard/core/rows.js';
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

describe('a copy that takes a snapshot in', () => {
  const DOCUMENTS = 10;
  let pair: CopyPair;
  let log: MemoryLogStore;
  let followerLog: MemoryLogStore;
  /** How hellos were answered. */
  let answers: string[];
  beforeEach(async () => {
    log = await MemoryLogStore.open({ hasher: nodeHasher });
    followerLog = await MemoryLogStore.open({ hasher: nodeHasher });
    answers = [];
    pair = new CopyPair(log);
    pair.primary = await pair.open(PRIMARY, log);
    await pair.until(() => pair.primary?.role === 'primary');
    for (const text of ['old', 'new']) for (let i = 0; i < DOCUMENTS; i++) await pair.put(i, text);
    await pair.compact();
  });
  afterEach(async () => {
    pair.primary?.close();
    pair.follower?.close();
    for (const each of [log, followerLog]) await each.close();
  });

  /** What is on its way is overwritten, and superseded entries go, as far as the log is not kept for anybody. */
  async function overwrite(): Promise<void> {
    for (let i = 0; i < DOCUMENTS; i++) await pair.put(i, 'newer');
    await pair.compact(pair.primary?.floor);
  }

  /** Something happens when the first chunk is on its way, or a later one; until the copy has everything. */
  async function receive(happen: () => Promise<void>, at = 1): Promise<void> {
    let chunks = 0;
    pair.onSent = async (message) => {
      if (message.kind === 'answer') answers.push(message.answer.kind);
      if (message.kind === 'chunk' && ++chunks === at) await happen();
      return message;
    };
    pair.follower = await pair.open(FOLLOWER, followerLog);
    await pair.until(() => pair.isCaughtUp && answers.at(-1) === 'accept');
    expect(shardDigest(pair.follower.counters())).toEqual(shardDigest(pair.primary?.counters() ?? ZERO_COUNTERS));
  }

  it('goes on from the log behind that, whatever is overwritten meanwhile', async () => {
    await receive(overwrite);
    expect(answers).toEqual(['snapshot', 'accept']);
  }, 30_000);

  it('is not demoted meanwhile, and is no more when it was before', async () => {
    pair.members = [PRIMARY, FOLLOWER];
    pair.mapEpoch = 2;
    await pair.until(() => pair.primary?.floor === 0);
    expect(pair.primary?.demoteSlowest()).toBe(FOLLOWER);
    expect(pair.primary?.floor).toBe(log.state(SHARD).tail);
    let demoted: NodeUuid | undefined;
    await receive(async () => {
      demoted = pair.primary?.demoteSlowest();
      await overwrite();
    });
    expect(demoted).toBeUndefined();
    expect(answers).toEqual(['snapshot', 'accept']);
  }, 30_000);

  it('goes on by key when its stream broke, whatever is overwritten until it does', async () => {
    await receive(async () => {
      pair.part();
      await overwrite();
      pair.parted = false;
    }, 4);
    expect(answers).toEqual(['snapshot', 'snapshot', 'accept']);
    expect(pair.resumed).toHaveLength(1);
  }, 30_000);
});
