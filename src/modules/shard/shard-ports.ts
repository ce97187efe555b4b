import type { Clock } from '../../kernel/clock.js';
import type { Hasher } from '../../kernel/hasher.js';
import type { LogStore } from '../log/log-store.js';
import type { IdleMemory } from '../../platform/resources/idle-memory.js';
import type { CheckpointPolicy } from './core/checkpoint-plan.js';
import type { KeywordStatistics } from './core/search.js';
import type { VectorIndexes } from './core/vector-index.js';

/** What the shards of this node stand on. */
export interface ShardPorts {
  readonly log: Pick<LogStore, 'scan' | 'read' | 'readSync' | 'row' | 'state'>;
  readonly hasher: Hasher;
  readonly clock: Clock;
  /** Where checkpoints live; made when needed. */
  readonly directory: string;
  /** INDEX_THREADS; 0 = in the main thread. */
  readonly threads: number;
  /** Whether the disk has room for so many bytes and its reserve. */
  readonly spaceFor: (bytes: number) => boolean;
  readonly report: ShardReport;
  /** For the metrics: a checkpoint was written, or could not be. */
  readonly onCheckpoint?: (outcome: 'written' | 'failed', ms: number) => void;
  /** Graphs of the main thread's own host (threads = 0, `verify`). Worker threads, and the default, use what this machine has. */
  readonly indexes?: VectorIndexes;
  readonly checkpoints?: CheckpointPolicy;
  /** Of the main thread; index threads have their own. Ended by `close`. */
  readonly idleMemory?: IdleMemory;
}

/** Something an operator should know. */
export type ShardReport = (level: 'info' | 'warn' | 'error', message: string, details: object) => void;

/** Injection token of the ShardPorts. */
export const SHARD_PORTS = Symbol('SHARD_PORTS');

/** The shard cannot answer: it is not open (yet), or it met damage and waits to be rebuilt. */
export class ShardUnavailableError extends Error {
  override readonly name = 'ShardUnavailableError';
  constructor(
    readonly shard: number,
    readonly reason: ShardFailure,
    detail?: string,
  ) {
    super(
      `shard ${shard} is ${reason === 'FAULTED' ? 'faulted' : 'not ready'}${detail === undefined ? '' : `: ${detail}`}`,
    );
  }
}

export type ShardFailure = 'NOT_READY' | 'FAULTED';

/** What `open` did. */
export interface OpenReport {
  /** Entries applied after the checkpoint. */
  readonly replayed: number;
  readonly fromCheckpoint: boolean;
  /** Offset applied. */
  readonly offset: number;
}

export interface ShardCount {
  readonly shard: number;
  readonly count: number;
  readonly failed?: ShardFailure;
}

/** One shard's sums; zeros when it `failed`. */
export interface ShardKeywordStatistics {
  readonly shard: number;
  readonly statistics: KeywordStatistics;
  readonly failed?: ShardFailure;
}

/** Another node's checkpoints of a shard. */
export interface CheckpointSource {
  /**
   * A part of the file of a checkpoint from `from` on.
   * @param offset of the checkpoint; 0 for the newest there is
   * @param file a name of its manifest; '' for the manifest
   */
  part(offset: number, file: string, from: number): Promise<CheckpointPart>;
}

export interface CheckpointPart {
  /** Of the checkpoint. */
  readonly offset: number;
  /** CHECKPOINT_PART_BYTES of them; fewer at the end of the file. */
  readonly bytes: Uint8Array;
}

/** A checkpoint of another node, which is on this disk and does not count yet. */
export interface ReceivedCheckpoint {
  readonly offset: number;
  readonly bytes: number;
  /** Still ahead of the index, and not below the start of the log. */
  isWanted(): boolean;
  /**
   * Makes it count, and opens the shard again by `open`, while no checkpoint is taken. Where it cannot be made to count
   * nothing is left of it.
   */
  use<T>(open: () => Promise<T>): Promise<T>;
  discard(): Promise<void>;
}

export interface CheckpointReport {
  readonly shard: number;
  readonly offset: number;
  readonly bytes: number;
  readonly tookMs: number;
}

/** A shard's index compared with one rebuilt from the log alone. */
export interface VerifyReport {
  readonly shard: number;
  readonly offset: number;
  readonly documents: number;
  /** Searches whose answers were compared. */
  readonly searches: number;
  /** What differs, in words; empty when nothing does. The first 100. */
  readonly differences: readonly string[];
}
