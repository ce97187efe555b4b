import { NodeError } from '../../kernel/errors.js';
import type { JsonObject } from '../../kernel/json.js';
import { LIMITS } from '../../kernel/limits.js';
import type { Collection } from '../ring/core/map.js';
import { metadataKeys } from '../shard/core/attribute-index.js';

/** The filterable metadata keys of each collection, so that the one too many is refused before it is logged. */
export class AttributeKeys {
  readonly #keys = new Map<number, Set<string>>();

  /** Keys that the indexes hold already. */
  learn(collectionId: number, keys: Iterable<string>): void {
    const known = this.#of(collectionId);
    for (const key of keys) known.add(key);
  }

  /** Whether all of the document's keys were met before. */
  knows(collectionId: number, metadata: JsonObject): boolean {
    const known = this.#of(collectionId);
    return metadataKeys(metadata).every((key) => known.has(key));
  }

  /** @throws NodeError LIMIT_EXCEEDED when the document would bring the collection above its filterable keys */
  admit(collection: Collection, metadata: JsonObject): void {
    const known = this.#of(collection.id);
    const fresh = metadataKeys(metadata).filter((key) => !known.has(key));
    if (fresh.length === 0) return;
    if (known.size + fresh.length > LIMITS.attributeKeysMax) {
      throw new NodeError(
        'LIMIT_EXCEEDED',
        `the collection "${collection.name}" has ${known.size} filterable metadata keys, and "${fresh[0]}" would bring it above ${LIMITS.attributeKeysMax}; use fewer, steadier keys`,
      );
    }
    for (const key of fresh) known.add(key);
  }

  #of(collectionId: number): Set<string> {
    let known = this.#keys.get(collectionId);
    if (known === undefined) {
      known = new Set();
      this.#keys.set(collectionId, known);
    }
    return known;
  }
}
