import { NodeError } from '../../../src/kernel/errors.js';
import { META_SHARD } from '../../../src/kernel/ids.js';
import { PeerError, PROTOCOL, type NodeUuid } from '../../../src/kernel/peer.js';
import type { NodeRecord } from '../../../src/modules/membership/core/node-record.js';
import type { MembershipServer } from '../../../src/modules/membership/membership-peers.js';
import { MembershipService } from '../../../src/modules/membership/membership.service.js';
import type { WriteOutcome, WriteRequest } from '../../../src/modules/replication/core/write.js';
import { ClusterDoor } from '../../../src/modules/replication/cluster-door.js';
import { MembershipFellows } from '../../../src/modules/replication/membership-fellows.js';
import { ClusterOperator } from '../../../src/modules/replication/operations/cluster-operator.js';
import type { ReplicaServer } from '../../../src/modules/replication/replica-peers.js';
import type { ShardIndexes } from '../../../src/modules/replication/replication-ports.js';
import { ReplicationService } from '../../../src/modules/replication/replication.service.js';
import type { ClusterMap } from '../../../src/modules/ring/core/map.js';
import type { MapOperation } from '../../../src/modules/ring/core/map-operations.js';
import { withMethods } from '../bugs/override.js';
import { inspectReplica, seedOf } from './inspect.js';
import type { ClusterShape, NodePorts, ReplicaInspection, ReplicaNode } from './node.js';

const REGISTER_AGAIN_MS = 1_000;

/**
 * A node of production's own services: membership, the way into the cluster, the map with its shard, the planner's driver
 * and every copy the map gives it. What Cluster (src/cluster.ts) does with them over gRPC is done here over the simulated
 * network; only the indexes are the simulator's.
 */
export class ClusterNode implements ReplicaNode {
  readonly replicas: ReplicaServer;
  readonly #ports: NodePorts;
  readonly #replication: ReplicationService;
  #membership: MembershipService | undefined;
  #operator: ClusterOperator | undefined;
  #stopping = false;

