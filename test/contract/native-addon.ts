import { nativeVectorIndexes } from '../../src/modules/shard/adapters/native-vector-index.js';
import type { VectorIndexes } from '../../src/modules/shard/core/vector-index.js';

/**
 * What the addon makes. Without it nodes work, several times slower; its tests would prove nothing, and fail.
 * @throws Error when it is not compiled
 */
export function compiledAddon(): Required<VectorIndexes> {
  const made = nativeVectorIndexes;
  if (
    made?.searchAll === undefined ||
    made.scores === undefined ||
    made.postingSums === undefined ||
    made.writeLeg === undefined
  )
    throw new Error(
      'the addon is not compiled, so that nothing of it can be tested: `npm run build` says what is amiss',
    );
  return made as Required<VectorIndexes>;
}
