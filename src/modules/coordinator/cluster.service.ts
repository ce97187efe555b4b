import { toHex } from '../../kernel/bytes.js';
import { NodeError } from '../../kernel/errors.js';
import { failoverAfterMs } from '../../kernel/failover.js';
import { compareIds, META_SHARD } from '../../kernel/ids.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { nodeById } from '../ring/core/map.js';
import type { ClusterOperations } from './cluster-operations.js';
import type { ClusterPort } from './coordinator.js';
import type { ClusterView, DigestView, StatusView } from './core/requests.js';
import type { CopyRoute, ShardRoute } from './core/route.js';
import { degradation, isDegraded, mapDegradation, serves, topologyOf } from './core/topology.js';
import type { FanOut } from './fan-out.js';
import type { Member, Members } from './members.js';
import type { NodeFacts } from './node-facts.js';
import type { ConflictView } from './replica-gate.js';
import type { Routes } from './routes.js';
import { shardError } from './shard-error.js';

/** Another node is asked about its copies for so long. */
const ASK_MS = 2_000;

/** What operators see and do; the same from every node. */
export class ClusterService implements ClusterPort {
  constructor(
    private readonly config: NodeConfig,
    private readonly replication: ReplicationService,
    private readonly routes: Routes,
    private readonly fanOut: FanOut,
    private readonly members: Members,
    private readonly operations: ClusterOperations,
    private readonly facts: NodeFacts,
  ) {}

  status(): Promise<StatusView> {
    if (!this.replication.map.known) return Promise.resolve(this.#starting());
    const map = this.replication.map.current();
    this.routes.refresh();
    const routes = this.routes.shards();
    const members = this.members.all();
    const degraded = routes.some(isDegraded);
    return Promise.resolve({
      status: this.facts.draining ? 'DRAINING' : !this.facts.ready ? 'STARTING' : degraded ? 'DEGRADED' : 'RUNNING',
      clusterMode: this.config.clusterMode,
      activeNodes: members.filter(({ status }) => status === 'ACTIVE' || status === 'LEAVING').length,
      shardCount: map.shardCount,
      replicaCount: map.settings.replicaCount,
      topology: topologyOf(members, routes),
      nodeId: this.config.nodeId,
      clusterId: map.clusterId,
      version: this.facts.version,
      mapEpoch: map.epoch,
      viewDigest: this.members.digest(),
      insecure: this.config.grpcTls === undefined && this.config.clusterSecret === undefined,
      uptimeMs: Math.round(this.facts.uptimeMs),
      documents: routes.reduce((sum, { documents }) => sum + (documents ?? 0), 0),
      shards: routes.map((route) => shardStatus(route)),
    });
  }

  /** Of a node that has no map yet: what it is configured as, and of the cluster nothing. */
  #starting(): StatusView {
    const { clusterMode, shardCount, replicaCount, nodeId, grpcTls, clusterSecret } = this.config;
    return {
      status: this.facts.draining ? 'DRAINING' : 'STARTING',
      clusterMode,
      activeNodes: 0,
      shardCount,
      replicaCount,
      topology: {},
      nodeId,
      clusterId: '',
      version: this.facts.version,
      mapEpoch: 0,
      viewDigest: '',
      insecure: grpcTls === undefined && clusterSecret === undefined,
      uptimeMs: Math.round(this.facts.uptimeMs),
      documents: 0,
      shards: [],
    };
  }

  degraded(): readonly string[] {
    if (!this.replication.map.known) return [];
    this.routes.refresh();
    const shards = this.routes.shards().flatMap((route) => degradation(route) ?? []);
    const map = mapDegradation(this.routes.meta(), this.replication.replica(META_SHARD)?.isMapAstray === true);
    return map === undefined ? shards : [...shards, map];
  }

  cluster(): Promise<ClusterView> {
    const map = this.replication.map.current();
    return Promise.resolve({
      clusterId: map.clusterId,
      mapEpoch: map.epoch,
      viewDigest: this.members.digest(),
      failoverPromiseMs: failoverAfterMs(this.config.heartbeatIntervalMs, this.config.heartbeatTimeoutMs) + 2_000,
      mapVoters: map.meta.members.map((node) => this.routes.nodeIdOf(node)),
      settings: map.settings,
      members: this.members.all(),
    });
  }

