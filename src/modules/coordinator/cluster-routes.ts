import type { Clock } from '../../kernel/clock.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { ShardLeader, ShardPosition } from '../replication/core/protocol.js';
import { silenceMs, type FellowFacts } from '../replication/fellows.js';
import type { ClusterPlace } from '../replication/cluster-place.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { ClusterMap } from '../ring/core/map.js';
import { placementOf } from '../ring/core/shard-set.js';
import type { CopyRoute, CopyStatus, ShardRoute } from './core/route.js';
import type { Routes } from './routes.js';

/** Positions move all the time; routes made of them are used for so long, unless something they depend on changes. */
const FRESH_MS = 100;

interface Made {
  readonly map: ClusterMap;
  readonly fellows: ReadonlyMap<NodeUuid, FellowFacts>;
  readonly atMs: number;
  readonly shards: readonly ShardRoute[];
  readonly meta: ShardRoute;
}

/** Routes from the map, the view, the last heartbeats and the copies of this node. */
export class ClusterRoutes implements Routes {
  #made: Made | undefined;

  constructor(
    private readonly replication: ReplicationService,
    private readonly place: ClusterPlace,
    private readonly clock: Clock,
    private readonly nodeId: string,
  ) {
    replication.onRole(() => {
      this.#made = undefined;
    });
  }

  get self(): NodeUuid {
    return this.replication.self;
  }

  get mapEpoch(): number {
    return this.replication.map.current().epoch;
  }

  refresh(): void {
    this.#made = undefined;
  }

  shards(): readonly ShardRoute[] {
    return this.#current().shards;
  }

  meta(): ShardRoute {
    return this.#current().meta;
  }

  nodeIdOf(node: NodeUuid): string {
    if (node === this.self) return this.nodeId;
    const known = this.place.taken?.membership.record(node)?.nodeId;
    return known ?? this.replication.map.current().nodes.find(({ nodeUuid }) => nodeUuid === node)?.nodeId ?? node;
  }

  onStaleLeader(_shard: number, hint: ShardLeader | undefined): void {
    if (hint !== undefined) this.replication.learn(hint);
    this.#made = undefined;
  }

  #current(): Made {
    const map = this.replication.map.current();
    const fellows = this.place.fellows.all();
    const atMs = this.clock.monotonicMs();
    const made = this.#made;
    if (made?.map === map && made.fellows === fellows && atMs - made.atMs < FRESH_MS) return made;
    const own = new Map(this.replication.positions().map((position) => [position.shard, position]));
    const routeOf = (shard: number): ShardRoute => this.#route(shard, map, fellows, own.get(shard));
    const shards = Array.from({ length: map.shardCount }, (_, shard) => routeOf(shard));
    this.#made = { map, fellows, atMs, shards, meta: routeOf(META_SHARD) };
    return this.#made;
  }

  #route(
    shard: number,
    map: ClusterMap,
    fellows: ReadonlyMap<NodeUuid, FellowFacts>,
    own: ShardPosition | undefined,
  ): ShardRoute {
    const { self } = this;
    const placement = placementOf(map, shard);
    const members = placement?.members ?? [];
    const named = [...members, ...(placement?.learners ?? [])];
    const holders = [...fellows].filter(([, { positions }]) => positions.has(shard)).map(([node]) => node);
    if (own !== undefined || this.replication.fault(shard) !== undefined) holders.push(self);
    const others = holders.filter((node) => !named.includes(node)).sort();
    const leader = this.#leader(shard, own, fellows);
    const copies = [...named, ...others].map((node) =>
      this.#copy(shard, node, members, leader, own, fellows.get(node)),
    );
    return {
      shard,
      epoch: leader?.epoch.num ?? 0,
      lastEpoch: leader?.epoch.num ?? this.#lastEpoch(shard, own, fellows),
      primary: leader?.node,
      copies,
      documents: documentsOf(shard, leader?.node, self, own, fellows),
      wanted: members.length,
    };
  }

  /** The highest reign anybody told of. One whose node is gone reigns no more, nor one that says so itself. */
  #leader(
    shard: number,
    own: ShardPosition | undefined,
    fellows: ReadonlyMap<NodeUuid, FellowFacts>,
  ): ShardLeader | undefined {
    if (own?.role === 'primary') return { shard, epoch: own.epoch, node: this.self };
    const leader = this.replication.leader(shard);
    if (leader === undefined || leader.node === this.self) return undefined;
    const facts = fellows.get(leader.node);
    if (facts === undefined || facts.gone) return undefined;
    return leader;
  }

  #lastEpoch(shard: number, own: ShardPosition | undefined, fellows: ReadonlyMap<NodeUuid, FellowFacts>): number {
    let last = Math.max(this.replication.leader(shard)?.epoch.num ?? 0, own?.epoch.num ?? 0);
    for (const { positions } of fellows.values()) last = Math.max(last, positions.get(shard)?.epoch.num ?? 0);
    return last;
  }

  #copy(
    shard: number,
    node: NodeUuid,
    members: readonly NodeUuid[],
    leader: ShardLeader | undefined,
    own: ShardPosition | undefined,
    facts: FellowFacts | undefined,
  ): CopyRoute {
    const self = node === this.self;
    const position = self ? own : facts?.positions.get(shard);
    const reigns = leader?.node === node;
    const role = reigns ? 'primary' : members.includes(node) ? 'replica' : 'learner';
    const faulted = position?.faulted === true || (self && this.replication.fault(shard) !== undefined);
    return {
      node,
      nodeId: this.nodeIdOf(node),
      self,
      role,
      inSync: !faulted && role !== 'learner' && (reigns || position?.inSync === true),
      status: self ? 'ACTIVE' : statusOf(facts),
      lagMs: Math.round(
        (position?.lagMs ?? 0) + (facts === undefined ? 0 : silenceMs(facts, this.clock.monotonicMs())),
      ),
      offset: position?.applied ?? 0,
      durable: position?.durable ?? 0,
      faulted,
      held: position?.held === true,
    };
  }
}

function statusOf(facts: FellowFacts | undefined): CopyStatus {
  if (facts === undefined || facts.gone) return 'UNAVAILABLE';
  return facts.live && !facts.refused ? 'ACTIVE' : 'SUSPECT';
}

/** As the primary counts them; without one, the most that any copy has told; undefined when none did since this node started. */
function documentsOf(
  shard: number,
  primary: NodeUuid | undefined,
  self: NodeUuid,
  own: ShardPosition | undefined,
  fellows: ReadonlyMap<NodeUuid, FellowFacts>,
): number | undefined {
  if (primary !== undefined) {
    const position = primary === self ? own : fellows.get(primary)?.positions.get(shard);
    if (position !== undefined) return position.documents;
  }
  let most = own?.documents;
  for (const { positions } of fellows.values()) {
    const told = positions.get(shard)?.documents;
    if (told !== undefined) most = Math.max(most ?? 0, told);
  }
  return most;
}
