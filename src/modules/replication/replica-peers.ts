import type { Link, LinkEvents } from '../../kernel/link.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import type {
  CoversAnswer,
  CoversRequest,
  FenceAnswer,
  FenceRequest,
  FetchAnswer,
  FetchRequest,
  FollowerMessage,
  PrimaryMessage,
  ProbeAnswer,
  ProbeRequest,
  PullAnswer,
  PullRequest,
  ShardLeader,
} from './core/protocol.js';

/**
 * The way to the other replicas. Implementations: gRPC (adapters), and the simulated network of test/sim. Every question
 * ends by its time-out; one that is not answered rejects with PeerError. Nodes are named by uuid; the implementation
 * knows their addresses from the view.
 */
export interface ReplicaPeers {
  /** Opens a stream to the primary `to`, over the replication connection. The first message sent must be the hello. */
  follow(to: NodeUuid, shard: number, events: LinkEvents<PrimaryMessage>): Link<FollowerMessage>;
  fence(to: NodeUuid, request: FenceRequest, timeoutMs: number): Promise<FenceAnswer>;
  probe(to: NodeUuid, request: ProbeRequest, timeoutMs: number): Promise<ProbeAnswer>;
  pull(to: NodeUuid, request: PullRequest, timeoutMs: number): Promise<PullAnswer>;
  fetch(to: NodeUuid, request: FetchRequest, timeoutMs: number): Promise<FetchAnswer>;
  covers(to: NodeUuid, request: CoversRequest, timeoutMs: number): Promise<CoversAnswer>;
  /** Tells every node it can reach; not answered, not repeated. Heartbeats carry it too. */
  announce(leader: ShardLeader): void;
}

/** How a fence was left unanswered: `refused` when nobody is there, by the port or by the name of its host (5.4). */
export function unanswered(error: unknown): 'refused' | 'silent' {
  return error instanceof PeerError && (error.reason === 'REFUSED' || error.reason === 'UNRESOLVED')
    ? 'refused'
    : 'silent';
}

/** What a node answers other replicas: implemented by ReplicaDesk, called by the gRPC handlers and the simulator. */
export interface ReplicaServer {
  /** A follower opened a stream; its first message is the hello. */
  onFollow(from: NodeUuid, shard: number, link: Link<PrimaryMessage>): LinkEvents<FollowerMessage>;
  onFence(from: NodeUuid, request: FenceRequest): Promise<FenceAnswer>;
  onProbe(from: NodeUuid, request: ProbeRequest): Promise<ProbeAnswer>;
  onPull(from: NodeUuid, request: PullRequest): Promise<PullAnswer>;
  onFetch(from: NodeUuid, request: FetchRequest): Promise<FetchAnswer>;
  onCovers(from: NodeUuid, request: CoversRequest): Promise<CoversAnswer>;
  onAnnounce(from: NodeUuid, leader: ShardLeader): void;
}
