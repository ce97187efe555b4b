import type { NodeUuid } from '../../kernel/peer.js';
import type { Membership } from './core/membership.js';
import type { MembershipTiming } from './core/timing.js';

/** What this node itself found out about another one. */
export interface PeerFacts {
  /** Silence while we listened; 0 for this node. */
  readonly silenceMs: number;
  /** It answered us within failoverAfter: requests are likely to reach it. */
  readonly reachable: boolean;
  /** Two probes found nobody listening (replication 5.1). */
  readonly refused: boolean;
  /** Not to be nominated while another can be (replication 5.8). */
  readonly flapping: boolean;
  /** Off the median of its peers; undefined while unknown. Above SKEW_ALARM_MS: not to be nominated either (1.3). */
  readonly skewMs: number | undefined;
  readonly rttMs: number | undefined;
  readonly mapEpoch: number;
}

export function peerFacts(
  membership: Membership,
  nodeUuid: NodeUuid,
  nowMs: number,
  timing: MembershipTiming,
): PeerFacts | undefined {
  const { roster } = membership;
  const skewMs = membership.skewMs(nodeUuid);
  if (nodeUuid === roster.self.nodeUuid) {
    const { mapEpoch } = roster;
    return { silenceMs: 0, reachable: true, refused: false, flapping: false, skewMs, rttMs: 0, mapEpoch };
  }
  const peer = roster.peers.get(nodeUuid);
  if (peer === undefined) return undefined;
  const { health } = peer;
  const refused = health.isRefused();
  return {
    silenceMs: health.silenceMs(nowMs),
    reachable: health.answeredMs !== undefined && !refused && nowMs - health.answeredMs < timing.failoverAfterMs,
    refused,
    flapping: peer.transitions.flapping(nowMs),
    skewMs,
    rttMs: health.rttMs,
    mapEpoch: peer.told?.mapEpoch ?? 0,
  };
}
