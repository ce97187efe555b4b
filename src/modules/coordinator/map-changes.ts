import { META_SHARD } from '../../kernel/ids.js';
import { NodeError } from '../../kernel/errors.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import type { MapService } from '../replication/map.service.js';
import type { MapOperation } from '../ring/core/map-operations.js';
import type { ClusterMap } from '../ring/core/map.js';
import type { ShardAnswer } from './core/shard-calls.js';
import type { ReplicaGate } from './replica-gate.js';
import type { Routes } from './routes.js';
import type { PeerShards } from './shard-access.js';
import { until } from './until.js';

/** Changes of the map from any node, and what was changed over another one. */
export interface MapChanges {
  /** Resolves with a map that holds the change, once this node has it, and every other one that answers soon. @throws NodeError */
  change(operation: MapOperation): Promise<ClusterMap>;
  /**
   * The map as its primary has it now: for what is decided here by what is there. Where that cannot be asked, the one here.
   * @param withinMs then it is the one here, too
   */
  newest(withinMs?: number): Promise<ClusterMap>;
  /**
   * What is found in the map. What is not there may have been made over another node a moment ago, and be on its way
   * (replication 4.5): it is looked for again once this node has the map its primary had when it was asked.
   * @param withinMs then what the map here has is the answer
   */
  lookUp<T>(find: (map: ClusterMap) => T | undefined, withinMs?: number): Promise<T | undefined>;
}

/** A change is looked after for so long; then it waits for a primary of the map, and says so (replication 9.1). */
const CHANGE_WAIT_MS = 5_000;
/** The changed map reaches this node well before. */
const ARRIVES_MS = 2_000;
/** So long it has time to reach the other nodes before whoever made the change is told; a silent one gets it later. */
const EVERYWHERE_MS = 500;
/** The primary of the map is asked for its epoch for so long; without an answer the map here is what there is. */
const NEWEST_MS = 1_000;
const TRIES = 4;
const NO_MAJORITY =
  'the map of the cluster cannot be changed now: a majority of its voters cannot be reached; searches and writes go on';

/** Brings a change to the primary of the map's shard, wherever it is. */
export class ForwardedMapChanges implements MapChanges {
  constructor(
    private readonly routes: Routes,
    private readonly map: MapService,
    private readonly gates: ReplicaGate,
    private readonly peers: PeerShards,
  ) {}

  async change(operation: MapOperation): Promise<ClusterMap> {
    const endsMs = performance.now() + CHANGE_WAIT_MS;
    for (let attempt = 1; attempt <= TRIES && performance.now() < endsMs; attempt++) {
      const { primary, epoch } = this.routes.meta();
      if (primary !== undefined) {
        const answer = await this.#ask(primary, operation, Math.ceil(endsMs - performance.now()));
        if (answer?.kind === 'changed') {
          await this.#everywhere(answer.mapEpoch);
          return this.#arrived(answer.mapEpoch);
        }
        if (answer?.kind === 'refused')
          throw new NodeError(answer.code, answer.code === 'NO_QUORUM' ? NO_MAJORITY : answer.detail);
        if (answer !== undefined) this.routes.onStaleLeader(META_SHARD, answer.refusal.hint);
      }
      const moved = (): boolean => {
        const route = this.routes.meta();
        return route.primary !== undefined && (route.primary !== primary || route.epoch !== epoch);
      };
      await until(moved, Math.min(endsMs, performance.now() + CHANGE_WAIT_MS / TRIES));
    }
    const detail = 'the map of the cluster cannot be changed now: its primary cannot be reached, or has no majority';
    throw new NodeError('SHARD_UNAVAILABLE', detail, { retryAfterMs: 1_000 });
  }

  async newest(withinMs = Infinity): Promise<ClusterMap> {
    const endsMs = performance.now() + withinMs;
    return this.#arrived(await this.#newestEpoch(withinMs), endsMs);
  }

  async lookUp<T>(find: (map: ClusterMap) => T | undefined, withinMs = Infinity): Promise<T | undefined> {
    const map = this.map.current();
    const found = find(map);
    if (found !== undefined) return found;
    const endsMs = performance.now() + withinMs;
    const newest = await this.#arrived(await this.#newestEpoch(withinMs), endsMs);
    return newest === map ? undefined : find(newest);
  }

  /** Of the map as its primary has it, or 0 when that cannot say. */
  async #newestEpoch(withinMs: number): Promise<number> {
    const { primary } = this.routes.meta();
    if (primary === undefined || primary === this.routes.self) return 0;
    return this.#epochAt(primary, 0, Math.max(1, Math.min(NEWEST_MS, withinMs)));
  }

  /** Waits until every node that is alive has the map: a client may go on with any of them. */
  async #everywhere(mapEpoch: number): Promise<void> {
    const { copies } = this.routes.meta();
    const others = copies.filter(({ self, status }) => !self && status === 'ACTIVE');
    await Promise.all(others.map(({ node }) => this.#epochAt(node, mapEpoch, EVERYWHERE_MS)));
  }

  /** Of the map a node has, once that is `atLeast`; or 0 when it does not say so in time. */
  async #epochAt(node: NodeUuid, atLeast: number, timeoutMs: number): Promise<number> {
    try {
      return (await this.peers.of(node).call('map', { mapEpoch: atLeast }, { timeoutMs })).mapEpoch;
    } catch (error) {
      if (error instanceof PeerError || error instanceof NodeError) return 0;
      throw error;
    }
  }

  /** Undefined: it was certainly not asked there. */
  async #ask(primary: string, operation: MapOperation, timeoutMs: number): Promise<ShardAnswer<'change'> | undefined> {
    if (primary === this.routes.self) return this.gates.change(operation);
    try {
      return await this.peers.of(primary).call('change', { operation }, { timeoutMs: Math.max(1, timeoutMs) });
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      if (error.reason === 'REFUSED' || error.reason === 'REJECTED') return undefined;
      const detail =
        'the primary of the map did not answer: the change may or may not have been made; look, and try again';
      throw new NodeError('WRITE_OUTCOME_UNKNOWN', detail, { cause: error });
    }
  }

  /** Who made a change, or asks for one that was made, sees it here. */
  async #arrived(mapEpoch: number, endsMs = Infinity): Promise<ClusterMap> {
    const arrived = (): boolean => this.map.current().epoch >= mapEpoch;
    await until(arrived, Math.min(endsMs, performance.now() + ARRIVES_MS));
    return this.map.current();
  }
}

/** Injection token of the MapChanges. */
export const MAP_CHANGES = Symbol('MAP_CHANGES');
