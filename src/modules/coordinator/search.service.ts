import { NodeError } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import type { Metrics } from '../../platform/metrics/metrics.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { findCollection } from '../ring/core/map-operations.js';
import type { Collection } from '../ring/core/map.js';
import { averageLength, bm25, idf } from '../shard/core/bm25.js';
import type { KeywordCandidates, KeywordStatistics, ShardSearch, ShardSearchAnswer } from '../shard/core/search.js';
import { tokenize } from '../shard/core/tokenizer.js';
import { fuse, type Fused, type Leg } from './core/fusion.js';
import { couldStillWin, keywordScorer, mergeLeg, sumStatistics, type Candidate } from './core/merge.js';
import { planQuery, type Plan } from './core/plan.js';
import type { Positions } from './core/positions.js';
import type { CallContext, HitExplanation, SearchAnswer, SearchHit, SearchRequest } from './core/requests.js';
import type { GatedCall, GatedValue, ShardAsk, ShardGate, StoredSegments } from './core/shard-calls.js';
import type { EventsPort, SearchPort } from './coordinator.js';
import { Deadline } from './deadline.js';
import { shardsReport, type FanOut, type ShardFailed } from './fan-out.js';
import type { Routes } from './routes.js';
import { checkVector } from './vector-check.js';
import type { Winner, WinnerFetch } from './winner-fetch.js';
import { notCaughtUp, type Sessions } from './session.js';

/** Searches under way at once; the next one is refused rather than queued without bound. */
export const SEARCHES_MAX = 2_048;
/** Of the searches of this many milliseconds one is told to listeners. */
const SAMPLE_MS = 1_000;
/** Of its time a query keeps so much, and this share of it at most, for asking shards a second time. */
const SECOND_ROUND_MS = 500;
const SECOND_ROUND_SHARE = 0.25;
/** Winners are fetched until so long after the deadline: a shard that was waited for in vain must not cost the others. */
const FETCH_GRACE_MS = 150;

/** One query across all shards: plan, merge each leg globally, fuse once, fetch only the winners (replication 7.4). */
export class SearchService implements SearchPort {
  readonly #config: NodeConfig;
  readonly #replication: ReplicationService;
  readonly #routes: Routes;
  readonly #fanOut: FanOut;
  readonly #winners: WinnerFetch;
  readonly #sessions: Sessions;
  readonly #events: EventsPort;
  readonly #metrics: Metrics;
  #underWay = 0;
  #sampledAtMs = 0;

  constructor(
    config: NodeConfig,
    replication: ReplicationService,
    routes: Routes,
    fanOut: FanOut,
    winners: WinnerFetch,
    sessions: Sessions,
    events: EventsPort,
    metrics: Metrics,
  ) {
    this.#config = config;
    this.#replication = replication;
    this.#routes = routes;
    this.#fanOut = fanOut;
    this.#winners = winners;
    this.#sessions = sessions;
    this.#events = events;
    this.#metrics = metrics;
  }

  /** Searches under way, for the metrics. */
  get underWay(): number {
    return this.#underWay;
  }

  async search(request: SearchRequest, call: CallContext): Promise<SearchAnswer> {
    if (this.#underWay >= SEARCHES_MAX) {
      throw new NodeError('OVERLOADED', `${SEARCHES_MAX} searches are under way here; try again a little later`, {
        retryAfterMs: 100,
      });
    }
    this.#underWay++;
    const deadline = new Deadline(call, this.#config.queryTimeoutMs);
    const startedMs = performance.now();
    let outcome: 'ok' | 'partial' | 'failed' = 'failed';
    try {
      const query = new Query(
        request,
        call,
        deadline,
        this.#replication,
        this.#routes,
        this.#fanOut,
        this.#winners,
        this.#sessions,
      );
      const answer = await query.run();
      outcome = answer.partial ? 'partial' : 'ok';
      this.#sample(answer);
      return answer;
    } finally {
      deadline.end();
      this.#underWay--;
      this.#metrics.search({ mode: request.mode, outcome, ms: performance.now() - startedMs });
    }
  }

  /** Tells listeners of about one search a second. */
  #sample({ mode, totalHits, queryTimeMs, partial }: SearchAnswer): void {
    const now = performance.now();
    if (now - this.#sampledAtMs < SAMPLE_MS) return;
    this.#sampledAtMs = now;
    this.#events.publish({ type: 'search.completed', data: { mode, totalHits, queryTimeMs, partial } });
  }
}

/** The course of one query; its fields are what later phases need of earlier ones. */
class Query {
  readonly #startedMs = performance.now();
  readonly #failed = new Map<number, ShardFailed>();
  readonly #stale = new Map<number, { readonly node: string; readonly lagMs: number }>();
  /** Live documents of the collection in the shards that answered, and the node that did. */
  readonly #documents = new Map<number, number>();
  readonly #answeredBy = new Map<number, NodeUuid>();
  readonly #session: Positions;
  readonly #collection: Collection;
  readonly #terms: readonly string[];
  readonly #plan: Plan;
  readonly #shardNumbers: readonly number[];
  readonly #mapEpoch: number;
  #rounds = 0;
  #statistics: KeywordStatistics | undefined;
  #keywordAnswers = new Map<number, KeywordCandidates>();

