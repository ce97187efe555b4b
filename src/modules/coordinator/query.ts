import { NodeError } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import { LogDamagedError, OffsetCompactedError } from '../log/log-store.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { findCollection } from '../ring/core/map-operations.js';
import type { Collection } from '../ring/core/map.js';
import type { KeywordCandidates, KeywordStatistics, ShardSearch, ShardSearchAnswer } from '../shard/core/search.js';
import { tokenize } from '../shard/core/tokenizer.js';
import type { ShardService } from '../shard/shard.service.js';
import { explainHit, explainQuery, type QueryTimes } from './core/explain.js';
import { fuse, single, type Fused } from './core/fusion.js';
import {
  couldStillWin,
  keywordScorer,
  mergeLeg,
  sumStatistics,
  type MergedLeg,
  type ShardColumns,
} from './core/merge.js';
import { planQuery, type Plan } from './core/plan.js';
import type { CallContext, SearchAnswer, SearchHit, SearchRequest, ShardFailureReason } from './core/requests.js';
import type { TermMemory } from './core/term-memory.js';
import type { Deadline } from './deadline.js';
import { failureReason } from './failure-reason.js';
import type { ReadGate } from './read-gate.js';
import type { Sessions } from './session.js';
import { checkVector } from './vector-check.js';
import type { WinnerReader, WinnerRef } from './winner-reader.js';

/** What a query asks of the node. */
export interface QueryPorts {
  readonly replication: ReplicationService;
  readonly shards: ShardService;
  readonly gate: ReadGate;
  readonly sessions: Sessions;
  readonly winners: WinnerReader;
  readonly terms: TermMemory;
}

type KeywordSource = ShardColumns<KeywordCandidates>;

const LATE = Symbol('late');
const NO_LEG: MergedLeg<never> = { sources: [], ids: [], scores: [], from: [], rows: [] };

/**
 * The course of one query across all shards: plan, merge each leg globally, fuse once, fetch only the winners
 * (replication 7.4). Its fields are what later phases need of earlier ones.
 */
export class Query {
  readonly #request: SearchRequest;
  readonly #call: CallContext;
  readonly #deadline: Deadline;
  readonly #ports: QueryPorts;
  readonly #startedMs = performance.now();
  readonly #failed = new Map<number, ShardFailureReason>();
  readonly #collection: Collection;
  readonly #terms: readonly string[];
  readonly #plan: Plan;
  readonly #shardNumbers: readonly number[];
  readonly #mapEpoch: number;
  #rounds = 0;
  /** Sums over the shards that answered: what keyword scores are made of. */
  #statistics: KeywordStatistics | undefined;

