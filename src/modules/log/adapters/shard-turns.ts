/**
 * Work that must have a shard's log for itself: one piece after the other, and what is asked of the shard meanwhile waits.
 * Shards do not wait for each other.
 */
export class ShardTurns {
  private readonly last = new Map<number, Promise<void>>();

  /** Resolves when the work asked for so far is done; undefined when there is none. Never rejects. */
  pending(shard: number): Promise<void> | undefined {
    return this.last.get(shard);
  }

  /** Begins after the work asked for before, in a later turn of the microtasks at the earliest. */
  take<T>(shard: number, work: () => Promise<T>): Promise<T> {
    const result = (this.last.get(shard) ?? Promise.resolve()).then(work);
    const done: Promise<void> = result.then(
      () => this.end(shard, done),
      () => this.end(shard, done),
    );
    this.last.set(shard, done);
    return result;
  }

  private end(shard: number, done: Promise<void>): void {
    if (this.last.get(shard) === done) this.last.delete(shard);
  }
}
