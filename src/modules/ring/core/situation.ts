import type { NodeUuid } from '../../../kernel/peer.js';
import { reachable, type ClusterFacts, type ShardFacts, type Transfer } from './facts.js';
import { nodeByUuid, wantedCopies, type ClusterMap } from './map.js';
import type { Placer, PlacementTarget } from './placement.js';

/** Copies that may be built at once into and out of one node, and reigns handed over (replication 9.6). */
const TRANSFERS_MAX = 2;

const NO_FACTS: ShardFacts = { primary: undefined, settled: 0, copies: new Map() };

/**
 * One look at the map and the facts, shared by the parts of a plan: who is there, where copies shall be, and how much
 * room is left for what the plan has decided so far.
 */
export class Situation {
  readonly map: ClusterMap;
  readonly facts: ClusterFacts;
  /** Copies wanted of every shard. */
  readonly wanted: number;
  readonly target: PlacementTarget;
  /** Registered nodes that are away for longer than the grace period: their copies are given up (replication 9.5). */
  readonly lost: ReadonlySet<NodeUuid>;
  readonly #incoming = new Map<NodeUuid, number>();
  readonly #outgoing = new Map<NodeUuid, number>();
  readonly #transfers: Transfer[];

  constructor(map: ClusterMap, facts: ClusterFacts, placer: Placer) {
    this.map = map;
    this.facts = facts;
    this.wanted = wantedCopies(map);
    this.lost = new Set(
      map.nodes
        .filter(({ nodeUuid }) => this.awayForMs(nodeUuid) >= map.settings.rebalanceGraceMs)
        .map(({ nodeUuid }) => nodeUuid),
    );
    const hosts = map.nodes
      .filter(({ nodeUuid, duty }) => duty === 'serving' && !this.lost.has(nodeUuid))
      .map(({ nodeUuid }) => nodeUuid);
    this.target = placer.place({
      shards: map.placement,
      hosts,
      away: hosts.filter((uuid) => !this.active(uuid)),
      copies: this.wanted,
    });
    this.#transfers = [...facts.transfers];
    for (const [shard, { learners }] of map.placement.entries())
      for (const learner of learners) this.copying(learner, this.shard(shard).primary);
  }

  shard(shard: number): ShardFacts {
    return this.facts.shards.get(shard) ?? NO_FACTS;
  }

  /** It answers and is here to stay. */
  active(uuid: NodeUuid): boolean {
    return this.facts.nodes.get(uuid)?.status === 'ACTIVE';
  }

  /** Room on its disk. */
  disk(uuid: NodeUuid): 'full' | 'little' | 'ample' {
    return this.facts.nodes.get(uuid)?.disk ?? 'ample';
  }

  serving(uuid: NodeUuid): boolean {
    return nodeByUuid(this.map, uuid)?.duty === 'serving';
  }

  /** Milliseconds for which a node has not answered; -1 while it does or nothing is known of it. */
  awayForMs(uuid: NodeUuid): number {
    const node = this.facts.nodes.get(uuid);
    return node === undefined || reachable(node.status) ? -1 : Math.max(0, this.facts.nowMs - node.sinceMs);
  }

  /** Its copy of the shard has everything, and its node is there. */
  inSync(shard: number, uuid: NodeUuid): boolean {
    const copy = this.shard(shard).copies.get(uuid);
    return copy !== undefined && copy.inSync && !copy.faulted && this.active(uuid);
  }

  /** The primary of the shard when it can be asked for something and the last change of its set is behind it. */
  settledPrimary(shard: number): NodeUuid | undefined {
    const { primary, settled } = this.shard(shard);
    if (primary === undefined || settled !== this.map.placement[shard].epoch) return undefined;
    return this.map.placement[shard].members.includes(primary) ? primary : undefined;
  }

  roomForCopy(to: NodeUuid, from: NodeUuid): boolean {
    return (this.#incoming.get(to) ?? 0) < TRANSFERS_MAX && (this.#outgoing.get(from) ?? 0) < TRANSFERS_MAX;
  }

  copying(to: NodeUuid, from: NodeUuid | undefined): void {
    this.#incoming.set(to, (this.#incoming.get(to) ?? 0) + 1);
    if (from !== undefined) this.#outgoing.set(from, (this.#outgoing.get(from) ?? 0) + 1);
  }

  /** Whether the reign of a shard may be handed over now; `alone`: only while no other is. */
  roomForTransfer({ shard, from, to }: Transfer, alone: boolean): boolean {
    const running = this.#transfers;
    if (running.some((other) => other.shard === shard) || (alone && running.length > 0)) return false;
    return (
      running.filter((other) => other.from === from).length < TRANSFERS_MAX &&
      running.filter((other) => other.to === to).length < TRANSFERS_MAX
    );
  }

  transferring(transfer: Transfer): void {
    this.#transfers.push(transfer);
  }
}
