import type { NodeUuid } from '../../../kernel/peer.js';

/** States of a member, in the order in which they win over each other at equal incarnation (replication 8.2). */
export const NODE_STATUSES = ['JOINING', 'ACTIVE', 'LEAVING', 'SUSPECT', 'UNAVAILABLE', 'LEFT'] as const;
export type NodeStatus = (typeof NODE_STATUSES)[number];

/** One member as the view knows it (replication 8.2). Only its owner raises the incarnation. */
export interface NodeRecord {
  readonly nodeId: string;
  readonly nodeUuid: NodeUuid;
  readonly incarnation: number;
  readonly status: NodeStatus;
  /** `host:port` other nodes use for gRPC. */
  readonly grpcAddress: string;
  /** `host:port` of its REST interface, as it says itself. */
  readonly httpAddress: string;
  /** Of the package. */
  readonly version: string;
  readonly protocolMin: number;
  readonly protocolMax: number;
}

/** What a node tells of itself with every heartbeat, outside the view's digest. */
export interface NodeLoad {
  readonly diskFreeBytes: number;
  readonly diskTotalBytes: number;
  /** Its wall clock when it spoke: for the skew alarm (1.3). */
  readonly wallMs: number;
}
