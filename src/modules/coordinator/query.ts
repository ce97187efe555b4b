import { NodeError } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { Collection } from '../ring/core/map.js';
import type { KeywordCandidates, ShardSearchAnswer } from '../shard/core/search-answer.js';
import { encodeSearch } from '../shard/core/search-wire.js';
import type { KeywordStatistics, SearchOfShards } from '../shard/core/search.js';
import { tokenize } from '../shard/core/tokenizer.js';
import { explainHit, explainQuery, type QueryTimes } from './core/explain.js';
import { fuse, single, type Fused } from './core/fusion.js';
import { SumsScorer, sumStatistics } from './core/keyword-sums.js';
import { mergeLeg, NO_LEG, type MergedLeg, type ShardLeg } from './core/merge.js';
import { planQuery, type Plan } from './core/plan.js';
import type { Positions } from './core/positions.js';
import type { CallContext, SearchAnswer, SearchHit, SearchRequest } from './core/requests.js';
import { couldStillWin } from './core/second-round.js';
import type { GatedCall, GatedValue, ShardAsk, ShardGate, StoredSegments } from './core/shard-calls.js';
import type { TermMemory } from './core/term-memory.js';
import { Deadline } from './deadline.js';
import { shardsReport, type FanOut, type ShardFailed } from './fan-out.js';
import type { Routes } from './routes.js';
import { demandOf, notCaughtUp, type Sessions } from './session.js';
import { noneAnswered } from './shard-error.js';
import { checkVector } from './vector-check.js';
import type { Winner, WinnerFetch } from './winner-fetch.js';

/** What a query asks of the node. */
export interface QueryPorts {
  readonly replication: ReplicationService;
  readonly routes: Routes;
  readonly fanOut: FanOut;
  readonly winners: WinnerFetch;
  readonly sessions: Sessions;
  readonly terms: TermMemory;
}

/** Of its time a query keeps so much, and this share of it at most, for asking shards a second time. */
const SECOND_ROUND_MS = 500;
const SECOND_ROUND_SHARE = 0.25;
/** Winners are fetched until so long after the deadline: a shard that was waited for in vain must not cost the others. */
const FETCH_GRACE_MS = 150;

