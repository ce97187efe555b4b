import type { Clock } from '../../../kernel/clock.js';
import { META_SHARD } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { nodeByUuid, type ClusterMap } from '../../ring/core/map.js';

/** A copy that a node must hold. A learner follows and counts nowhere. */
export interface HostedCopy {
  readonly shard: number;
  readonly duty: 'member' | 'learner';
}

/** The copies a node must hold by the map, the map's own first, then by shard (replication 9.1, 9.6). */
export function hostedCopies(map: ClusterMap, self: NodeUuid): readonly HostedCopy[] {
  const copies: HostedCopy[] = [];
  if (map.meta.members.includes(self)) copies.push({ shard: META_SHARD, duty: 'member' });
  else if (nodeByUuid(map, self) !== undefined) copies.push({ shard: META_SHARD, duty: 'learner' });
  for (const [shard, { members, learners }] of map.placement.entries()) {
    if (members.includes(self)) copies.push({ shard, duty: 'member' });
    else if (learners.includes(self)) copies.push({ shard, duty: 'learner' });
  }
  return copies;
}

/** What the keeper needs of the node. */
export interface CopyPorts {
  readonly clock: Clock;
  self(): NodeUuid;
  /** A copy that the map no longer gives this node is kept for so long: the way back is short until then. */
  readonly keptMs: number;
  /** The map as this node knows it now; undefined before it knows one. */
  map(): ClusterMap | undefined;
  /** Shards with a copy on this disk, whatever the map says. */
  held(): readonly number[];
  /**
   * Whether nothing would be lost with the copy as it is now: it has no loose rows, and its whole log is part of the primary's
   * log below the high-water mark of a set without this node (replication 9.6). The primary is asked now.
   */
  covered(shard: number): Promise<boolean>;
  /** Keeps the copy's log as it is from now on; false while something is under way in it. */
  rest(shard: number): Promise<boolean>;
  /** It follows again. */
  wake(shard: number): Promise<void>;
  /** Deletes log, rows and index of a copy that rests. */
  drop(shard: number): Promise<void>;
}

/**
 * Drops copies that moved away (replication 9.6). A copy is asked about twice: while it follows, and once it rests, since what
 * came in between is not covered by the first answer. Counts from when it first saw them surplus: a restart counts anew. A
 * node that was removed from the map keeps what it has.
 */
export class CopyKeeper {
  readonly #ports: CopyPorts;
  readonly #surplusSince = new Map<number, number>();

  constructor(ports: CopyPorts) {
    this.#ports = ports;
  }

  /** Looks once at what is held and what the map gives; the shards it dropped. */
  async round(): Promise<readonly number[]> {
    const dropped: number[] = [];
    for (const shard of this.#due()) {
      if (!(await this.#ports.covered(shard)) || this.#isWanted(shard)) continue;
      if (!(await this.#ports.rest(shard))) continue;
      let mayGo = false;
      try {
        // The map may have given the copy back while the primary was asked.
        mayGo = (await this.#ports.covered(shard)) && !this.#isWanted(shard);
      } finally {
        if (!mayGo) await this.#ports.wake(shard);
      }
      if (!mayGo) continue;
      await this.#ports.drop(shard);
      this.#surplusSince.delete(shard);
      dropped.push(shard);
    }
    return dropped;
  }

  #due(): readonly number[] {
    const now = this.#ports.clock.monotonicMs();
    const surplus = this.#ports
      .held()
      .filter((shard) => shard !== META_SHARD && !this.#isWanted(shard))
      .sort((a, b) => a - b);
    for (const shard of [...this.#surplusSince.keys()]) if (!surplus.includes(shard)) this.#surplusSince.delete(shard);
    return surplus.filter((shard) => {
      const since = this.#surplusSince.get(shard) ?? now;
      this.#surplusSince.set(shard, since);
      return now - since >= this.#ports.keptMs;
    });
  }

  #isWanted(shard: number): boolean {
    const map = this.#ports.map();
    const self = this.#ports.self();
    if (map === undefined || nodeByUuid(map, self) === undefined) return true;
    return hostedCopies(map, self).some((copy) => copy.shard === shard);
  }
}
