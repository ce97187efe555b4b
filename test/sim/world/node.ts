import type { Clock } from '../../../src/kernel/clock.js';
import type { Epoch } from '../../../src/kernel/epoch.js';
import type { Hasher } from '../../../src/kernel/hasher.js';
import type { NodeUuid } from '../../../src/kernel/peer.js';
import type { Random } from '../../../src/kernel/random.js';
import type { Timers } from '../../../src/kernel/timers.js';
import type { LogStore } from '../../../src/modules/log/log-store.js';
import type { MapMember } from '../../../src/modules/membership/core/membership-io.js';
import type { NodeRecord } from '../../../src/modules/membership/core/node-record.js';
import type { MembershipPeers, MembershipServer } from '../../../src/modules/membership/membership-peers.js';
import type { ShardSet } from '../../../src/modules/replication/core/protocol.js';
import type { WriteOutcome, WriteRequest } from '../../../src/modules/replication/core/write.js';
import type { NodeIdentity } from '../../../src/modules/replication/node-identity.js';
import type { ClusterMap, ClusterSettings } from '../../../src/modules/ring/core/map.js';
import type { MapOperation } from '../../../src/modules/ring/core/map-operations.js';
import type { ReplicaPeers, ReplicaServer } from '../../../src/modules/replication/replica-peers.js';

/**
 * The border between the simulated world and what runs in it. A ReplicaNode is made of production classes on the ports of
 * one process; the world starts, kills, pauses and asks it. What it stored is read from its disk, never asked for: a
 * checker must not believe the checked.
 */

/** What one start of a node stands on. Everything dies with the process but the disk behind `log`. */
export interface NodePorts {
  readonly nodeId: string;
  /** `host:port`; the same address serves replicas and membership. */
  readonly address: string;
  /**
   * From this disk, its boot counted and synced already (replication 1.1). With a real map the node does that itself, and
   * this is who it becomes when the disk is new.
   */
  readonly identity: NodeIdentity;
  /** The same as hex. */
  readonly nodeUuid: NodeUuid;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly hasher: Hasher;
  readonly log: LogStore;
  readonly peers: ReplicaPeers;
  readonly membershipPeers: MembershipPeers;
  /** The index of a shard in memory; empty when the process starts. */
  readonly index: (shard: number) => ReplicaIndex;
  /** The oracle's map; without a meaning for a node that has the real one. */
  readonly placement: Placement;
  /** Questions of the coordinator's that a node with the real map needs. */
  readonly calls: NodeCalls;
  /** A node with the real map has a newer one. */
  readonly learned: (map: ClusterMap) => void;
  /** Addresses of all nodes of the run, this one included. */
  readonly seeds: readonly string[];
  /** Names of rules to break on purpose; empty unless the harness tests itself. */
  readonly bugs: ReadonlySet<string>;
  /** The node cannot go on: it has broken an invariant. */
  readonly fail: (error: unknown) => void;
  /** One line for the trace; not for every message. */
  readonly note: (line: string) => void;
  /** Counts a rare path that was taken, by its name. */
  readonly count: (what: string) => void;
}

/** What nodes ask each other beside replication and membership. */
export interface NodeCalls {
  /** Has the primary `from` of a shard hand over to `to`. @throws NodeError when it does not, PeerError when unanswered */
  transfer(from: NodeUuid, shard: number, to: NodeUuid): Promise<void>;
  /** Brings a change of the map to its primary `to`. @throws as `transfer` */
  change(to: NodeUuid, operation: MapOperation): Promise<number>;
}

/** What a cluster with the real map is made with. */
export interface ClusterShape extends Pick<ClusterSettings, 'replicaCount' | 'partitionMode' | 'rebalanceGraceMs'> {
  readonly shardCount: number;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
}

/** Where entries of a shard are applied to; production's is ShardService. */
export interface ReplicaIndex {
  /** Resolves when the durable entries are applied, with the offset that is applied then; takes virtual time. */
  apply(entries: readonly Uint8Array[]): Promise<number>;
  /** The log was cut behind `offset`: the rows that changed are applied again by the caller. */
  rewind(offset: number): Promise<void>;
  /** Forgets everything. */
  clear(): Promise<void>;
  /** Forgets everything and, when that is done, applies these: another log has come. */
  rebuild(entries: () => Promise<readonly Uint8Array[]>): Promise<void>;
}

