import { networkInterfaces } from 'node:os';
import { NodeError } from './kernel/errors.js';
import { META_SHARD } from './kernel/ids.js';
import { PeerError, PROTOCOL, type NodeUuid } from './kernel/peer.js';
import { toHex } from './kernel/bytes.js';
import type { LogStore } from './modules/log/log-store.js';
import { GrpcMembershipPeers } from './modules/membership/adapters/grpc-membership-peers.js';
import { membershipHandlers } from './modules/membership/adapters/grpc-membership-server.js';
import type { NodeRecord } from './modules/membership/core/node-record.js';
import type {
  Exchange,
  Heartbeat,
  Introduction,
  JoinAnswer,
  JoinRequest,
  MembershipServer,
} from './modules/membership/membership-peers.js';
import { MembershipService } from './modules/membership/membership.service.js';
import { MEMBERSHIP_SERVICE } from './modules/membership/membership.mapper.js';
import { GrpcReplicaPeers } from './modules/replication/adapters/grpc-replica-peers.js';
import { replicaHandlers } from './modules/replication/adapters/grpc-replica-server.js';
import { shardHandlers } from './modules/coordinator/adapters/grpc-query-server.js';
import { SHARD_SERVICE } from './modules/coordinator/query.mapper.js';
import type { PeerShards } from './modules/coordinator/shard-access.js';
import type { ShardCallServer } from './modules/coordinator/shard-call-server.js';
import type { Transfer } from './modules/ring/core/facts.js';
import type { MapOperation } from './modules/ring/core/map-operations.js';
import type { ClusterPlace } from './modules/replication/cluster-place.js';
import { ClusterDoor } from './modules/replication/cluster-door.js';
import { IndexDesk } from './modules/replication/index-desk.js';
import { IndexIntake } from './modules/replication/index-intake.js';
import { MembershipFellows } from './modules/replication/membership-fellows.js';
import { ClusterOperator } from './modules/replication/operations/cluster-operator.js';
import { REPLICA_SERVICE } from './modules/replication/replica.mapper.js';
import type { ReplicationService } from './modules/replication/replication.service.js';
import type { ShardService } from './modules/shard/shard.service.js';
import { nodeByUuid, type ClusterMap } from './modules/ring/core/map.js';
import { wasRemoved } from './modules/ring/core/node-operations.js';
import { systemTimers } from './platform/clock/system-timers.js';
import type { NodeConfig } from './platform/config/node-config.js';
import type { NodeGrpcServer } from './platform/grpc/node-grpc-server.js';
import { PeerAuth } from './platform/grpc/peer-auth.js';
import { PeerChannels, type PeerTarget } from './platform/grpc/peer-channels.js';
import type { PeerIdentity } from './platform/grpc/peer-identity.js';
import { PeerCredentials } from './platform/grpc/peer-credentials.js';
import { peerSecurityOf, type PeerSecurity } from './platform/grpc/peer-security.js';
import type { DiskRoom, DiskSpace } from './platform/resources/disk-guard.js';
import type { PlatformParts } from './platform/platform.module.js';

/** Peers may call before this node knows its own address: they are told to come again. */
class LateMembership implements MembershipServer {
  service: MembershipService | undefined;

  onIntroduce(other: Introduction): Introduction {
    return this.#now().onIntroduce(other);
  }

  onJoin(request: JoinRequest): Promise<JoinAnswer> {
    return this.#now().onJoin(request);
  }

  onHeartbeat(beat: Heartbeat): Heartbeat {
    return this.#now().onHeartbeat(beat);
  }

  onExchange(exchange: Exchange): readonly NodeRecord[] {
    return this.#now().onExchange(exchange);
  }

  #now(): MembershipService {
    if (this.service === undefined) throw new NodeError('STARTING', 'the node is starting; try again in a moment');
    return this.service;
  }
}

