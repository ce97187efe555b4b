/** What `spector verify` found in a data directory. */
export interface VerifyReport {
  readonly directory: string;
  /** Of the node the directory belongs to; absent when it cannot be read. */
  readonly nodeId?: string;
  readonly shards: readonly ShardVerification[];
  /** What is wrong with the directory as a whole, in sentences. */
  readonly problems: readonly string[];
}

/** One shard's log and, if asked, the indexes made from it. */
export interface ShardVerification {
  readonly shard: number;
  readonly entries: number;
  readonly bytes: number;
  /** Offset of the last entry. */
  readonly tail: number;
  /** The log is whole above this offset. */
  readonly start: number;
  /** Live documents. */
  readonly documents: number;
  readonly damages: readonly { readonly offset: number; readonly problem: string }[];
  /** Present with `rebuild`: the indexes made from the log alone, compared with what the node would load. */
  readonly rebuild?: {
    /** Last offset both stand at. */
    readonly offset: number;
    readonly documents: number;
    /** Exact searches compared. */
    readonly searches: number;
    /** In sentences; empty when they are equal. */
    readonly differences: readonly string[];
    readonly ms: number;
  };
}

export interface VerifyOptions {
  /** Of a stopped node. */
  readonly directory: string;
  readonly rebuild: boolean;
  readonly onProgress: (progress: VerifyProgress) => void;
}

export interface VerifyProgress {
  readonly shard: number;
  readonly phase: 'log' | 'rebuild';
  /** Entries done, of so many. */
  readonly done: number;
  readonly total: number;
}

/** Walks the log and the indexes of a stopped node's data directory. Rejects when it is in use or cannot be opened. */
export type VerifyDataDirectory = (options: VerifyOptions) => Promise<VerifyReport>;

/** Whether nothing is wrong. */
export function isSound(report: VerifyReport): boolean {
  return (
    report.problems.length === 0 &&
    report.shards.every(({ damages, rebuild }) => damages.length === 0 && (rebuild?.differences.length ?? 0) === 0)
  );
}
