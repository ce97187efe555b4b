import { fromUtf8, utf8 } from '../../../kernel/bytes.js';
import type { ShardSet } from './protocol.js';

/** A set and the offset of the SET entry that made it. */
export interface LoggedSet {
  readonly offset: number;
  readonly set: ShardSet;
}

/** The payload of a SET entry: JSON, so that an operator can read the log. */
export function encodeSet(set: ShardSet): Uint8Array {
  return utf8(JSON.stringify(set));
}

export function decodeSet(payload: Uint8Array): ShardSet {
  return JSON.parse(fromUtf8(payload)) as ShardSet;
}

/** The sets of a log, as the shard's own record. */
export function encodeSets(sets: readonly LoggedSet[]): Uint8Array {
  return utf8(JSON.stringify(sets));
}

export function decodeSets(value: Uint8Array | undefined): readonly LoggedSet[] {
  return value === undefined ? [] : (JSON.parse(fromUtf8(value)) as readonly LoggedSet[]);
}
