import type { NodeUuid } from '../../kernel/peer.js';
import type { NodeLoad, NodeRecord } from './core/node-record.js';

/** A node says it is alive, and the answer says the same of the other: heard means answered (replication 5.1, 8.3). */
export interface Heartbeat {
  /** '' while the node belongs to no cluster. */
  readonly clusterId: string;
  readonly self: NodeRecord;
  readonly load: NodeLoad;
  /** Digest of the sender's view; a mismatch triggers an exchange. */
  readonly viewDigest: string;
  readonly mapEpoch: number;
  /** Opaque to membership: what the sender's shards hold (replication's ShardPosition, encoded by the driver). */
  readonly positions: Uint8Array;
  /**
   * Whom the sender heard lately: a node is not declared failed while somebody hears it, so that one broken link does not
   * make all nodes quarrel about who is alive.
   */
  readonly heard: readonly HeardPeer[];
}

/** A peer that answered the speaker `agoMs` before it spoke. */
export interface HeardPeer {
  readonly nodeUuid: NodeUuid;
  readonly agoMs: number;
}

/**
 * Records for the other to merge; then, unless its view has this digest, it answers all of its own. So a change is told
 * with one record, and a comparison of equal views with none (replication 8.3).
 */
export interface Exchange {
  readonly clusterId: string;
  readonly from: NodeUuid;
  readonly viewDigest: string;
  readonly records: readonly NodeRecord[];
}

/** "Who are you?": asked of seeds before anything else (replication 9.2). */
export interface Introduction {
  readonly nodeId: string;
  readonly nodeUuid: NodeUuid;
  readonly bootCount: number;
  /** '' when it belongs to none. */
  readonly clusterId: string;
  /** A cluster of one node without documents, in its first boot: gives way to an older one. */
  readonly provisional: boolean;
  /** Wall clock of the bootstrap: of two provisional clusters the older stays. */
  readonly bootstrappedMs: number;
  readonly protocolMin: number;
  readonly protocolMax: number;
  readonly version: string;
  /** `host:port` at which it is asked: who gives way to another cluster must know where to find it. */
  readonly grpcAddress: string;
}

export interface JoinRequest {
  readonly record: NodeRecord;
  readonly bootCount: number;
}

export type JoinAnswer =
  /** Registered in the map; `records` is the view, so that the newcomer knows everybody at once. */
  | { readonly kind: 'joined'; readonly clusterId: string; readonly records: readonly NodeRecord[] }
  /** The map cannot change now (no majority, no primary yet): ask again. */
  | { readonly kind: 'later'; readonly detail: string }
  | {
      readonly kind: 'refused';
      readonly reason: 'DUPLICATE_NODE_ID' | 'FOREIGN_CLUSTER' | 'PROTOCOL';
      readonly detail: string;
    };

/** The way to other nodes for membership, by address: a node is not known by uuid before it answered. */
export interface MembershipPeers {
  introduce(address: string, self: Introduction, timeoutMs: number): Promise<Introduction>;
  join(address: string, request: JoinRequest, timeoutMs: number): Promise<JoinAnswer>;
  heartbeat(address: string, beat: Heartbeat, timeoutMs: number): Promise<Heartbeat>;
  /** Answers nothing when the views are equal after the merge, else all records of the other. */
  exchange(address: string, exchange: Exchange, timeoutMs: number): Promise<readonly NodeRecord[]>;
}

/**
 * What a node answers other nodes; implemented by MembershipService, called by the gRPC handlers and the simulator. A
 * refusal is thrown as NodeError and reaches the asking node as PeerError REJECTED with its code.
 */
export interface MembershipServer {
  onIntroduce(other: Introduction): Introduction;
  onJoin(request: JoinRequest): Promise<JoinAnswer>;
  onHeartbeat(beat: Heartbeat): Heartbeat;
  onExchange(exchange: Exchange): readonly NodeRecord[];
}
