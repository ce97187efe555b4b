import { toHex, utf8 } from '../../kernel/bytes.js';
import { NodeError } from '../../kernel/errors.js';
import type { Hasher } from '../../kernel/hasher.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { liveDocuments, shardDigest } from '../shard/core/rows.js';
import type { ClusterPort } from './coordinator.js';
import type { ClusterView, DigestView, StatusView } from './core/requests.js';
import type { NodeFacts } from './node-facts.js';

/** What operators see and do; true for a cluster of one. */
export class ClusterService implements ClusterPort {
  constructor(
    private readonly config: NodeConfig,
    private readonly replication: ReplicationService,
    private readonly hasher: Hasher,
    private readonly facts: NodeFacts,
  ) {}

  status(): Promise<StatusView> {
    const map = this.replication.map.current();
    const { nodeId } = this.config;
    const shards = Array.from({ length: map.shardCount }, (_, shard) => this.#shardStatus(shard));
    const degraded = shards.some((shard) => shard.primary === null);
    return Promise.resolve({
      status: this.facts.draining ? 'DRAINING' : !this.facts.ready ? 'STARTING' : degraded ? 'DEGRADED' : 'RUNNING',
      clusterMode: this.config.clusterMode,
      activeNodes: 1,
      shardCount: map.shardCount,
      replicaCount: map.settings.replicaCount,
      topology: {
        [nodeId]: {
          status: this.facts.draining ? 'LEAVING' : 'ACTIVE',
          shards: shards.filter((shard) => shard.primary !== null).map(({ shard }) => shard),
        },
      },
      nodeId,
      clusterId: map.clusterId,
      version: this.facts.version,
      mapEpoch: map.epoch,
      viewDigest: this.#viewDigest(),
      insecure: this.config.grpcTls === undefined && this.config.clusterSecret === undefined,
      uptimeMs: Math.round(this.facts.uptimeMs),
      documents: shards.reduce((sum, shard) => sum + shard.documents, 0),
      shards,
    });
  }

  cluster(): Promise<ClusterView> {
    const map = this.replication.map.current();
    return Promise.resolve({
      clusterId: map.clusterId,
      mapEpoch: map.epoch,
      viewDigest: this.#viewDigest(),
      failoverPromiseMs: Math.max(2.5 * this.config.heartbeatIntervalMs, 0.6 * this.config.heartbeatTimeoutMs) + 2_000,
      settings: map.settings,
      members: [
        {
          nodeId: this.config.nodeId,
          nodeUuid: toHex(this.replication.identity.nodeUuid),
          incarnation: this.replication.identity.bootCount,
          status: this.facts.draining ? 'LEAVING' : 'ACTIVE',
          addresses: this.facts.addresses,
          lagMs: 0,
          disk: this.facts.disk,
          version: this.facts.version,
        },
      ],
    });
  }

  digest(shard: number): Promise<DigestView> {
    this.#checkShard(shard);
    const replica = this.replication.replica(shard);
    const fault = this.replication.fault(shard);
    if (fault !== undefined || replica === undefined) {
      return Promise.reject(
        new NodeError(fault === undefined ? 'STARTING' : 'LOG_CORRUPT', fault?.message ?? `shard ${shard} is opening`),
      );
    }
    const { offset, chain, counters } = replica.summary();
    const position = { offset, chain: toHex(chain), live: toHex(shardDigest(counters)) };
    return Promise.resolve({ shard, ...position, replicas: [{ node: this.config.nodeId, ...position }] });
  }

  // Nothing was ever written on another branch: only a healed partition can supersede a write.
  conflicts(shard: number): Promise<readonly unknown[]> {
    this.#checkShard(shard);
    return Promise.resolve([]);
  }

  reshard(shardCount: number): Promise<{ readonly operation: string }> {
    const current = this.replication.map.current().shardCount;
    const detail =
      shardCount === current
        ? `the cluster has ${current} shards already`
        : 'the shard count of a running cluster cannot be changed by this version; export or back up, and restore into a node started with another --shard-count';
    return Promise.reject(new NodeError('OPERATION_CONFLICT', detail));
  }

  drain(nodeId: string): Promise<{ readonly operation: string }> {
    this.#checkNode(nodeId);
    return Promise.reject(
      new NodeError('OPERATION_CONFLICT', `"${nodeId}" is the only node: there is none to take its shards`),
    );
  }

  removeNode(nodeId: string): Promise<{ readonly operation: string }> {
    this.#checkNode(nodeId);
    return Promise.reject(
      new NodeError('OPERATION_CONFLICT', `"${nodeId}" is the only node: removing it would lose every document`),
    );
  }

  movePrimary(shard: number, nodeId: string): Promise<{ readonly operation: string }> {
    this.#checkShard(shard);
    this.#checkNode(nodeId);
    return Promise.reject(new NodeError('OPERATION_CONFLICT', `"${nodeId}" is the primary of shard ${shard} already`));
  }

  operation(id: string): Promise<unknown> {
    return Promise.reject(new NodeError('OPERATION_NOT_FOUND', `there is no operation "${id}"`));
  }

  abortOperation(id: string): Promise<void> {
    return Promise.reject(new NodeError('OPERATION_NOT_FOUND', `there is no operation "${id}"`));
  }

  #shardStatus(shard: number): StatusView['shards'][number] {
    const node = this.config.nodeId;
    const replica = this.replication.replica(shard);
    const serves = replica !== undefined && this.replication.fault(shard) === undefined;
    const offset = replica?.position.durable ?? 0;
    return {
      shard,
      epoch: replica?.epoch.num ?? 0,
      primary: serves ? node : null,
      documents: liveDocuments(this.replication.counters(shard)),
      offset,
      replicas: [{ node, role: serves ? 'primary' : 'learner', inSync: serves, offset, lagMs: 0 }],
    };
  }

  /** Equal on every node that sees the same members (replication 8.3). */
  #viewDigest(): string {
    const { nodeUuid, bootCount } = this.replication.identity;
    const view = `${this.config.nodeId} ${toHex(nodeUuid)} ${bootCount} ACTIVE`;
    return toHex(this.hasher.sha256(utf8(view)).slice(0, 8));
  }

  #checkShard(shard: number): void {
    const { shardCount } = this.replication.map.current();
    if (shard >= shardCount)
      throw new NodeError('SHARD_NOT_FOUND', `there is no shard ${shard}; the cluster has ${shardCount}`);
  }

  #checkNode(nodeId: string): void {
    if (nodeId !== this.config.nodeId) throw new NodeError('NODE_NOT_FOUND', `there is no node "${nodeId}"`);
  }
}
