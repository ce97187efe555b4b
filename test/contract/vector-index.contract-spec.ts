import { hnswVectorIndexes } from '../../src/modules/shard/adapters/hnsw-vector-index.js';
import { exactVectorIndexes } from './exact-vector-index.js';
import { compiledAddon } from './native-addon.js';
import { vectorIndexSuite } from './vector-index.suite.js';

vectorIndexSuite('HnswVectorIndex', hnswVectorIndexes);
vectorIndexSuite('NativeVectorIndex', compiledAddon());
vectorIndexSuite('ExactVectorIndex', exactVectorIndexes);
