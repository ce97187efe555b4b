import type { LogPosition } from '../../replication/core/branch-epochs.js';
import { NumberToken, readNumberToken } from './number-token.js';

/** Positions in the logs of shards: what a session token and a change-stream cursor hold (replication 7.2). */
export type Position = LogPosition;

export type Positions = ReadonlyMap<number, Position>;

const FORMAT = 2;
const NUMBERS = 4;
/** 256 shards × 4 numbers of up to 8 bytes, in base64. */
export const POSITIONS_TEXT_MAX = 12_288;

/** Opaque base64url: a format byte, the cluster's tag, then (shard, epoch, reign, offset) as variable-length numbers. */
export function encodePositions(positions: Positions, clusterTag: number): string {
  const token = new NumberToken(FORMAT);
  token.push(clusterTag);
  for (const shard of [...positions.keys()].sort((a, b) => a - b)) {
    const position = positions.get(shard);
    if (position === undefined) continue;
    token.push(shard, position.epoch, position.reign, position.offset);
  }
  return token.text();
}

/** The positions behind a token; `foreign` when another cluster made it; undefined when it is not one. */
export function decodePositions(
  text: string,
  clusterTag: number,
): { readonly positions: Positions; readonly foreign: boolean } | undefined {
  const token = readNumberToken(text, POSITIONS_TEXT_MAX);
  if (token?.format !== FORMAT || token.numbers.length % NUMBERS !== 1) return undefined;
  const { numbers } = token;
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
