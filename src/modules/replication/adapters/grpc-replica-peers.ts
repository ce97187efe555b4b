import type { NodeUuid } from '../../../kernel/peer.js';
import { PeerError } from '../../../kernel/peer.js';
import { mappedLink } from '../../../platform/grpc/mapped-link.js';
import { readAnswer } from '../../../platform/grpc/peer-answers.js';
import type { PeerChannels, PeerTarget } from '../../../platform/grpc/peer-channels.js';
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
} from '../core/protocol.js';
import { readPrimaryMessage, writeFollowerMessage } from '../follow.mapper.js';
import type { Link, LinkEvents } from '../../../kernel/link.js';
import type { CheckpointPart } from '../../shard/shard-ports.js';
import type { CheckpointRequest, IndexPeers } from '../index-peers.js';
import type { ReplicaPeers } from '../replica-peers.js';
import {
  REPLICA_SERVICE,
  readCheckpointAnswer,
  readCoversAnswer,
  readFenceAnswer,
  readFetchAnswer,
  readProbeAnswer,
  readPullAnswer,
  writeAnnounce,
  writeCheckpoint,
  writeCovers,
  writeFence,
  writeFetch,
  writeProbe,
  writePull,
} from '../replica.mapper.js';

export interface GrpcReplicaPeersOptions {
  readonly channels: PeerChannels;
  /** Where a node is, as the view says; undefined when it knows no such node. */
  readonly resolve: (uuid: NodeUuid) => Required<PeerTarget> | undefined;
  /** All other nodes of the view that are worth telling something. */
  readonly others: () => readonly NodeUuid[];
}

/** An announcement is not repeated: heartbeats carry the same. */
const ANNOUNCE_TIMEOUT_MS = 2_000;

const { follow, fence, probe, pull, fetch, covers, checkpoint, announce } = REPLICA_SERVICE.method;

/** ReplicaPeers over the connections between nodes: questions on control, bulk on replication. */
export class GrpcReplicaPeers implements ReplicaPeers, IndexPeers {
  readonly #options: GrpcReplicaPeersOptions;

  constructor(options: GrpcReplicaPeersOptions) {
    this.#options = options;
  }

  follow(to: NodeUuid, _shard: number, events: LinkEvents<PrimaryMessage>): Link<FollowerMessage> {
    const { channels, resolve } = this.#options;
    const target = resolve(to);
    const mapping = { write: writeFollowerMessage, read: readPrimaryMessage };
    return mappedLink({ channels, target, node: to, connection: 'replication', method: follow, ...mapping }, events);
  }

  async fence(to: NodeUuid, request: FenceRequest, timeoutMs: number): Promise<FenceAnswer> {
    const target = this.#target(to);
    const answer = await this.#options.channels.unary(target, 'control', fence, writeFence(request), { timeoutMs });
    return readAnswer(() => readFenceAnswer(answer), target.address);
  }

  async probe(to: NodeUuid, request: ProbeRequest, timeoutMs: number): Promise<ProbeAnswer> {
    const target = this.#target(to);
    const answer = await this.#options.channels.unary(target, 'control', probe, writeProbe(request), { timeoutMs });
    return readAnswer(() => readProbeAnswer(answer), target.address);
  }

  async pull(to: NodeUuid, request: PullRequest, timeoutMs: number): Promise<PullAnswer> {
    const target = this.#target(to);
    const answer = await this.#options.channels.unary(target, 'replication', pull, writePull(request), { timeoutMs });
    return readAnswer(() => readPullAnswer(answer), target.address);
  }

  async fetch(to: NodeUuid, request: FetchRequest, timeoutMs: number): Promise<FetchAnswer> {
    const target = this.#target(to);
    const answer = await this.#options.channels.unary(target, 'replication', fetch, writeFetch(request), { timeoutMs });
    return readAnswer(() => readFetchAnswer(answer), target.address);
  }

  async covers(to: NodeUuid, request: CoversRequest, timeoutMs: number): Promise<CoversAnswer> {
    const target = this.#target(to);
    const answer = await this.#options.channels.unary(target, 'control', covers, writeCovers(request), { timeoutMs });
    return readAnswer(() => readCoversAnswer(answer), target.address);
  }

  async checkpoint(to: NodeUuid, request: CheckpointRequest, timeoutMs: number): Promise<CheckpointPart> {
    const target = this.#target(to);
    const { channels } = this.#options;
    const answer = await channels.unary(target, 'replication', checkpoint, writeCheckpoint(request), { timeoutMs });
    return readAnswer(() => readCheckpointAnswer(answer), target.address);
  }

  announce(leader: ShardLeader): void {
    const request = writeAnnounce(leader);
    for (const uuid of this.#options.others()) {
      const target = this.#options.resolve(uuid);
      if (target === undefined) continue;
      this.#options.channels.unary(target, 'control', announce, request, { timeoutMs: ANNOUNCE_TIMEOUT_MS }).then(
        () => undefined,
        // Counted by the channels; whoever was not reached learns it from a heartbeat.
        () => undefined,
      );
    }
  }

  #target(uuid: NodeUuid): Required<PeerTarget> {
    const target = this.#options.resolve(uuid);
    if (target === undefined) throw new PeerError('UNRESOLVED', `the view knows no node ${uuid}`);
    return target;
  }
}
