/** How vectors of a collection are compared; higher scores are closer (api.md, Scores). */
export type Similarity = 'cosine' | 'dot' | 'euclidean';

/** Parameters of the vector index of a collection. */
export interface HnswParameters {
  /** Links per node and layer, 4–64. */
  readonly m: number;
  /** Search width while building, 16–800. */
  readonly efConstruction: number;
  /** Default search width, 10–1000. */
  readonly efSearch: number;
}
