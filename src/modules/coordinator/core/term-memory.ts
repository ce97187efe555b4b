import type { KeywordStatistics } from '../../shard/core/search.js';

/** Terms remembered of all collections: a few MiB. */
const TERMS_MAX = 32_768;
/** Characters of a term that is remembered; longer ones are rare and never asked twice. */
const TERM_LENGTH_MAX = 64;

interface CollectionMemory {
  documents: number;
  totalLength: number;
  /** Term → documents with it, over all shards. Twice: `young` are those used since `old` ones were. */
  young: Map<string, number>;
  old: Map<string, number>;
}

/**
 * The sums over all shards that earlier answers brought. Shards that rank by sums rank alike, so that what each returns is
 * the cluster's best, not its own, and hardly ever must be asked again. Old sums are as right as new ones: the answers
 * are scored by those of the moment, and whoever asks checks what could have been left out.
 */
export class TermMemory {
  readonly #collections = new Map<number, CollectionMemory>();
  #young = 0;

  /** The sums of `terms`, or undefined when one of them is not known. */
  recall(collectionId: number, terms: readonly string[]): KeywordStatistics | undefined {
    const memory = this.#collections.get(collectionId);
    if (memory === undefined) return undefined;
    const documentFrequencies: number[] = [];
    for (const term of terms) {
      const frequency = memory.young.get(term) ?? memory.old.get(term);
      if (frequency === undefined) return undefined;
      documentFrequencies.push(frequency);
    }
    const { documents, totalLength } = memory;
    return { documents, totalLength, documentFrequencies };
  }

  /** @param sums over every shard, in the order of the terms */
  learn(collectionId: number, terms: readonly string[], sums: KeywordStatistics): void {
    let memory = this.#collections.get(collectionId);
    if (memory === undefined) {
      memory = { documents: 0, totalLength: 0, young: new Map(), old: new Map() };
      this.#collections.set(collectionId, memory);
    }
    memory.documents = sums.documents;
    memory.totalLength = sums.totalLength;
    const { young } = memory;
    const before = young.size;
    for (let t = 0; t < terms.length; t++)
      if (terms[t].length <= TERM_LENGTH_MAX) young.set(terms[t], sums.documentFrequencies[t]);
    this.#young += young.size - before;
    if (this.#young > TERMS_MAX / 2) this.#age();
  }

  /** Forgets what was not used since the last time. */
  #age(): void {
    for (const [id, memory] of this.#collections) {
      if (memory.young.size === 0) this.#collections.delete(id);
      memory.old = memory.young;
      memory.young = new Map();
    }
    this.#young = 0;
  }
}
