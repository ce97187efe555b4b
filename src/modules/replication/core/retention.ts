import type { NodeUuid } from '../../../kernel/peer.js';

/** Whoever stages nothing more of a snapshot for so long, nor comes back to go on behind it, is waited for no longer. */
const RECEIVES_MS = 60_000;

/**
 * For whom the log is kept (replication 2.11): the durable offset each replica told last, also while it is away. Of one that
 * was not heard in this reign nothing is known but what the primary before told; after a restart not even that, and then
 * everything is kept.
 *
 * A copy that follows remembers only what its primary tells: the floor, up to which every replica has the log.
 */
export class Retention {
  readonly #durable = new Map<NodeUuid, number>();
  readonly #demoted = new Set<NodeUuid>();
  /** Who takes a snapshot in, from where it goes on then, and when it last got on; also who did so too long ago. */
  readonly #receiving = new Map<NodeUuid, { readonly offset: number; readonly ms: number }>();
  #nowMs = 0;
  #told = 0;

  /** A reign begins: what was told before is all that is known. */
  begin(): void {
    this.#durable.clear();
    this.#demoted.clear();
    this.#receiving.clear();
  }

  /** Time passes: a snapshot that gets on no more is none. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
  }

  /** The floor, as the primary that is followed has it. */
  tell(floor: number): void {
    this.#told = floor;
  }

  /** The log ends here now: nothing is said of what comes behind it. */
  cut(tail: number): void {
    this.#told = Math.min(this.#told, tail);
  }

  /** A replica goes on from here: its log is part of this one, and it needs what follows. */
  joined(node: NodeUuid, offset: number): void {
    this.#durable.set(node, offset);
    this.#demoted.delete(node);
    this.#receiving.delete(node);
  }

  /** A snapshot begins, or goes on: it needs what follows this offset when it has it. One that goes on has no more time for that. */
  receives(node: NodeUuid, offset: number, nowMs: number): void {
    if (this.#receiving.get(node)?.offset !== offset) this.staged(node, offset, nowMs);
  }

  /** It has staged more of that: it is kept for, also if it was demoted. */
  staged(node: NodeUuid, offset: number, nowMs: number): void {
    this.joined(node, offset);
    this.#receiving.set(node, { offset, ms: nowMs });
  }

  /** Who takes a snapshot in. */
  receivers(): readonly NodeUuid[] {
    return [...this.#receiving.keys()].filter((node) => this.#getsOn(node));
  }

  /** It has synced the log up to here. */
  synced(node: NodeUuid, offset: number): void {
    this.#durable.set(node, Math.max(offset, this.#durable.get(node) ?? 0));
  }

  /** It gets a snapshot when it comes: until it goes on from somewhere nothing is kept for it. */
  demote(node: NodeUuid): void {
    this.#demoted.add(node);
  }

  /** As a follower: up to where every replica has the log, as it was told. */
  get told(): number {
    return this.#told;
  }

  /** As a primary: up to where every one of the replicas has the log; `own` is the end of what is durable here. */
  floor(replicas: readonly NodeUuid[], own: number): number {
    let floor = own;
    for (const node of replicas) if (!this.#demoted.has(node)) floor = Math.min(floor, this.#of(node));
    return floor;
  }

  /**
   * The replica that has least of the log, of those it is kept for; undefined while that takes a snapshot in: demoted, it
   * would need another one, and another replica demoted in its place would gain nothing.
   */
  slowest(replicas: readonly NodeUuid[]): NodeUuid | undefined {
    const kept = replicas.filter((node) => !this.#demoted.has(node));
    const least = Math.min(...kept.map((node) => this.#of(node)));
    const slowest = kept.filter((node) => this.#of(node) === least);
    return slowest.some((node) => this.#getsOn(node)) ? undefined : slowest.at(0);
  }

  #getsOn(node: NodeUuid): boolean {
    const receiving = this.#receiving.get(node);
    return receiving !== undefined && this.#nowMs - receiving.ms < RECEIVES_MS;
  }

  #of(node: NodeUuid): number {
    return this.#durable.get(node) ?? this.#told;
  }
}
