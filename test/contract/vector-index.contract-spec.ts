import { hnswVectorIndexes } from '../../src/modules/shard/adapters/hnsw-vector-index.js';
import { nativeVectorIndexes } from '../../src/modules/shard/adapters/native-vector-index.js';
import { exactVectorIndexes } from './exact-vector-index.js';
import { vectorIndexSuite } from './vector-index.suite.js';

vectorIndexSuite('HnswVectorIndex', hnswVectorIndexes);
// Where the addon could not be compiled, nodes do without it, too.
if (nativeVectorIndexes !== undefined) vectorIndexSuite('NativeVectorIndex', nativeVectorIndexes);
vectorIndexSuite('ExactVectorIndex', exactVectorIndexes);