  constructor(
    private readonly request: SearchRequest,
    private readonly call: CallContext,
    private readonly deadline: Deadline,
    private readonly replication: ReplicationService,
    private readonly routes: Routes,
    private readonly fanOut: FanOut,
    private readonly winners: WinnerFetch,
    private readonly sessions: Sessions,
  ) {
    const map = replication.map.current();
    const collection = findCollection(map, request.collection, true);
    if (collection === undefined)
      throw new NodeError('COLLECTION_NOT_FOUND', `there is no collection or alias "${request.collection}"`);
    if (request.vector !== undefined) checkVector(request.vector, collection);
    this.#collection = collection;
    this.#mapEpoch = map.epoch;
    this.#session = sessions.read(call.session);
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
    const plannedMs = performance.now();
    const answers = await this.#askShards();
    const vector = mergeLeg(
      answers.flatMap((answer) =>
        answer.vector === undefined ? [] : [{ shard: answer.shard, columns: answer.vector }],
      ),
      this.#plan.legSize,
    );
    const keyword = await this.#mergeKeyword(answers);
    const answeredMs = performance.now();
    const fused = this.#fuse(vector, keyword);
    const fusedMs = performance.now();
    const results = await this.#fetch(fused, vector, keyword);
    return this.#answer(results, { plannedMs, answeredMs, fusedMs });
  }

  async #askShards(): Promise<readonly ShardSearchAnswer[]> {
    const exact = this.request.exact && this.#terms.length > 0;
    const statistics = exact ? await this.#exactStatistics() : undefined;
    // A shard whose sums are not known cannot be ranked with the others.
    const shards = this.#shardNumbers.filter((shard) => !this.#failed.has(shard));
    return this.#ask(shards, this.#vectorWanted(), statistics);
  }