  constructor(request: SearchRequest, call: CallContext, deadline: Deadline, ports: QueryPorts) {
    this.#request = request;
    this.#call = call;
    this.#deadline = deadline;
    this.#ports = ports;
    const map = ports.replication.map.current();
    const collection = findCollection(map, request.collection, true);
    if (collection === undefined)
      throw new NodeError('COLLECTION_NOT_FOUND', `there is no collection or alias "${request.collection}"`);
    if (request.vector !== undefined) checkVector(request.vector, collection);
    this.#collection = collection;
    this.#mapEpoch = map.epoch;
    this.#shardNumbers = Array.from({ length: map.shardCount }, (_, shard) => shard);
    this.#terms = request.text === undefined ? [] : [...new Set(tokenize(request.text))].sort();
    this.#plan = planQuery({
      topK: request.topK,
      offset: request.offset,
      hybrid: request.mode === 'HYBRID',
      legSize: request.legSize,
      ef: request.ef ?? collection.hnsw.efSearch,
      shards: map.shardCount,
      exact: request.exact,
    });
    // A shard answers a frequency for each term of each candidate.
    if (this.#terms.length * this.#plan.shardSize > LIMITS.termCandidatesMax) {
      throw new NodeError(
        'LIMIT_EXCEEDED',
        `\`text\` has ${this.#terms.length} distinct terms, too many for ${this.#plan.shardSize} candidates: shorten it, or ask for fewer results`,
      );
    }
  }

  async run(): Promise<SearchAnswer> {
    const { gate, sessions } = this.#ports;
    const session = sessions.read(this.#call.session);
    if (this.#request.consistency !== 'any' || session.size > 0)
      await gate.wait(session, this.#shardNumbers, this.#deadline.signal);
    const plannedMs = performance.now();
    const statistics = await this.#rankedBy();
    const answers = await this.#ask(this.#shardNumbers, true, statistics);
    const vector = this.#mergeVector(answers);
    const keyword = await this.#mergeKeyword(answers, statistics);
    const answeredMs = performance.now();
    const fused = this.#fuse(vector, keyword);
    const fusedMs = performance.now();
    const results = this.#fetch(fused, vector, keyword);
    return this.#answer(results, {
      startedMs: this.#startedMs,
      plannedMs,
      answeredMs,
      fusedMs,
      endMs: performance.now(),
    });
  }

  /** Sums for the shards to rank by: the exact ones first when they are asked for, or else what earlier answers brought. */
  async #rankedBy(): Promise<KeywordStatistics | undefined> {
    if (this.#terms.length === 0) return undefined;
    const { shards, terms } = this.#ports;
    if (!this.#request.exact) return terms.recall(this.#collection.id, this.#terms);
    const all = await this.#deadline.before(
      shards.keywordStatistics(this.#shardNumbers, this.#collection.id, this.#terms),
    );
    this.#rounds++;
    const answered = all.flatMap(({ failed, statistics }) => (failed === undefined ? [statistics] : []));
    return sumStatistics(answered, this.#terms.length);
  }

  /** One message to the shards; what is late or broken is counted as failed. */
  async #ask(
    shards: readonly number[],
    withVector: boolean,
    statistics: KeywordStatistics | undefined,
  ): Promise<readonly ShardSearchAnswer[]> {
    const answered = await this.#deadline.race<readonly ShardSearchAnswer[], typeof LATE>(
      this.#ports.shards.search(this.#searchOf(shards, withVector, statistics), this.#deadline.signal),
      () => LATE,
    );
    this.#rounds++;
    if (answered === LATE) {
      if (!this.#deadline.expired) throw new NodeError('QUERY_TIMEOUT', 'the client went away');
      for (const shard of shards) this.#failed.set(shard, 'TIMEOUT');
      return [];
    }
    for (const { shard, failed } of answered)
      if (failed !== undefined) this.#failed.set(shard, failureReason(this.#ports.replication, shard, failed));
    return this.#failed.size === 0 ? answered : answered.filter(({ failed }) => failed === undefined);
  }

  #searchOf(shards: readonly number[], withVector: boolean, statistics: KeywordStatistics | undefined): ShardSearch {
    const { vector, filter, exact } = this.#request;
    const { shardSize: k, ef } = this.#plan;
    const terms = this.#terms;
    const wantsVector = withVector && vector !== undefined && this.#collection.dimensions !== undefined;
    return {
      collectionId: this.#collection.id,
      shards,
      ...(wantsVector ? { vector: { values: vector, k, ef } } : undefined),
      ...(terms.length > 0
        ? { keyword: statistics === undefined ? { terms, k } : { terms, k, statistics } }
        : undefined),
      ...(filter === undefined ? undefined : { filter }),
      exact,
    };
  }

  #mergeVector(answers: readonly ShardSearchAnswer[]): MergedLeg {
    const sources: ShardColumns<NonNullable<ShardSearchAnswer['vector']>>[] = [];
    for (const { shard, vector } of answers) if (vector !== undefined) sources.push({ shard, columns: vector });
    return sources.length === 0 ? NO_LEG : mergeLeg(sources, this.#plan.legSize);
  }

  /**
   * Rescores with the sums over all shards, and asks a shard again only when it could still hold a winner.
   * @param ranked the sums the shards ranked by; undefined when each ranked by its own
   */
  async #mergeKeyword(
    answers: readonly ShardSearchAnswer[],
    ranked: KeywordStatistics | undefined,
  ): Promise<MergedLeg<KeywordCandidates>> {
    const sources: KeywordSource[] = [];
    for (const { shard, keyword } of answers) if (keyword !== undefined) sources.push({ shard, columns: keyword });
    if (sources.length === 0) return NO_LEG;
    const sums = sumStatistics(
      sources.map(({ columns }) => columns.statistics),
      this.#terms.length,
    );
    this.#statistics = sums;
    if (this.#failed.size === 0) this.#ports.terms.learn(this.#collection.id, this.#terms, sums);
    const scorer = keywordScorer(sums);
    const merged = mergeLeg(sources, this.#plan.legSize, scorer);
    if (this.#request.exact || (sources.length === 1 && ranked === undefined)) return merged;
    const end = merged.ids.length - 1;
    const last = end + 1 < this.#plan.legSize ? undefined : { score: merged.scores[end], id: merged.ids[end] };
    const again = sources.filter(({ columns }) => couldStillWin(columns, ranked ?? columns.statistics, sums, last));
    if (again.length === 0) return merged;
    const second = await this.#ask(
      again.map(({ shard }) => shard),
      false,
      sums,
    );
    if (second.length === 0) return merged;
    const answered = sources.map((source): KeywordSource => {
      const columns = second.find(({ shard }) => shard === source.shard)?.keyword;
      return columns === undefined ? source : { shard: source.shard, columns };
    });
    return mergeLeg(answered, this.#plan.legSize, scorer);
  }

  #fuse(vector: MergedLeg, keyword: MergedLeg): readonly Fused[] {
    const { mode, fusion, offset, topK } = this.#request;
    const page = { offset, size: topK };
    if (mode === 'HYBRID') return fuse(vector, keyword, fusion, page);
    return single(mode === 'VECTOR' ? vector : keyword, mode, page);
  }

  /** Payloads of the winners alone. A damaged entry fails its shard and its hits; a superseded one is simply gone. */
  #fetch(fused: readonly Fused[], vector: MergedLeg, keyword: MergedLeg<KeywordCandidates>): SearchHit[] {
    const hits: SearchHit[] = [];
    for (const result of fused) {
      const ref = newerOf(refAt(vector, result.vectorRank), refAt(keyword, result.keywordRank));
      if (ref === undefined || this.#failed.has(ref.shard)) continue;
      const hit = this.#hit(result, ref, vector, keyword);
      if (hit !== undefined) hits.push(hit);
    }
    if (this.#failed.size === 0) return hits;
    const ring = this.#ports.replication.map.ring();
    return hits.filter((hit) => !this.#failed.has(ring.shardOf(hit.id)));
  }

  #hit(
    result: Fused,
    ref: WinnerRef,
    vectorLeg: MergedLeg,
    keywordLeg: MergedLeg<KeywordCandidates>,
  ): SearchHit | undefined {
    const { fields, explain } = this.#request;
    try {
      const { version, titleJson, contentJson, metadataJson, vector } = this.#ports.winners.read(ref, fields);
      return {
        id: result.id,
        score: result.score,
        titleJson: fields.title ? titleJson : undefined,
        contentJson: fields.content ? contentJson : undefined,
        metadataJson: fields.metadata ? metadataJson : undefined,
        vector,
        version,
        ranks: { vector: result.vectorRank, keyword: result.keywordRank },
        explanation: explain
          ? explainHit(result, ref.shard, vectorLeg, keywordLeg, this.#terms, this.#statistics)
          : undefined,
      };
    } catch (error) {
      if (error instanceof OffsetCompactedError) return undefined;
      if (!(error instanceof LogDamagedError)) throw error;
      this.#ports.replication.faultShard(ref.shard, error);
      this.#ports.winners.forget(ref.shard);
      this.#failed.set(ref.shard, 'FAULTED');
      return undefined;
    }
  }

  #answer(results: readonly SearchHit[], times: QueryTimes): SearchAnswer {
    const request = this.#request;
    const total = this.#shardNumbers.length;
    const failed = [...this.#failed].sort(([a], [b]) => a - b).map(([shard, reason]) => ({ shard, reason }));
    const shards = { total, ok: total - failed.length, stale: [], failed };
    const coverage = this.#coverage();
    if (failed.length === total) throw allFailed(failed, shards);
    if (request.minCoverage !== undefined && coverage < request.minCoverage) {
      throw new NodeError(
        'COVERAGE_TOO_LOW',
        `only ${coverage.toFixed(3)} of the documents could be searched, less than minCoverage`,
        { extra: { shards, coverage } },
      );
    }
    return {
      results,
      totalHits: results.length,
      queryTimeMs: Math.round((times.endMs - times.startedMs) * 1000) / 1000,
      mode: request.mode,
      fusion: request.mode === 'HYBRID' ? request.fusion : null,
      partial: failed.length > 0,
      shards,
      coverage,
      mapEpoch: this.#mapEpoch,
      session: this.#ports.sessions.same(this.#call.session),
      ...(request.explain
        ? { explain: explainQuery(request, this.#plan, this.#terms, this.#rounds, this.#statistics, times) }
        : undefined),
    };
  }

  /** Documents of the shards that answered, over all. */
  #coverage(): number {
    if (this.#failed.size === 0) return 1;
    let all = 0;
    let answered = 0;
    for (const shard of this.#shardNumbers) {
      const live = this.#ports.replication.counters(shard).collections.get(this.#collection.id)?.live ?? 0;
      all += live;
      if (!this.#failed.has(shard)) answered += live;
    }
    return all === 0 ? (this.#shardNumbers.length - this.#failed.size) / this.#shardNumbers.length : answered / all;
  }
}

/** Where the document of a rank (from 1) is stored. */
function refAt({ sources, ids, from, rows }: MergedLeg, rank: number | undefined): WinnerRef | undefined {
  if (rank === undefined) return undefined;
  const { shard, columns } = sources[from[rank - 1]];
  const row = rows[rank - 1];
  return {
    shard,
    id: ids[rank - 1],
    offset: columns.offsets[row],
    versionMs: columns.versionMs[row],
    versionCounter: columns.versionCounter[row],
  };
}

function newerOf(a: WinnerRef | undefined, b: WinnerRef | undefined): WinnerRef | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return (b.versionMs - a.versionMs || b.versionCounter - a.versionCounter) > 0 ? b : a;
}

function allFailed(failed: readonly { readonly reason: ShardFailureReason }[], shards: object): NodeError {
  return failed.every(({ reason }) => reason === 'TIMEOUT')
    ? new NodeError(
        'QUERY_TIMEOUT',
        'no shard answered before the deadline; narrow the request or give it more time with `timeoutMs`',
        { extra: { shards } },
      )
    : new NodeError('SHARD_UNAVAILABLE', 'no shard could answer', { extra: { shards }, retryAfterMs: 1_000 });
}