/** What this node knows of the map (it may be stale): which shards it holds, with whom. */
export interface Placement {
  /** Shards with a copy here, as a member or as a learner, ascending. */
  shards(): readonly number[];
  /** The set the map decided; the one a replica counts by comes from the SET entries of its log (replication 9.6). */
  set(shard: number): ShardSet;
  learners(shard: number): readonly NodeUuid[];
  /** The registered nodes, as membership is told of them. */
  nodes(): { readonly mapEpoch: number; readonly members: readonly MapMember[] };
  /** Always strict: the map's own shard, and all shards of a strict run. */
  strict(shard: number): boolean;
  /** Called when the map this node knows changed; returns how to take it back. */
  onChange(listener: () => void): () => void;
}

/** One node as the world holds it. Made by a NodeFactory; `start` is called once, then anything, then `stop` or death. */
export interface ReplicaNode {
  /** Opens every shard of the placement; resolves when it answers peers (it need not have found a primary). */
  start(): Promise<void>;
  /** What peers ask: the network calls it from when `start` was called. */
  readonly replicas: ReplicaServer;
  /** Absent while membership is not part of the run. */
  readonly membership: MembershipServer | undefined;
  /** Makes a write as the primary of `shard`, or says who is. Never rejects. */
  write(shard: number, request: WriteRequest): Promise<WriteOutcome>;
  /** A read of the live row at consistency `primary` (strict: confirmed by a majority); undefined: no document. */
  read?(shard: number, collectionId: number, id: string): Promise<NodeReadOutcome>;
  /** Hands the shard over to `to` in good order (replication 5.7). */
  transfer?(shard: number, to: NodeUuid): Promise<void>;
  /** Changes the real map, when this node is its primary; the epoch of the map that has it. @throws NodeError */
  change?(operation: MapOperation): Promise<number>;
  /** Deletes superseded entries of a shard from this node's log. */
  compact?(shard: number): Promise<void>;
  /** What it believes now. Synchronous and without effect; undefined when it holds no copy of the shard. */
  inspect(shard: number): ReplicaInspection | undefined;
  /** Its view of the members; undefined without membership. */
  view(): readonly NodeRecord[] | undefined;
  /** In good order (SIGTERM): resolves when nothing of it will be heard any more. */
  stop(): Promise<void>;
}

export type NodeFactory = (ports: NodePorts) => ReplicaNode;

export type NodeReadOutcome =
  | { readonly kind: 'read'; readonly version: string | undefined; readonly live: boolean }
  | { readonly kind: 'refused'; readonly detail: string };

/** One copy of a shard, as its own node sees it. */
export interface ReplicaInspection {
  /** `candidate` from the first fence sent to the barrier being durable. */
  readonly role: 'primary' | 'candidate' | 'replica' | 'learner';
  /** It reigns in (primary), asks for (candidate) or follows; NO_EPOCH when none. */
  readonly epoch: Epoch;
  /** Whom it takes for the primary; '' when it knows none. */
  readonly leader: NodeUuid;
  /** Durable promise: every lower epoch is refused (replication 5.4). */
  readonly promised: Epoch;
  /** By which it counts: the newest SET of its log, or what the map said first. */
  readonly set: ShardSet;
  readonly highWaterMark: number;
  /** In the index. */
  readonly applied: number;
  /** A primary: whom it publishes as in sync, itself included. A follower: what it heard last. */
  readonly inSync: readonly NodeUuid[];
  /** It judges itself in sync (replication 7.1). */
  readonly selfInSync: boolean;
  readonly faulted: boolean;
  /** Loose rows it still has to offer (replication 6.4). */
  readonly loose: number;
  /** Name of a state that is meant to pass (adopting, snapshot, truncating, transfer…), for the check that it does; absent in a lasting one. */
  readonly passing?: string;
  /** Sizes of everything that waits, by name, and their bounds (S13). */
  readonly queues: readonly { readonly name: string; readonly size: number; readonly bound: number }[];
}
