import type { Epoch, EpochStart } from '../../../src/kernel/epoch.js';
import { toHex } from '../../../src/kernel/bytes.js';
import type { NodeUuid } from '../../../src/kernel/peer.js';
import type { BranchRecord } from '../../../src/modules/replication/core/branch-epochs.js';
import type { ReplicaInspection } from '../world/node.js';

/** An entry as it came to lie in one copy's log. */
export interface StoredEntry {
  readonly nodeUuid: NodeUuid;
  readonly shard: number;
  readonly epoch: Epoch;
  readonly offset: number;
  readonly op: string;
  /** `collection/id`, '' where the entry is about no document. */
  readonly document: string;
  /** Text of the version. */
  readonly version: string;
  /** It was written elsewhere first (replication 6.4): it keeps the version it had there. */
  readonly merged: boolean;
  readonly bytes: Uint8Array;
}

/** One document's row in one copy. */
export interface ObservedDocument {
  readonly document: string;
  readonly version: string;
  readonly tombstone: boolean;
  /** Hash of the payload its row points at; undefined for tombstones, loose rows and payloads that cannot be read. */
  readonly payload: string | undefined;
}

/** One copy of a shard: its disk, and what its process believes if one runs. */
export interface ObservedCopy {
  readonly nodeUuid: NodeUuid;
  readonly host: string;
  readonly shard: number;
  /** A process runs and is not paused. */
  readonly up: boolean;
  /** It was not paused for the last few seconds. */
  readonly awake: boolean;
  readonly tail: number;
  readonly lastEpoch: Epoch;
  /** Hex. */
  readonly chain: string;
  readonly documents: readonly ObservedDocument[];
  /** Of a strict shard: version of each entry by offset, from the start of the log on. */
  readonly entries: ReadonlyMap<number, string>;
  readonly history: readonly EpochStart[];
  /** What it keeps of branches (replication 6.4). */
  readonly branches: BranchRecord;
  /** Below it entries may have been compacted. */
  readonly start: number;
  /** Version text by document in the index. */
  readonly indexed: ReadonlyMap<string, string>;
  readonly inspection: ReplicaInspection | undefined;
}

/** The whole cluster at one moment. */
export interface Observation {
  readonly atMs: number;
  readonly copies: readonly ObservedCopy[];
  /** Digest of each running node's view, by host; empty without membership. */
  readonly views: ReadonlyMap<string, string>;
}

/** A write somebody asked for, as it was meant. */
export interface Operation {
  readonly index: number;
  readonly shard: number;
  readonly document: string;
  readonly kind: 'UPSERT' | 'DELETE' | 'MAP';
  /** Hex of the operation's id. */
  readonly opId: string;
  /** Hash of the payload. */
  readonly payload: string;
  readonly level: 'one' | 'quorum' | 'all';
  /** Version the document was asked to have. */
  readonly expected?: string;
  readonly invokedMs: number;
}

/** A primary said that a write is stored. Made at the moment and the place it said so. */
export interface Acknowledgement {
  readonly operation: Operation;
  readonly atMs: number;
  readonly nodeUuid: NodeUuid;
  /** When this very attempt reached the primary. */
  readonly askedMs: number;
  readonly version: string;
  /** Of the entry. */
  readonly epoch: number;
  /** Of the primary of that epoch; 0: not known. */
  readonly tag: number;
  readonly offset: number;
  /** Of the reign that acknowledged. */
  readonly reign: Epoch;
  readonly strict: boolean;
  readonly level: 'one' | 'quorum' | 'all';
  /** The set the primary counted by. */
  readonly set: readonly NodeUuid[];
  /** Who really had it on disk then. */
  readonly holders: readonly NodeUuid[];
  /** The primary's log had failed. */
  readonly afterFailure: boolean;
}

export function epochText(epoch: Epoch): string {
  return epoch.num === 0 ? 'none' : `${epoch.num}/${toHex(epoch.uuid).slice(0, 6)}`;
}

export function majorityOf(size: number): number {
  return Math.floor(size / 2) + 1;
}
