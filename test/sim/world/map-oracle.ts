import type { NodeUuid } from '../../../src/kernel/peer.js';
import { META_SHARD } from '../../../src/kernel/ids.js';
import type { MapMember } from '../../../src/modules/membership/core/membership-io.js';
import type { ClusterMap, ShardPlacement } from '../../../src/modules/ring/core/map.js';
import type { ShardSet } from '../../../src/modules/replication/core/protocol.js';
import type { Placement } from './node.js';

/** What the map says of one shard. */
export interface PlacedShard {
  readonly set: ShardSet;
  /** Copies that count nowhere: on their way in, or on their way out. */
  readonly learners: readonly NodeUuid[];
}

/** One state of the map. */
export interface PlacedMap {
  readonly mapEpoch: number;
  readonly shards: ReadonlyMap<number, PlacedShard>;
  /** Registered nodes. */
  readonly nodes: readonly MapMember[];
}

/**
 * The map as the checkers know it. While no meta shard is part of a run it is the truth, with what each host knows of it:
 * hosts learn late, and only while they reach a majority of all hosts. With the real map it is the newest one any node
 * has, which `follow` tells.
 */
export class MapOracle {
  #truth: PlacedMap;
  #real: ClusterMap | undefined;
  /** Every set there ever was, as text. */
  readonly #decided = new Set<string>();
  readonly #known = new Map<string, PlacedMap>();
  readonly #listeners = new Map<string, Set<() => void>>();

  constructor(
    first: PlacedMap,
    hosts: readonly string[],
    private readonly strictShards: ReadonlySet<number>,
  ) {
    this.#truth = first;
    for (const host of hosts) this.#known.set(host, first);
    for (const [shard, { set }] of first.shards) this.#decided.add(setText(shard, set));
  }

  get truth(): PlacedMap {
    return this.#truth;
  }

  shards(): readonly number[] {
    return [...this.#truth.shards.keys()].sort((a, b) => a - b);
  }

  isStrict(shard: number): boolean {
    return this.strictShards.has(shard);
  }

  /** Decides another set of a shard. */
  decideSet(shard: number, members: readonly NodeUuid[], learners: readonly NodeUuid[]): void {
    const mapEpoch = this.#truth.mapEpoch + 1;
    this.#put(mapEpoch, shard, { set: { mapEpoch, members }, learners });
  }

  decideLearners(shard: number, learners: readonly NodeUuid[]): void {
    const { set } = this.placed(shard);
    this.#put(this.#truth.mapEpoch + 1, shard, { set, learners });
  }

  /** Another disk is in a host: its node takes the place of the one that is gone. */
  register(member: MapMember): void {
    const others = this.#truth.nodes.filter(({ nodeId }) => nodeId !== member.nodeId);
    const nodes = [...others, member].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
    this.#truth = { ...this.#truth, mapEpoch: this.#truth.mapEpoch + 1, nodes };
  }

  /** A node has this map, agreed by the voters. */
  follow(map: ClusterMap): void {
    if (map.epoch <= this.#truth.mapEpoch) return;
    const placed = ({ members, learners, epoch }: ShardPlacement): PlacedShard => ({
      set: { mapEpoch: epoch, members },
      learners,
    });
    const shards = new Map(map.placement.map((placement, shard) => [shard, placed(placement)]));
    shards.set(META_SHARD, placed(map.meta));
    for (const [shard, { set }] of shards) this.#decided.add(setText(shard, set));
    const nodes = map.nodes.map(({ nodeUuid, nodeId, address }) => ({ nodeUuid, nodeId, address }));
    this.#truth = { mapEpoch: map.epoch, shards, nodes };
    this.#real = map;
  }

  /** The real map; undefined while there is none. */
  get real(): ClusterMap | undefined {
    return this.#real;
  }

  /** Whether the map ever gave a shard this set. */
  decided(shard: number, set: ShardSet): boolean {
    return this.#decided.has(setText(shard, set));
  }

  placed(shard: number): PlacedShard {
    const placed = this.#truth.shards.get(shard);
    if (placed === undefined) throw new Error(`the map has no shard ${shard}`);
    return placed;
  }

  isBehind(host: string): boolean {
    return this.#known.get(host)?.mapEpoch !== this.#truth.mapEpoch;
  }

  /** A host learns the truth of this moment. */
  teach(host: string): void {
    this.#known.set(host, this.#truth);
    for (const listener of this.#listeners.get(host) ?? []) listener();
  }

  /** What the host's process knows; a new process has no listeners. */
  placementOf(host: string, nodeUuid: NodeUuid): Placement {
    const listeners = new Set<() => void>();
    this.#listeners.set(host, listeners);
    const known = () => this.#known.get(host) ?? this.#truth;
    const of = (shard: number) => known().shards.get(shard);
    return {
      shards: () =>
        [...known().shards]
          .filter(([, { set, learners }]) => set.members.includes(nodeUuid) || learners.includes(nodeUuid))
          .map(([shard]) => shard)
          .sort((a, b) => a - b),
      set: (shard) => of(shard)?.set ?? { mapEpoch: 0, members: [] },
      learners: (shard) => of(shard)?.learners ?? [],
      nodes: () => ({ mapEpoch: known().mapEpoch, members: known().nodes }),
      strict: (shard) => this.isStrict(shard),
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
  }

  #put(mapEpoch: number, shard: number, placed: PlacedShard): void {
    this.#truth = { ...this.#truth, mapEpoch, shards: new Map([...this.#truth.shards, [shard, placed]]) };
    this.#decided.add(setText(shard, placed.set));
  }
}

function setText(shard: number, { mapEpoch, members }: ShardSet): string {
  return `${shard} ${mapEpoch} ${[...members].sort().join(' ')}`;
}
