import { NumberToken, readNumberToken } from './number-token.js';
import { decodePositions, encodePositions, type Position } from './positions.js';

/**
 * Where a reader of the change stream is in the log of a shard, and what it is promised from there on.
 *
 * Of a log from which superseded entries are gone up to its start (replication 2.5) a reader that begins with nothing gets,
 * up to there, the newest state of each document instead of every write. Below `passingTo` it is on its way through that
 * part, and is promised the newest state of everything; from there on it is promised every write.
 */
export interface ChangePlace extends Position {
  /** The start of the log it was given that part of; at most `offset`: it is not in such a part. */
  readonly passingTo: number;
}

export type ChangePlaces = ReadonlyMap<number, ChangePlace>;

export const LOG_BEGIN: ChangePlace = { epoch: 0, reign: 0, offset: 0, passingTo: 0 };

/** What of a page decides whether a reader may go on with it. */
export interface PageBounds {
  /** The log is whole above this offset. */
  readonly start: number;
  /** Where the branch of the reader left this log, if it did. */
  readonly fork?: number;
  /** What follows the place, or the fork, begins at or below `start`. */
  readonly compacted: boolean;
}

/**
 * Where a reader goes on from, before the entries of a page; undefined: it must start over (ADR 30).
 *
 * Within one log it misses the newest state of no document, deletes included, however often that was compacted: the row
 * of a document or of its tombstone points at one entry from the moment that is logged until a later one takes its place
 * (2.4), and what a row points at is never deleted. So the entry of what is newest now was there when the reader passed
 * it, or lies ahead. What may be gone ahead of it are writes that were overwritten since: it is refused if it was promised
 * those, and came back for them. A reader with nothing was not, nor one that is passing; who reads at this moment is
 * overtaken by the compaction, and is passing from then on.
 *
 * Where the log was forked behind the reader, the entry of the newest state below the fork may have been gone from the
 * log it read, superseded by one of the branch that this log does not have: a reader that is passing may never have been
 * given it. From the very beginning it gets everything again.
 *
 * @param reading whether it has read this shard in this stream
 */
export function placeOnPage(place: ChangePlace, page: PageBounds, reading: boolean): ChangePlace | undefined {
  const passing = place.offset < place.passingTo;
  if (page.fork !== undefined) {
    if (page.compacted || (passing && page.fork > 0)) return undefined;
    return { ...LOG_BEGIN, offset: page.fork };
  }
  if (!page.compacted) return place;
  if (place.offset > 0 && !passing && !reading) return undefined;
  return { ...place, passingTo: Math.max(place.passingTo, page.start) };
}

const FORMAT = 3;
const NUMBERS = 5;
/** 256 shards × 5 numbers of up to 8 bytes, one of them of 2 and one of 5, in base64. */
export const CURSOR_TEXT_MAX = 12_288;

/**
 * As opaque as a session token, and one while no shard is being passed through; otherwise a token of another format, with
 * (shard, epoch, reign, offset, passingTo).
 */
export function encodeCursor(places: ChangePlaces, clusterTag: number): string {
  if ([...places.values()].every(({ offset, passingTo }) => passingTo <= offset))
    return encodePositions(places, clusterTag);
  const token = new NumberToken(FORMAT);
  token.push(clusterTag);
  for (const [shard, { epoch, reign, offset, passingTo }] of [...places].sort(([a], [b]) => a - b))
    token.push(shard, epoch, reign, offset, passingTo > offset ? passingTo : 0);
  return token.text();
}

/** The places behind a cursor; `foreign` when another cluster made it; undefined when it is not one. */
export function decodeCursor(
  text: string,
  clusterTag: number,
): { readonly places: ChangePlaces; readonly foreign: boolean } | undefined {
  const token = readNumberToken(text, CURSOR_TEXT_MAX);
  if (token?.format !== FORMAT) {
    const decoded = decodePositions(text, clusterTag);
    if (decoded === undefined) return undefined;
    const places = [...decoded.positions].map(([shard, at]) => [shard, { ...at, passingTo: 0 }] as const);
    return { places: new Map(places), foreign: decoded.foreign };
  }
  const { numbers } = token;
  if (numbers.length % NUMBERS !== 1) return undefined;
  const places = new Map<number, ChangePlace>();
  for (let i = 1; i < numbers.length; i += NUMBERS) {
    const [shard, epoch, reign, offset, passingTo] = numbers.slice(i, i + NUMBERS);
    places.set(shard, { epoch, reign, offset, passingTo });
  }
  return { places, foreign: numbers[0] !== clusterTag };
}