/** How often the free space of the disk is told to the others. */
const DISK_EVERY_MS = 5_000;
const TRANSFER_ASK_MS = 2_000;
/** A change of the map waits for a majority of its voters. */
const CHANGE_ASK_MS = 5_000;

/**
 * This node among others: who is alive, the way to them, and the way into the cluster (replication 8, 9.2). Puts
 * membership, the connections between nodes and replication together; a node alone has the same, with nobody to talk to.
 */
export class Cluster {
  readonly channels: PeerChannels;
  readonly #security: PeerSecurity;
  readonly #late = new LateMembership();
  #disk: NodeJS.Timeout | undefined;
  #intake: IndexIntake | undefined;
  /** The map membership was told last. */
  #told: ClusterMap | undefined;

  /** After `replication.identify()`, before the server listens. */
  constructor(
    private readonly config: NodeConfig,
    private readonly parts: PlatformParts,
    private readonly replication: ReplicationService,
    private readonly log: LogStore,
    private readonly place: ClusterPlace,
    private readonly peerShards: PeerShards,
    calls: ShardCallServer,
    private readonly shards: ShardService,
    server: NodeGrpcServer,
  ) {
    const { clock, random, logger, metrics } = parts;
    this.#security = peerSecurityOf(server.certificates, config.clusterSecret);
    const clusterId = (): string => this.#late.service?.clusterId ?? '';
    const { nodeId } = config;
    const nodeUuid = toHex(replication.identity.nodeUuid);
    this.channels = new PeerChannels({
      credentials: new PeerCredentials({ nodeId, nodeUuid, clusterId, security: this.#security, clock, random }),
      clock,
      log: logger.child({ module: 'peers' }),
      failed: (connection, reason) => metrics.peerFailed(connection, reason),
    });
    if (config.clusterMode) {
      const refused = (reason: string): void => metrics.peerRefused(reason);
      const auth = new PeerAuth({
        nodeId,
        security: this.#security,
        clusterId,
        registered: (peer) => this.#mayCall(peer),
        clock,
        log: logger.child({ module: 'peers' }),
        refused,
      });
      const malformed = (): void => refused('malformed');
      const indexes = new IndexDesk(replication, shards, clock, systemTimers);
      server.addPeerService(MEMBERSHIP_SERVICE, membershipHandlers(this.#late, malformed), auth);
      server.addPeerService(REPLICA_SERVICE, replicaHandlers(replication.server, indexes, malformed), auth);
      server.addPeerService(SHARD_SERVICE, shardHandlers(calls, malformed), auth);
    }
  }

  get membership(): MembershipService | undefined {
    return this.#late.service;
  }

  /** Where a node is, as the view says. */
  readonly resolve = (uuid: NodeUuid): Required<PeerTarget> | undefined => {
    const membership = this.#late.service;
    const address = membership?.addressOf(uuid);
    const nodeId = membership?.record(uuid)?.nodeId ?? this.#registered(uuid);
    return address === undefined || nodeId === undefined ? undefined : { address, nodeId };
  };

  /**
   * Finds the way into the cluster; resolves when the map is known here and every local copy is open.
   * @param grpc port it listens on
   * @param http `host:port` of its REST interface
   * @throws MembershipRefusedError when the cluster does not take this node in
   */
  async enter(grpc: number, http: number, settled: (what: 'map' | 'shards') => void): Promise<void> {
    const { clock, hasher, random, logger, version } = this.parts;
    const { replication } = this;
    const { host, port } = advertisedAddress(this.config.advertise);
    const grpcAddress = join(host, port ?? grpc);
    const door = new ClusterDoor(replication, this.log, clock, random, grpcAddress);
    const storedClusterId = door.clusterId;
    const membership = new MembershipService(
      {
        nodeId: this.config.nodeId,
        nodeUuid: replication.self,
        bootCount: replication.identity.bootCount,
        advertisedHost: host,
        grpcPort: grpc,
        interfaces: ownAddresses(),
        clusterMode: this.config.clusterMode,
        seeds: this.config.seeds,
        storedClusterId,
        registeredAt: this.#registeredAt(),
        emptyDirectory: storedClusterId === '',
        grpcAddress,
        httpAddress: join(host, http),
        version,
        protocolMin: PROTOCOL.min,
        protocolMax: PROTOCOL.max,
        heartbeatIntervalMs: this.config.heartbeatIntervalMs,
        heartbeatTimeoutMs: this.config.heartbeatTimeoutMs,
      },
      {
        peers: new GrpcMembershipPeers({ channels: this.channels, nodeIdAt: (address) => this.#nodeIdAt(address) }),
        registry: door,
        clock,
        timers: systemTimers,
        hasher,
        logger: logger.child({ module: 'membership' }),
      },
    );
    this.#late.service = membership;
    const room = (space: DiskSpace): DiskRoom => this.parts.diskGuard.room(space);
    const fellows = new MembershipFellows(membership, () => clock.monotonicMs(), room);
    const peers = new GrpcReplicaPeers({
      channels: this.channels,
      resolve: this.resolve,
      others: () => this.#others(),
    });
    replication.connect(peers, fellows);
    const { log, shards } = this;
    const intakeLog = logger.child({ module: 'index-intake' });
    this.#intake = new IndexIntake({ replication, shards, log, peers, clock, timers: systemTimers, logger: intakeLog });
    replication.map.forwardTo((operation) => this.#forwardChange(operation));
    membership.onPaused(() => replication.paused());
    membership.onRefused((error) => this.parts.fatal(1, error));
    if (replication.map.known) this.#tellMap(replication.map.current());
    replication.map.onChange((map) => this.#tellMap(map));
    this.#tellDisk();
    const operator = new ClusterOperator({
      clock,
      timers: systemTimers,
      hasher,
      logger: logger.child({ module: 'operations' }),
      replication,
      membership,
      askTransfer: (transfer) => this.#askTransfer(transfer),
      room,
    });
    this.place.take({ membership, fellows, operator, channels: this.channels, resolve: this.resolve });
    const entered = await membership.start();
    if (entered === undefined) throw new NodeError('DRAINING', 'the node was stopped while it looked for its cluster');
    if (entered.kind !== 'created') await replication.openMap(false);
    await replication.map.wait();
    settled('map');
    await replication.openShards();
    settled('shards');
    membership.setStatus('ACTIVE');
    operator.start();
    this.#intake.start();
    if (entered.kind === 'resumed') void this.#registerAgain(door);
  }

  /** Says farewell; the connections are closed. */
  async leave(): Promise<void> {
    clearInterval(this.#disk);
    await this.place.taken?.operator.stop();
    this.#late.service?.setStatus('LEAVING');
    await this.replication.leave();
  }

  async stop(): Promise<void> {
    const taken = this.#intake?.stop();
    await this.#late.service?.stop();
    // What is still asked for is answered no more.
    this.channels.close();
    await taken;
  }

  /** Where the map, as it was last known here, has this node. */
  #registeredAt(): string | undefined {
    const { map, self } = this.replication;
    return map.known ? nodeByUuid(map.current(), self)?.address : undefined;
  }

  /** A node that comes back may have another address, or was drained: the map is told, when it can be. */
  async #registerAgain(door: ClusterDoor): Promise<void> {
    for (;;) {
      const membership = this.#late.service;
      if (membership === undefined || this.replication.leaving) return;
      // A disk whose log went back is another node now, under the name of the one it was.
      const answer = await door.register(membership.self, this.replication.identity.retired);
      if (answer.kind === 'joined') return;
      if (answer.kind === 'refused') {
        this.parts.logger.error({ detail: answer.detail }, 'the map does not take this node back');
        return;
      }
      await new Promise<void>((resolve) => void systemTimers.after(1_000, resolve));
    }
  }

  async #askTransfer({ shard, from, to }: Transfer): Promise<void> {
    const { refusal } = await this.peerShards.of(from).call('transfer', { shard, to }, { timeoutMs: TRANSFER_ASK_MS });
    if (refusal !== undefined)
      throw new NodeError(
        'OPERATION_CONFLICT',
        `the primary of shard ${shard} does not hand over now: ${refusal.code}`,
      );
  }

  /** A node that comes back tells the map of itself, wherever the map's primary is. */
  async #forwardChange(operation: MapOperation): Promise<number> {
    const primary = this.replication.leader(META_SHARD)?.node;
    if (primary === undefined || primary === this.replication.self)
      throw new NodeError('SHARD_UNAVAILABLE', 'the map has no primary now; try again in a moment');
    try {
      const answer = await this.peerShards.of(primary).call('change', { operation }, { timeoutMs: CHANGE_ASK_MS });
      if (answer.kind === 'changed') return answer.mapEpoch;
      if (answer.kind === 'refused') throw new NodeError(answer.code, answer.detail);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      throw new NodeError('SHARD_UNAVAILABLE', `the primary of the map did not answer: ${error.message}`, {
        cause: error,
      });
    }
    throw new NodeError('SHARD_UNAVAILABLE', 'the map has another primary; try again in a moment');
  }

  #tellMap(map: ClusterMap): void {
    // Who is gone from the map is talked to no more: what waits for it fails, its connections end.
    const stay = new Set(map.nodes.map(({ nodeUuid }) => nodeUuid));
    for (const { nodeUuid, address } of this.#told?.nodes ?? []) {
      if (stay.has(nodeUuid)) continue;
      this.peerShards.forget(nodeUuid);
      this.channels.forget(address);
    }
    this.#told = map;
    this.#late.service?.setMap(
      map.epoch,
      map.nodes.map(({ nodeUuid, nodeId, address }) => ({ nodeUuid, nodeId, address })),
    );
  }

  #tellDisk(): void {
    const tell = (): void => {
      const { freeBytes, totalBytes } = this.parts.diskGuard;
      this.#late.service?.setDisk(freeBytes, totalBytes);
    };
    tell();
    this.#disk = setInterval(tell, DISK_EVERY_MS).unref();
  }

  #others(): readonly NodeUuid[] {
    const membership = this.#late.service;
    if (membership === undefined) return [];
    return membership
      .view()
      .filter(
        ({ nodeUuid, status }) =>
          nodeUuid !== membership.self.nodeUuid && status !== 'LEFT' && status !== 'UNAVAILABLE',
      )
      .map(({ nodeUuid }) => nodeUuid);
  }

  #nodeIdAt(address: string): string | undefined {
    return this.#late.service?.view().find((record) => record.grpcAddress === address && record.status !== 'LEFT')
      ?.nodeId;
  }

  /**
   * Whether a node that proved itself may do more than join. Until this node has a map it cannot tell. A node that joined
   * a moment ago is in the view before the map comes round: only members are believed about the view, so one of them
   * vouched for it. One that an operator removed is refused, and learns why when it asks to join again.
   */
  #mayCall({ nodeUuid, nodeId }: PeerIdentity): boolean {
    const { map } = this.replication;
    if (!map.known) return true;
    if (this.#registered(nodeUuid) === nodeId) return true;
    const record = this.#late.service?.record(nodeUuid);
    const vouched = record !== undefined && record.nodeId === nodeId && record.status !== 'LEFT';
    return vouched && !wasRemoved(map.current(), nodeUuid);
  }

  #registered(uuid: NodeUuid): string | undefined {
    const { map } = this.replication;
    return map.known ? map.current().nodes.find((node) => node.nodeUuid === uuid)?.nodeId : undefined;
  }
}

/** `host[:port]`; an IPv6 address with a port comes in brackets. */
function advertisedAddress(text: string): { readonly host: string; readonly port: number | undefined } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? [];
  const host = (bracketed as string | undefined) ?? plain ?? text;
  return { host, port: (port as string | undefined) === undefined ? undefined : Number(port) };
}

function join(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address));
}
