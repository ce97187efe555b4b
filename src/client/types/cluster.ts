import type { WriteConsistency } from './calls.js';

export type ReplicaRole = 'primary' | 'replica' | 'learner';

export interface ShardStatus {
  readonly shard: number;
  readonly epoch: number;
  readonly primary: string | null;
  /** Live documents, counted once. */
  readonly documents: number;
  readonly offset: number;
  /** All copies, the primary included. */
  readonly replicas: readonly {
    readonly node: string;
    readonly role: ReplicaRole;
    readonly inSync: boolean;
    readonly offset: number;
    readonly lagMs: number;
    /** Why the copy takes no entries; absent: it does. */
    readonly held?: 'DISK_FULL';
  }[];
}

/** The topology; the same from every node. */
export interface Status {
  readonly status: 'STARTING' | 'RUNNING' | 'DEGRADED' | 'DRAINING';
  readonly clusterMode: boolean;
  readonly activeNodes: number;
  readonly shardCount: number;
  readonly replicaCount: number;
  /** Per node its shards: a number for a primary, `"<n>-replica"` for a copy. */
  readonly topology: Readonly<
    Record<string, { readonly status: string; readonly shards: readonly (number | string)[] }>
  >;
  readonly nodeId: string;
  readonly clusterId: string;
  readonly version: string;
  readonly mapEpoch: number;
  readonly viewDigest: string;
  /** True when neither TLS nor a secret protects the ports. */
  readonly insecure: boolean;
  readonly uptimeMs: number;
  readonly documents: number;
  readonly shards: readonly ShardStatus[];
}

/** Settings agreed by the whole cluster. */
export interface ClusterSettings {
  readonly replicaCount: number;
  readonly writeConsistency: WriteConsistency;
  readonly partitionMode: 'available' | 'strict';
  /** How long a dead node keeps its copies: a duration, 0s–24h, e.g. `10m`. */
  readonly rebalanceGrace: string;
}

export interface ClusterMember {
  readonly nodeId: string;
  readonly nodeUuid: string;
  readonly incarnation: number;
  readonly status: string;
  readonly addresses: { readonly http: string; readonly grpc: string };
  readonly lagMs: number;
  readonly disk: { readonly freeBytes: number; readonly totalBytes: number };
  readonly version: string;
}

export interface Cluster {
  readonly clusterId: string;
  readonly mapEpoch: number;
  readonly viewDigest: string;
  /** Milliseconds within which a silent primary is replaced. */
  readonly failoverPromiseMs: number;
  /** Ids of the nodes of which a majority agrees to each change of the map: joins, moves, collections, settings. */
  readonly mapVoters: readonly string[];
  readonly settings: ClusterSettings;
  readonly members: readonly ClusterMember[];
}

/** A long-running change of the cluster was accepted; ask `operations.get` for its progress. */
export interface OperationAccepted {
  readonly operation: string;
}

/** A long-running change of the cluster, as the map remembers it: the last 32. */
export interface Operation {
  readonly id: string;
  /** `rebalance` is begun by the cluster itself, when nodes came or died; `force` and `forceMap` are done when they began. */
  readonly kind: 'drain' | 'remove' | 'movePrimary' | 'force' | 'forceMap' | 'rebalance';
  readonly state: 'running' | 'done' | 'failed' | 'aborted';
  /** Id of the node it is about. */
  readonly node?: string;
  readonly shard?: number;
  /** Copies that moved, of those that are to. */
  readonly progress: { readonly done: number; readonly total: number };
  /** Milliseconds since 1970. */
  readonly startedMs: number;
  readonly endedMs?: number;
  /** What it waits for, or why it failed. */
  readonly detail?: string;
}

/** Position and content digest of one shard, per replica; equal digests at one offset prove equal copies. */
export interface ShardDigest {
  readonly shard?: number;
  readonly offset: number;
  readonly chain: string;
  readonly live: string;
  readonly replicas: readonly {
    readonly node: string;
    readonly offset: number;
    readonly chain: string;
    readonly live: string;
  }[];
}

/** The answer of a probe (`/livez`, `/readyz`, `/health`), whatever its status. */
export interface Probe {
  /** True for 2xx. */
  readonly ok: boolean;
  readonly status: number;
  /** JSON, or text when it is not JSON. */
  readonly body: unknown;
}
