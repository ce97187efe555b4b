import type { Clock } from '../../kernel/clock.js';
import { PeerError } from '../../kernel/peer.js';
import type { CancelTimer, Timers } from '../../kernel/timers.js';
import type { LogStore } from '../log/log-store.js';
import { CheckpointDamagedError } from '../shard/core/index-host.js';
import type { ReceivedCheckpoint } from '../shard/shard-ports.js';
import type { ShardService } from '../shard/shard.service.js';
import type { IndexPeers } from './index-peers.js';
import type { ReplicationLogger } from './replication-ports.js';
import type { ReplicationService } from './replication.service.js';
import type { ShardReplica } from './shard-replica.js';

/** How often the copies are looked at. */
const LOOK_MS = 200;
/** An index that lacks fewer entries of its log is sooner made from them: half a second of work. */
const INTAKE_ENTRIES_MIN = 2_000;
/** Where nothing came of it, it is tried again after so long. */
const AGAIN_MS = 10_000;
const PART_TIMEOUT_MS = 10_000;
/** The log has so long to get to where the checkpoint was taken. */
const LOG_WAIT_MS = 60_000;

export interface IndexIntakePorts {
  readonly replication: Pick<ReplicationService, 'localShards' | 'replica' | 'fault' | 'self' | 'readIndex'>;
  readonly shards: Pick<ShardService, 'applied' | 'hold' | 'release' | 'receiveCheckpoint'>;
  readonly log: Pick<LogStore, 'state'>;
  readonly peers: IndexPeers;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: ReplicationLogger;
}

/**
 * Copies that are built on this node get the index of their primary instead of making it once more: its newest checkpoint,
 * and of the log only what comes after (ADR 26). The log itself comes by the stream, and a checkpoint is taken for what it
 * says it is where the log has the same chain at its offset, as after a restart. One copy at a time: the first is in sync
 * soonest then. Until its turn nothing is put into the index of the next one, for that would only be thrown away. Members of
 * a set have an index that may be needed meanwhile, and keep it.
 */
export class IndexIntake {
  readonly #ports: IndexIntakePorts;
  /** By shard: when it may be tried again. */
  readonly #notBeforeMs = new Map<number, number>();
  /** They had a checkpoint that could not be opened, as one with graphs of another technology: nor can the next one. */
  readonly #inVain = new WeakSet<ShardReplica>();
  /** `written` resolves when all is fetched, or nothing will be: what is read then has files to read from. */
  #taking: { readonly shard: number; readonly written: Promise<void> } | undefined;
  readonly #held = new Set<number>();
  #cancel: CancelTimer | undefined;
  #stopped = false;

  constructor(ports: IndexIntakePorts) {
    this.#ports = ports;
  }

  start(): void {
    this.#cancel = this.#ports.timers.after(LOOK_MS, () => {
      this.#look();
      if (!this.#stopped) this.start();
    });
  }

  /** Resolves when nothing is written any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#taking?.written;
  }

  #look(): void {
    const { replication, shards } = this.#ports;
    const waiting = new Map<number, ShardReplica>();
    for (const shard of replication.localShards()) {
      const copy = replication.replica(shard);
      if (copy !== undefined && this.#mayTake(shard, copy)) waiting.set(shard, copy);
    }
    for (const shard of waiting.keys()) {
      if (!this.#held.has(shard)) shards.hold(shard);
      this.#held.add(shard);
    }
    for (const shard of this.#held) {
      if (waiting.has(shard) || shard === this.#taking?.shard) continue;
      this.#held.delete(shard);
      shards.release(shard);
    }
    const [next] = waiting;
    if (this.#taking === undefined && waiting.size > 0) {
      const written = new Promise<void>((resolve) => void this.#takeOne(...next, resolve));
      this.#taking = { shard: next[0], written };
    }
  }

  #mayTake(shard: number, copy: ShardReplica): boolean {
    if (this.#inVain.has(copy) || !this.#isBuilt(shard, copy) || this.#lacks(shard, copy) < INTAKE_ENTRIES_MIN)
      return false;
    return (this.#notBeforeMs.get(shard) ?? -Infinity) <= this.#ports.clock.monotonicMs();
  }

  /** @param written is told when its files are there, or will not be */
  async #takeOne(shard: number, copy: ShardReplica, written: () => void): Promise<void> {
    const { clock, logger } = this.#ports;
    try {
      await this.#take(shard, copy, written);
    } catch (error) {
      // The index it was read into is closed.
      if (this.#stopped) return;
      const foreseen = error instanceof PeerError || error instanceof CheckpointDamagedError;
      logger[foreseen ? 'info' : 'warn']({ shard, err: error }, 'no index came from the primary: it is made here');
    } finally {
      written();
    }
    this.#notBeforeMs.set(shard, clock.monotonicMs() + AGAIN_MS);
    this.#taking = undefined;
  }

  /** Still the copy it was, and one that is being built: it follows, and no set counts it. */
  #isBuilt(shard: number, copy: ShardReplica): boolean {
    const { replication } = this.#ports;
    const { self } = replication;
    if (this.#stopped || replication.replica(shard) !== copy || replication.fault(shard) !== undefined) return false;
    const primary = copy.leader?.node;
    return copy.role === 'follower' && primary !== undefined && primary !== self && !copy.set.members.includes(self);
  }

  /** Entries that are not in the index: of the log as its primary told it, since what has to come is indexed as well. */
  #lacks(shard: number, copy: ShardReplica): number {
    return copy.knownTail - this.#ports.shards.applied(shard);
  }

  async #take(shard: number, copy: ShardReplica, written: () => void): Promise<void> {
    const { replication, shards, peers, clock, logger } = this.#ports;
    const startedMs = clock.monotonicMs();
    const primary = copy.leader?.node;
    if (primary === undefined) return;
    const source = {
      part: (offset: number, file: string, from: number) => {
        if (!this.#isBuilt(shard, copy)) throw new PeerError('REJECTED', `the copy of shard ${shard} is built no more`);
        return peers.checkpoint(primary, { shard, offset, file, from }, PART_TIMEOUT_MS);
      },
    };
    const received = await shards.receiveCheckpoint(shard, source, INTAKE_ENTRIES_MIN);
    if (received === undefined) return;
    const { offset, bytes } = received;
    if (!(await this.#isWorthIt(shard, copy, received))) {
      await received.discard();
      return;
    }
    const { replayed, fromCheckpoint } = await received.use(() => {
      written();
      return replication.readIndex(shard);
    });
    const tookMs = Math.round(clock.monotonicMs() - startedMs);
    if (fromCheckpoint)
      logger.info({ shard, offset, bytes, replayed, tookMs }, 'the index of a new copy came from its primary');
    else this.#inVain.add(copy);
  }

  /** Waits until the log is where the checkpoint was taken. False: it is not to be used. */
  async #isWorthIt(shard: number, copy: ShardReplica, received: ReceivedCheckpoint): Promise<boolean> {
    const { clock, timers, log } = this.#ports;
    const until = clock.monotonicMs() + LOG_WAIT_MS;
    while (this.#isBuilt(shard, copy) && received.isWanted()) {
      if (log.state(shard).tail >= received.offset) return true;
      if (clock.monotonicMs() >= until) return false;
      await new Promise<void>((resolve) => void timers.after(LOOK_MS / 4, resolve));
    }
    return false;
  }
}
