/**
 * Search by brute force, written from the public contract (api.md, Search) alone: what a node must answer to
 * `params.exact`, whatever its number of shards.
 */

export type Similarity = 'cosine' | 'dot' | 'euclidean';

export interface OracleDocument {
  readonly id: string;
  readonly title?: string;
  readonly content?: string;
  /** float32 values. */
  readonly vector?: readonly number[];
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface Scored {
  readonly id: string;
  readonly score: number;
}

const STOP_WORDS = new Set(
  (
    'a an and are as at be but by for if in into is it no not of on or such that the their then there these they ' +
    'this to was will with from'
  ).split(' '),
);

/** Higher is closer; double precision over the float32 values. */
export function similarity(kind: Similarity, a: readonly number[], b: readonly number[]): number {
  let dot = 0;
  let squaresA = 0;
  let squaresB = 0;
  let distance = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    squaresA += a[i] * a[i];
    squaresB += b[i] * b[i];
    distance += (a[i] - b[i]) ** 2;
  }
  switch (kind) {
    case 'cosine':
      return dot / (Math.sqrt(squaresA) * Math.sqrt(squaresB));
    case 'dot':
      return dot;
    case 'euclidean':
      return 1 / (1 + Math.sqrt(distance));
  }
}

/** Best first, ties by id. */
export function ranked(scored: readonly Scored[]): Scored[] {
  return [...scored].sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}

/** Every document with a vector. */
export function vectorLeg(documents: readonly OracleDocument[], query: readonly number[], kind: Similarity): Scored[] {
  return ranked(
    documents.flatMap(({ id, vector }) =>
      vector === undefined ? [] : [{ id, score: similarity(kind, query, vector) }],
    ),
  );
}

/** Keyword text: title and content; runs of letters and digits, lower case, ≥ 2 characters, without stop words. */
export function terms(text: string): string[] {
  return (text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).filter(
    (term) => term.length >= 2 && !STOP_WORDS.has(term),
  );
}

/**
 * Every document that has a term of the query, by BM25 (k1 1.2, b 0.75) with the statistics of `corpus`: documents
 * without text are not part of it, filtered ones are.
 */
export function keywordLeg(
  corpus: readonly OracleDocument[],
  query: string,
  passes: (document: OracleDocument) => boolean = () => true,
): Scored[] {
  const texts = corpus
    .filter(({ title, content }) => title !== undefined || content !== undefined)
    .map((document) => ({ document, tokens: terms(`${document.title ?? ''} ${document.content ?? ''}`) }))
    .filter(({ tokens }) => tokens.length > 0);
  const average = texts.reduce((sum, { tokens }) => sum + tokens.length, 0) / texts.length;
  const asked = [...new Set(terms(query))].sort();
  const weights = asked.map((term) => {
    const df = texts.filter(({ tokens }) => tokens.includes(term)).length;
    return Math.log(1 + (texts.length - df + 0.5) / (df + 0.5));
  });
  const scored: Scored[] = [];
  for (const { document, tokens } of texts) {
    if (!passes(document)) continue;
    let score = 0;
    asked.forEach((term, i) => {
      const frequency = tokens.filter((token) => token === term).length;
      const length = 1.2 * (1 - 0.75 + (0.75 * tokens.length) / average);
      score += (weights[i] * (frequency * 2.2)) / (frequency + length);
    });
    if (score > 0) scored.push({ id: document.id, score });
  }
  return ranked(scored);
}

/** Reciprocal rank fusion: ranks from 1. */
export function rrf(
  vector: readonly Scored[],
  keyword: readonly Scored[],
  { k = 60, weights = { vector: 1, keyword: 1 } } = {},
): Scored[] {
  const scores = new Map<string, number>();
  vector.forEach(({ id }, i) => scores.set(id, weights.vector / (k + i + 1)));
  keyword.forEach(({ id }, i) => scores.set(id, (scores.get(id) ?? 0) + weights.keyword / (k + i + 1)));
  return ranked([...scores].map(([id, score]) => ({ id, score })));
}

/** Min–max over each leg, missing = 0, alpha 1 = vector only. */
export function relative(vector: readonly Scored[], keyword: readonly Scored[], alpha: number): Scored[] {
  const scores = new Map<string, number>();
  const add = (leg: readonly Scored[], weight: number): void => {
    const values = leg.map(({ score }) => score);
    const [min, max] = [Math.min(...values), Math.max(...values)];
    for (const { id, score } of leg) {
      scores.set(id, (scores.get(id) ?? 0) + weight * (max === min ? 1 : (score - min) / (max - min)));
    }
  };
  add(vector, alpha);
  add(keyword, 1 - alpha);
  return ranked([...scores].map(([id, score]) => ({ id, score })));
}

/** The legs of a hybrid search: each takes max(2·(offset + topK), 50) globally. */
export function legSize(topK: number, offset = 0): number {
  return Math.max(2 * (offset + topK), 50);
}

/** Values behind a dotted key; elements of arrays stand for themselves. */
export function valuesAt(metadata: unknown, key: string): unknown[] {
  if (Array.isArray(metadata)) return metadata.flatMap((element) => valuesAt(element, key));
  if (typeof metadata !== 'object' || metadata === null) return [];
  const found: unknown[] = [];
  for (const [name, value] of Object.entries(metadata)) {
    if (name === key) found.push(...(Array.isArray(value) ? (value as unknown[]).flat(Infinity) : [value]));
    else if (key.startsWith(`${name}.`)) found.push(...valuesAt(value, key.slice(name.length + 1)));
  }
  return found;
}
