import { NodeError } from '../../kernel/errors.js';
import type { Collection } from '../ring/core/map.js';

/** What only the map can tell of a vector: its collection's dimension, and that cosine needs a direction. @throws NodeError */
export function checkVector(vector: Float32Array, collection: Collection): void {
  if (collection.dimensions !== undefined && vector.length !== collection.dimensions) {
    throw new NodeError(
      'DIMENSION_MISMATCH',
      `\`vector\` has ${vector.length} dimensions; the collection "${collection.name}" has ${collection.dimensions}`,
    );
  }
  if (collection.similarity === 'cosine' && vector.every((component) => component === 0)) {
    throw new NodeError(
      'INVALID_REQUEST',
      '`vector` is all zeros, which has no direction to compare by cosine; leave it out, or use another similarity',
    );
  }
}