  #vectorWanted(): boolean {
    return this.request.vector !== undefined && this.#collection.dimensions !== undefined;
  }

  /** One message a node to the shards; what is late or broken is counted as failed. */
  async #ask(
    shards: readonly number[],
    withVector: boolean,
    statistics: KeywordStatistics | undefined,
  ): Promise<readonly ShardSearchAnswer[]> {
    const { request } = this;
    this.#rounds++;
    const search: Omit<ShardSearch, 'shards'> = {
      collectionId: this.#collection.id,
      ...(withVector && request.vector !== undefined
        ? { vector: { values: request.vector, k: this.#plan.shardSize, ef: this.#plan.ef } }
        : {}),
      ...(this.#terms.length > 0
        ? {
            keyword: {
              terms: this.#terms,
              k: this.#plan.shardSize,
              ...(statistics === undefined ? {} : { statistics }),
            },
          }
        : {}),
      ...(request.filter === undefined ? {} : { filter: request.filter }),
      exact: request.exact,
    };
    // What may be asked again is not waited for until the end.
    const { remainingMs } = this.deadline;
    const again = this.#terms.length > 0 && statistics === undefined && this.#shardNumbers.length > 1;
    const untilMs = again ? remainingMs - Math.min(SECOND_ROUND_MS, SECOND_ROUND_SHARE * remainingMs) : undefined;
    const answers = await this.#fanned(
      'search',
      shards,
      (gates) => ({ mapEpoch: this.#mapEpoch, gates, search }),
      untilMs,
    );
    for (const { shard, documents } of answers) this.#documents.set(shard, documents);
    return answers;
  }

  /** Asks the shards wherever they are, and keeps who answered, who was behind and who failed. */
  async #fanned<C extends GatedCall>(
    kind: C,
    shards: readonly number[],
    make: (gates: readonly ShardGate[]) => ShardAsk<C>,
    untilMs: number | undefined,
  ): Promise<readonly GatedValue<C>[]> {
    const earlier = untilMs === undefined ? undefined : this.deadline.within(untilMs);
    const deadline = earlier ?? this.deadline;
    const options = { deadline, session: this.#session, primary: this.request.consistency === 'primary' };
    const answer = await this.fanOut.ask(kind, shards, make, options).finally(() => earlier?.end());
    if (answer.notCaughtUp.length > 0) throw notCaughtUp(answer.notCaughtUp);
    for (const [shard, failed] of answer.failed) this.#failed.set(shard, failed);
    for (const [shard, stale] of answer.stale) this.#stale.set(shard, stale);
    const values: GatedValue<C>[] = [];
    for (const [shard, { node, value }] of answer.values) {
      this.#answeredBy.set(shard, node);
      values.push(value);
    }
    return values;
  }

  async #exactStatistics(): Promise<KeywordStatistics> {
    const { id: collectionId } = this.#collection;
    const terms = this.#terms;
    const all = await this.#fanned(
      'statistics',
      this.#shardNumbers,
      (gates) => ({
        mapEpoch: this.#mapEpoch,
        gates,
        collectionId,
        terms,
      }),
      this.deadline.remainingMs / 2,
    );
    this.#rounds++;
    return sumStatistics(all, terms.length);
  }

  /** Rescores with the sums over all shards, and asks a shard again only when it could still hold a winner. */
  async #mergeKeyword(answers: readonly ShardSearchAnswer[]): Promise<readonly Candidate[]> {
    for (const answer of answers)
      if (answer.keyword !== undefined) this.#keywordAnswers.set(answer.shard, answer.keyword);
    if (this.#keywordAnswers.size === 0) return [];
    const sums = sumStatistics(
      [...this.#keywordAnswers.values()].map((answer) => answer.statistics),
      this.#terms.length,
    );
    this.#statistics = sums;
    let merged = this.#rescore(sums);
    if (this.request.exact) return merged;
    const kth = merged.length < this.#plan.legSize ? 0 : merged[merged.length - 1].score;
    const again = [...this.#keywordAnswers]
      .filter(([, answer]) => couldStillWin(answer, sums, kth))
      .map(([shard]) => shard);
    if (again.length === 0 || this.#keywordAnswers.size === 1) return merged;
    for (const answer of await this.#ask(again, false, sums))
      if (answer.keyword !== undefined) this.#keywordAnswers.set(answer.shard, answer.keyword);
    merged = this.#rescore(sums);
    return merged;
  }

  #rescore(sums: KeywordStatistics): readonly Candidate[] {
    const answers = [...this.#keywordAnswers].map(([shard, columns]) => ({ shard, columns }));
    return mergeLeg(answers, this.#plan.legSize, keywordScorer(sums));
  }

  #fuse(vector: readonly Candidate[], keyword: readonly Candidate[]): readonly Fused[] {
    const { mode, fusion, offset, topK } = this.request;
    if (mode === 'HYBRID') return fuse(toLeg(vector), toLeg(keyword), fusion).slice(offset, offset + topK);
    const leg = mode === 'VECTOR' ? vector : keyword;
    const single = leg.map((candidate, i) => ({
      id: candidate.id,
      score: candidate.score,
      vectorRank: mode === 'VECTOR' ? i + 1 : undefined,
      keywordRank: mode === 'KEYWORD' ? i + 1 : undefined,
      vectorPart: mode === 'VECTOR' ? candidate.score : 0,
      keywordPart: mode === 'KEYWORD' ? candidate.score : 0,
    }));
    return single.slice(offset, offset + topK);
  }

  /** Payloads of the winners alone. A damaged entry fails its shard and its hits; a superseded one is simply gone. */
  async #fetch(
    fused: readonly Fused[],
    vector: readonly Candidate[],
    keyword: readonly Candidate[],
  ): Promise<SearchHit[]> {
    const wanted = new Set(fused.map((result) => result.id));
    const found = new Map<string, { vector?: Candidate; keyword?: Candidate }>();
    for (const candidate of vector) if (wanted.has(candidate.id)) found.set(candidate.id, { vector: candidate });
    for (const candidate of keyword) {
      if (!wanted.has(candidate.id)) continue;
      const entry = found.get(candidate.id);
      if (entry === undefined) found.set(candidate.id, { keyword: candidate });
      else entry.keyword = candidate;
    }
    const winners: (Winner & { readonly result: Fused; readonly vector?: Candidate; readonly keyword?: Candidate })[] =
      [];
    for (const result of fused) {
      const candidates = found.get(result.id);
      const candidate = newerOf(candidates?.vector, candidates?.keyword);
      if (candidate === undefined || this.#failed.has(candidate.shard)) continue;
      const node = this.#answeredBy.get(candidate.shard);
      if (node !== undefined) winners.push({ result, candidate, node, ...candidates });
    }
    const payloads = await this.#payloads(winners);
    const hits: SearchHit[] = [];
    for (let i = 0; i < winners.length; i++) {
      const payload = payloads[i];
      if (payload === undefined) continue;
      const { result, candidate } = winners[i];
      hits.push(this.#hit(result, candidate.shard, payload, winners[i].vector, winners[i].keyword));
    }
    return this.#failed.size === 0
      ? hits
      : hits.filter((hit) => !this.#failed.has(this.replication.map.ring().shardOf(hit.id)));
  }

  /** At once when all winners are here. */
  async #payloads(winners: readonly Winner[]): Promise<readonly (StoredSegments | undefined)[]> {
    const { remainingMs } = this.deadline;
    let deadline: Deadline | undefined;
    const later = (): Deadline =>
      (deadline ??= new Deadline({ signal: this.call.signal }, remainingMs + FETCH_GRACE_MS));
    try {
      const { id } = this.#collection;
      const fetch = this.winners.fetch(winners, id, this.request.fields, later, this.#failed);
      return fetch instanceof Promise ? await fetch : fetch;
    } finally {
      deadline?.end();
    }
  }

  #hit(
    result: Fused,
    shard: number,
    payload: StoredSegments,
    vector: Candidate | undefined,
    keyword: Candidate | undefined,
  ): SearchHit {
    return {
      id: result.id,
      score: result.score,
      ...(payload.title === undefined ? {} : { titleJson: payload.title }),
      ...(payload.content === undefined ? {} : { contentJson: payload.content }),
      ...(payload.metadata === undefined ? {} : { metadataJson: payload.metadata }),
      ...(payload.vector === undefined ? {} : { vector: payload.vector }),
      version: payload.version,
      ranks: {
        ...(result.vectorRank === undefined ? {} : { vector: result.vectorRank }),
        ...(result.keywordRank === undefined ? {} : { keyword: result.keywordRank }),
      },
      ...(this.request.explain ? { explanation: this.#explain(result, shard, vector, keyword) } : {}),
    };
  }

  #explain(
    result: Fused,
    shard: number,
    vector: Candidate | undefined,
    keyword: Candidate | undefined,
  ): HitExplanation {
    return {
      shard,
      ...(vector === undefined || result.vectorRank === undefined
        ? {}
        : { vector: { rank: result.vectorRank, score: vector.score, contribution: result.vectorPart } }),
      ...(keyword === undefined || result.keywordRank === undefined
        ? {}
        : {
            keyword: {
              rank: result.keywordRank,
              score: keyword.score,
              contribution: result.keywordPart,
              ...this.#explainTerms(keyword),
            },
          }),
    };
  }

  #explainTerms(
    keyword: Candidate,
  ): Pick<NonNullable<HitExplanation['keyword']>, 'length' | 'averageLength' | 'terms'> {
    const columns = this.#keywordAnswers.get(keyword.shard);
    const statistics = this.#statistics;
    if (columns === undefined || statistics === undefined) return { length: 0, averageLength: 0, terms: [] };
    const length = columns.lengths[keyword.row];
    const average = averageLength(statistics);
    const terms = this.#terms.map((term, t) => {
      const frequency = columns.frequencies[keyword.row * this.#terms.length + t];
      const weight = idf(statistics.documents, statistics.documentFrequencies[t]);
      return { term, frequency, idf: weight, score: frequency === 0 ? 0 : bm25(weight, frequency, length, average) };
    });
    return { length, averageLength: average, terms: terms.filter(({ frequency }) => frequency > 0) };
  }

  #answer(
    results: readonly SearchHit[],
    times: { readonly plannedMs: number; readonly answeredMs: number; readonly fusedMs: number },
  ): SearchAnswer {
    const { request } = this;
    const endMs = performance.now();
    const total = this.#shardNumbers.length;
    for (const shard of this.#failed.keys()) this.#stale.delete(shard);
    const shards = shardsReport(total, { stale: this.#stale, failed: this.#failed });
    const { failed } = shards;
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
      queryTimeMs: Math.round((endMs - this.#startedMs) * 1000) / 1000,
      mode: request.mode,
      fusion: request.mode === 'HYBRID' ? request.fusion : null,
      partial: failed.length > 0,
      shards,
      coverage,
      mapEpoch: this.#mapEpoch,
      session: this.sessions.fold(this.#session, new Map()),
      ...(request.explain ? { explain: this.#explainQuery(times, endMs) } : {}),
    };
  }

  /** Documents of the shards that answered, over all; what the others hold of the collection is estimated by its share. */
  #coverage(): number {
    if (this.#failed.size === 0) return 1;
    const routes = this.routes.shards();
    let answered = 0;
    let answeredOfAll = 0;
    for (const shard of this.#shardNumbers) {
      if (this.#failed.has(shard)) continue;
      answered += this.#documents.get(shard) ?? 0;
      answeredOfAll += routes[shard].documents;
    }
    const share = answeredOfAll === 0 ? 1 : Math.min(1, answered / answeredOfAll);
    let all = answered;
    for (const shard of this.#failed.keys()) {
      const here = routes[shard].copies.some(({ self }) => self);
      const live = this.replication.counters(shard).collections.get(this.#collection.id)?.live ?? 0;
      all += here ? live : share * routes[shard].documents;
    }
    return all === 0 ? (this.#shardNumbers.length - this.#failed.size) / this.#shardNumbers.length : answered / all;
  }

  #explainQuery(
    times: { readonly plannedMs: number; readonly answeredMs: number; readonly fusedMs: number },
    endMs: number,
  ): SearchAnswer['explain'] {
    const rounded = (ms: number): number => Math.round(ms * 1000) / 1000;
    return {
      ...(this.#terms.length > 0 ? { terms: this.#terms } : {}),
      legSize: this.#plan.legSize,
      ...(this.request.vector === undefined || this.request.exact ? {} : { ef: this.#plan.ef }),
      rounds: this.#rounds,
      ...(this.#statistics === undefined
        ? {}
        : { statistics: { documents: this.#statistics.documents, averageLength: averageLength(this.#statistics) } }),
      timings: {
        planMs: rounded(times.plannedMs - this.#startedMs),
        shardsMs: rounded(times.answeredMs - times.plannedMs),
        fuseMs: rounded(times.fusedMs - times.answeredMs),
        fetchMs: rounded(endMs - times.fusedMs),
      },
    };
  }
}

function toLeg(candidates: readonly Candidate[]): Leg {
  return { ids: candidates.map((candidate) => candidate.id), scores: candidates.map((candidate) => candidate.score) };
}

function newerOf(a: Candidate | undefined, b: Candidate | undefined): Candidate | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return (b.versionMs - a.versionMs || b.versionCounter - a.versionCounter) > 0 ? b : a;
}

function allFailed(failed: readonly ShardFailed[], shards: object): NodeError {
  return failed.every(({ reason }) => reason === 'TIMEOUT')
    ? new NodeError(
        'QUERY_TIMEOUT',
        'no shard answered before the deadline; narrow the request or give it more time with `timeoutMs`',
        { extra: { shards } },
      )
    : new NodeError('SHARD_UNAVAILABLE', 'no shard could answer', { extra: { shards }, retryAfterMs: 1_000 });
}
