import { describe, expect, it } from '@jest/globals';
import { toHex } from '../../../kernel/bytes.js';
import { NO_EPOCH } from '../../../kernel/epoch.js';
import { META_SHARD } from '../../../kernel/ids.js';
import { HLC_ZERO } from '../../../kernel/version.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import { ZERO_COUNTERS } from '../../shard/core/rows.js';
import { NO_BRANCHES } from './branch-epochs.js';
import type { ReplicaEffect } from './effects.js';
import type { ReplicaInput } from './inputs.js';
import { MapState } from './map-state.js';
import type { PeerView } from './peer-view.js';
import type { ShardSet } from './protocol.js';
import { ReplicaLog } from './replica-log.js';
import { Replica } from './replica.js';

const nodeOf = (n: number): string => toHex(new Uint8Array(16).fill(n));
const [LEFT, GONE, SELF] = [nodeOf(1), nodeOf(2), nodeOf(3)];
const opId = new Uint8Array(16);
const AWAY = {
  live: false,
  gone: true,
  refused: true,
  heardMs: -Infinity,
  reluctant: false,
  full: false,
  position: undefined,
};
const THERE = { ...AWAY, live: true, gone: false, refused: false, heardMs: 0 };

/** A copy whose disk is at once, another one that may answer, and a third that is gone. */
class LoneCopy {
  readonly replica: Replica;
  readonly #log: ReplicaLog;
  readonly #shard: number;
  configured: ShardSet;
  /** Its stream, once it follows; it has all there is. */
  follower: string | undefined;
  #ms = 0;

  constructor({ shard, logged, configured }: { shard: number; logged: ShardSet | undefined; configured: ShardSet }) {
    const strict = shard === META_SHARD;
    this.#shard = shard;
    this.#log = new ReplicaLog({
      shard,
      hasher: nodeHasher,
      generation: 1,
      tail: 0,
      chain: CHAIN_ZERO,
      start: 0,
      history: [],
      lastHlc: HLC_ZERO,
      counters: ZERO_COUNTERS,
      sets: logged === undefined ? [] : [{ offset: 0, set: logged }],
      branches: NO_BRANCHES,
    });
    this.replica = new Replica({
      shard,
      self: SELF,
      bootCount: 1,
      log: this.#log,
      promised: NO_EPOCH,
      strict,
      times: { heartbeatMs: 500, failoverAfterMs: 1_800 },
      applied: 0,
      map: strict ? new MapState(undefined, []) : undefined,
      openedMs: 0,
    });
    this.configured = configured;
  }

  get settled(): number {
    return this.replica.position(this.#ms).settled;
  }

  reign(): void {
    for (let i = 0; i < 200 && this.replica.role !== 'primary'; i++) this.tick();
  }

  follow(node: string): void {
    this.follower = node;
    const hello = { ...this.#log.end(), shard: this.#shard, nodeUuid: node, bootCount: 1, mapEpoch: 1, loose: 0 };
    const { promised } = this.replica;
    this.#run({ kind: 'hello', link: 1, hello: { ...hello, promised }, chainThere: this.#log.chain, now: this.#now() });
  }

  pause(): void {
    this.#run({ kind: 'paused', now: this.#now() });
  }

  tick(times = 1): void {
    const peers: PeerView = {
      get: (node) => (node === SELF ? undefined : node === this.follower ? THERE : AWAY),
      nodes: () => [LEFT, GONE],
    };
    for (let i = 0; i < times; i++) {
      this.#ms += 100;
      const plan = { configured: this.configured, leaving: false, epochFloor: 0, room: 'upserts' as const };
      this.#run({ kind: 'tick', now: this.#now(), peers, plan: { ...plan, isDropped: () => false }, opId });
      this.#acknowledge();
    }
  }

  #now(): { readonly wallMs: number; readonly monotonicMs: number } {
    return { wallMs: this.#ms, monotonicMs: this.#ms };
  }

  #acknowledge(): void {
    if (this.follower === undefined) return;
    const { tail, chain } = this.#log;
    const ack = { durableOffset: tail, appliedOffset: tail, chain, creditBytes: 0 };
    this.#run({ kind: 'acked', link: 1, ack, now: this.#now() });
  }

  #run(input: ReplicaInput): void {
    const queue: ReplicaEffect[] = [...this.replica.step(input)];
    for (let effect = queue.shift(); effect !== undefined; effect = queue.shift()) this.#perform(effect);
  }

  #perform(effect: ReplicaEffect): void {
    const now = this.#now();
    if (effect.kind === 'promise') this.#run({ kind: 'promised', epoch: effect.epoch, now, opId });
    else if (effect.kind === 'append' && effect.batch.entries.length > 0) {
      this.#run({ kind: 'persisted', offset: effect.tail, now });
      this.#acknowledge();
    } else if (effect.kind === 'fence') {
      for (const from of effect.to) {
        const end = { lastOffset: 0, lastEpoch: NO_EPOCH, chain: CHAIN_ZERO, history: [], start: 0, agreed: 0 };
        const answer = from === this.follower ? ({ kind: 'granted', setEpoch: 1, end } as const) : undefined;
        if (answer !== undefined) this.#run({ kind: 'fenced', epoch: effect.request.epoch, from, answer, now, opId });
      }
    }
  }
}

describe('a copy that is left alone', () => {
  it('takes no epochs while a majority of its voters is gone', () => {
    const configured = { mapEpoch: 1, members: [LEFT, GONE, SELF] };
    const voter = new LoneCopy({ shard: META_SHARD, logged: undefined, configured });
    voter.tick(3_000);
    expect(voter.replica.promised.num).toBe(0);
    // Once one of them is back it stands, and wins.
    voter.follower = LEFT;
    voter.reign();
    expect([voter.replica.role, voter.replica.promised.num]).toEqual(['primary', 1]);
  });

  it.each([false, true])('lets its set be repaired; a removal was decided before, not logged yet: %s', (pending) => {
    const decided = { mapEpoch: 2, members: [GONE, SELF] };
    const logged = pending ? { mapEpoch: 1, members: [LEFT, GONE, SELF] } : decided;
    const primary = new LoneCopy({ shard: 0, logged, configured: decided });
    primary.reign();
    primary.follow(LEFT);
    primary.tick(100);
    expect(primary.replica.log.set).toEqual(decided);
    expect(primary.settled).toBe(2);
  });

  it('is in doubt no more when those whom it asked have left its set', () => {
    const primary = new LoneCopy({
      shard: META_SHARD,
      logged: undefined,
      configured: { mapEpoch: 1, members: [SELF, GONE] },
    });
    primary.follower = GONE;
    primary.reign();
    primary.follow(GONE);
    primary.tick(2);
    expect(primary.replica.highWaterMark).toBeGreaterThan(0);
    // It stands still while the map gives up the other's vote, who ends.
    primary.follower = undefined;
    primary.configured = { mapEpoch: 2, members: [SELF] };
    primary.pause();
    expect(primary.replica.reign?.held).toBe(true);
    primary.tick(300);
    expect(primary.replica.reign?.held).toBe(false);
  });
});
