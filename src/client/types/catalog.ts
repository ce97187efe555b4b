export type Similarity = 'cosine' | 'dot' | 'euclidean';

/** Parameters of a collection's vector index. */
export interface HnswSettings {
  /** Links per node and layer, 4–64. */
  readonly m: number;
  /** Search width while building, 16–800. */
  readonly efConstruction: number;
  /** Default search width, 10–1000. */
  readonly efSearch: number;
}

/** What a collection is made with; what is absent comes from the node's configuration. */
export interface CollectionSettings {
  /** From the first vector when absent. */
  readonly dimensions?: number;
  readonly similarity?: Similarity;
  readonly hnsw?: Partial<HnswSettings>;
}

export interface Collection {
  readonly name: string;
  /** Null until the first vector. */
  readonly dimensions: number | null;
  readonly similarity: Similarity;
  readonly hnsw: HnswSettings;
  /** Live documents. */
  readonly documents: number;
  /** Shards whose documents could not be counted; absent: none. */
  readonly missingShards?: readonly number[];
}

export interface Alias {
  readonly name: string;
  readonly collection: string;
}
