import { readU32, readU64, writeU32, writeU64 } from '../../../kernel/big-endian.js';
import { pooledBytes } from '../../../kernel/bytes.js';
import { UUID_BYTES } from '../../../kernel/epoch.js';
import type { Epoch, EpochStart } from '../../../kernel/epoch.js';
import type { Hasher } from '../../../kernel/hasher.js';
import type { LogState } from '../log-store.js';
import { CHAIN_BYTES } from './entry.js';
import { FIRST_GENERATION } from './keys.js';

/**
 * Values of the `m!` rows the log itself keeps for each shard, and the seal of every row; numbers are big-endian.
 *
 * | row | value |
 * |---|---|
 * | `tail` | offset u64, bytes u64, epoch num u64, epoch uuid 16 B, chain 16 B |
 * | `start` | offset u64, chain 16 B |
 * | `history` | per epoch: num u64, uuid 16 B, start u64 |
 * | `promise` | epoch num u64, epoch uuid 16 B |
 * | `cut` | offset u64: entries above the tail, up to here, wait to be deleted after a truncation |
 * | `generation` | in use u32, oldest with leftovers u32, first never used u32, and while a snapshot comes in: its own u32 |
 */
export const RECORD_NAMES = {
  tail: 'tail',
  start: 'start',
  history: 'history',
  promise: 'promise',
  cut: 'cut',
  generation: 'generation',
} as const;

/**
 * Generations of a shard (see keys.ts): those from `oldest` on below `next`, but the one in use, hold what nobody reads any
 * more or not yet, and are cleared when the log is opened.
 */
export interface Generations {
  readonly current: number;
  readonly oldest: number;
  readonly next: number;
  /** The one a snapshot is received into: kept over a restart, to go on with it (4.7). */
  readonly staged?: number;
}

export const FIRST_GENERATIONS: Generations = {
  current: FIRST_GENERATION,
  oldest: FIRST_GENERATION + 1,
  next: FIRST_GENERATION + 1,
};

const TAIL_BYTES = 24 + UUID_BYTES + CHAIN_BYTES;
const START_BYTES = 8 + CHAIN_BYTES;
const EPOCH_BYTES = 16 + UUID_BYTES;
const PROMISE_BYTES = 8 + UUID_BYTES;
const SEAL_BYTES = 4;

/** A row's value with the crc32 of its key and value behind it: LevelDB's own checksums are not verified on read (replication 2.2). */
export function sealRow(key: Uint8Array, value: Uint8Array, hasher: Hasher): Uint8Array {
  const sealed = pooledBytes(value.length + SEAL_BYTES);
  sealed.set(value);
  writeU32(sealed, value.length, hasher.crc32(value, hasher.crc32(key)));
  return sealed;
}

/** The value of a sealed row (a view of it), or undefined when it is damaged. */
export function openRow(key: Uint8Array, sealed: Uint8Array, hasher: Hasher): Uint8Array | undefined {
  if (sealed.length < SEAL_BYTES) return undefined;
  const value = sealed.subarray(0, sealed.length - SEAL_BYTES);
  const crc = readU32(sealed, value.length);
  return crc === hasher.crc32(value, hasher.crc32(key)) ? value : undefined;
}

export function encodeTail(state: LogState): Uint8Array {
  const bytes = new Uint8Array(TAIL_BYTES);
  writeU64(bytes, 0, state.tail);
  writeU64(bytes, 8, state.bytes);
  writeU64(bytes, 16, state.epoch.num);
  bytes.set(state.epoch.uuid, 24);
  bytes.set(state.chain, 24 + UUID_BYTES);
  return bytes;
}

/** Undefined when the bytes are not a tail. */
export function decodeTail(bytes: Uint8Array): Pick<LogState, 'tail' | 'bytes' | 'epoch' | 'chain'> | undefined {
  if (bytes.length !== TAIL_BYTES) return undefined;
  const tail = safeU64(bytes, 0);
  const size = safeU64(bytes, 8);
  const epoch = getEpoch(bytes, 16);
  if (tail === undefined || size === undefined || epoch === undefined) return undefined;
  return { tail, bytes: size, epoch, chain: new Uint8Array(bytes.subarray(24 + UUID_BYTES)) };
}

