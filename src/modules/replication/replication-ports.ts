import type { Clock } from '../../kernel/clock.js';
import type { Hasher } from '../../kernel/hasher.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { Random } from '../../kernel/random.js';
import type { Timers } from '../../kernel/timers.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { LogStore } from '../log/log-store.js';
import type { DiskRoom } from './core/disk-hold.js';
import type { ShardService } from '../shard/shard.service.js';

/** What of the configuration replication goes by. */
export type ReplicationSettings = Pick<
  NodeConfig,
  | 'nodeId'
  | 'shardCount'
  | 'replicaCount'
  | 'writeConsistency'
  | 'partitionMode'
  | 'rebalanceGraceMs'
  | 'moveBytesPerSecond'
  | 'heartbeatIntervalMs'
  | 'heartbeatTimeoutMs'
  | 'similarity'
  | 'hnswM'
  | 'hnswEfConstruction'
  | 'hnswEfSearch'
  | 'dimensions'
>;

/** The indexes of this node's shards, as replication feeds them. */
export type ShardIndexes = Pick<
  ShardService,
  'open' | 'dropShard' | 'defineCollections' | 'apply' | 'rewind' | 'markFaulted'
>;

/** What the replication service needs; all of it swapped under test. */
export interface ReplicationPorts {
  readonly log: LogStore;
  readonly shards: ShardIndexes;
  readonly hasher: Hasher;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: ReplicationLogger;
  readonly events: ReplicationEvents;
  /** Of the data directory; absent: there is always room. */
  readonly disk?: ReplicationDisk;
}

/** The disk as replication deals with it (replication 5.8). */
export interface ReplicationDisk {
  room(): DiskRoom;
  /** Bytes of entries from a primary, which nobody admitted here, are being written. */
  takes(bytes: number): void;
}

export interface ReplicationLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What happened to a copy, or to what is kept for one. */
export interface CopyEvent {
  /**
   * `dropped`: it had moved away and was deleted here (replication 9.6). `demoted`: it is behind, and the log of the shard,
   * which is over its budget, is kept for it no more: it will get a snapshot (2.11). `healed`: it was damaged here, has been
   * made whole from another one, and serves again (2.12).
   * `held`: the disk is down to its reserve, and the copy here takes no more entries (5.8); `resumed`: it takes them again.
   * `forced`: an operator made the shard go on from the copy of this node, or from an empty one there.
   */
  readonly kind: 'dropped' | 'demoted' | 'healed' | 'held' | 'resumed' | 'forced';
  readonly shard: number;
  /** Whose copy. */
  readonly node: NodeUuid;
}

/** What is counted for operators. */
export interface ReplicationEvents {
  copy(event: CopyEvent): void;
  /** Entries of a log were sent to a follower: for one that returns, what it had missed and nothing else (replication 4). */
  streamed(shard: number, to: NodeUuid, entries: number, bytes: number): void;
}
