import { CollectionIndex } from './collection-index.js';
import type { KeywordMatches } from './keyword-index.js';
import type { SearchAnswerWriter } from './search-answer-writer.js';
import type { SearchFailure } from './search-answer.js';
import type { ShardSearch } from './search.js';
import type { ShardIndex } from './shard-index.js';
import { TopK } from './top-k.js';
import { SPARE, type FoundVectors } from './vector-table.js';

/** What one shard found. */
interface Found {
  readonly shard: number;
  readonly collection: CollectionIndex | SearchFailure;
  readonly vectors: FoundVectors | undefined;
  readonly texts: KeywordMatches | undefined;
}

/**
 * Searches shards one after the other, and writes their answers in that order. All of them are searched before anything is
 * ranked exactly or written: of the candidates of many shards most are beyond the best of them all (`VectorLeg.of`,
 * `KeywordLeg.of`), and what is beyond those and a few more is left out; of texts, what is beyond the best of the shards
 * before is not even looked for.
 */
export function searchShards(
  search: ShardSearch,
  indexOf: (shard: number) => ShardIndex | undefined,
  into: SearchAnswerWriter,
): void {
  const { collectionId, vector, keyword, filter, exact, shards } = search;
  const areMany = shards.length > 1;
  const nearest = new BestOfAll(bestDistances, areMany ? vector?.of : undefined);
  // Scores by sums of their own do not compare.
  const texts = new BestOfAll(bestScores, areMany && keyword?.statistics !== undefined ? keyword.of : undefined);
  const collections = shards.map((shard) => indexOf(shard)?.searched(collectionId) ?? 'NOT_READY');
  const there = new Set(collections.filter((collection) => typeof collection !== 'string'));
  const vectorsOf = vector && CollectionIndex.findVectors(there, vector, filter, exact);
  const found = shards.map((shard, i): Found => {
    const collection = collections[i];
    if (typeof collection === 'string') return { shard, collection, vectors: undefined, texts: undefined };
    const vectors = vectorsOf?.get(collection);
    nearest.offer(vectors?.distances, -1);
    const matches = keyword && collection.findTexts(keyword, filter, texts.least);
    texts.offer(matches?.scores, 1);
    return { shard, collection, vectors, texts: matches };
  });
  for (const { shard, collection, vectors, texts: matches } of found) {
    if (typeof collection === 'string') {
      into.fail(shard, collection);
      continue;
    }
    into.begin(shard, collection.documents);
    if (vector !== undefined) collection.writeVectors(vector, vectors, -nearest.least, into);
    if (matches !== undefined) collection.writeTexts(matches, texts.least, into);
    into.end();
  }
}

const anyOrder = (): number => 0;
// Their memory is used again by every search: each is one turn.
const bestDistances = new TopK(0, anyOrder);
const bestScores = new TopK(0, anyOrder);

/** The best values of all shards so far. */
class BestOfAll {
  readonly #best: TopK | undefined;

  /** @param wanted so many, and some more; undefined: without a bound */
  constructor(best: TopK, wanted: number | undefined) {
    this.#best = wanted === undefined ? undefined : best;
    if (wanted !== undefined) best.reset(wanted + SPARE, anyOrder);
  }

  /** What is less is not among them; −∞ while there are fewer. */
  get least(): number {
    return this.#best?.threshold ?? -Infinity;
  }

  /** @param values of one shard, best first. @param sign 1 when the greatest are best, or else −1 */
  offer(values: Float64Array | Float32Array | undefined, sign: 1 | -1): void {
    const best = this.#best;
    if (best === undefined || values === undefined) return;
    for (let i = 0; i < values.length; i++) {
      const value = sign * values[i];
      if (value < best.threshold) return;
      best.push(i, value);
    }
  }
}
