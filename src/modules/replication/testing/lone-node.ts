/** What a node with one shard and no replicas is set to. */
export const LONE_NODE = {
  nodeId: 'node-1',
  shardCount: 1,
  replicaCount: 0,
  writeConsistency: 'auto',
  partitionMode: 'available',
  rebalanceGraceMs: 1_000,
  moveBytesPerSecond: 2 ** 26,
  heartbeatIntervalMs: 500,
  heartbeatTimeoutMs: 3_000,
  similarity: 'cosine',
  hnswM: 8,
  hnswEfConstruction: 60,
  hnswEfSearch: 50,
  dimensions: 2,
} as const;
