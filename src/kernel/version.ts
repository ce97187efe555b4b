import { compareBytes, toHex } from './bytes.js';
import { assert } from './assert.js';

/** Hybrid logical clock reading (replication 1.3): 48-bit wall milliseconds and a 16-bit counter. */
export interface Hlc {
  readonly ms: number;
  readonly counter: number;
}

/** Version of a document (replication 1.4): the clock orders writes, the operation's id breaks ties. */
export interface Version {
  readonly hlc: Hlc;
  /** 16 bytes. */
  readonly opId: Uint8Array;
}

export const HLC_MS_MAX = 2 ** 48 - 1;
export const HLC_COUNTER_MAX = 2 ** 16 - 1;
export const OP_ID_BYTES = 16;
export const HLC_ZERO: Hlc = { ms: 0, counter: 0 };

/** Negative, 0 or positive as `a` is before, at or after `b`. */
export function compareHlc(a: Hlc, b: Hlc): number {
  return a.ms - b.ms || a.counter - b.counter;
}

/** The reading right after `hlc`. */
export function nextHlc(hlc: Hlc): Hlc {
  const next =
    hlc.counter < HLC_COUNTER_MAX ? { ms: hlc.ms, counter: hlc.counter + 1 } : { ms: hlc.ms + 1, counter: 0 };
  assert(next.ms <= HLC_MS_MAX, 'the version clock left its 48 bits');
  return next;
}

/** The later of two readings. */
export function maxHlc(a: Hlc, b: Hlc): Hlc {
  return compareHlc(a, b) >= 0 ? a : b;
}

/** Negative, 0 or positive as `a` is lower than, equal to or higher than `b`. */
export function compareVersions(a: Version, b: Version): number {
  return compareHlc(a.hlc, b.hlc) || compareBytes(a.opId, b.opId);
}

/** The opaque text of a version: 48 lower-case hex digits; text order is version order. */
export function versionText(version: Version): string {
  return hlcText(version.hlc) + toHex(version.opId);
}

function hlcText(hlc: Hlc): string {
  return hlc.ms.toString(16).padStart(12, '0') + hlc.counter.toString(16).padStart(4, '0');
}
