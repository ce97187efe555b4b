import { NodeError } from '../../kernel/errors.js';
import type { MapService } from '../replication/map.service.js';
import {
  clusterTag,
  decodePositions,
  encodePositions,
  foldPositions,
  laterPosition,
  type Position,
  type Positions,
} from './core/positions.js';
import type { ReadConsistency } from './core/requests.js';

const NONE: Positions = new Map();

/**
 * Which copies may answer a read. What a session saw is asked of them unless the client says `any` itself: without a word
 * a session means `session`. The answer folds it in all the same.
 */
export function demandOf(
  consistency: ReadConsistency,
  session: Positions,
): { readonly session: Positions; readonly primary: boolean } {
  return { session: consistency === 'any' ? NONE : session, primary: consistency === 'primary' };
}

/**
 * Session tokens (replication 7.2): what a client has seen, as positions in the logs. Every answer folds in the token it
 * was given, so a client keeps only the newest.
 */
export class Sessions {
  readonly #map: MapService;
  #cluster: { readonly id: string; readonly tag: number } | undefined;
  #empty: { readonly tag: number; readonly token: string } | undefined;

  constructor(map: MapService) {
    this.#map = map;
  }

  /** The positions of a client's token; none without one. @throws NodeError INVALID_REQUEST */
  read(token: string | undefined): Positions {
    if (token === undefined || token === '') return NONE;
    const decoded = decodePositions(token, this.#tag());
    if (decoded === undefined)
      throw new NodeError(
        'INVALID_REQUEST',
        '`session` is not a token of this service; send the one of the last answer, or none',
      );
    if (decoded.foreign)
      throw new NodeError('INVALID_REQUEST', '`session` is a token of another cluster; start without one');
    return decoded.positions;
  }

  /** The token for a client that saw `before` and now a write at `position`. */
  withWrite(before: Positions, shard: number, position: Position): string {
    const after = new Map(before);
    after.set(shard, laterPosition(after.get(shard), position));
    return encodePositions(after, this.#tag());
  }

  /** The token for a client that saw `before` and `seen`. */
  fold(before: Positions, seen: Positions): string {
    return encodePositions(foldPositions(before, seen), this.#tag());
  }

  /** The token for a client that saw nothing beside what its own says: the same, in our writing. */
  same(token: string | undefined): string {
    const tag = this.#tag();
    if (token !== undefined && token !== '') return encodePositions(this.read(token), tag);
    if (this.#empty?.tag !== tag) this.#empty = { tag, token: encodePositions(NONE, tag) };
    return this.#empty.token;
  }

  #tag(): number {
    const { clusterId } = this.#map.current();
    if (this.#cluster?.id !== clusterId) this.#cluster = { id: clusterId, tag: clusterTag(clusterId) };
    return this.#cluster.tag;
  }
}

/** No copy that can be reached has what the session saw, not even the primary (replication 7.2). */
export function notCaughtUp(shards: readonly number[]): NodeError {
  return new NodeError(
    'NOT_CAUGHT_UP',
    `no copy of shard ${shards[0]} that can be reached has what this session saw yet; try again`,
    { retryAfterMs: 200 },
  );
}