  constructor(
    ports: NodePorts,
    private readonly shape: ClusterShape,
  ) {
    this.#ports = ports;
    const { log, hasher, clock, timers, identity, random, note, nodeId } = ports;
    const say = (fields: object, message: string): void => note(`${message} ${JSON.stringify(fields, shortened)}`);
    const { heartbeatIntervalMs, heartbeatTimeoutMs, shardCount, replicaCount, partitionMode, rebalanceGraceMs } =
      shape;
    // A new disk takes the uuid that the world knows it by.
    let first: Uint8Array | undefined = identity.nodeUuid;
    this.#replication = new ReplicationService(
      {
        nodeId,
        shardCount,
        replicaCount,
        partitionMode,
        rebalanceGraceMs,
        moveBytesPerSecond: 2 ** 26,
        heartbeatIntervalMs,
        heartbeatTimeoutMs,
        writeConsistency: 'auto',
        similarity: 'cosine',
        hnswM: 16,
        hnswEfConstruction: 100,
        hnswEfSearch: 100,
        dimensions: undefined,
      },
      {
        log,
        hasher,
        clock,
        timers,
        random: {
          bytes: (length) => {
            const bytes = first ?? random.bytes(length);
            first = undefined;
            return bytes;
          },
        },
        shards: simIndexes(ports),
        logger: { info: say, warn: say, error: say },
        events: { streamed: () => undefined, copy: ({ kind }) => ports.count(`copy ${kind}`) },
      },
    );
    this.replicas = this.#replication.server;
  }

  get membership(): MembershipServer | undefined {
    return this.#membership;
  }

  async start(): Promise<void> {
    const { peers, timers, clock, hasher, log, random, address, note, fail, bugs } = this.#ports;
    const replication = this.#replication;
    await replication.identify();
    const door = new ClusterDoor(replication, log, clock, random, address);
    const membership = this.#enterable(door);
    this.#membership = membership;
    const fellows = new MembershipFellows(membership, () => clock.monotonicMs());
    replication.connect(peers, fellows);
    membership.onPaused(() => replication.paused());
    membership.onRefused((error) => fail(error));
    replication.onRole(() => this.#ports.count('role change'));
    if (replication.map.known) this.#learnMap(replication.map.current());
    replication.map.onChange((map) => this.#learnMap(map));
    replication.map.forwardTo((operation) => this.#forward(operation));
    const say = (fields: object, message: string): void => note(`${message} ${JSON.stringify(fields, shortened)}`);
    const operator = new ClusterOperator({
      clock,
      timers,
      hasher,
      logger: { info: say, warn: say },
      replication: bugs.has('rf-of-the-living') ? countingTheLiving(replication, membership) : replication,
      membership,
      askTransfer: ({ shard, from, to }) => this.#ports.calls.transfer(from, shard, to),
      room: () => 'ample',
    });
    this.#operator = operator;
    const entered = await membership.start();
    if (entered === undefined) return;
    if (entered.kind !== 'created') await replication.openMap(false);
    await replication.map.wait();
    await replication.openShards();
    membership.setStatus('ACTIVE');
    operator.start();
    if (entered.kind === 'resumed') await this.#registerAgain(door);
  }

  write(shard: number, request: WriteRequest): Promise<WriteOutcome> {
    return this.#replication.write(shard, request);
  }

  transfer(shard: number, to: NodeUuid): Promise<void> {
    if (!this.#replication.transfer(shard, to))
      throw new NodeError('OPERATION_CONFLICT', `shard ${shard} is not handed over now`);
    return Promise.resolve();
  }

  async change(operation: MapOperation): Promise<number> {
    const { map } = this.#replication;
    const outcome = await map.changeHere(operation);
    if (outcome.kind === 'written') return map.current().epoch;
    if (outcome.kind === 'refused') throw new NodeError(outcome.code, outcome.detail);
    throw new NodeError('SHARD_UNAVAILABLE', 'the map has another primary');
  }

  inspect(shard: number): ReplicaInspection | undefined {
    const copy = this.#replication.replica(shard);
    return copy && inspectReplica(copy, this.#replication.fault(shard) !== undefined);
  }

  view(): readonly NodeRecord[] | undefined {
    return this.#membership === undefined || this.#membership.clusterId === '' ? undefined : this.#membership.view();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#operator?.stop();
    this.#membership?.setStatus('LEAVING');
    await this.#replication.leave();
    this.#replication.stop();
    await this.#membership?.stop();
    await this.#ports.log.close();
  }

  #enterable(door: ClusterDoor): MembershipService {
    const { nodeId, address, clock, timers, hasher, note, membershipPeers, seeds } = this.#ports;
    const { heartbeatIntervalMs, heartbeatTimeoutMs } = this.shape;
    const storedClusterId = door.clusterId;
    const say = (_fields: object, message: string): void => note(message);
    return new MembershipService(
      {
        nodeId,
        nodeUuid: this.#replication.self,
        bootCount: this.#replication.identity.bootCount,
        advertisedHost: seedOf(address).host,
        grpcPort: seedOf(address).port,
        interfaces: [],
        clusterMode: true,
        seeds: seeds.map(seedOf),
        storedClusterId,
        emptyDirectory: storedClusterId === '',
        grpcAddress: address,
        httpAddress: address,
        version: 'simulated',
        protocolMin: PROTOCOL.min,
        protocolMax: PROTOCOL.max,
        heartbeatIntervalMs,
        heartbeatTimeoutMs,
      },
      { peers: membershipPeers, registry: door, clock, timers, hasher, logger: { info: say, warn: say, error: say } },
    );
  }

  async #forward(operation: MapOperation): Promise<number> {
    const primary = this.#replication.leader(META_SHARD)?.node;
    if (primary === undefined || primary === this.#replication.self)
      throw new NodeError('SHARD_UNAVAILABLE', 'the map has no primary now');
    try {
      return await this.#ports.calls.change(primary, operation);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      throw new NodeError('SHARD_UNAVAILABLE', error.message, { cause: error });
    }
  }

  #learnMap(map: ClusterMap): void {
    this.#membership?.setMap(
      map.epoch,
      map.nodes.map(({ nodeUuid, nodeId, address }) => ({ nodeUuid, nodeId, address })),
    );
    this.#ports.learned(map);
  }

  async #registerAgain(door: ClusterDoor): Promise<void> {
    const { timers } = this.#ports;
    while (!this.#stopping && this.#membership !== undefined) {
      const answer = await door.register(this.#membership.self, undefined);
      if (answer.kind !== 'later') return;
      await new Promise<void>((resolve) => void timers.after(REGISTER_AGAIN_MS, resolve));
    }
  }
}

/** Indexes as replication feeds them: what a shard's index in memory has of the log, and of the loose rows beside it. */
function simIndexes({ index, log }: NodePorts): ShardIndexes {
  return {
    open: async (shard, _collections, upTo, loose) => {
      const hosted = index(shard);
      const { tail } = log.state(shard);
      await hosted.clear();
      if (tail > 0) await hosted.apply(await log.scan(shard, 1, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER));
      for await (const entries of loose?.() ?? []) await hosted.apply(entries);
      return { replayed: tail, fromCheckpoint: false, offset: upTo ?? tail };
    },
    dropShard: (shard) => index(shard).clear(),
    defineCollections: () => Promise.resolve(),
    apply: (shard, entries) => index(shard).apply(entries),
    rewind: (shard, offset) => index(shard).rewind(offset),
    markFaulted: () => undefined,
  };
}

/** A bug: the planner is shown a map of those nodes only that answer, so that copies are wanted by their number. */
function countingTheLiving(replication: ReplicationService, membership: MembershipService): ReplicationService {
  const { map } = replication;
  const living = (): ClusterMap => {
    const up = membership.view().filter(({ status }) => status === 'ACTIVE');
    const whole = map.current();
    return { ...whole, nodes: whole.nodes.filter((node) => up.some(({ nodeUuid }) => nodeUuid === node.nodeUuid)) };
  };
  return withMethods(replication, { map: withMethods(map, { current: living }) });
}

/** Errors and bytes in a few words. */
function shortened(_key: string, value: unknown): unknown {
  if (value instanceof Error) return value.message;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return value;
}

/** The map's own shard is strict whatever the cluster's mode is (replication 9.1). */
export const STRICT_SHARDS: ReadonlySet<number> = new Set([META_SHARD]);
