import type { NodeUuid } from '../../../kernel/peer.js';
import type { ReplicaRole } from '../../replication/core/protocol.js';

/** How far a node is believed to be there, for routing; JOINING and LEAVING nodes answer like ACTIVE ones. */
export type CopyStatus = 'ACTIVE' | 'SUSPECT' | 'UNAVAILABLE';

/** One copy of a shard, as this node knows it from the map, the view and the positions that heartbeats carry. */
export interface CopyRoute {
  readonly node: NodeUuid;
  readonly nodeId: string;
  /** It is on this node. */
  readonly self: boolean;
  readonly role: ReplicaRole;
  /** A primary is; a learner never is. */
  readonly inSync: boolean;
  readonly status: CopyStatus;
  /** Milliseconds it was behind when it was heard last, and how long that is ago while its node does not answer. */
  readonly lagMs: number;
  /** Offset applied to its index. */
  readonly offset: number;
  /** Offset of its log on its disk. */
  readonly durable: number;
  /** Its copy is damaged: it counts nowhere. */
  readonly faulted: boolean;
  /** Its disk is down to its reserve: it takes no entries (replication 5.8). */
  readonly held: boolean;
}

export interface ShardRoute {
  readonly shard: number;
  /** Number of the primary's epoch; 0 when there is none. */
  readonly epoch: number;
  /** The highest anybody told of, also when who reigned in it is gone. */
  readonly lastEpoch: number;
  readonly primary: NodeUuid | undefined;
  /** In the map's order, then others by uuid: what is left of a move, learners. */
  readonly copies: readonly CopyRoute[];
  /** Live documents of all collections, as last told by a copy; undefined when none told this node. */
  readonly documents: number | undefined;
  /** In-sync copies the map asks for: members of the set. */
  readonly wanted: number;
}
