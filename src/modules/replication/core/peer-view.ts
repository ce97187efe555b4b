import type { NodeUuid } from '../../../kernel/peer.js';
import type { DiskRoom } from './disk-hold.js';
import type { ShardPosition, ShardSet } from './protocol.js';

/** What a replica knows of another node, from membership and its heartbeats. */
export interface PeerFacts {
  /** It answers heartbeats: ACTIVE, or LEAVING and still there. */
  readonly live: boolean;
  /** Declared gone: UNAVAILABLE or LEFT. */
  readonly gone: boolean;
  /** Its port refused a connection, twice, since it was last heard (5.1). */
  readonly refused: boolean;
  /** Monotonic milliseconds of this node when it last answered; -Infinity for never. */
  readonly heardMs: number;
  /** Not to be nominated while another can be: its clock is off, it flaps, or its disk is nearly full (1.3, 5.8). */
  readonly reluctant: boolean;
  /** Its disk is down to its reserve: it refuses upserts (5.8). */
  readonly full: boolean;
  /** Its copy of this shard, as it last told. */
  readonly position: ShardPosition | undefined;
}

/** All other nodes, for one shard. */
export interface PeerView {
  /** Also of members that were never heard; undefined of a node nobody named. */
  get(node: NodeUuid): PeerFacts | undefined;
  /** Those that were heard of, ascending. */
  nodes(): readonly NodeUuid[];
}

/** What the map wants of this copy. */
export interface CopyPlan {
  /** The set the map decided; mapEpoch 0 before it decided one. */
  readonly configured: ShardSet;
  /** This node is on its way out, or its disk nearly full: it gives its reigns away, and takes none while another can. */
  readonly leaving: boolean;
  /** The set was forced: a reign of this copy has a higher epoch number (5.8); 0: it was not. */
  readonly epochFloor: number;
  /** What this node's disk has room for. */
  readonly room: DiskRoom;
  /** Whether the map had a collection and has it no more: nothing is written to it (2.3). */
  readonly isDropped: (collectionId: number) => boolean;
}

/** A moment of this node's clocks. */
export interface Now {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/** The timing of failure detection, milliseconds (5.1, 8.4). */
export interface FailoverTimes {
  readonly heartbeatMs: number;
  readonly failoverAfterMs: number;
}
