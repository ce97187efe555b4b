import { META_SHARD } from '../../kernel/ids.js';
import type { CancelTimer, Timers } from '../../kernel/timers.js';
import type { ClusterReading } from '../../platform/metrics/metrics.js';
import type { ClusterPlace } from '../replication/cluster-place.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { placementOf } from '../ring/core/shard-set.js';
import type { EventsPort } from './coordinator.js';
import { ClusterWatch } from './core/cluster-watch.js';
import { serves } from './core/topology.js';
import type { Members } from './members.js';
import type { Routes } from './routes.js';

/** Changes come in showers (a failover moves many shards): they are looked at together, this late at most. */
const SETTLE_MS = 50;

/** Tells listeners what happens in the cluster (api.md, events), and the metrics how it stands, as this node knows it. */
export class ClusterEvents {
  readonly #watch = new ClusterWatch();
  readonly #unsubscribe: (() => void)[] = [];
  #cancelLook: CancelTimer | undefined;
  #stopped = false;

  constructor(
    private readonly replication: ReplicationService,
    private readonly place: ClusterPlace,
    private readonly routes: Routes,
    private readonly members: Members,
    private readonly events: EventsPort,
    private readonly timers: Timers,
  ) {}

  /** Begins with the cluster as it is now; after the map is known. */
  start(): void {
    this.#look();
    const changed = (): void => this.#lookSoon();
    const membership = this.place.taken?.membership;
    if (membership !== undefined) {
      this.#unsubscribe.push(
        membership.onView(changed),
        // A replica is in sync when it says so.
        membership.onPeer(({ kind }) => {
          if (kind === 'told' || kind === 'status') changed();
        }),
      );
    }
    this.replication.onRole(changed);
    this.replication.onCopy(({ kind, shard, node }) => {
      this.events.publish({
        type: `cluster.copy_${kind}`,
        data: { shard: shard === META_SHARD ? 'map' : shard, node: this.routes.nodeIdOf(node) },
      });
    });
    this.replication.map.onChange(changed);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelLook?.();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
  }

  /** For the metrics, at each scrape. */
  reading(): ClusterReading {
    const lagMs = new Map<number, number>();
    let [led, replicasInSync, replicasWanted] = [0, 0, 0];
    const known = this.replication.map.known;
    const { self } = this.routes;
    for (const { shard, primary, copies, wanted } of known ? this.routes.shards() : []) {
      const own = copies.find(({ node }) => node === self);
      if (own !== undefined && primary !== self) lagMs.set(shard, own.lagMs);
      if (primary !== self) continue;
      led++;
      replicasWanted += Math.max(0, wanted - 1);
      replicasInSync += copies.filter((copy) => copy.node !== self && serves(copy)).length;
    }
    const members = new Map<string, number>();
    for (const { status } of this.members.all()) members.set(status, (members.get(status) ?? 0) + 1);
    return { led, replicasInSync, replicasWanted, lagMs, members, mapEpoch: known ? this.routes.mapEpoch : 0 };
  }

  #lookSoon(): void {
    if (this.#stopped || this.#cancelLook !== undefined) return;
    this.#cancelLook = this.timers.after(SETTLE_MS, () => {
      this.#cancelLook = undefined;
      this.#look();
    });
  }

  #look(): void {
    // A provisional map that is given up leaves a moment without one (replication 9.2).
    if (this.#stopped || !this.replication.map.known) return;
    const map = this.replication.map.current();
    const shards = this.routes.shards().map(({ shard, epoch, primary, copies }) => ({
      shard,
      epoch,
      primary,
      inSync: copies.filter(serves).map(({ node }) => node),
      members: placementOf(map, shard)?.members ?? [],
    }));
    const sight = { members: this.members.all(), shards };
    for (const event of this.#watch.see(sight, (node) => this.routes.nodeIdOf(node))) this.events.publish(event);
  }
}
