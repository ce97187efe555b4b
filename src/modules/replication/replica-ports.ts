import type { Clock } from '../../kernel/clock.js';
import type { Epoch } from '../../kernel/epoch.js';
import type { Hasher } from '../../kernel/hasher.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { Random } from '../../kernel/random.js';
import type { Timers } from '../../kernel/timers.js';
import type { LogStore } from '../log/log-store.js';
import type { ClusterMap } from '../ring/core/map.js';
import type { BulkPlaces } from './bulk-places.js';
import type { TurnShare } from './turn-share.js';
import type { MovePace } from './core/move-pace.js';
import type { CopyPlan, FailoverTimes, PeerView } from './core/peer-view.js';
import type { ReplicaPeers } from './replica-peers.js';

/** Where durable entries go to be searched. */
export interface ReplicaIndex {
  /**
   * Puts durable entries in, at least one; resolves when they are applied, with the offset that is applied then. That is below
   * theirs when the log was cut before them meanwhile.
   */
  apply(entries: readonly Uint8Array[]): Promise<number>;
  /** The log was cut: what follows `offset` is applied anew. Resolves when entries of the new branch are taken. */
  rewind(offset: number): Promise<void>;
  /** A snapshot took the log's place: resolves when the index is built anew from it. Entries that follow are taken at once. */
  rebuild(): Promise<void>;
}

/** What a replica needs of the world; all of it is swapped in the simulator. */
export interface ReplicaPorts {
  readonly log: LogStore;
  readonly hasher: Hasher;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly times: FailoverTimes;
  /** Absent for the map's shard. */
  readonly index: ReplicaIndex | undefined;
  readonly peers: ReplicaPeers;
  /** The other nodes, as far as this shard is concerned. */
  readonly view: () => PeerView;
  /** What the map wants of this copy. */
  readonly plan: () => CopyPlan;
  /** Bulk catch-ups under way on this node (4.6). */
  readonly bulk: BulkPlaces;
  /** What this node sends to copies that are being built elsewhere (9.6). */
  readonly moves: MovePace;
  /** What comes in for all copies of this node. */
  readonly turns: TurnShare;
  readonly report: ReplicaReport;
}

/** What a replica tells its node. */
export interface ReplicaReport {
  /** The map changed; only called for the map's shard. */
  map(map: ClusterMap): void;
  /** A dropped collection's rows may go. */
  sweep(collectionId: number): void;
  /** The copy is damaged or its index is lost beyond repair. */
  fault(error: Error): void;
  /** New entries are durable up to this offset. */
  durable(offset: number): void;
  /** Whether it reigns or follows has changed. */
  role(role: 'primary' | 'follower' | 'candidate', epoch: Epoch): void;
  /** The copy takes no more entries, or takes them again: the disk is down to its reserve, or has room (5.8). */
  held(held: boolean): void;
  /** Entry bytes came in from the primary. */
  received(bytes: number): void;
  /** Entries were sent to a follower. */
  streamed(to: NodeUuid, entries: number, bytes: number): void;
  /** A snapshot goes on with so many rows that an earlier transfer brought. */
  resumed(rows: number): void;
  /** A stream to or from that node broke: its process may be gone (5.1). */
  broken(node: NodeUuid): void;
}
