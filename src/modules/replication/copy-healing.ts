import type { Hasher } from '../../kernel/hasher.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { Timers } from '../../kernel/timers.js';
import type { Damage, LogStore } from '../log/log-store.js';
import type { ShardLeader } from './core/protocol.js';
import type { Fellows } from './fellows.js';
import { LogHealing } from './log-healing.js';
import type { ReplicaPeers } from './replica-peers.js';
import type { ReplicationLogger } from './replication-ports.js';
import { SnapshotHealing } from './snapshot-healing.js';

/** What healing needs of the copies of its node. */
export interface HealedCopies {
  peers(): ReplicaPeers;
  fellows(): Fellows;
  leader(shard: number): ShardLeader | undefined;
  self(): { readonly node: NodeUuid; readonly bootCount: number };
  isFaulted(shard: number): boolean;
  /** Whether the disk may take what others write (5.8). */
  hasRoom(): boolean;
  /** It is closed for now, to be dropped or opened again. */
  isResting(shard: number): boolean;
  /** Resolves when its log is cut or replaced no more: that goes on when the copy fails. */
  idle(shard: number): Promise<void>;
  /** Opens the copy again, whose log is whole. False: it is damaged still. */
  reopen(shard: number): Promise<boolean>;
  /** It serves again. */
  healed(shard: number): void;
}

/** A damaged copy is healed so long after it was found out; when it could not be, again after twice as long each time. */
const HEAL_AFTER_MS = 200;
const HEAL_AGAIN_MS = 2_000;
const HEAL_AGAIN_MS_MAX = 60_000;
const FETCH_TIMEOUT_MS = 5_000;

/** Has the damaged copies of this node made whole from those of others, one try after another, and opened again (2.12). */
export class CopyHealing {
  readonly #ports: { readonly log: LogStore; readonly timers: Timers; readonly logger: ReplicationLogger };
  readonly #copies: HealedCopies;
  readonly #logHealing: LogHealing;
  readonly #snapshotHealing: SnapshotHealing;
  readonly #healing = new Map<number, Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(
    ports: {
      readonly log: LogStore;
      readonly hasher: Hasher;
      readonly timers: Timers;
      readonly logger: ReplicationLogger;
    },
    copies: HealedCopies,
  ) {
    this.#ports = ports;
    this.#copies = copies;
    this.#logHealing = new LogHealing({
      log: ports.log,
      hasher: ports.hasher,
      sources: (shard) => this.#sources(shard),
      fetch: (from, request) => copies.peers().fetch(from, request, FETCH_TIMEOUT_MS),
    });
    this.#snapshotHealing = new SnapshotHealing({
      ...ports,
      peers: () => copies.peers(),
      self: () => copies.self(),
      hasRoom: () => copies.hasRoom(),
    });
  }

  isHealing(shard: number): boolean {
    return this.#healing.has(shard);
  }

  stop(): void {
    this.#stopping.abort();
  }

  /** @param found what is known to be damaged */
  later(shard: number, found: readonly Damage[], ms = HEAL_AFTER_MS): void {
    const { timers, logger } = this.#ports;
    timers.after(ms, () => {
      if (this.#stopping.signal.aborted || !this.#copies.isFaulted(shard) || this.#healing.has(shard)) return;
      const healing = this.#heal(shard, found)
        .catch((error: unknown) => {
          logger.warn({ shard, err: error }, 'a damaged shard could not be healed; it is tried again');
          return false;
        })
        .then((healed) => {
          this.#healing.delete(shard);
          if (!healed) this.later(shard, found, Math.min(HEAL_AGAIN_MS_MAX, Math.max(2 * ms, HEAL_AGAIN_MS)));
        });
      this.#healing.set(shard, healing);
    });
  }

  /** Fetches what is damaged from the other copies, then takes the copy into service again. False: not now. */
  async #heal(shard: number, found: readonly Damage[]): Promise<boolean> {
    const { logger } = this.#ports;
    if (this.#sources(shard).length === 0 || this.#copies.isResting(shard)) return false;
    // Opened before that has ended, a copy of the same log would begin it a second time.
    await this.#copies.idle(shard);
    if (this.#stopping.signal.aborted) return true;
    const healed = await this.#logHealing.heal(shard, found, this.#stopping.signal);
    if (this.#stopping.signal.aborted) return true;
    if (typeof healed !== 'number' && (await this.#replace(shard))) {
      if (!(await this.#copies.reopen(shard))) return true;
      logger.warn({ shard }, 'the rows of the shard were healed by a snapshot of its primary; it serves again');
      this.#copies.healed(shard);
      return true;
    }
    if (typeof healed !== 'number') {
      logger.warn({ shard, damage: healed }, 'no other copy can replace what is damaged now; it is tried again');
      return false;
    }
    if (!(await this.#copies.reopen(shard))) return true;
    logger.warn({ shard, entries: healed }, 'the log of the shard was healed from another copy; it serves again');
    this.#copies.healed(shard);
    return true;
  }

  /** What no entry of another copy replaces a snapshot does. */
  async #replace(shard: number): Promise<boolean> {
    const primary = this.#copies.leader(shard)?.node;
    if (shard === META_SHARD || primary === undefined || primary === this.#copies.self().node) return false;
    return this.#snapshotHealing.heal(shard, primary, this.#stopping.signal);
  }

  /** Nodes that may have what is missing here: the primary first, then whoever follows it. */
  #sources(shard: number): readonly NodeUuid[] {
    const primary = this.#copies.leader(shard)?.node;
    const others = [...this.#copies.fellows().all()]
      .filter(([, { live, positions }]) => live && positions.get(shard)?.faulted === false)
      .map(([node]) => node);
    return others.sort((a, b) => Number(b === primary) - Number(a === primary));
  }
}
