import { describe, expect, it } from '@jest/globals';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import { FollowSession } from './follow.js';
import type { EntriesBatch } from './protocol.js';

const HEARTBEAT_MS = 500;

function told(tail: number): EntriesBatch {
  const epoch = { num: 1, uuid: new Uint8Array(16).fill(1) };
  return { epoch, prevOffset: 0, prevChain: CHAIN_ZERO, entries: [], highWaterMark: 0, tail, inSync: [], floor: 0 };
}

describe('FollowSession', () => {
  it('lags behind by nothing between two keep-alives when nothing is outstanding', () => {
    const session = new FollowSession('aa', 0, 0);
    expect(session.hadAllMs(100)).toBeUndefined();
    session.took(told(5), 5, 100.25);
    for (const nowMs of [100.25, 350, 600.75]) expect(session.hadAllMs(nowMs)).toBe(nowMs);
  });

  it('lags behind since it last had everything, once there is more or the primary is silent', () => {
    const session = new FollowSession('aa', 0, 0);
    session.phase = 'streaming';
    session.took(told(5), 5, 100);
    session.took(told(7), 5, 400);
    expect(session.hadAllMs(900)).toBe(100);
    session.applied(7);
    expect(session.hadAllMs(900)).toBe(900);
    // More may have come since then.
    expect(session.hadAllMs(1_500)).toBe(400);
    expect(session.isInSync(400 + 2_000 + HEARTBEAT_MS, HEARTBEAT_MS)).toBe(true);
    expect(session.isInSync(401 + 2_000 + HEARTBEAT_MS, HEARTBEAT_MS)).toBe(false);
  });
});
