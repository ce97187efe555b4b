import { open } from 'node:fs/promises';
import hnswlib from 'hnswlib-node';
import type { HierarchicalNSW } from 'hnswlib-node';
import { assert } from '../../../kernel/assert.js';
import { LIMITS } from '../../../kernel/limits.js';
import type { Bitmap } from '../core/bitmap.js';
import type { Near, VectorIndex, VectorIndexes, VectorShape } from '../core/vector-index.js';

/** Places a graph starts with, and the least it grows by. Pages that are never touched take no memory. */
const CAPACITY_STEP_MIN = 1_024;
/** A full graph grows by this share. */
const GROWTH = 0.125;
/** Bytes of the header hnswlib writes. */
const FILE_HEADER_BYTES = 96;
const READ_BYTES = 1 << 20;

/**
 * A VectorIndex on hnswlib-node, for where the native one cannot be compiled. Vectors of a cosine collection are normalised here, in double precision, and compared by
 * inner product, so that very long and very short ones lose nothing to float32.
 */
export class HnswVectorIndex implements VectorIndex {
  readonly #shape: VectorShape;
  readonly #graph: HierarchicalNSW;
  /** hnswlib takes number[] only; filling one array by an indexed loop is ten times faster than Array.from. */
  readonly #point: number[];
  #size: number;
  #dead: number;
  #capacity: number;
  #ef = 0;
  #saving = false;
  #disposed = false;

  constructor(shape: VectorShape, graph: HierarchicalNSW, dead: number) {
    this.#shape = shape;
    this.#graph = graph;
    this.#point = new Array<number>(shape.dimensions).fill(0.5);
    this.#size = graph.getCurrentCount();
    this.#dead = dead;
    this.#capacity = graph.getMaxElements();
  }

  get size(): number {
    return this.#size;
  }

  get dead(): number {
    return this.#dead;
  }

  add(label: number, vector: Float32Array, norm: number): void {
    assert(!this.#saving && !this.#disposed, 'a graph that is being saved or was disposed must not change');
    if (this.#size === this.#capacity) {
      this.#capacity += Math.max(CAPACITY_STEP_MIN, Math.ceil(this.#capacity * GROWTH));
      this.#graph.resizeIndex(this.#capacity);
    }
    this.#fill(vector, norm);
    this.#graph.addPoint(this.#point, label);
    this.#size += 1;
    assert(this.#graph.getCurrentCount() === this.#size, `label ${label} was in the graph already`);
  }

  markDead(label: number): void {
    assert(!this.#saving && !this.#disposed, 'a graph that is being saved or was disposed must not change');
    this.#graph.markDelete(label);
    this.#dead += 1;
  }

  search(query: Float32Array, k: number, ef: number, allowed?: Bitmap): Near {
    const wanted = Math.min(k, this.#size - this.#dead);
    if (wanted <= 0) return { labels: new Uint32Array(0), distances: new Float32Array(0) };
    const width = Math.min(ef, LIMITS.efMax);
    if (width !== this.#ef) {
      this.#graph.setEf(width);
      this.#ef = width;
    }
    this.#fill(query, this.#shape.similarity === 'cosine' ? euclideanLength(query) : 1);
    // A filter is a call into JavaScript per vector met: only when there is one.
    const found =
      allowed === undefined
        ? this.#graph.searchKnn(this.#point, wanted)
        : this.#graph.searchKnn(this.#point, wanted, (label) => allowed.has(label));
    return { labels: Uint32Array.from(found.neighbors), distances: Float32Array.from(found.distances) };
  }

  /** hnswlib ignores I/O errors: the file is walked to its end, where a lost write shows as a missing piece. */
  async save(file: string): Promise<void> {
    assert(!this.#saving && !this.#disposed, 'a graph is saved by one at a time');
    this.#saving = true;
    try {
      await this.#graph.writeIndex(file);
      await assertWhole(file, this.#size, this.#shape);
    } finally {
      this.#saving = false;
    }
  }

  dispose(): void {
    assert(!this.#saving, 'a graph that is being saved must not be disposed');
    if (this.#disposed) return;
    this.#disposed = true;
    // The addon frees a graph when its wrapper is collected, which may take long; initIndex frees the old one now.
    this.#graph.initIndex(1);
  }

  #fill(vector: Float32Array, norm: number): void {
    const { dimensions, similarity } = this.#shape;
    assert(vector.length === dimensions, `a vector of this graph has ${dimensions} dimensions, not ${vector.length}`);
    const point = this.#point;
    if (similarity === 'cosine' && norm > 0) {
      for (let i = 0; i < dimensions; i++) point[i] = vector[i] / norm;
    } else {
      for (let i = 0; i < dimensions; i++) point[i] = vector[i];
    }
  }
}

/** Graphs on hnswlib. */
export const hnswVectorIndexes: VectorIndexes = {
  name: 'hnswlib',

  // A walk that must keep `ef` allowed candidates meets ef / pass-rate vectors on its way, each a call of the filter.
  scanPerCandidate: 10,

  create(shape, expected) {
    const graph = newGraph(shape);
    graph.initIndex({
      maxElements: Math.max(CAPACITY_STEP_MIN, Math.ceil(expected * (1 + GROWTH))),
      m: shape.hnsw.m,
      efConstruction: shape.hnsw.efConstruction,
    });
    return new HnswVectorIndex(shape, graph, 0);
  },

  load(shape, file, size, dead) {
    const graph = newGraph(shape);
    graph.readIndexSync(file);
    if (graph.getCurrentCount() !== size) {
      throw new Error(`${file} holds ${graph.getCurrentCount()} vectors instead of ${size}`);
    }
    return new HnswVectorIndex(shape, graph, dead);
  },
};

function newGraph(shape: VectorShape): HierarchicalNSW {
  return new hnswlib.HierarchicalNSW(shape.similarity === 'euclidean' ? 'l2' : 'ip', shape.dimensions);
}

function euclideanLength(vector: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < vector.length; i++) sum += vector[i] * vector[i];
  return Math.sqrt(sum);
}

/** Walks a written graph: header, one record per vector, then the upper links of each, to the very last byte. */
async function assertWhole(file: string, size: number, shape: VectorShape): Promise<void> {
  const handle = await open(file, 'r');
  try {
    const { size: bytes } = await handle.stat();
    const recordBytes = 2 * shape.hnsw.m * 4 + 4 + shape.dimensions * 4 + 8;
    let at = FILE_HEADER_BYTES + size * recordBytes;
    const chunk = Buffer.allocUnsafe(READ_BYTES);
    let chunkAt = 0;
    let chunkBytes = 0;
    for (let vector = 0; vector < size; vector++) {
      if (at + 4 > chunkAt + chunkBytes) {
        chunkAt = at;
        ({ bytesRead: chunkBytes } = await handle.read(chunk, 0, READ_BYTES, at));
        if (chunkBytes < 4) throw new Error(`${file} ends early: ${bytes} bytes`);
      }
      at += 4 + chunk.readUInt32LE(at - chunkAt);
    }
    if (at !== bytes) throw new Error(`${file} has ${bytes} bytes instead of ${at}`);
  } finally {
    await handle.close();
  }
}
