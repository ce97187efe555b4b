import { toHex } from '../../kernel/bytes.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { ShardLeader } from '../replication/core/protocol.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { liveDocuments } from '../shard/core/rows.js';
import type { ShardRoute } from './core/route.js';

/**
 * Where the shards are, as this node knows it now: the map says which nodes hold one, epochs who is primary, heartbeats
 * who is in sync, the view who is alive. Read for every request, so an implementation keeps what it answers until
 * something changes.
 */
export interface Routes {
  readonly self: NodeUuid;
  /** Of the map the routes were made from. */
  readonly mapEpoch: number;
  /** In number order, one for each shard of the map. @throws NodeError STARTING before the map is loaded */
  shards(): readonly ShardRoute[];
  /** The shard of the map itself (replication 9.1). */
  meta(): ShardRoute;
  /** The configured name of a node; its uuid when it is not known. */
  nodeIdOf(node: NodeUuid): string;
  /** A node said it is not the primary, and perhaps who is: routes move upward only (replication 5.6). */
  onStaleLeader(shard: number, hint: ShardLeader | undefined): void;
}

/** The routes of a cluster of one: every shard is here. */
export class SoleRoutes implements Routes {
  constructor(
    private readonly replication: ReplicationService,
    private readonly nodeId: string,
  ) {}

  get self(): NodeUuid {
    return toHex(this.replication.identity.nodeUuid);
  }

  get mapEpoch(): number {
    return this.replication.map.current().epoch;
  }

  shards(): readonly ShardRoute[] {
    const { shardCount } = this.replication.map.current();
    return Array.from({ length: shardCount }, (_, shard) => this.#route(shard));
  }

  meta(): ShardRoute {
    return this.#route(META_SHARD);
  }

  nodeIdOf(node: NodeUuid): string {
    return node === this.self ? this.nodeId : node;
  }

  onStaleLeader(): void {
    // There is no other node that could be.
  }

  #route(shard: number): ShardRoute {
    const replica = this.replication.replica(shard);
    const faulted = this.replication.fault(shard) !== undefined;
    const serves = replica !== undefined && !faulted;
    const { self } = this;
    return {
      shard,
      epoch: replica?.epoch.num ?? 0,
      primary: serves ? self : undefined,
      copies: [
        {
          node: self,
          nodeId: this.nodeId,
          self: true,
          role: serves ? 'primary' : 'learner',
          inSync: serves,
          status: 'ACTIVE',
          lagMs: 0,
          offset: replica?.position.durable ?? 0,
          faulted,
        },
      ],
      documents: liveDocuments(this.replication.counters(shard)),
      wanted: 1,
    };
  }
}

/** Injection token of the Routes. */
export const ROUTES = Symbol('ROUTES');
