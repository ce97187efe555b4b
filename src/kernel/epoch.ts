import { compareBytes, equalBytes } from './bytes.js';

/**
 * A reign of one primary over one shard (replication 1.2): ordered by number, then by the primary's
 * node uuid, so that two sides of a partition can never create the same epoch.
 */
export interface Epoch {
  /** Safe integer from 1; 0 means "none yet". */
  readonly num: number;
  /** 16 bytes: the primary's nodeUuid. */
  readonly uuid: Uint8Array;
}

export const UUID_BYTES = 16;
export const NO_EPOCH: Epoch = { num: 0, uuid: new Uint8Array(UUID_BYTES) };
/** A num more than this above the known one is refused (replication 1.2). */
export const EPOCH_LEAP_MAX = 2 ** 20;

/** Negative, 0 or positive as `a` is lower than, equal to or higher than `b`. */
export function compareEpochs(a: Epoch, b: Epoch): number {
  return a.num - b.num || compareBytes(a.uuid, b.uuid);
}

export function sameEpoch(a: Epoch, b: Epoch): boolean {
  return a.num === b.num && equalBytes(a.uuid, b.uuid);
}

/** The first 32 bits of the uuid: with the number they tell the reigns of one shard apart. */
export function reignTag({ uuid }: Epoch): number {
  return ((uuid[0] << 24) | (uuid[1] << 16) | (uuid[2] << 8) | uuid[3]) >>> 0;
}

/** One reign in a shard's history: from `start`, its BARRIER, on. */
export interface EpochStart {
  readonly epoch: Epoch;
  /** Offset of the first entry of the epoch. */
  readonly start: number;
}
