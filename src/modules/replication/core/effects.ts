import type { Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { AppendBatch } from '../../log/log-store.js';
import type { ClusterMap } from '../../ring/core/map.js';
import type {
  FenceAnswer,
  FenceRequest,
  Hello,
  HelloAnswer,
  Offer,
  ProbeRequest,
  PullRequest,
  ShardLeader,
  SnapshotEnd,
} from './protocol.js';
import type { Reply } from './write.js';

/** The entry of a write: itself, where it lies on the disk in this log, or the document whose loose row it is. */
export type StoredWrite = Uint8Array | number | { readonly collectionId: number; readonly id: string };

/** What a replica asks of its driver; performed in order (architecture, the core contract). */
export type ReplicaEffect =
  /** Answered by `persisted` with the tail, unless there are no entries in it. */
  | { readonly kind: 'append'; readonly batch: AppendBatch; readonly tail: number }
  /** Synced before anything that follows from it is said; answered by `promised`. */
  | { readonly kind: 'promise'; readonly epoch: Epoch }
  /** Durable entries for the index; answered by `applied`. */
  | { readonly kind: 'apply'; readonly entries: readonly Uint8Array[]; readonly tail: number }
  /** What became of a write. */
  | { readonly kind: 'reply'; readonly reply: Reply }
  /** These writes cannot have their copies yet, but may in a moment: kept, and proposed anew after `resume`. */
  | { readonly kind: 'postpone'; readonly tickets: readonly number[] }
  /** What was postponed is proposed anew, with the rows as they are stored then. */
  | { readonly kind: 'resume' }
  /** The map changed and a majority has the entry that says so. */
  | { readonly kind: 'map'; readonly map: ClusterMap }
  /** Rows of a dropped collection may be deleted. */
  | { readonly kind: 'sweep'; readonly collectionId: number }
  /**
   * A write lost against a higher version on another branch (6.4), unless its entry and the winner's say that who wrote that
   * one could see it. Asked of the disk before the append that ends what lost: a crash leaves it there, or listed.
   */
  | {
      readonly kind: 'conflict';
      readonly loser: StoredWrite;
      readonly winner: {
        readonly versionText: string;
        /** None: its collection was dropped. */
        readonly entry?: StoredWrite;
      };
    }
  // Follower
  | { readonly kind: 'follow'; readonly to: NodeUuid; readonly hello: Hello }
  | { readonly kind: 'unfollow' }
  | { readonly kind: 'ack' }
  /** Cut the log behind `to`; rows beyond it become loose. Answered by `replaced`. */
  | { readonly kind: 'truncate'; readonly to: number }
  /** A snapshot comes in on this stream; what the old log had beyond `fork` becomes loose. Answered by `replaced`. */
  | { readonly kind: 'receive'; readonly at: SnapshotEnd; readonly fork: number }
  /** The copy takes no more entries, or takes them again: its disk is down to its reserve, or has room (5.8). */
  | { readonly kind: 'held'; readonly held: boolean }
  /** Send the loose rows to the primary, then say so with `last`. */
  | { readonly kind: 'offer'; readonly branch: Offer['branch'] }
  // Primary
  | { readonly kind: 'welcome'; readonly link: number; readonly answer: HelloAnswer }
  /** The reign ended: every follower's stream is closed. */
  | { readonly kind: 'dismiss' }
  /** Load the loose rows of this replica; answered by `loose`. */
  | { readonly kind: 'loadLoose' }
  | { readonly kind: 'announce'; readonly leader: ShardLeader }
  /** Ask the follower at the same tail to take over (5.7). */
  | { readonly kind: 'handOver'; readonly to: NodeUuid }
  // Election
  | { readonly kind: 'probe'; readonly to: readonly NodeUuid[]; readonly request: ProbeRequest; readonly round: number }
  | { readonly kind: 'fence'; readonly to: readonly NodeUuid[]; readonly request: FenceRequest }
  | { readonly kind: 'answerFence'; readonly ticket: number; readonly answer: FenceAnswer }
  | { readonly kind: 'pull'; readonly to: NodeUuid; readonly request: PullRequest }
  /** For logs and events. */
  | { readonly kind: 'role'; readonly role: 'primary' | 'follower' | 'candidate'; readonly epoch: Epoch }
  /** The copy is damaged or cannot go on. */
  | { readonly kind: 'fault'; readonly detail: string };

/** Where effects are gathered during one step. */
export type Out = ReplicaEffect[];
