import { compareIds } from '../../../kernel/ids.js';
import type { Fusion } from './requests.js';

/** One leg of a query, merged over all shards: best first, ids distinct. */
export interface Leg {
  readonly ids: readonly string[];
  readonly scores: readonly number[];
}

/** A fused result: ranks count from 1; a leg that does not hold the document has none. */
export interface Fused {
  readonly id: string;
  readonly score: number;
  readonly vectorRank: number | undefined;
  readonly keywordRank: number | undefined;
  readonly vectorPart: number;
  readonly keywordPart: number;
}

/** Which of the fused results are wanted, from 0. */
export interface Page {
  readonly offset: number;
  readonly size: number;
}

/** Up to this many wanted results are kept in order while the rest passes by; more are sorted with it. */
const INSERTED_MAX = 64;

/**
 * Fuses two global legs once (replication 7.4), best first, ties by id; only the results of the page become objects.
 *
 * `rrf`: each leg gives weight / (k + rank) (Cormack, Clarke and Büttcher 2009). `relative`: each leg's scores are
 * brought to 0…1 by its minimum and maximum, a missing document counts 0, and alpha weighs the vector leg.
 */
export function fuse(vector: Leg, keyword: Leg, fusion: Fusion, page: Page): readonly Fused[] {
  const vectorParts = parts(vector, fusion, 'vector');
  const keywordParts = parts(keyword, fusion, 'keyword');
  const both = vector.ids.length;
  /** Places: the vector leg's, then the documents that only the keyword leg holds. */
  const ids = vector.ids.slice();
  const scores = vectorParts.slice();
  const keywordRanks: number[] = new Array<number>(both).fill(0);
  const places = new Map<string, number>();
  for (let i = 0; i < both; i++) places.set(ids[i], i);
  for (let i = 0; i < keyword.ids.length; i++) {
    const place = places.get(keyword.ids[i]);
    if (place === undefined) {
      ids.push(keyword.ids[i]);
      scores.push(keywordParts[i]);
      keywordRanks.push(i + 1);
    } else {
      scores[place] += keywordParts[i];
      keywordRanks[place] = i + 1;
    }
  }
  return bestPlaces(ids, scores, page.offset + page.size)
    .slice(page.offset)
    .map((place) => {
      const inVector = place < both;
      const keywordRank = keywordRanks[place];
      return {
        id: ids[place],
        score: scores[place],
        vectorRank: inVector ? place + 1 : undefined,
        keywordRank: keywordRank === 0 ? undefined : keywordRank,
        vectorPart: inVector ? vectorParts[place] : 0,
        keywordPart: keywordRank === 0 ? 0 : keywordParts[keywordRank - 1],
      };
    });
}

/** The results of a query with one leg. */
export function single(leg: Leg, mode: 'VECTOR' | 'KEYWORD', { offset, size }: Page): readonly Fused[] {
  const isVector = mode === 'VECTOR';
  return leg.ids.slice(offset, offset + size).map((id, i) => {
    const rank = offset + i + 1;
    const score = leg.scores[offset + i];
    return {
      id,
      score,
      vectorRank: isVector ? rank : undefined,
      keywordRank: isVector ? undefined : rank,
      vectorPart: isVector ? score : 0,
      keywordPart: isVector ? 0 : score,
    };
  });
}

/** The places of the `wanted` best, by score descending, then by id. */
function bestPlaces(ids: readonly string[], scores: readonly number[], wanted: number): number[] {
  const compare = (a: number, b: number): number => scores[b] - scores[a] || compareIds(ids[a], ids[b]);
  if (wanted > INSERTED_MAX)
    return ids
      .map((_, place) => place)
      .sort(compare)
      .slice(0, wanted);
  const best: number[] = [];
  for (let place = 0; place < ids.length; place++) {
    if (best.length === wanted && (wanted === 0 || compare(place, best[wanted - 1]) > 0)) continue;
    let at = best.length < wanted ? best.length : wanted - 1;
    for (; at > 0 && compare(place, best[at - 1]) < 0; at--) best[at] = best[at - 1];
    best[at] = place;
  }
  return best;
}

function parts(leg: Leg, fusion: Fusion, name: 'vector' | 'keyword'): number[] {
  if (fusion.method === 'rrf') {
    const weight = fusion.weights[name];
    return leg.ids.map((_, i) => weight / (fusion.k + i + 1));
  }
  const weight = name === 'vector' ? fusion.alpha : 1 - fusion.alpha;
  const max = leg.scores.length === 0 ? 0 : leg.scores[0];
  const min = leg.scores.length === 0 ? 0 : leg.scores[leg.scores.length - 1];
  // One distinct score: everything found is as good as it gets.
  return leg.scores.map((score) => weight * (max === min ? 1 : (score - min) / (max - min)));
}