type KeywordSource = ShardLeg<KeywordCandidates>;

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
  readonly #failed = new Map<number, ShardFailed>();
  readonly #stale = new Map<number, { readonly node: string; readonly lagMs: number }>();
  /** By shard: live documents of the collection in the copy that answered, and the node that did. */
  readonly #documents: (number | undefined)[] = [];
  readonly #answeredBy: (NodeUuid | undefined)[] = [];
  readonly #session: Positions;
  readonly #collection: Collection;
  readonly #terms: readonly string[];
  readonly #plan: Plan;
  readonly #shardNumbers: readonly number[];
  readonly #mapEpoch: number;
  #rounds = 0;
  /** Sums over the shards that answered: what keyword scores are made of. */
  #statistics: KeywordStatistics | undefined;

  constructor(
    request: SearchRequest,
    collection: Collection,
    call: CallContext,
    deadline: Deadline,
    ports: QueryPorts,
  ) {
    this.#request = request;
    this.#call = call;
    this.#deadline = deadline;
    this.#ports = ports;
    const map = ports.replication.map.current();
    if (request.vector !== undefined) checkVector(request.vector, collection);
    this.#collection = collection;
    this.#mapEpoch = map.epoch;
    this.#session = ports.sessions.read(call.session);
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
    const statistics = await this.#rankedBy();
    // A shard whose sums are not known cannot be ranked with the others.
    const shards =
      this.#failed.size === 0 ? this.#shardNumbers : this.#shardNumbers.filter((shard) => !this.#failed.has(shard));
    const answers = await this.#ask(shards, true, statistics);
    const vector = this.#mergeVector(answers);
    const keyword = await this.#mergeKeyword(answers, statistics);
    const answeredMs = performance.now();
    const fused = this.#fuse(vector, keyword);
    const fusedMs = performance.now();
    const results = await this.#fetch(fused, vector, keyword);
    return this.#answer(results, {
      startedMs: this.#startedMs,
      plannedMs,
      answeredMs,
      fusedMs,
      endMs: performance.now(),
    });
  }

  /** Sums for the shards to rank by: the exact ones first when they are asked for, or else what earlier answers brought. */
  #rankedBy(): KeywordStatistics | undefined | Promise<KeywordStatistics> {
    if (this.#terms.length === 0) return undefined;
    return this.#request.exact ? this.#exactStatistics() : this.#ports.terms.recall(this.#collection.id, this.#terms);
  }

  async #exactStatistics(): Promise<KeywordStatistics> {
    const { id: collectionId } = this.#collection;
    const [mapEpoch, terms] = [this.#mapEpoch, this.#terms];
    const all = await this.#fanned(
      'statistics',
      this.#shardNumbers,
      (gates) => ({ mapEpoch, gates, collectionId, terms }),
      this.#deadline.remainingMs / 2,
    );
    return sumStatistics(all, terms.length);
  }

  /** One message a node to the shards; what is late or broken is counted as failed. */
  async #ask(
    shards: readonly number[],
    isFirst: boolean,
    statistics: KeywordStatistics | undefined,
  ): Promise<readonly ShardSearchAnswer[]> {
    const asked = this.#searchOf(isFirst, statistics);
    const search = encodeSearch(asked);
    // What may be asked again is not waited for until the end.
    const mayAskAgain = isFirst && asked.keyword !== undefined && !asked.exact && this.#shardNumbers.length > 1;
    const answers = await this.#fanned(
      'search',
      shards,
      (gates) => ({ mapEpoch: this.#mapEpoch, gates, search }),
      mayAskAgain ? this.#firstRoundMs() : undefined,
    );
    for (const { shard, documents } of answers) this.#documents[shard] = documents;
    return answers;
  }

  #firstRoundMs(): number {
    const { remainingMs } = this.#deadline;
    return remainingMs - Math.min(SECOND_ROUND_MS, SECOND_ROUND_SHARE * remainingMs);
  }

  /** Asks the shards wherever they are, and keeps who answered, who was behind and who failed. */
  async #fanned<C extends GatedCall>(
    kind: C,
    shards: readonly number[],
    make: (gates: readonly ShardGate[]) => ShardAsk<C>,
    untilMs: number | undefined,
  ): Promise<readonly GatedValue<C>[]> {
    this.#rounds++;
    const earlier = untilMs === undefined ? undefined : this.#deadline.within(untilMs);
    const deadline = earlier ?? this.#deadline;
    const options = { deadline, ...demandOf(this.#request.consistency, this.#session) };
    try {
      const answer = await this.#ports.fanOut.ask(kind, shards, make, options);
      if (answer.notCaughtUp.length > 0) throw notCaughtUp(answer.notCaughtUp);
      for (const [shard, failed] of answer.failed) this.#failed.set(shard, failed);
      for (const [shard, stale] of answer.stale) this.#stale.set(shard, stale);
      const values: GatedValue<C>[] = [];
      for (const [shard, { node, value }] of answer.values) {
        this.#answeredBy[shard] = node;
        values.push(value);
      }
      return values;
    } finally {
      earlier?.end();
    }
  }

  #searchOf(withVector: boolean, statistics: KeywordStatistics | undefined): SearchOfShards {
    const { vector, filter, exact } = this.#request;
    const { shardSize: k, ef, legSize } = this.#plan;
    const terms = this.#terms;
    // A document may be in two shards while it moves: exact answers have room for that.
    const of = exact ? {} : { of: legSize };
    const wantsVector = withVector && vector !== undefined && this.#collection.dimensions !== undefined;
    return {
      collectionId: this.#collection.id,
      ...(wantsVector ? { vector: { values: vector, k, ef, ...of } } : undefined),
      ...(terms.length > 0
        ? { keyword: statistics === undefined ? { terms, k } : { terms, k, ...of, statistics } }
        : undefined),
      ...(filter === undefined ? undefined : { filter }),
      exact,
    };
  }

  #mergeVector(answers: readonly ShardSearchAnswer[]): MergedLeg {
    const sources: ShardLeg[] = [];
    for (const answer of answers) {
      const leg = answer.vector();
      if (leg !== undefined) sources.push({ shard: answer.shard, leg });
    }
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
    for (const answer of answers) {
      const leg = answer.keyword();
      if (leg !== undefined) sources.push({ shard: answer.shard, leg });
    }
    if (sources.length === 0) return NO_LEG;
    const sums = sumStatistics(
      sources.map(({ leg }) => leg.statistics),
      this.#terms.length,
    );
    this.#statistics = sums;
    if (this.#failed.size === 0) this.#ports.terms.learn(this.#collection.id, this.#terms, sums);
    const scorer = new SumsScorer(sums);
    const merged = mergeLeg(sources, this.#plan.legSize, scorer);
    if (this.#request.exact || (sources.length === 1 && ranked === undefined)) return merged;
    const end = merged.length - 1;
    const last = end + 1 < this.#plan.legSize ? undefined : { score: merged.scores[end], id: merged.id(end) };
    const again = sources.filter(({ leg }) => couldStillWin(leg, ranked ?? leg.statistics, sums, last));
    if (again.length === 0) return merged;
    const second = await this.#ask(
      again.map(({ shard }) => shard),
      false,
      sums,
    );
    if (second.length === 0) return merged;
    const answered = sources.map((source): KeywordSource => {
      const leg = second.find(({ shard }) => shard === source.shard)?.keyword();
      return leg === undefined ? source : { shard: source.shard, leg };
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
  async #fetch(
    fused: readonly Fused[],
    vector: MergedLeg,
    keyword: MergedLeg<KeywordCandidates>,
  ): Promise<readonly SearchHit[]> {
    const winners: Winner[] = [];
    const results: Fused[] = [];
    for (const result of fused) {
      const { id, vectorRank, keywordRank } = result;
      const winner = newerOf(this.#winnerAt(id, vector, vectorRank), this.#winnerAt(id, keyword, keywordRank));
      if (winner === undefined || this.#failed.has(winner.shard)) continue;
      winners.push(winner);
      results.push(result);
    }
    const payloads = this.#payloads(winners);
    const found = payloads instanceof Promise ? await payloads : payloads;
    const hits: SearchHit[] = [];
    for (let i = 0; i < winners.length; i++) {
      const payload = found[i];
      if (payload !== undefined) hits.push(this.#hit(results[i], winners[i].shard, payload, vector, keyword));
    }
    if (this.#failed.size === 0) return hits;
    const ring = this.#ports.replication.map.ring();
    return hits.filter((hit) => !this.#failed.has(ring.shardOf(hit.id)));
  }

  /** At once when all winners are here. */
  #payloads(
    winners: readonly Winner[],
  ): readonly (StoredSegments | undefined)[] | Promise<readonly (StoredSegments | undefined)[]> {
    let deadline: Deadline | undefined;
    const later = (): Deadline =>
      (deadline ??= new Deadline({ signal: this.#call.signal }, this.#deadline.remainingMs + FETCH_GRACE_MS));
    const { winners: fetch } = this.#ports;
    const found = fetch.fetch(winners, this.#collection.id, this.#request.fields, later, this.#failed);
    return found instanceof Promise ? found.finally(() => deadline?.end()) : found;
  }

  /** Where the document of a rank (from 1) is stored. */
  #winnerAt(id: string, merged: MergedLeg, rank: number | undefined): Winner | undefined {
    if (rank === undefined) return undefined;
    const place = rank - 1;
    const shard = merged.shard(place);
    const node = this.#answeredBy[shard];
    // A peer's answer may name a shard that nobody answered for.
    if (node === undefined) return undefined;
    const leg = merged.leg(place);
    const row = merged.row(place);
    return {
      shard,
      node,
      id,
      offset: leg.offset(row),
      versionMs: leg.versionMs(row),
      versionCounter: leg.versionCounter(row),
    };
  }

  #hit(
    result: Fused,
    shard: number,
    { version, title, content, metadata, vector }: StoredSegments,
    vectorLeg: MergedLeg,
    keywordLeg: MergedLeg<KeywordCandidates>,
  ): SearchHit {
    const { fields, explain } = this.#request;
    return {
      id: result.id,
      score: result.score,
      titleJson: fields.title ? title : undefined,
      contentJson: fields.content ? content : undefined,
      metadataJson: fields.metadata ? metadata : undefined,
      vector,
      version,
      ranks: { vector: result.vectorRank, keyword: result.keywordRank },
      explanation: explain
        ? explainHit(result, shard, vectorLeg, keywordLeg, this.#terms, this.#statistics)
        : undefined,
    };
  }

  #answer(results: readonly SearchHit[], times: QueryTimes): SearchAnswer {
    const request = this.#request;
    const total = this.#shardNumbers.length;
    for (const shard of this.#failed.keys()) this.#stale.delete(shard);
    const shards = shardsReport(total, { stale: this.#stale, failed: this.#failed });
    const { failed } = shards;
    const coverage = this.#coverage();
    if (failed.length === total) throw noneAnswered(failed, shards);
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

  /**
   * Documents of the shards that answered, over all. What the others hold of the collection is estimated by its share of all
   * they hold; of one whose copies have told nothing since this node started, as what a shard holds on average.
   */
  #coverage(): number {
    if (this.#failed.size === 0) return 1;
    const routes = this.#ports.routes.shards();
    let answered = 0;
    let answeredOfAll = 0;
    for (const shard of this.#shardNumbers) {
      if (this.#failed.has(shard)) continue;
      answered += this.#documents[shard] ?? 0;
      answeredOfAll += routes[shard].documents ?? 0;
    }
    const share = answeredOfAll === 0 ? 1 : Math.min(1, answered / answeredOfAll);
    const answeredShards = this.#shardNumbers.length - this.#failed.size;
    const average = answeredShards === 0 ? 0 : answered / answeredShards;
    let all = answered;
    for (const shard of this.#failed.keys()) {
      const { copies, documents } = routes[shard];
      const here = copies.some(({ self }) => self);
      const live = this.#ports.replication.counters(shard).collections.get(this.#collection.id)?.live ?? 0;
      all += here ? live : documents === undefined ? average : share * documents;
    }
    return all === 0 ? answeredShards / this.#shardNumbers.length : answered / all;
  }
}

function newerOf(a: Winner | undefined, b: Winner | undefined): Winner | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return (b.versionMs - a.versionMs || b.versionCounter - a.versionCounter) > 0 ? b : a;
}
