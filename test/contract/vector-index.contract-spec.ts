import { hnswVectorIndexes } from '../../src/modules/shard/adapters/hnsw-vector-index.js';
import { exactVectorIndexes } from './exact-vector-index.js';
import { vectorIndexSuite } from './vector-index.suite.js';

vectorIndexSuite('HnswVectorIndex', hnswVectorIndexes);
vectorIndexSuite('ExactVectorIndex', exactVectorIndexes);