  /** Of every copy that can be reached; the primary's first (replication 6.5). */
  async digest(shard: number): Promise<DigestView> {
    const route = this.#route(shard);
    const asked = route.copies.filter(({ status }) => status !== 'UNAVAILABLE');
    const found = await Promise.all(asked.map((copy) => this.#position(shard, copy)));
    const replicas = found.filter((position) => position !== undefined);
    const primary = this.routes.nodeIdOf(route.primary ?? '');
    // One that is being built, or that moved away, speaks for no shard.
    const learners = new Set(asked.filter(({ role }) => role === 'learner').map(({ nodeId }) => nodeId));
    const main = replicas.find(({ node }) => node === primary) ?? replicas.find(({ node }) => !learners.has(node));
    if (main === undefined) {
      const fault = this.replication.fault(shard);
      if (fault !== undefined) throw new NodeError('LOG_CORRUPT', fault.message);
      throw shardError(shard, { reason: asked.some(({ faulted }) => faulted) ? 'FAULTED' : 'UNREACHABLE' });
    }
    const { offset, chain, live } = main;
    return { shard, offset, chain, live, replicas };
  }

  /** Of every copy that can be reached: each primary records what it merged, and keeps it when it reigns no more. */
  async conflicts(shard: number): Promise<readonly unknown[]> {
    const asked = this.#route(shard).copies.filter(({ status }) => status !== 'UNAVAILABLE');
    const answers = await Promise.all(asked.map(({ node }) => this.#conflictsOf(shard, node)));
    const known = answers.filter((answer) => answer !== undefined);
    // One that is being built, or that moved away, speaks for no shard.
    if (!answers.some((answer, i) => answer !== undefined && asked[i].role !== 'learner'))
      throw shardError(shard, { reason: 'UNREACHABLE' });
    // The copy that lost a write and the primary that was offered it may both have recorded it.
    const one = new Map(known.flat().map((found) => [`${found.version} ${found.winner} ${found.id}`, found]));
    return [...one.values()].sort((a, b) => a.mergedMs - b.mergedMs || compareIds(a.id, b.id));
  }

  reshard(shardCount: number): Promise<{ readonly operation: string }> {
    const current = this.replication.map.current().shardCount;
    const detail =
      shardCount === current
        ? `the cluster has ${current} shards already`
        : 'the shard count of a running cluster cannot be changed by this version; export or back up, and restore into a node started with another --shard-count';
    return Promise.reject(new NodeError('OPERATION_CONFLICT', detail));
  }

  async drain(nodeId: string): Promise<{ readonly operation: string }> {
    return this.operations.startDrain(this.#node(nodeId));
  }

  async removeNode(nodeId: string): Promise<{ readonly operation: string }> {
    return this.operations.remove(this.#node(nodeId));
  }

  async movePrimary(shard: number, nodeId: string): Promise<{ readonly operation: string }> {
    this.routes.refresh();
    const route = this.#route(shard);
    const node = this.#node(nodeId);
    if (route.primary === node)
      throw new NodeError('OPERATION_CONFLICT', `"${nodeId}" is the primary of shard ${shard} already`);
    if (!route.copies.some((copy) => copy.node === node && serves(copy)))
      throw new NodeError('OPERATION_CONFLICT', `"${nodeId}" has no copy of shard ${shard} that is in sync`);
    return this.operations.movePrimary(shard, node);
  }

  async force(shard: number, nodeId: string, empty: boolean): Promise<{ readonly operation: string }> {
    this.#route(shard);
    return this.operations.force(shard, this.#node(nodeId), empty);
  }

  async forceMap(nodeId: string): Promise<{ readonly operation: string }> {
    if (this.#node(nodeId) === this.replication.self) return this.operations.forceMap();
    const detail = `the map goes on from the copy of the node that is asked, which is "${this.config.nodeId}": ask "${nodeId}"`;
    throw new NodeError('OPERATION_CONFLICT', detail);
  }

  async operation(id: string): Promise<unknown> {
    const operation = await this.operations.operation(id);
    if (operation === undefined) throw new NodeError('OPERATION_NOT_FOUND', `there is no operation "${id}"`);
    return operation;
  }

  abortOperation(id: string): Promise<void> {
    return this.operations.abort(id);
  }

  /** Where one copy stands, or undefined when it cannot say. */
  async #position(shard: number, { node, nodeId }: CopyRoute): Promise<DigestView['replicas'][number] | undefined> {
    const ask = { mapEpoch: 0, gates: [{ shard, epoch: 0, primary: false, stale: true }] };
    try {
      const [reply] = await this.fanOut.accessOf(node).call('summary', ask, { timeoutMs: ASK_MS });
      if (reply.refusal !== undefined) return undefined;
      const { offset, chain, live } = reply.value;
      return { node: nodeId, offset, chain: toHex(chain), live: toHex(live) };
    } catch (error) {
      if (error instanceof PeerError || error instanceof NodeError) return undefined;
      throw error;
    }
  }

  /** What one copy recorded, or undefined when it cannot say. */
  async #conflictsOf(shard: number, node: NodeUuid): Promise<readonly ConflictView[] | undefined> {
    const ask = { mapEpoch: 0, gates: [{ shard, epoch: 0, primary: false, stale: true }] };
    try {
      const [reply] = await this.fanOut.accessOf(node).call('conflicts', ask, { timeoutMs: ASK_MS });
      return reply.refusal === undefined ? (reply.value as readonly ConflictView[]) : undefined;
    } catch (error) {
      if (error instanceof PeerError || error instanceof NodeError) return undefined;
      throw error;
    }
  }

  #route(shard: number): ShardRoute {
    const route = this.routes.shards().at(shard);
    if (route === undefined) {
      const { shardCount } = this.replication.map.current();
      throw new NodeError('SHARD_NOT_FOUND', `there is no shard ${shard}; the cluster has ${shardCount}`);
    }
    return route;
  }

  #node(nodeId: string): NodeUuid {
    const member: Member | undefined = this.members.all().find((candidate) => candidate.nodeId === nodeId);
    // One that was stopped in good order is no member, but the map still counts on it.
    const found = member ?? nodeById(this.replication.map.current(), nodeId);
    if (found === undefined) throw new NodeError('NODE_NOT_FOUND', `there is no node "${nodeId}"`);
    return found.nodeUuid;
  }
}

function shardStatus({ shard, lastEpoch, primary, documents, copies }: ShardRoute): StatusView['shards'][number] {
  const leader = copies.find(({ node, status, faulted }) => node === primary && status !== 'UNAVAILABLE' && !faulted);
  return {
    shard,
    epoch: lastEpoch,
    primary: leader?.nodeId ?? null,
    documents: documents ?? 0,
    offset: leader?.offset ?? Math.max(0, ...copies.map(({ offset }) => offset)),
    replicas: copies.map((copy) => ({
      node: copy.nodeId,
      role: copy.role,
      inSync: serves(copy),
      offset: copy.offset,
      lagMs: copy.lagMs,
      ...(copy.held && copy.status !== 'UNAVAILABLE' ? { held: 'DISK_FULL' as const } : {}),
    })),
  };
}
