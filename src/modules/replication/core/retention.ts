import type { NodeUuid } from '../../../kernel/peer.js';

/** Whoever takes nothing more of a snapshot for so long, nor comes back to go on behind it, is waited for no longer. */
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
  /** Who takes a snapshot in, and when it last got on. */
  readonly #receiving = new Map<NodeUuid, number>();
  #told = 0;

  /** A reign begins: what was told before is all that is known. */
  begin(): void {
    this.#durable.clear();
    this.#demoted.clear();
    this.#receiving.clear();
  }

  /** Time passes: a snapshot that gets on no more is none. */
  tick(nowMs: number): void {
    for (const [node, ms] of this.#receiving) if (nowMs - ms >= RECEIVES_MS) this.#receiving.delete(node);
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

  /** A snapshot is on its way to it, and gets on: it needs what follows this offset when it has it, also if it was demoted. */
  receives(node: NodeUuid, offset: number, nowMs: number): void {
    this.joined(node, offset);
    this.#receiving.set(node, nowMs);
  }

  /** Who takes a snapshot in. */
  receivers(): readonly NodeUuid[] {
    return [...this.#receiving.keys()];
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
    return slowest.some((node) => this.#receiving.has(node)) ? undefined : slowest.at(0);
  }

  #of(node: NodeUuid): number {
    return this.#durable.get(node) ?? this.#told;
  }
}
