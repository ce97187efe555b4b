import type { Clock } from '../../../kernel/clock.js';
import { NodeError } from '../../../kernel/errors.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { META_SHARD } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { Timers } from '../../../kernel/timers.js';
import type { DiskRoom, DiskSpace } from '../../../platform/resources/disk-guard.js';
import type { MembershipService } from '../../membership/membership.service.js';
import type { ClusterFacts, Transfer } from '../../ring/core/facts.js';
import type { ClusterMap } from '../../ring/core/map.js';
import { decodePositions } from '../core/position-codec.js';
import type { ShardPosition } from '../core/protocol.js';
import type { ReplicationService } from '../replication.service.js';
import { ObservedFacts } from './observed-facts.js';
import { OperationsDriver, type OperationsLogger } from './operations-driver.js';

/** Asks the primary of a shard on another node to hand over. @throws when it does not, or does not answer */
export type AskTransfer = (transfer: Transfer) => Promise<void>;

export interface ClusterOperatorPorts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly hasher: Hasher;
  readonly logger: OperationsLogger;
  readonly replication: ReplicationService;
  readonly membership: Pick<MembershipService, 'view' | 'positionsOf' | 'loadOf' | 'self' | 'onView' | 'onPeer'>;
  readonly askTransfer: AskTransfer;
  /** What space on a disk means for upserts. */
  readonly room: (space: DiskSpace) => DiskRoom;
}

/** A hand-over has taken place, or has not, within this. */
const TRANSFER_WAIT_MS = 4_000;
const TRANSFER_POLL_MS = 20;

/**
 * Drives the operations of the cluster while this node is primary of the map (replication 9): feeds the planner with what
 * membership and the replicas know, and performs what it asks for.
 */
export class ClusterOperator {
  readonly #ports: ClusterOperatorPorts;
  readonly #driver: OperationsDriver;
  /** Made anew with every reign over the map: grace periods count from then. */
  #observed: ObservedFacts | undefined;
  readonly #watched = new ObservedFacts();

  constructor(ports: ClusterOperatorPorts) {
    this.#ports = ports;
    const { clock, timers, hasher, logger, replication, membership } = ports;
    this.#driver = new OperationsDriver({
      clock,
      timers,
      hasher,
      logger,
      map: () => this.#ruled(),
      facts: (map, transfers) => (this.#observed ??= new ObservedFacts()).observe(this.#observation(map, transfers)),
      change: async (operation) => {
        const outcome = await replication.map.changeHere(operation);
        if (outcome.kind === 'redirect') throw new NodeError('SHARD_UNAVAILABLE', 'the map has another primary');
        if (outcome.kind === 'refused') throw new NodeError(outcome.code, outcome.detail);
      },
      transfer: (transfer) => this.#transfer(transfer),
    });
    membership.onView(() => this.#driver.nudge());
    membership.onPeer(({ kind }) => {
      if (kind === 'told' || kind === 'status') this.#driver.nudge();
    });
    replication.map.onChange(() => this.#driver.nudge());
    replication.onRole(() => this.#driver.nudge());
  }

  start(): void {
    this.#driver.start();
  }

  stop(): Promise<void> {
    return this.#driver.stop();
  }

  /** What this node knows of the cluster now, whoever drives it. */
  facts(map: ClusterMap): ClusterFacts {
    return this.#watched.observe(this.#observation(map, []));
  }

  /** The map while this node may change it. */
  #ruled(): ClusterMap | undefined {
    const { replication } = this.#ports;
    if (replication.map.known && replication.replica(META_SHARD)?.role === 'primary') return replication.map.current();
    this.#observed = undefined;
    return undefined;
  }

  #observation(map: ClusterMap, transfers: readonly Transfer[]): Parameters<ObservedFacts['observe']>[0] {
    const { clock, membership, replication } = this.#ports;
    const records = membership.view();
    const positions = new Map<NodeUuid, readonly ShardPosition[]>();
    for (const { nodeUuid } of records) {
      const bytes = membership.positionsOf(nodeUuid)?.bytes;
      const decoded = bytes === undefined ? undefined : decodePositions(bytes);
      if (decoded !== undefined) positions.set(nodeUuid, [...decoded.values()]);
    }
    positions.set(replication.self, replication.positions());
    const room = (node: NodeUuid): DiskRoom => {
      const load = membership.loadOf(node);
      return this.#ports.room({ freeBytes: load?.diskFreeBytes ?? 0, totalBytes: load?.diskTotalBytes ?? 0 });
    };
    return { nowMs: clock.monotonicMs(), wallMs: clock.wallMs(), map, records, positions, transfers, room };
  }

  async #transfer(transfer: Transfer): Promise<void> {
    const { clock, timers, replication, askTransfer } = this.#ports;
    const { shard, from, to } = transfer;
    if (from !== replication.self) await askTransfer(transfer);
    else if (!replication.transfer(shard, to))
      throw new NodeError(
        'OPERATION_CONFLICT',
        `shard ${shard} cannot be handed over now: the other copy is not in sync`,
      );
    const until = clock.monotonicMs() + TRANSFER_WAIT_MS;
    while (replication.leader(shard)?.node !== to) {
      if (clock.monotonicMs() >= until)
        throw new NodeError('OPERATION_CONFLICT', `the other copy of shard ${shard} did not take over in time`);
      await new Promise<void>((resolve) => timers.after(TRANSFER_POLL_MS, resolve));
    }
  }
}
