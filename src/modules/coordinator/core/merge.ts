import { compareIds } from '../../../kernel/ids.js';
import type { CandidateColumns, KeywordCandidates, KeywordStatistics } from '../../shard/core/search.js';
import { averageLength, BM25_K1, idf, lengthNorm, termScore } from '../../shard/core/bm25.js';

/** A shard's columns for one leg. */
export interface ShardColumns<Columns extends CandidateColumns> {
  readonly shard: number;
  readonly columns: Columns;
}

/**
 * One leg merged over all shards: columns of equal length, best first, ids distinct. Candidates stay where they came
 * from, in `sources[from[i]]` at `rows[i]`: only the few that win are ever looked at again.
 */
export interface MergedLeg<Columns extends CandidateColumns = CandidateColumns> {
  readonly sources: readonly ShardColumns<Columns>[];
  readonly ids: readonly string[];
  readonly scores: readonly number[];
  readonly from: readonly number[];
  readonly rows: readonly number[];
}

/** Gives each row of a shard's columns its score. */
export type Scorer<Columns extends CandidateColumns> = (columns: Columns, row: number) => number;

/** All candidates of a leg in one set of columns; a place is an index into them. */
interface Pool {
  readonly ids: readonly string[];
  readonly scores: readonly number[];
  readonly from: readonly number[];
  readonly rows: readonly number[];
}

/**
 * Merges one leg over all shards (replication 7.4): the best `size` by score, ties by id. Of a document that two shards
 * returned (it is moving) the highest version stays.
 */
export function mergeLeg<Columns extends CandidateColumns>(
  sources: readonly ShardColumns<Columns>[],
  size: number,
  scoreOf?: Scorer<Columns>,
): MergedLeg<Columns> {
  const ids: string[] = [];
  const scores: number[] = [];
  const from: number[] = [];
  const rows: number[] = [];
  const pool: Pool = { ids, scores, from, rows };
  const lists: number[][] = [];
  for (let source = 0; source < sources.length; source++) {
    const { columns } = sources[source];
    const list: number[] = [];
    let sorted = true;
    for (let row = 0; row < columns.ids.length; row++) {
      const place = ids.length;
      ids.push(columns.ids[row]);
      scores.push(scoreOf === undefined ? columns.scores[row] : scoreOf(columns, row));
      from.push(source);
      rows.push(row);
      if (row > 0 && compare(pool, place - 1, place) > 0) sorted = false;
      list.push(place);
    }
    // Answers come best first; new sums may have changed that.
    if (!sorted) list.sort((a, b) => compare(pool, a, b));
    lists.push(list);
  }
  const superseded = sources.length > 1 ? supersededPlaces(sources, pool) : undefined;
  const places = merged(pool, superseded === undefined ? lists : withoutPlaces(lists, superseded), size);
  return {
    sources,
    ids: places.map((place) => ids[place]),
    scores: places.map((place) => scores[place]),
    from: places.map((place) => from[place]),
    rows: places.map((place) => rows[place]),
  };
}

/** By score descending, then by id. */
function compare({ ids, scores }: Pool, a: number, b: number): number {
  return scores[b] - scores[a] || compareIds(ids[a], ids[b]);
}

/** Merges sorted lists two at a time: n log(lists) comparisons, nothing beyond `size` is carried on. */
function merged(pool: Pool, lists: readonly (readonly number[])[], size: number): readonly number[] {
  if (lists.length === 0) return [];
  let round = lists;
  while (round.length > 1) {
    const next: (readonly number[])[] = [];
    for (let i = 0; i + 1 < round.length; i += 2) next.push(mergedTwo(pool, round[i], round[i + 1], size));
    if (round.length % 2 === 1) next.push(round[round.length - 1]);
    round = next;
  }
  return round[0].length > size ? round[0].slice(0, size) : round[0];
}

function mergedTwo(pool: Pool, left: readonly number[], right: readonly number[], size: number): number[] {
  const out: number[] = [];
  let l = 0;
  let r = 0;
  while (out.length < size) {
    if (l < left.length && (r === right.length || compare(pool, left[l], right[r]) <= 0)) out.push(left[l++]);
    else if (r < right.length) out.push(right[r++]);
    else break;
  }
  return out;
}

/** Places whose document another shard returned in a newer version; undefined when every id is there once. */
function supersededPlaces(sources: readonly ShardColumns<CandidateColumns>[], pool: Pool): Set<number> | undefined {
  const { ids } = pool;
  if (areDistinct(ids)) return undefined;
  const superseded = new Set<number>();
  const best = new Map<string, number>();
  // Best first, so that of equal versions the better score stays.
  const byRank = ids.map((_, place) => place).sort((a, b) => compare(pool, a, b));
  for (const place of byRank) {
    const other = best.get(ids[place]);
    if (other !== undefined && !isNewer(sources, pool, place, other)) {
      superseded.add(place);
      continue;
    }
    if (other !== undefined) superseded.add(other);
    best.set(ids[place], place);
  }
  return superseded;
}

/**
 * Whether no text occurs twice. Nearly always so; a table of places by the last characters costs a third of a Set, which
 * has to hash every text whole.
 */
