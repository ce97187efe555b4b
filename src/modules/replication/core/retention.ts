import type { NodeUuid } from '../../../kernel/peer.js';

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
  #told = 0;

  /** A reign begins: what was told before is all that is known. */
  begin(): void {
    this.#durable.clear();
    this.#demoted.clear();
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

  /** The replica that has least of the log, of those it is kept for. */
  slowest(replicas: readonly NodeUuid[]): NodeUuid | undefined {
    const kept = replicas.filter((node) => !this.#demoted.has(node));
    return kept.reduce<NodeUuid | undefined>(
      (slowest, node) => (slowest === undefined || this.#of(node) < this.#of(slowest) ? node : slowest),
      undefined,
    );
  }

  #of(node: NodeUuid): number {
    return this.#durable.get(node) ?? this.#told;
  }
}
