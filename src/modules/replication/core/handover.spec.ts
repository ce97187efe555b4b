import { describe, expect, it } from '@jest/globals';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import { followedLog } from '../testing/followed-log.js';
import type { ReplicaEffect } from './effects.js';
import { Followers, HEARD_MS } from './followers.js';
import { Handover } from './handover.js';

const TO = 'b2'.repeat(16);
const TAIL = 9;

describe('a reign that is handed over', () => {
  const log = followedLog({ num: 1, uuid: new Uint8Array(16).fill(7) }, TAIL);

  /** The follower has everything up to `durable`. */
  function followed(durable: number): Followers {
    const followers = new Followers();
    followers.accept(1, TO, durable, 0);
    followers.ack(1, { durableOffset: durable, appliedOffset: durable, chain: CHAIN_ZERO, creditBytes: 0 }, TAIL, 0);
    return followers;
  }

  it('asks the follower once, when that has everything and nothing is under way; comes to nothing when it goes before', () => {
    const handover = new Handover(TO, 0);
    const out: ReplicaEffect[] = [];
    expect(handover.proceed(log, followed(TAIL - 1), 0, 10, out)).toBe(true);
    expect(handover.proceed(log, followed(TAIL), 1, 20, out)).toBe(true);
    expect([handover.handed, out]).toEqual([false, []]);
    expect(handover.proceed(log, new Followers(), 0, 30, out)).toBe(false);
    for (const nowMs of [40, 50]) expect(handover.proceed(log, followed(TAIL), 0, nowMs, out)).toBe(true);
    expect([handover.handed, out]).toEqual([true, [{ kind: 'handOver', to: TO }]]);
    expect(handover.proceed(log, followed(TAIL), 0, 3_001, out)).toBe(false);
  });

  it('waits for no follower that fell silent before it had everything', () => {
    const handover = new Handover(TO, 0);
    const silent = followed(TAIL - 1);
    expect(handover.proceed(log, silent, 0, HEARD_MS, [])).toBe(true);
    expect(handover.proceed(log, silent, 0, HEARD_MS + 1, [])).toBe(false);
  });

  it('admits nothing while the follower, which left the stream for it, may take over; but not for long when it only went', () => {
    const handover = new Handover(TO, 0);
    handover.proceed(log, followed(TAIL), 0, 500, []);
    for (const nowMs of [510, 1_500]) expect(handover.proceed(log, new Followers(), 0, nowMs, [])).toBe(true);
    expect(handover.proceed(log, new Followers(), 0, 1_501, [])).toBe(false);
  });
});
