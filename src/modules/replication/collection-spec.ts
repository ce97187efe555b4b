import type { Collection } from '../ring/core/map.js';
import type { CollectionSpec } from '../shard/core/search.js';

/** What an index must know of a collection. */
export function toSpec(collection: Collection): CollectionSpec {
  return {
    id: collection.id,
    dimensions: collection.dimensions,
    similarity: collection.similarity,
    hnsw: collection.hnsw,
  };
}
