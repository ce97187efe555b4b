import { compareEpochs, NO_EPOCH, type Epoch } from '../../../kernel/epoch.js';
import type { SideMemory } from './side-memory.js';

/** What was promised for each shard (replication 5.4): never lower than the record, nor than what the side file remembers. */
export class PromiseKeeper {
  private readonly durable: Map<number, Epoch>;
  /** Those on their way to the disk included. */
  private readonly asked = new Map<number, Epoch>();

  constructor(
    private readonly side: SideMemory,
    recorded: ReadonlyMap<number, Epoch>,
  ) {
    this.durable = new Map(recorded);
    for (const { shard, promise } of side.records()) if (promise !== undefined) this.raise(shard, promise);
  }

  /** The durable one. */
  of(shard: number): Epoch {
    return this.durable.get(shard) ?? NO_EPOCH;
  }

  /** The epoch asked for, to be written, when it is above `least` and above all that were asked for before. */
  ask(shard: number, promise: Epoch | undefined, least: Epoch): Epoch | undefined {
    const asked = higher(this.asked.get(shard) ?? this.of(shard), least);
    if (promise === undefined || compareEpochs(promise, asked) <= 0) return undefined;
    const kept = { num: promise.num, uuid: new Uint8Array(promise.uuid) };
    this.asked.set(shard, kept);
    return kept;
  }

  /** It is on disk. */
  written(shard: number, promise: Epoch): void {
    this.raise(shard, promise);
    this.side.notePromise(shard, promise);
  }

  private raise(shard: number, promise: Epoch): void {
    this.durable.set(shard, higher(promise, this.of(shard)));
  }
}

export function higher(a: Epoch, b: Epoch): Epoch {
  return compareEpochs(a, b) > 0 ? a : b;
}
