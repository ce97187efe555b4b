import type { NodeUuid } from '../../../kernel/peer.js';
import type { MembershipEffect, Notice } from './membership-io.js';
import type { Roster } from './roster.js';
import { SKEW_ALARM_MS, skews } from './skew.js';

/** Round trips above it between nodes are worth a warning (replication 8.4). */
export const SLOW_LINK_MS = 10;

/** What an operator should know of clocks and links, told when it begins and when it ends. */
export class Alarms {
  #skews: ReadonlyMap<NodeUuid, number> = new Map();

  /** How far the clock of a node, this one included, is off the median of its peers; undefined while unknown. */
  skewMs(nodeUuid: NodeUuid): number | undefined {
    return this.#skews.get(nodeUuid);
  }

  raise(roster: Roster, nowMs: number, out: MembershipEffect[]): void {
    const tell = (notice: Notice): void => void out.push({ kind: 'notice', notice });
    const offsets = new Map<NodeUuid, number>();
    for (const [nodeUuid, peer] of roster.sorted()) {
      if (peer.clockOffsetMs !== undefined && roster.isUp(nodeUuid)) offsets.set(nodeUuid, peer.clockOffsetMs);
      const flapping = peer.transitions.flapping(nowMs);
      if (flapping !== peer.alarms.flapping) tell({ kind: flapping ? 'flapping' : 'steady', nodeUuid });
      peer.alarms.flapping = flapping;
      const { rttMs } = peer.health;
      if (rttMs !== undefined && rttMs > SLOW_LINK_MS && !peer.alarms.slow) {
        peer.alarms.slow = true;
        tell({ kind: 'slow-link', nodeUuid, rttMs });
      }
    }
    const before = this.#skews;
    this.#skews = skews(roster.self.nodeUuid, offsets);
    for (const [nodeUuid, skewMs] of this.#skews) {
      const was = Math.abs(before.get(nodeUuid) ?? 0) > SKEW_ALARM_MS;
      const is = Math.abs(skewMs) > SKEW_ALARM_MS;
      if (was !== is) tell({ kind: is ? 'skewed' : 'in-step', nodeUuid, skewMs });
    }
  }
}
