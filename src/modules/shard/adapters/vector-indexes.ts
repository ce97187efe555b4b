import type { VectorIndexes } from '../core/vector-index.js';
import { hnswVectorIndexes } from './hnsw-vector-index.js';
import { nativeVectorIndexes } from './native-vector-index.js';

/** The graphs of this node: its own where they were compiled, else those of hnswlib-node. */
export const vectorIndexes: VectorIndexes = nativeVectorIndexes ?? hnswVectorIndexes;
