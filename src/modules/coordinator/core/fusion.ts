import { IdSlots } from '../../../kernel/id-slots.js';
import type { MergedLeg } from './merge.js';
import type { Fusion } from './requests.js';

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
export function fuse(vector: MergedLeg, keyword: MergedLeg, fusion: Fusion, page: Page): readonly Fused[] {
  const vectorPart = partOf(vector, fusion, 'vector');
  const keywordPart = partOf(keyword, fusion, 'keyword');
  const both = vector.length;
  const { scores, keywordRanks } = room.of(both + keyword.length);
  /** Places: the vector leg's, then the documents that only the keyword leg holds. */
  let places = both;
  for (let place = 0; place < both; place++) {
    scores[place] = vectorPart(place);
    keywordRanks[place] = 0;
  }
  byId.reset(both);
  for (let place = 0; place < both; place++) byId.add(vector.idHash(place), place);
  let asked = 0;
  const isSame = (other: number): boolean => keyword.compareId(asked, vector, other) === 0;
  for (; asked < keyword.length; asked++) {
    let place = byId.find(keyword.idHash(asked), isSame);
    if (place < 0) {
      place = places++;
      scores[place] = 0;
    }
    scores[place] += keywordPart(asked);
    keywordRanks[place] = asked + 1;
  }
  const compare = (a: number, b: number): number => {
    if (scores[a] !== scores[b]) return scores[a] > scores[b] ? -1 : 1;
    const [legOfB, placeOfB] = b < both ? [vector, b] : [keyword, keywordRanks[b] - 1];
    return a < both ? vector.compareId(a, legOfB, placeOfB) : keyword.compareId(keywordRanks[a] - 1, legOfB, placeOfB);
  };
  return bestPlaces(places, page.offset + page.size, compare)
    .slice(page.offset)
    .map((place) => {
      const isInVector = place < both;
      const keywordRank = keywordRanks[place];
      return {
        id: isInVector ? vector.id(place) : keyword.id(keywordRank - 1),
        score: scores[place],
        vectorRank: isInVector ? place + 1 : undefined,
        keywordRank: keywordRank === 0 ? undefined : keywordRank,
        vectorPart: isInVector ? vectorPart(place) : 0,
        keywordPart: keywordRank === 0 ? 0 : keywordPart(keywordRank - 1),
      };
    });
}

/** The results of a query with one leg. */
export function single(leg: MergedLeg, mode: 'VECTOR' | 'KEYWORD', { offset, size }: Page): readonly Fused[] {
  const isVector = mode === 'VECTOR';
  const results: Fused[] = [];
  for (let place = offset; place < Math.min(leg.length, offset + size); place++) {
    const score = leg.scores[place];
    results.push({
      id: leg.id(place),
      score,
      vectorRank: isVector ? place + 1 : undefined,
      keywordRank: isVector ? undefined : place + 1,
      vectorPart: isVector ? score : 0,
      keywordPart: isVector ? 0 : score,
    });
  }
  return results;
}

/** Columns by place. */
class Room {
  scores = new Float64Array(256);
  keywordRanks = new Uint32Array(256);

  /** With at least so many places; what is in them is of an earlier fusion. */
  of(places: number): this {
    if (places > this.scores.length) {
      this.scores = new Float64Array(2 * places);
      this.keywordRanks = new Uint32Array(2 * places);
    }
    return this;
  }
}

// Used again by every fusion: each is one turn.
const room = new Room();
/** Places of the vector leg by the ids of their documents. */
const byId = new IdSlots();

/** The `wanted` best of `count` places. */
function bestPlaces(count: number, wanted: number, compare: (a: number, b: number) => number): number[] {
  if (wanted > INSERTED_MAX)
    return Array.from({ length: count }, (_, place) => place)
      .sort(compare)
      .slice(0, wanted);
  const best: number[] = [];
  for (let place = 0; place < count; place++) {
    if (best.length === wanted && (wanted === 0 || compare(place, best[wanted - 1]) > 0)) continue;
    let at = best.length < wanted ? best.length : wanted - 1;
    for (; at > 0 && compare(place, best[at - 1]) < 0; at--) best[at] = best[at - 1];
    best[at] = place;
  }
  return best;
}

/** What a leg's place gives to a document's score. */
function partOf({ scores }: MergedLeg, fusion: Fusion, name: 'vector' | 'keyword'): (place: number) => number {
  if (fusion.method === 'rrf') {
    const weight = fusion.weights[name];
    const { k } = fusion;
    return (place) => weight / (k + place + 1);
  }
  const weight = name === 'vector' ? fusion.alpha : 1 - fusion.alpha;
  const max = scores.length === 0 ? 0 : scores[0];
  const min = scores.length === 0 ? 0 : scores[scores.length - 1];
  // One distinct score: everything found is as good as it gets.
  return (place) => weight * (max === min ? 1 : (scores[place] - min) / (max - min));
}
