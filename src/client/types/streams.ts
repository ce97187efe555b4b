import type { CallOptions } from './calls.js';
import type { Document } from './documents.js';

/** One write of the change stream. At least once: versions tell repetitions. */
export interface Change {
  /** Give it as `cursor` to go on right after this change. */
  readonly cursor: string;
  readonly op: 'upsert' | 'delete';
  readonly id: string;
  readonly version: string;
  readonly collection?: string;
  readonly document?: Document;
  /**
   * The reader had followed a branch that the log of this shard no longer has: its changes start over after `offset`. On
   * the first change from there on.
   */
  readonly restarted?: { readonly shard: number; readonly offset: number };
}

export interface ChangesOptions extends CallOptions {
  /** Where to go on; `latest`: from now on; from the start of the log when absent. */
  readonly cursor?: string;
  /** Only this collection. */
  readonly collection?: string;
  /** Stay open and give what is written from now on; reconnects after the last cursor. */
  readonly follow?: boolean;
}

/** One entry of a shard's log. */
export interface LogEntry {
  readonly offset: number;
  /** `UPSERT`, `DELETE`, `BARRIER`, … */
  readonly op: string;
  readonly epoch: number;
  readonly id?: string;
  readonly collection?: string;
  readonly version: string;
  readonly chain: string;
  readonly bytes: number;
}

export interface ShardLogOptions extends CallOptions {
  /** First offset, from 1. */
  readonly from?: number;
  readonly limit?: number;
  readonly follow?: boolean;
}

/** Something the node did: `cluster.node_joined`, `document.bulk_progress`, `heartbeat`, … */
export interface NodeEvent {
  readonly type: string;
  /** Parsed JSON, or text when it is not JSON. */
  readonly data: unknown;
  readonly id?: string;
}

export interface EventsOptions extends CallOptions {
  /** Kinds to hear: `cluster`, `document`, `search`; all when absent. */
  readonly filter?: readonly string[];
}
