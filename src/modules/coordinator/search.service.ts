import { NodeError } from '../../kernel/errors.js';
import type { Metrics } from '../../platform/metrics/metrics.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { findCollection } from '../ring/core/map-operations.js';
import type { CallContext, SearchAnswer, SearchRequest } from './core/requests.js';
import { TermMemory } from './core/term-memory.js';
import type { EventsPort, SearchPort } from './coordinator.js';
import { Deadline } from './deadline.js';
import type { FanOut } from './fan-out.js';
import { Query, type QueryPorts } from './query.js';
import type { MapChanges } from './map-changes.js';
import type { Routes } from './routes.js';
import type { Sessions } from './session.js';
import type { WinnerFetch } from './winner-fetch.js';

/** Searches under way at once; the next one is refused rather than queued without bound. */
export const SEARCHES_MAX = 2_048;
/** Of the searches of this many milliseconds one is told to listeners. */
const SAMPLE_MS = 1_000;

/** One query across all shards: plan, merge each leg globally, fuse once, fetch only the winners (replication 7.4). */
export class SearchService implements SearchPort {
  readonly #config: NodeConfig;
  readonly #ports: QueryPorts;
  readonly #changes: MapChanges;
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
    changes: MapChanges,
    sessions: Sessions,
    events: EventsPort,
    metrics: Metrics,
  ) {
    this.#config = config;
    this.#ports = { replication, routes, fanOut, winners, sessions, terms: new TermMemory() };
    this.#changes = changes;
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
      const collection = await this.#changes.lookUp(
        (map) => findCollection(map, request.collection, true),
        deadline.remainingMs,
      );
      if (collection === undefined)
        throw new NodeError('COLLECTION_NOT_FOUND', `there is no collection or alias "${request.collection}"`);
      const answer = await new Query(request, collection, call, deadline, this.#ports).run();
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