function areDistinct(texts: readonly string[]): boolean {
  let size = 64;
  while (size < 2 * texts.length) size *= 2;
  const table = new Uint32Array(size);
  for (let place = 0; place < texts.length; place++) {
    const text = texts[place];
    let hash = text.length;
    for (let i = Math.max(0, text.length - HASHED_CHARACTERS); i < text.length; i++)
      hash = Math.imul(hash, 31) + text.charCodeAt(i);
    let slot = (hash ^ (hash >>> 15)) & (size - 1);
    for (let probes = 0; table[slot] !== 0; slot = (slot + 1) & (size - 1)) {
      if (texts[table[slot] - 1] === text) return false;
      // Texts with one ending: a Set knows better.
      if (++probes > PROBES_MAX) return new Set(texts).size === texts.length;
    }
    table[slot] = place + 1;
  }
  return true;
}

const HASHED_CHARACTERS = 6;
const PROBES_MAX = 32;

function isNewer(
  sources: readonly ShardColumns<CandidateColumns>[],
  { from, rows }: Pool,
  a: number,
  b: number,
): boolean {
  const ofA = sources[from[a]].columns;
  const ofB = sources[from[b]].columns;
  const [rowA, rowB] = [rows[a], rows[b]];
  return (ofA.versionMs[rowA] - ofB.versionMs[rowB] || ofA.versionCounter[rowA] - ofB.versionCounter[rowB]) > 0;
}

function withoutPlaces(lists: readonly (readonly number[])[], places: ReadonlySet<number>): (readonly number[])[] {
  return lists.map((list) => list.filter((place) => !places.has(place)));
}

/** Sums the shards' statistics: integers, so the sum is the same for any number of shards. */
export function sumStatistics(all: readonly KeywordStatistics[], terms: number): KeywordStatistics {
  let documents = 0;
  let totalLength = 0;
  const documentFrequencies = new Array<number>(terms).fill(0);
  for (const statistics of all) {
    documents += statistics.documents;
    totalLength += statistics.totalLength;
    for (let t = 0; t < terms; t++) documentFrequencies[t] += statistics.documentFrequencies[t];
  }
  return { documents, totalLength, documentFrequencies };
}

/** Scores a candidate's row with the given statistics; terms in their sorted order, so that the sum is the same everywhere. */
export function keywordScorer(statistics: KeywordStatistics): Scorer<KeywordCandidates> {
  const weights = statistics.documentFrequencies.map((df) => idf(statistics.documents, df));
  const average = averageLength(statistics);
  const terms = weights.length;
  return ({ frequencies, lengths }, row) => {
    const norm = lengthNorm(lengths[row], average);
    let score = 0;
    for (let t = 0, at = row * terms; t < terms; t++, at++) {
      const frequency = frequencies[at];
      if (frequency > 0) score += termScore(weights[t], frequency, norm);
    }
    return score;
  };
}

/**
 * Whether a document the shard did not return could still be among the best, given the last of the best so far
 * (architecture, "Keyword answers"). The shard ranked by `ranked`: its own statistics, or remembered sums. What it left
 * out comes after its last candidate, so its score by the sums is at most that candidate's, blown up by how much the sums
 * raise the weights of the terms it can have and dampen less for length.
 * @param last of the best so far; undefined while there are fewer than wanted
 */
export function couldStillWin(
  answer: KeywordCandidates,
  ranked: KeywordStatistics,
  sums: KeywordStatistics,
  last: { readonly score: number; readonly id: string } | undefined,
): boolean {
  if (answer.complete) return false;
  const row = answer.ids.length - 1;
  if (last === undefined || row < 0) return true;
  if (sameStatistics(ranked, sums)) {
    const score = keywordScorer(sums)(answer, row);
    return score > last.score || (score === last.score && answer.ids[row] < last.id);
  }
  const lengthRatio = Math.max(1, averageLength(sums) / averageLength(ranked));
  return raisedAtMost(answer, ranked, sums) * lengthRatio * (1 + ROUNDING) >= last.score;
}

/** Relative error that sums of a few products can have, with room. */
const ROUNDING = 1e-9;

/** The most that the weights of `sums` make of a score that by the weights of `ranked` is at most the answer's last. */
function raisedAtMost(answer: KeywordCandidates, ranked: KeywordStatistics, sums: KeywordStatistics): number {
  const parts: { readonly ratio: number; readonly most: number }[] = [];
  for (let t = 0; t < sums.documentFrequencies.length; t++) {
    if (hasAllOf(answer, t)) continue;
    const weight = idf(ranked.documents, ranked.documentFrequencies[t]);
    const ratio = idf(sums.documents, sums.documentFrequencies[t]) / weight;
    parts.push({ ratio, most: weight * (BM25_K1 + 1) });
  }
  // The worst case spends the score on the terms that gain most, each up to what a term can give.
  parts.sort((a, b) => b.ratio - a.ratio);
  let left = answer.scores[answer.scores.length - 1];
  let raised = 0;
  for (const { ratio, most } of parts) {
    const part = Math.min(left, most);
    raised += part * ratio;
    left -= part;
  }
  return raised;
}

/** Whether every document of the shard with the term is among the candidates, so that none left out has it. */
function hasAllOf({ ids, frequencies, statistics }: KeywordCandidates, term: number): boolean {
  const { documentFrequencies } = statistics;
  const wanted = documentFrequencies[term];
  if (wanted > ids.length) return false;
  let found = 0;
  for (let at = term; at < frequencies.length; at += documentFrequencies.length) if (frequencies[at] > 0) found++;
  return found >= wanted;
}

function sameStatistics(a: KeywordStatistics, b: KeywordStatistics): boolean {
  return (
    a.documents === b.documents &&
    a.totalLength === b.totalLength &&
    a.documentFrequencies.every((frequency, t) => frequency === b.documentFrequencies[t])
  );
}
