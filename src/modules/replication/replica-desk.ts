import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import type { LogStore } from '../log/log-store.js';
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
import type { Link, LinkEvents } from '../../kernel/link.js';
import type { ReplicaPeers, ReplicaServer } from './replica-peers.js';
import type { ShardReplica } from './shard-replica.js';

/** What the desk asks of its node. */
export interface DeskPorts {
  readonly log: LogStore;
  self(): NodeUuid;
  peers(): ReplicaPeers;
  replica(shard: number): ShardReplica | undefined;
  leader(shard: number): ShardLeader | undefined;
  learn(leader: ShardLeader): void;
}

/** A probe on behalf of another node ends in time for its own. */
const PROBE_RELAY_MS = 350;

/** Where the questions of other nodes arrive: for a copy here, which answers; of a shard that has none here, it says so. */
export class ReplicaDesk implements ReplicaServer {
  constructor(private readonly ports: DeskPorts) {}

  onFollow(from: NodeUuid, shard: number, link: Link<PrimaryMessage>): LinkEvents<FollowerMessage> {
    const replica = this.ports.replica(shard);
    if (replica !== undefined) return replica.onFollow(from, link);
    const hint = this.ports.leader(shard);
    link.send({
      kind: 'answer',
      answer: { kind: 'reject', reason: 'UNKNOWN_SHARD', ...(hint === undefined ? {} : { hint }) },
    });
    link.close();
    return { message: () => undefined, ended: () => undefined };
  }

  onFence(from: NodeUuid, request: FenceRequest): Promise<FenceAnswer> {
    const { shard } = request;
    const replica = this.ports.replica(shard);
    if (replica !== undefined) return replica.onFence(from, request);
    return Promise.resolve({ kind: 'refused', reason: 'UNKNOWN_SHARD', promised: this.ports.log.promised(shard) });
  }

  async onProbe(_from: NodeUuid, { shard, epoch, via }: ProbeRequest): Promise<ProbeAnswer> {
    if (via === undefined || via === this.ports.self())
      return { alive: this.ports.replica(shard)?.couldAcknowledge(epoch) === true };
    try {
      return await this.ports.peers().probe(via, { shard, epoch }, PROBE_RELAY_MS);
    } catch (error) {
      if (error instanceof PeerError) return { alive: false };
      throw error;
    }
  }

  async onPull(_from: NodeUuid, request: PullRequest): Promise<PullAnswer> {
    return this.#replica(request.shard).onPull(request);
  }

  async onFetch(_from: NodeUuid, request: FetchRequest): Promise<FetchAnswer> {
    return this.#replica(request.shard).onFetch(request);
  }

  async onCovers(from: NodeUuid, request: CoversRequest): Promise<CoversAnswer> {
    return (await this.ports.replica(request.shard)?.onCovers(from, request)) ?? { covered: false };
  }

  onAnnounce(_from: NodeUuid, leader: ShardLeader): void {
    this.ports.learn(leader);
  }

  #replica(shard: number): ShardReplica {
    const replica = this.ports.replica(shard);
    if (replica === undefined) throw new PeerError('REJECTED', `shard ${shard} has no copy here`);
    return replica;
  }
}
