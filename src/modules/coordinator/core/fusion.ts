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

/**
 * Fuses two global legs once (replication 7.4), best first, ties by id.
 *
 * `rrf`: each leg gives weight / (k + rank) (Cormack, Clarke and Büttcher 2009). `relative`: each leg's scores are
 * brought to 0…1 by its minimum and maximum, a missing document counts 0, and alpha weighs the vector leg.
 */
export function fuse(vector: Leg, keyword: Leg, fusion: Fusion): readonly Fused[] {
  const found = new Map<
    string,
    { vectorRank?: number; keywordRank?: number; vectorPart: number; keywordPart: number }
  >();
  const vectorParts = parts(vector, fusion, 'vector');
  const keywordParts = parts(keyword, fusion, 'keyword');
  for (let i = 0; i < vector.ids.length; i++) {
    found.set(vector.ids[i], { vectorRank: i + 1, vectorPart: vectorParts[i], keywordPart: 0 });
  }
  for (let i = 0; i < keyword.ids.length; i++) {
    const other = found.get(keyword.ids[i]);
    if (other === undefined)
      found.set(keyword.ids[i], { keywordRank: i + 1, vectorPart: 0, keywordPart: keywordParts[i] });
    else {
      other.keywordRank = i + 1;
      other.keywordPart = keywordParts[i];
    }
  }
  const fused: Fused[] = [];
  for (const [id, { vectorRank, keywordRank, vectorPart, keywordPart }] of found) {
    fused.push({ id, score: vectorPart + keywordPart, vectorRank, keywordRank, vectorPart, keywordPart });
  }
  return fused.sort((a, b) => b.score - a.score || compareIds(a.id, b.id));
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
