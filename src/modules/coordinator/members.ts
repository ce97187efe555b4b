import { toHex, utf8 } from '../../kernel/bytes.js';
import type { Hasher } from '../../kernel/hasher.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { NodeStatus } from '../membership/core/node-record.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { NodeFacts } from './node-facts.js';

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

/** A cluster of one. */
export class SoleMembers implements Members {
  constructor(
    private readonly config: NodeConfig,
    private readonly replication: ReplicationService,
    private readonly hasher: Hasher,
    private readonly facts: NodeFacts,
  ) {}

  all(): readonly Member[] {
    const { nodeUuid, bootCount } = this.replication.identity;
    return [
      {
        nodeId: this.config.nodeId,
        nodeUuid: toHex(nodeUuid),
        incarnation: bootCount,
        status: this.facts.draining ? 'LEAVING' : 'ACTIVE',
        addresses: this.facts.addresses,
        lagMs: 0,
        disk: this.facts.disk,
        version: this.facts.version,
      },
    ];
  }

  digest(): string {
    const { nodeUuid, bootCount } = this.replication.identity;
    const view = `${this.config.nodeId} ${toHex(nodeUuid)} ${bootCount} ACTIVE`;
    return toHex(this.hasher.sha256(utf8(view)).slice(0, 8));
  }
}
