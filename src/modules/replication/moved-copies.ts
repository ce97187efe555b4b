import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import { LogDamagedError } from '../log/log-store.js';
import { placementOf } from '../ring/core/shard-set.js';
import { looseRows, type ShardCounters } from '../shard/core/rows.js';
import type { ShardLeader } from './core/protocol.js';
import type { LocalCopies } from './local-copies.js';
import type { MapService } from './map.service.js';
import type { ReplicaPeers } from './replica-peers.js';
import type { ReplicationPorts } from './replication-ports.js';

/** What a copy logged is agreed within this, or its primary is asked again later. */
const COVERED_WAIT_MS = 1_000;
const COVERED_POLL_MS = 100;
const COVERS_TIMEOUT_MS = 2_000;

/** What these copies need of the node around them. */
export interface MovedCopiesPorts {
  self(): NodeUuid;
  peers(): ReplicaPeers;
  leader(shard: number): ShardLeader | undefined;
  learn(leader: ShardLeader): void;
  /** @throws LogDamagedError */
  counters(shard: number): ShardCounters;
  isHealing(shard: number): boolean;
  /** A copy was deleted. */
  dropped(shard: number): Promise<void>;
}

/** The copies that moved away (replication 9.6): asked about, laid to rest, then deleted or opened again. */
export class MovedCopies {
  readonly #map: MapService;
  readonly #copies: LocalCopies;
  readonly #of: Pick<ReplicationPorts, 'log' | 'clock' | 'timers' | 'logger'>;
  readonly #ports: MovedCopiesPorts;

  constructor(
    map: MapService,
    copies: LocalCopies,
    of: Pick<ReplicationPorts, 'log' | 'clock' | 'timers' | 'logger'>,
    ports: MovedCopiesPorts,
  ) {
    this.#map = map;
    this.#copies = copies;
    this.#of = of;
    this.#ports = ports;
  }

  /** Shards with a log or a damaged copy here, whatever the map says. */
  held(): readonly number[] {
    return [...new Set([...this.#of.log.shards(), ...this.#copies.shards()])];
  }

  /**
   * Whether the primary has all there is in the copy of a shard here, agreed by a set without this node, and no row of it is
   * loose. What was logged just now may wait a moment for its agreement.
   */
  async covered(shard: number): Promise<boolean> {
    try {
      return await this.#covered(shard);
    } catch (error) {
      // Of a damaged copy nobody knows what it has; it may be healed.
      if (error instanceof LogDamagedError) return false;
      throw error;
    }
  }

  async #covered(shard: number): Promise<boolean> {
    const { log, clock, timers } = this.#of;
    const placement = this.#map.known ? placementOf(this.#map.current(), shard) : undefined;
    const { tail: offset, chain } = log.state(shard);
    const until = clock.monotonicMs() + COVERED_WAIT_MS;
    for (;;) {
      if (placement === undefined || looseRows(this.#ports.counters(shard)) > 0 || this.#copies.stopped) return false;
      const primary = this.#ports.leader(shard)?.node;
      if (primary === undefined || primary === this.#ports.self()) return false;
      const request = { shard, mapEpoch: placement.epoch, offset, chain };
      try {
        if ((await this.#ports.peers().covers(primary, request, COVERS_TIMEOUT_MS)).covered) return true;
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
      }
      if (clock.monotonicMs() >= until) return false;
      await new Promise<void>((resolve) => timers.after(COVERED_POLL_MS, resolve));
    }
  }

  /** Closes a copy for now: its log stays as it is. False while it reigns, or is being cut or replaced. */
  async rest(shard: number): Promise<boolean> {
    if (this.#ports.isHealing(shard) || !this.#copies.mayRest(shard)) return false;
    const leader = this.#copies.get(shard)?.leader;
    if (leader !== undefined) this.#ports.learn(leader);
    await this.#copies.rest(shard);
    return true;
  }

  /** Opens a copy that rested. */
  wake(shard: number): Promise<void> {
    return this.#copies.wake(shard);
  }

  /** Deletes a copy that rests, with all that is kept of it on the disk but the promise. */
  async drop(shard: number): Promise<void> {
    const { log, logger } = this.#of;
    const { tail: offset } = log.state(shard);
    await this.#copies.drop(shard);
    logger.info({ shard, offset }, 'the copy of a shard that moved to another node was deleted');
    await this.#ports.dropped(shard);
  }
}
