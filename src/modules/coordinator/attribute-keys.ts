import type { Clock } from '../../kernel/clock.js';
import { NodeError } from '../../kernel/errors.js';
import type { JsonObject } from '../../kernel/json.js';
import { LIMITS } from '../../kernel/limits.js';
import type { Collection } from '../ring/core/map.js';
import { metadataKeys } from '../shard/core/attribute-index.js';

/** What was admitted is in the indexes, or nowhere, after so long. */
const ADMITTED_MS = 10_000;

interface CollectionKeys {
  /** Those that documents have, as the indexes said last. */
  stored: Set<string>;
  /** Those of writes since, with the time each was admitted. */
  readonly admitted: Map<string, number>;
}

/** The filterable metadata keys of each collection, so that the one too many is refused before it is logged. */
export class AttributeKeys {
  readonly #collections = new Map<number, CollectionKeys>();

  constructor(private readonly clock: Pick<Clock, 'monotonicMs'>) {}

  /**
   * Keys that indexes hold.
   * @param all whether every shard was asked: then those that nobody has any more are given back
   */
  learn(collectionId: number, keys: Iterable<string>, all: boolean): void {
    const known = this.#of(collectionId);
    known.stored = new Set(all ? keys : [...known.stored, ...keys]);
    const since = this.clock.monotonicMs() - ADMITTED_MS;
    for (const [key, atMs] of known.admitted)
      if (known.stored.has(key) || (all && atMs < since)) known.admitted.delete(key);
  }

  /** Whether all of the document's keys were met before. */
  knows(collectionId: number, metadata: JsonObject): boolean {
    const { stored, admitted } = this.#of(collectionId);
    return metadataKeys(metadata).every((key) => stored.has(key) || admitted.has(key));
  }

  /** Whether one key more would be too many. */
  isFull(collectionId: number): boolean {
    const { stored, admitted } = this.#of(collectionId);
    return stored.size + admitted.size >= LIMITS.attributeKeysMax;
  }

  /** @throws NodeError LIMIT_EXCEEDED when the document would bring the collection above its filterable keys */
  admit(collection: Collection, metadata: JsonObject): void {
    const { stored, admitted } = this.#of(collection.id);
    const fresh = metadataKeys(metadata).filter((key) => !stored.has(key) && !admitted.has(key));
    const size = stored.size + admitted.size;
    if (fresh.length > 0 && size + fresh.length > LIMITS.attributeKeysMax) {
      throw new NodeError(
        'LIMIT_EXCEEDED',
        `the collection "${collection.name}" has ${size} filterable metadata keys, and "${fresh[0]}" would bring it above ${LIMITS.attributeKeysMax}; use fewer, steadier keys`,
      );
    }
    const nowMs = this.clock.monotonicMs();
    for (const key of fresh) admitted.set(key, nowMs);
  }

  /** The document was not stored: what only it had is given back. */
  release(collectionId: number, metadata: JsonObject): void {
    const { admitted } = this.#of(collectionId);
    if (admitted.size > 0) for (const key of metadataKeys(metadata)) admitted.delete(key);
  }

  #of(collectionId: number): CollectionKeys {
    let known = this.#collections.get(collectionId);
    if (known === undefined) {
      known = { stored: new Set(), admitted: new Map() };
      this.#collections.set(collectionId, known);
    }
    return known;
  }
}
