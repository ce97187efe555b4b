import { describe, expect, it } from '@jest/globals';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import { APPLY_PACE_MS, Followers, IN_SYNC_MS } from './followers.js';

const NODE = '02'.repeat(16);
const set = { mapEpoch: 1, members: ['01'.repeat(16), NODE] };
const HEARTBEAT_MS = 500;

/** A primary that logs an entry each millisecond, and a follower that applies each so much later; it acknowledges often. */
function steady(lagMs: number, ackEveryMs: number, lengthMs: number): { followers: Followers; nowMs: number } {
  const followers = new Followers();
  followers.accept(1, NODE, 0, 0);
  for (let nowMs = 0; nowMs <= lengthMs; nowMs += ackEveryMs) {
    const ack = { durableOffset: nowMs, appliedOffset: Math.max(0, nowMs - lagMs), chain: CHAIN_ZERO, creditBytes: 0 };
    followers.ack(1, ack, nowMs, nowMs);
  }
  return { followers, nowMs: lengthMs };
}

describe('what a primary makes of the acknowledgements of a follower', () => {
  it('is in sync though it never has everything, as long as it is less than two seconds behind', () => {
    for (const [lagMs, ackEveryMs] of [
      [100, 10],
      [100, 250],
      [900, 10],
    ]) {
      const { followers, nowMs } = steady(lagMs, ackEveryMs, 10_000);
      expect({ lagMs, ackEveryMs, inSync: followers.inSync(set, nowMs, HEARTBEAT_MS) }).toEqual({
        lagMs,
        ackEveryMs,
        inSync: [NODE],
      });
      expect(followers.lateness(set, nowMs, HEARTBEAT_MS)).not.toBe('late');
    }
    const { followers, nowMs } = steady(2 * IN_SYNC_MS, 10, 10_000);
    expect(followers.inSync(set, nowMs, HEARTBEAT_MS)).toEqual([]);
  });

  it('is late a second after what it has not applied was logged, if nothing more is logged or not', () => {
    const followers = new Followers();
    followers.accept(1, NODE, 5, 0);
    const ack = (appliedOffset: number, tail: number, nowMs: number): void => {
      followers.ack(1, { durableOffset: tail, appliedOffset, chain: CHAIN_ZERO, creditBytes: 0 }, tail, nowMs);
    };
    ack(5, 5, 0);
    followers.logged(6, 900);
    ack(5, 6, 1_400);
    followers.logged(7, 1_450);
    expect(followers.lateness(set, 1_900, HEARTBEAT_MS)).toBe('paced');
    expect(followers.lateness(set, 1_901, HEARTBEAT_MS)).toBe('late');
    expect(followers.lateness({ ...set, members: [] }, 1_901, HEARTBEAT_MS)).toBe('none');
    ack(6, 7, 1_950);
    expect(followers.lateness(set, 1_950 + APPLY_PACE_MS, HEARTBEAT_MS)).toBe('none');
  });

  it('is paced when its index is a little behind what it has on disk, and not while it has yet to get that', () => {
    const followers = new Followers();
    followers.accept(1, NODE, 5, 0);
    const ack = (durableOffset: number, appliedOffset: number, nowMs: number): void => {
      followers.ack(1, { durableOffset, appliedOffset, chain: CHAIN_ZERO, creditBytes: 0 }, 6, nowMs);
    };
    followers.ack(1, { durableOffset: 5, appliedOffset: 5, chain: CHAIN_ZERO, creditBytes: 0 }, 5, 0);
    followers.logged(6, 100);
    ack(5, 5, 200);
    expect(followers.lateness(set, 101 + APPLY_PACE_MS, HEARTBEAT_MS)).toBe('none');
    ack(6, 5, 200);
    expect(followers.lateness(set, 100 + APPLY_PACE_MS, HEARTBEAT_MS)).toBe('none');
    expect(followers.lateness(set, 101 + APPLY_PACE_MS, HEARTBEAT_MS)).toBe('paced');
    ack(6, 6, 300);
    expect(followers.lateness(set, 1_000, HEARTBEAT_MS)).toBe('none');
  });
});
