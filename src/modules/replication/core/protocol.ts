import type { Epoch, EpochStart } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { ShardSet } from '../../ring/core/shard-set.js';
import type { BranchEpoch, MergedEpoch } from './branch-epochs.js';

export { NO_SET, type ShardSet } from '../../ring/core/shard-set.js';

/**
 * What replicas of one shard say to each other (replication 4.1–5.6, 6.4), in the core's own words: values, no bytes of
 * the wire. The drivers carry them over gRPC or over a simulated network.
 */

/** Who is primary of a shard, as far as the speaker knows. */
export interface ShardLeader {
  readonly shard: number;
  readonly epoch: Epoch;
  readonly node: NodeUuid;
}

/** Where a log ends and how it came there: enough to find a fork (replication 6.3). */
export interface LogEnd {
  readonly lastOffset: number;
  readonly lastEpoch: Epoch;
  /** Chain at lastOffset. */
  readonly chain: Uint8Array;
  readonly history: readonly EpochStart[];
  /** Gaps end here (2.5): below it a log cannot be streamed. */
  readonly start: number;
  /** Up to here a majority of the set has had it, as far as the speaker knows (4.5); 0 when it knows of nothing. */
  readonly agreed: number;
}

/** The log a snapshot is of. */
export interface SnapshotEnd extends LogEnd {
  /** The branches that are part of it: the entries that said so are not in the snapshot (7.2). */
  readonly merged: readonly MergedEpoch[];
}

/** Opens a replication stream (4.1). */
export interface Hello extends LogEnd {
  readonly shard: number;
  readonly nodeUuid: NodeUuid;
  readonly bootCount: number;
  /** Of the set this replica counts by. */
  readonly mapEpoch: number;
  readonly promised: Epoch;
  /** Loose rows this replica still holds (6.4). */
  readonly loose: number;
  /** What it has of a snapshot that was not finished (4.7). */
  readonly partial?: PartialSnapshot;
  /** Its rows or records are damaged: only a snapshot is of use (2.12). */
  readonly damaged?: boolean;
}

/** A snapshot that was begun: every row up to a key is here as it was at an offset, or later. */
export interface PartialSnapshot {
  readonly offset: number;
  /** Chain at the offset. */
  readonly chain: Uint8Array;
  /** The last key: shard, collection and id. */
  readonly after: Uint8Array;
}

export type RejectReason =
  /** The asked node is not primary of the shard; `hint` names who is, if it knows. */
  | 'NOT_PRIMARY'
  /** It does not hold the shard (any more). */
  | 'UNKNOWN_SHARD'
  /** The follower promised a higher epoch; the primary steps up. */
  | 'STALE_EPOCH'
  /** Its copy is damaged. */
  | 'FAULTED'
  /** The follower knows more to be agreed than is in the primary's log: it shall stand, and fence above (6.2). */
  | 'BEHIND'
  /** Too many followers catch up already; come back later. */
  | 'BUSY'
  | 'FOREIGN_CLUSTER'
  | 'PROTOCOL';

export type HelloAnswer =
  | { readonly kind: 'accept'; readonly epoch: Epoch; readonly from: number }
  /** Truncate to `fork`, rows beyond it become loose, and say hello again. */
  | { readonly kind: 'diverged'; readonly epoch: Epoch; readonly fork: number }
  /** The log cannot be streamed from there: a snapshot follows on this stream (4.7). */
  | {
      readonly kind: 'snapshot';
      readonly epoch: Epoch;
      readonly fork: number;
      readonly at: SnapshotEnd;
      /** It goes on behind what the follower has of an earlier one, after what changed of that. */
      readonly resumed?: boolean;
    }
  | { readonly kind: 'reject'; readonly reason: RejectReason; readonly hint?: ShardLeader };

/** Raw entries from the primary; empty ones keep alive and carry the high-water mark (4.2, 4.5). */
export interface EntriesBatch {
  readonly epoch: Epoch;
  readonly prevOffset: number;
  readonly prevChain: Uint8Array;
  readonly entries: readonly Uint8Array[];
  /** Largest offset of the current epoch durable on a majority of the set; 0 before there is one. */
  readonly highWaterMark: number;
  /** The primary's tail when this was sent: what the follower's lag is measured by. */
  readonly tail: number;
  /** Members the primary holds in sync, itself included (7.1). */
  readonly inSync: readonly NodeUuid[];
  /** Up to here every replica the primary keeps the log for has it: superseded entries may go (2.11). 0: it does not say. */
  readonly floor: number;
  /**
   * Entry bytes offered on this stream that are settled (6.4): whatever they led to here is on the disk, also when that is
   * nothing. Undefined: an older primary, which does not count them.
   */
  readonly taken?: number;
}

/** What a follower has (4.3). */
export interface Ack {
  readonly durableOffset: number;
  readonly appliedOffset: number;
  /** Chain at durableOffset. */
  readonly chain: Uint8Array;
  /** Entry bytes the follower is ready to receive beyond what it granted before (4.2). */
  readonly creditBytes: number;
}

/** Loose rows offered to the primary: the entries that wrote them, as they were logged (6.4). */
export interface Offer {
  readonly entries: readonly Uint8Array[];
  /** No loose rows are left after these: then `branch` is merged. */
  readonly last: boolean;
  /** What was cut off from the copy they come from: which epochs, up to which offset. */
  readonly branch: readonly BranchEpoch[];
}

