import { describe, expect, it } from '@jest/globals';
import { HLC_ZERO } from '../../../kernel/version.js';
import { NO_EPOCH } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { EMPTY_LOG } from '../../log/core/log-state.js';
import { ZERO_COUNTERS } from '../../shard/core/rows.js';
import { NO_BRANCHES } from './branch-epochs.js';
import type { ReplicaEffect } from './effects.js';
import type { PeerView } from './peer-view.js';
import type { ShardSet } from './protocol.js';
import { ReplicaLog } from './replica-log.js';
import type { ReplicaInput } from './inputs.js';
import { Replica } from './replica.js';

const SELF = 'a1'.repeat(16);
const OTHER = 'b2'.repeat(16);
const GONE = 'c3'.repeat(16);
const ALONE: PeerView = { get: () => undefined, nodes: () => [] };

/** A copy on a disk that syncs when it is told to. */
class Copy {
  readonly replica: Replica;
  #nowMs = 0;
  #configured: ShardSet = { mapEpoch: 1, members: [SELF] };
  #unsynced = 0;

  constructor() {
    const { tail, chain, history, generation } = EMPTY_LOG;
    const counters = ZERO_COUNTERS;
    this.replica = new Replica({
      shard: 0,
      self: SELF,
      bootCount: 1,
      log: new ReplicaLog({
        shard: 0,
        hasher: nodeHasher,
        lastHlc: HLC_ZERO,
        generation,
        tail,
        chain,
        start: 0,
        history,
        counters,
        sets: [],
        branches: NO_BRANCHES,
      }),
      promised: NO_EPOCH,
      strict: false,
      times: { heartbeatMs: 500, failoverAfterMs: 1_800 },
      applied: 0,
      map: undefined,
      openedMs: 0,
    });
  }

  /** The map decides another set. */
  decide(mapEpoch: number, members: readonly NodeUuid[]): void {
    this.#configured = { mapEpoch, members };
  }

  tick(): void {
    this.#nowMs += 100;
    const plan = {
      configured: this.#configured,
      leaving: false,
      epochFloor: 0,
      room: 'upserts' as const,
      isDropped: () => false,
    };
    this.#step({ kind: 'tick', now: this.#now(), peers: ALONE, plan, opId: new Uint8Array(16) });
  }

  sync(): void {
    if (this.#unsynced > 0) this.#step({ kind: 'persisted', offset: this.#unsynced, now: this.#now() });
    this.#unsynced = 0;
  }

  #now() {
    return { wallMs: 1_000_000 + this.#nowMs, monotonicMs: this.#nowMs };
  }

  #step(input: ReplicaInput): void {
    for (const effect of this.replica.step(input)) this.#perform(effect);
  }

  #perform(effect: ReplicaEffect): void {
    if (effect.kind === 'promise')
      this.#step({ kind: 'promised', epoch: effect.epoch, now: this.#now(), opId: new Uint8Array(16) });
    if (effect.kind === 'append') this.#unsynced = Math.max(this.#unsynced, effect.tail);
  }
}

/** A primary, alone in the set of map epoch 1. */
function reigning(): Copy {
  const copy = new Copy();
  while (copy.replica.role !== 'primary') copy.tick();
  copy.tick();
  copy.sync();
  copy.tick();
  copy.sync();
  return copy;
}

describe('agreedWithout', () => {
  it('is what the set agreed to, by a set as new as asked for in which the node is not', () => {
    const copy = reigning();
    const { tail } = copy.replica.log;
    expect(copy.replica.log.set.mapEpoch).toBe(1);
    expect(copy.replica.agreedWithout(GONE, 1, tail)).toBe(true);
    expect(copy.replica.agreedWithout(GONE, 1, tail + 1)).toBe(false);
    expect(copy.replica.agreedWithout(GONE, 2, tail)).toBe(false);
    expect(copy.replica.agreedWithout(SELF, 1, tail)).toBe(false);
  });

  it('is nothing while the SET that does without the node is not agreed itself', () => {
    const copy = reigning();
    const { tail } = copy.replica.log;
    copy.decide(2, [SELF, OTHER]);
    copy.tick();
    expect(copy.replica.log.set).toMatchObject({ mapEpoch: 2, members: [SELF, OTHER] });
    copy.sync();
    // Durable here, which is half of the set.
    expect(copy.replica.agreedWithout(GONE, 2, tail)).toBe(false);
  });

  it('is nothing of a copy that does not reign', () => {
    const copy = new Copy();
    expect(copy.replica.agreedWithout(GONE, 0, 0)).toBe(false);
    const reigned = reigning();
    const { tail } = reigned.replica.log;
    reigned.replica.step({ kind: 'fail', detail: 'damaged' });
    expect(reigned.replica.agreedWithout(GONE, 1, tail)).toBe(false);
  });
});
