import type { NodeUuid } from '../../kernel/peer.js';
import type { NodeStatus } from '../membership/core/node-record.js';

/** A member of the cluster, as the view and its last heartbeat tell it. */
export interface Member {
  readonly nodeId: string;
  readonly nodeUuid: NodeUuid;
  readonly incarnation: number;
  readonly status: NodeStatus;
  readonly addresses: { readonly http: string; readonly grpc: string };
  /** Milliseconds since the slowest of its copies had everything its primary had. */
  readonly lagMs: number;
  readonly disk: { readonly freeBytes: number; readonly totalBytes: number };
  readonly version: string;
}

/** Who belongs to the cluster, as operators see it. */
export interface Members {
  /** By nodeId, this node included; those that left are not among them. */
  all(): readonly Member[];
  /** Equal on every node that sees the same members (replication 8.3). */
  digest(): string;
}

/** Injection token of the Members. */
export const MEMBERS = Symbol('MEMBERS');
