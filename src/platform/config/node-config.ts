/** The whole, validated configuration of a node (api.md, Configuration). Frozen. Durations in milliseconds, sizes in bytes. */
export interface NodeConfig {
  readonly nodeId: string;
  /** HTTP port; 0 = any. */
  readonly port: number;
  readonly grpcPort: number;
  /** Address to listen on. */
  readonly host: string;
  /** `host[:grpcPort]` other nodes use. */
  readonly advertise: string;
  readonly dataDir: string;
  readonly clusterMode: boolean;
  readonly seeds: readonly { readonly host: string; readonly port: number }[];
  readonly shardCount: number;
  readonly replicaCount: number;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
  readonly queryTimeoutMs: number;
  readonly writeConsistency: 'auto' | 'one' | 'quorum' | 'all';
  readonly partitionMode: 'available' | 'strict';
  readonly fsync: FsyncPolicy;
  readonly rebalanceGraceMs: number;
  /** A copy that the map no longer gives this node is kept for so long. */
  readonly copyGraceMs: number;
  /** What copies that are being built elsewhere are sent at most, all together (replication 9.6). */
  readonly moveBytesPerSecond: number;
  readonly drainTimeoutMs: number;
  readonly logRetentionMs: number;
  readonly logRetentionBytes: number;
  readonly similarity: 'cosine' | 'dot' | 'euclidean';
  readonly hnswM: number;
  readonly hnswEfConstruction: number;
  readonly hnswEfSearch: number;
  /** Undefined: from the first vector. */
  readonly dimensions: number | undefined;
  /** Paths of readable PEM files that fit each other; read again on SIGHUP. */
  readonly grpcTls: { readonly cert: string; readonly key: string; readonly ca: string } | undefined;
  /** Paths of readable PEM files that fit each other. */
  readonly httpTls: { readonly cert: string; readonly key: string } | undefined;
  readonly clusterSecret: string | undefined;
  readonly apiKeys: readonly ApiKey[];
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';
  readonly logFormat: 'json' | 'pretty';
  readonly indexThreads: number;
  readonly maxMemoryBytes: number;
  readonly portsFile: string | undefined;
}

export type FsyncPolicy =
  { readonly kind: 'always' } | { readonly kind: 'interval'; readonly ms: number } | { readonly kind: 'os' };

export interface ApiKey {
  readonly name: string;
  readonly scope: 'read' | 'write' | 'admin';
  /** SHA-256 of the key, lower-case hex. */
  readonly sha256: string;
}

/** Injection token of the NodeConfig. */
export const NODE_CONFIG = Symbol('NODE_CONFIG');
