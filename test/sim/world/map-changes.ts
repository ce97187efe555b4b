import type { NodeUuid } from '../../../src/kernel/peer.js';
import { decodeEntry } from '../../../src/modules/log/core/entry-codec.js';
import type { SimHost } from './host.js';
import type { SeededRandom } from './seeded-random.js';
import type { World } from './world.js';

/** A wish: one more member, one less, or first the one and then the other. */
interface Move {
  readonly shard: number;
  readonly add: NodeUuid | undefined;
  readonly remove: NodeUuid | undefined;
}

const TICK_MS = 300;

/**
 * What the primary of `meta` would do: teaches the map to hosts that reach a majority, and carries out moves one replica
 * at a time: learner, in sync, member, and only then the old one out (replication 9.6).
 */
export class MapChanges {
  readonly #random: SeededRandom;
  #moves: Move[] = [];
  /** Nothing is decided and nobody learns: the majority of `meta` is lost. */
  frozen = false;

  constructor(private readonly world: World) {
    this.#random = world.random.fork('map');
  }

  start(): void {
    this.world.scheduler.in(TICK_MS, undefined, () => {
      if (!this.frozen) {
        this.#teach();
        this.#moves = this.#moves.filter((move) => !this.#advance(move));
      }
      this.start();
    });
  }

  get pending(): number {
    return this.#moves.length;
  }

  want(move: Move): void {
    this.#moves.push(move);
  }

  /** A disk is gone for good: the new one on that host takes its places. */
  replace(old: NodeUuid, host: SimHost): void {
    this.#moves = this.#moves.map((move) => (move.add === old ? { ...move, add: host.nodeUuid } : move));
    for (const shard of this.world.map.shards())
      if (this.world.map.placed(shard).set.members.includes(old)) this.want({ shard, add: host.nodeUuid, remove: old });
  }

  /** Moves a copy of a random shard to a host that has none. */
  wantAny(): void {
    const { map, hosts } = this.world;
    const shard = this.#random.pick(map.shards());
    const { members } = map.placed(shard).set;
    const free = hosts.filter(({ nodeUuid }) => !members.includes(nodeUuid));
    if (free.length === 0 || this.#moves.some((move) => move.shard === shard)) return;
    this.world.count('move wanted');
    this.want({ shard, add: this.#random.pick(free).nodeUuid, remove: this.#random.pick(members) });
  }

  #teach(): void {
    const { world } = this;
    for (const host of world.hosts) {
      if (host.running === undefined || !world.map.isBehind(host.name) || !world.hasMajority(host)) continue;
      const { process } = host.running;
      world.scheduler.in(this.#random.between(1, 100), process, () => world.map.teach(host.name));
    }
  }

  /** One step, when the step before is done; true when nothing is left. */
  #advance({ shard, add, remove }: Move): boolean {
    const { world } = this;
    const { set, learners } = world.map.placed(shard);
    if (add !== undefined && world.destroyed.has(add)) return true;
    if (add !== undefined && !set.members.includes(add)) {
      if (!learners.includes(add)) {
        world.count('learner');
        world.map.decideLearners(shard, [...learners, add]);
        return false;
      }
      const primary = this.#settledPrimary(shard);
      const host = world.hostOf(add);
      if (primary === undefined || host === undefined) return false;
      const behind = (primary.disk.logState(shard)?.tail ?? 0) - (host.disk.logState(shard)?.tail ?? 0);
      const caughtUp = host.running?.node?.inspect(shard)?.selfInSync === true && behind <= 2;
      if (!caughtUp) return false;
      world.count('member added');
      world.map.decideSet(
        shard,
        [...set.members, add],
        learners.filter((uuid) => uuid !== add),
      );
      return false;
    }
    if (remove === undefined || !set.members.includes(remove)) return true;
    const primary = this.#settledPrimary(shard);
    if (primary === undefined) return false;
    if (primary.nodeUuid === remove) return this.#handOver(primary, shard, set.members);
    world.count('member removed');
    // It stays as a learner: its copy goes only when it has nothing left to offer.
    const kept = world.destroyed.has(remove) ? learners : [...learners, remove];
    world.map.decideSet(
      shard,
      set.members.filter((uuid) => uuid !== remove),
      kept,
    );
    return true;
  }

  #handOver(primary: SimHost, shard: number, members: readonly NodeUuid[]): boolean {
    const node = primary.running?.node;
    const to = members.find((uuid) => uuid !== primary.nodeUuid && this.world.hostOf(uuid)?.running !== undefined);
    if (node?.transfer === undefined || to === undefined) return node?.transfer === undefined;
    this.world.count('transfer');
    node.transfer(shard, to).catch(() => this.world.count('transfer failed'));
    return false;
  }

  /**
   * The primary, when it counts by the map's set and has SET and BARRIER below its high-water mark. In an available shard
   * a member whose disk is gone for good must not stand in the way of its own removal: the others having them is enough.
   */
  #settledPrimary(shard: number): SimHost | undefined {
    const { world } = this;
    const { set } = world.map.placed(shard);
    for (const host of world.up()) {
      const seen = host.running?.node?.inspect(shard);
      if (seen?.role !== 'primary' || !world.hasMajority(host)) continue;
      const same = seen.set.mapEpoch === set.mapEpoch || set.mapEpoch === 1;
      const state = host.disk.logState(shard);
      const barrier = state?.history.at(-1)?.start ?? Number.MAX_SAFE_INTEGER;
      if (!same) continue;
      const settled = Math.max(barrier, lastSet(host, shard));
      const left = set.members.filter((uuid) => !world.destroyed.has(uuid));
      const agreed = settled <= seen.highWaterMark;
      if (agreed || (!world.map.isStrict(shard) && left.every((uuid) => seen.inSync.includes(uuid)))) return host;
    }
    return undefined;
  }
}

function lastSet(host: SimHost, shard: number): number {
  const state = host.disk.logState(shard);
  if (state === undefined) return 0;
  for (let offset = state.tail; offset > state.start.offset; offset--) {
    const entry = host.disk.entry(shard, offset);
    if (entry !== undefined && decodeEntry(entry).op === 'SET') return offset;
  }
  return 0;
}