/** One part of a snapshot (4.7): encoded entries in row order, resumable by key. */
export interface SnapshotChunk {
  readonly entries: readonly Uint8Array[];
  /** Idempotency rows: (opId, encoded result). */
  readonly operations: readonly { readonly opId: Uint8Array; readonly value: Uint8Array }[];
  /** The last chunk carries the counters as encoded at the snapshot's offset. */
  readonly last: boolean;
}

/** From the follower to the primary, on a stream. */
export type FollowerMessage =
  | { readonly kind: 'hello'; readonly hello: Hello }
  | { readonly kind: 'ack'; readonly ack: Ack }
  | { readonly kind: 'offer'; readonly offer: Offer };

/** From the primary to the follower, on a stream. */
export type PrimaryMessage =
  | { readonly kind: 'answer'; readonly answer: HelloAnswer }
  | {
      readonly kind: 'batch';
      readonly batch: EntriesBatch;
      /** It is to be as large as a packet: to be heard only where entries would be (5.1). */
      readonly ballast?: true;
    }
  /** The follower at the primary's tail shall take over (5.7). */
  | { readonly kind: 'handOver'; readonly epoch: Epoch }
  | { readonly kind: 'chunk'; readonly chunk: SnapshotChunk };

/** Why a replica wants to be primary (5.4). */
export type FenceCause = 'suspect' | 'heal' | 'transfer';

/** Asks a member to refuse every lower epoch (5.4). */
export interface FenceRequest {
  readonly shard: number;
  readonly epoch: Epoch;
  readonly cause: FenceCause;
  /** The candidate's set. */
  readonly set: ShardSet;
}

export type FenceAnswer =
  | { readonly kind: 'granted'; readonly setEpoch: number; readonly end: LogEnd }
  | {
      readonly kind: 'refused';
      readonly reason: 'SET_NEWER' | 'PROMISED' | 'PRIMARY_LIVES' | 'UNKNOWN_SHARD' | 'FAULTED';
      readonly promised: Epoch;
      /** With SET_NEWER: the newer one. */
      readonly set?: ShardSet;
      readonly hint?: ShardLeader;
    };

/** "Could you acknowledge as primary of this shard in this epoch, now?" (5.3) */
export interface ProbeRequest {
  readonly shard: number;
  readonly epoch: Epoch;
  /** Whom the asked node shall ask in turn; absent: itself. */
  readonly via?: NodeUuid;
}

export interface ProbeAnswer {
  readonly alive: boolean;
}

/** Entries of a granter that a candidate pulls before it reigns (5.5). */
export interface PullRequest {
  readonly shard: number;
  /** The candidate's epoch: answered only by a node that still promises exactly it. */
  readonly epoch: Epoch;
  readonly from: number;
  readonly bytesMax: number;
}

export interface PullAnswer {
  /** Empty when `from` is past the tail. */
  readonly entries: readonly Uint8Array[];
  /** Chain before `from`. */
  readonly prevChain: Uint8Array;
}

/** "Would anything be lost with the copy that ends here?" A node asks the primary about a copy that moved away (9.6). */
export interface CoversRequest {
  readonly shard: number;
  /** Of the placement that does without the asking node: the primary's set must be as new. */
  readonly mapEpoch: number;
  readonly offset: number;
  /** Chain at the offset. */
  readonly chain: Uint8Array;
}

export interface CoversAnswer {
  /** The log is part of the primary's below the high-water mark of a set without the asking node. */
  readonly covered: boolean;
}

/** Entries of a copy, to replace damaged ones of the same log elsewhere (2.12). */
export interface FetchRequest {
  readonly shard: number;
  /** Both inclusive. */
  readonly from: number;
  readonly to: number;
  /** Offset whose chain is asked for as well; 0: none. */
  readonly anchor: number;
  readonly bytesMax: number;
}

export interface FetchAnswer {
  /** What there is of them from the first offset on; none when that is not here. */
  readonly entries: readonly Uint8Array[];
  /** CHAIN_ZERO when the anchor is not in this log. */
  readonly anchorChain: Uint8Array;
}

export type ReplicaRole = 'primary' | 'replica' | 'learner';

/** One shard's copy on one node, as heartbeats tell it; outside the view's digest (8.2). */
export interface ShardPosition {
  readonly shard: number;
  readonly role: ReplicaRole;
  /** The primary it knows of and that one's epoch; number 0 and '' when it knows none. */
  readonly epoch: Epoch;
  readonly leader: NodeUuid;
  readonly setEpoch: number;
  /** Of a primary: the set epoch from which the next change may be made (9.6); 0 while the last one is not settled. */
  readonly settled: number;
  readonly lastEpoch: Epoch;
  /** Offset at which that epoch began; 0 of an empty log. */
  readonly lastStart: number;
  readonly lastOffset: number;
  /** What it knows to be agreed (4.5): up to an offset, which was written in that epoch. */
  readonly agreedEpoch: Epoch;
  readonly agreed: number;
  readonly durable: number;
  readonly applied: number;
  /** It judges itself in sync (7.1). */
  readonly inSync: boolean;
  /** Damaged: counts nowhere (S8). */
  readonly faulted: boolean;
  /** It takes no entries: its disk is down to its reserve (5.8). */
  readonly held: boolean;
  readonly loose: number;
  /** Live documents. */
  readonly documents: number;
  /** Whole milliseconds since it last had everything its primary had; 0 for a primary, and when nothing is outstanding. */
  readonly lagMs: number;
}
