import { describe, expect, it } from '@jest/globals';
import { PeerError } from '../../kernel/peer.js';
import { ShardView } from './fellows.js';
import { MembershipFellows, type MembershipSource } from './membership-fellows.js';
import { unanswered } from './replica-peers.js';

/** A membership right after a restart: of the members it knows only what the map says. */
function restarted(refusing: readonly string[], members: readonly string[]): MembershipSource {
  const source: Partial<MembershipSource> = {
    view: () => [],
    factsOf: (node) =>
      members.includes(node)
        ? {
            silenceMs: 100,
            reachable: false,
            refused: refusing.includes(node),
            flapping: false,
            skewMs: undefined,
            rttMs: undefined,
            mapEpoch: 0,
          }
        : undefined,
    onView: () => () => undefined,
    onPeer: () => () => undefined,
  };
  return Object.assign(source, { self: { nodeUuid: 'aa' } }) as MembershipSource;
}

describe('MembershipFellows', () => {
  it('knows of a member it never heard whether its port refuses connections, and nothing else', () => {
    const view = new ShardView(new MembershipFellows(restarted(['bb'], ['bb', 'cc']), () => 1_000), 0);
    expect(view.get('bb')).toMatchObject({ live: false, gone: false, refused: true, heardMs: -Infinity });
    expect(view.get('cc')).toMatchObject({ live: false, gone: false, refused: false, heardMs: -Infinity });
    expect(view.get('dd')).toBeUndefined();
    expect(view.nodes()).toEqual([]);
  });
});

describe('a fence without an answer', () => {
  it('was refused where nobody is, else it may still be answered', () => {
    const reasons = ['REFUSED', 'UNRESOLVED', 'TIMEOUT', 'RESET', 'REJECTED'] as const;
    expect(reasons.map((reason) => unanswered(new PeerError(reason, 'no')))).toEqual([
      'refused',
      'refused',
      'silent',
      'silent',
      'silent',
    ]);
    expect(unanswered(new Error('no'))).toBe('silent');
  });
});
