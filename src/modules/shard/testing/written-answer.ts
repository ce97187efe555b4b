import { utf8 } from '../../../kernel/bytes.js';
import { idHash } from '../../../kernel/id-bytes.js';
import { LabelRecords } from '../core/label-records.js';
import { SearchAnswerWriter } from '../core/search-answer-writer.js';
import type { Candidates, ShardSearchAnswer } from '../core/search-answer.js';
import type { IndexHost } from '../core/index-host.js';
import type { KeywordStatistics, ShardSearch } from '../core/search.js';

export interface WrittenCandidate {
  readonly id: string;
  readonly score: number;
  readonly offset?: number;
  readonly versionMs?: number;
  readonly versionCounter?: number;
}

export interface WrittenText extends WrittenCandidate {
  /** By term. */
  readonly frequencies: readonly number[];
  readonly length: number;
}

export interface Written {
  readonly shard?: number;
  readonly documents?: number;
  readonly vector?: readonly WrittenCandidate[];
  readonly keyword?: {
    readonly candidates: readonly WrittenText[];
    readonly statistics: KeywordStatistics;
    readonly complete: boolean;
    /** Candidates that score less are left out. */
    readonly least?: number;
  };
}

/** Writes an answer of a shard as an index does, from candidates that need no index; best first. */
export function write(into: SearchAnswerWriter, { shard = 0, documents = 0, vector, keyword }: Written): void {
  into.begin(shard, documents);
  if (vector !== undefined) into.vector(labelsOf(vector), ranked(vector));
  if (keyword !== undefined) {
    const { candidates, statistics, complete, least = -Infinity } = keyword;
    const { items: labels, scores } = ranked(candidates);
    into.keyword(
      labelsOf(candidates),
      {
        labels,
        scores,
        frequencies: Uint32Array.from(candidates.flatMap(({ frequencies }) => frequencies)),
        lengths: Uint32Array.from(candidates, ({ length }) => length),
        statistics,
        leftOut: complete ? -Infinity : (scores.at(-1) ?? Infinity),
      },
      least,
    );
  }
  into.end();
}

export function written(answer: Written): ShardSearchAnswer {
  const writer = new SearchAnswerWriter();
  write(writer, answer);
  return writer.answers()[0];
}

/** What a host answers. */
export function searched(host: Pick<IndexHost, 'search'>, search: ShardSearch): readonly ShardSearchAnswer[] {
  const writer = new SearchAnswerWriter();
  host.search(search, writer);
  return writer.answers();
}

/** Best first; undefined for a leg that is not there. */
export function idsOf(leg: Candidates | undefined): readonly string[] | undefined {
  return leg && Array.from({ length: leg.count }, (_, row) => leg.id(row));
}

/** A label is a row. */
function labelsOf(candidates: readonly WrittenCandidate[]): LabelRecords {
  const labels = new LabelRecords();
  candidates.forEach(({ id, offset = 1, versionMs = 1, versionCounter = 0 }, row) => {
    const bytes = utf8(id);
    const hlc = { ms: versionMs, counter: versionCounter };
    labels.put(row, bytes, bytes.length, idHash(bytes, 0, bytes.length), hlc, offset);
  });
  return labels;
}

function ranked(candidates: readonly WrittenCandidate[]) {
  return {
    items: Uint32Array.from(candidates, (_, row) => row),
    scores: Float64Array.from(candidates, ({ score }) => score),
  };
}
