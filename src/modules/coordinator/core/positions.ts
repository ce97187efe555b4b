import type { LogPosition } from '../../replication/core/branch-epochs.js';
import { fromBase64Url, toBase64Url } from '../../../kernel/base64url.js';

/** Positions in the logs of shards: what a session token and a change-stream cursor hold (replication 7.2). */
export type Position = LogPosition;

export type Positions = ReadonlyMap<number, Position>;

const FORMAT = 2;
const NUMBERS = 4;
/** 256 shards × 4 numbers of up to 8 bytes, in base64. */
export const POSITIONS_TEXT_MAX = 12_288;

/** Opaque base64url: a format byte, the cluster's tag, then (shard, epoch, reign, offset) as variable-length numbers. */
export function encodePositions(positions: Positions, clusterTag: number): string {
  const bytes: number[] = [FORMAT];
  pushNumber(bytes, clusterTag);
  for (const shard of [...positions.keys()].sort((a, b) => a - b)) {
    const position = positions.get(shard);
    if (position === undefined) continue;
    pushNumber(bytes, shard);
    pushNumber(bytes, position.epoch);
    pushNumber(bytes, position.reign);
    pushNumber(bytes, position.offset);
  }
  return toBase64Url(bytes);
}

/** The positions behind a token; `foreign` when another cluster made it; undefined when it is not one. */
export function decodePositions(
  text: string,
  clusterTag: number,
): { readonly positions: Positions; readonly foreign: boolean } | undefined {
  if (text.length > POSITIONS_TEXT_MAX) return undefined;
  const bytes = fromBase64Url(text);
  if (bytes === undefined || bytes[0] !== FORMAT) return undefined;
  const numbers = readNumbers(bytes);
  if (numbers === undefined || numbers.length === 0 || numbers.length % NUMBERS !== 1) return undefined;
  const positions = new Map<number, Position>();
  for (let i = 1; i < numbers.length; i += NUMBERS) {
    const [shard, epoch, reign, offset] = numbers.slice(i, i + NUMBERS);
    positions.set(shard, { epoch, reign, offset });
  }
  return { positions, foreign: numbers[0] !== clusterTag };
}

/** The later of two positions of one shard. */
export function laterPosition(a: Position | undefined, b: Position): Position {
  if (a === undefined) return b;
  return (a.epoch - b.epoch || a.reign - b.reign || a.offset - b.offset) >= 0 ? a : b;
}

/** Both sets of positions, the later one of each shard. */
export function foldPositions(a: Positions, b: Positions): Positions {
  const folded = new Map(a);
  for (const [shard, position] of b) folded.set(shard, laterPosition(folded.get(shard), position));
  return folded;
}

/** A number that tells tokens of different clusters apart: the first 32 bits of its UUID. */
export function clusterTag(clusterId: string): number {
  return Number.parseInt(clusterId.replaceAll('-', '').slice(0, 8), 16) >>> 0;
}

function pushNumber(bytes: number[], value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
}

function readNumbers(bytes: Uint8Array): number[] | undefined {
  const numbers: number[] = [];
  let value = 0;
  let scale = 1;
  for (let i = 1; i < bytes.length; i++) {
    value += (bytes[i] & 0x7f) * scale;
    if (!Number.isSafeInteger(value)) return undefined;
    if ((bytes[i] & 0x80) === 0) {
      numbers.push(value);
      value = 0;
      scale = 1;
    } else scale *= 0x80;
  }
  return scale === 1 ? numbers : undefined;
}