export function encodeStart(start: LogState['start']): Uint8Array {
  const bytes = new Uint8Array(START_BYTES);
  writeU64(bytes, 0, start.offset);
  bytes.set(start.chain, 8);
  return bytes;
}

/** Undefined when the bytes are not a start. */
export function decodeStart(bytes: Uint8Array): LogState['start'] | undefined {
  if (bytes.length !== START_BYTES) return undefined;
  const offset = safeU64(bytes, 0);
  return offset === undefined ? undefined : { offset, chain: new Uint8Array(bytes.subarray(8)) };
}

export function encodeHistory(history: readonly EpochStart[]): Uint8Array {
  const bytes = new Uint8Array(history.length * EPOCH_BYTES);
  history.forEach(({ epoch, start }, i) => {
    writeU64(bytes, i * EPOCH_BYTES, epoch.num);
    bytes.set(epoch.uuid, i * EPOCH_BYTES + 8);
    writeU64(bytes, i * EPOCH_BYTES + 8 + UUID_BYTES, start);
  });
  return bytes;
}

/** Undefined when the bytes are not a history. */
export function decodeHistory(bytes: Uint8Array): readonly EpochStart[] | undefined {
  if (bytes.length % EPOCH_BYTES !== 0) return undefined;
  const history: EpochStart[] = [];
  for (let at = 0; at < bytes.length; at += EPOCH_BYTES) {
    const epoch = getEpoch(bytes, at);
    const start = safeU64(bytes, at + 8 + UUID_BYTES);
    if (epoch === undefined || start === undefined) return undefined;
    history.push({ epoch, start });
  }
  return history;
}

export function encodePromise(epoch: Epoch): Uint8Array {
  const bytes = new Uint8Array(PROMISE_BYTES);
  writeU64(bytes, 0, epoch.num);
  bytes.set(epoch.uuid, 8);
  return bytes;
}

/** Undefined when the bytes are not a promise. */
export function decodePromise(bytes: Uint8Array): Epoch | undefined {
  return bytes.length === PROMISE_BYTES ? getEpoch(bytes, 0) : undefined;
}

export function encodeCut(upTo: number): Uint8Array {
  const bytes = new Uint8Array(8);
  writeU64(bytes, 0, upTo);
  return bytes;
}

/** Undefined when the bytes are not a cut. */
export function decodeCut(bytes: Uint8Array): number | undefined {
  return bytes.length === 8 ? safeU64(bytes, 0) : undefined;
}

export function encodeGenerations({ current, oldest, next, staged }: Generations): Uint8Array {
  const bytes = new Uint8Array(staged === undefined ? 12 : 16);
  writeU32(bytes, 0, current);
  writeU32(bytes, 4, oldest);
  writeU32(bytes, 8, next);
  if (staged !== undefined) writeU32(bytes, 12, staged);
  return bytes;
}

/** Undefined when the bytes are not generations. */
export function decodeGenerations(bytes: Uint8Array): Generations | undefined {
  if (bytes.length !== 12 && bytes.length !== 16) return undefined;
  const [current, oldest, next] = [readU32(bytes, 0), readU32(bytes, 4), readU32(bytes, 8)];
  if (current < FIRST_GENERATION || current >= next || oldest > next) return undefined;
  if (bytes.length === 12) return { current, oldest, next };
  const staged = readU32(bytes, 12);
  return staged > current && staged < next ? { current, oldest, next, staged } : undefined;
}

/** Undefined when it is not a safe integer. */
function safeU64(bytes: Uint8Array, at: number): number | undefined {
  const value = readU64(bytes, at);
  return Number.isSafeInteger(value) ? value : undefined;
}

function getEpoch(bytes: Uint8Array, at: number): Epoch | undefined {
  const num = safeU64(bytes, at);
  return num === undefined ? undefined : { num, uuid: new Uint8Array(bytes.subarray(at + 8, at + 8 + UUID_BYTES)) };
}
