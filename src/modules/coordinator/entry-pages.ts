import { entryOffset } from '../log/core/entry-codec.js';
import type { LogStore } from '../log/log-store.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { EntryPage, ShardAsk } from './core/shard-calls.js';
import type { ReplicaGate } from './replica-gate.js';
import type { ShardCallOptions } from './shard-access.js';

/** Entries and bytes of one page of a log, whatever is asked for. */
const ENTRIES_MAX = 1_000;
const ENTRY_BYTES_MAX = 1024 * 1024;

/** Pages of the logs of this node's copies, as far as those may be read. */
export class EntryPages {
  constructor(
    private readonly gates: ReplicaGate,
    private readonly replication: ReplicationService,
    private readonly log: LogStore,
  ) {}

  /** What follows a place, or, when the log does not contain that, what follows the fork; waits for news if there is nothing yet. */
  async page(
    { shard, after, limit, bytesMax, waitMs }: ShardAsk<'entries'>,
    options: ShardCallOptions,
  ): Promise<EntryPage> {
    const fork = this.gates.fork(shard, after);
    const from = (fork ?? after.offset) + 1;
    let entries = await this.#scan(shard, from, limit, bytesMax);
    if (entries.length === 0 && waitMs > 0) {
      await this.#news(shard, from, Math.min(waitMs, options.timeoutMs / 2), options.signal);
      entries = await this.#scan(shard, from, limit, bytesMax);
    }
    // As it is now: the start moves before entries are deleted, and that may have been while they were read.
    const start = this.log.state(shard).start.offset;
    return {
      entries,
      start,
      tail: this.gates.readable(shard),
      ...(fork === undefined ? {} : { fork }),
      compacted: from <= start,
    };
  }

  async #scan(shard: number, from: number, limit: number, bytesMax: number): Promise<readonly Uint8Array[]> {
    const end = this.gates.readable(shard);
    if (from > end) return [];
    const atMost = Math.min(limit, ENTRIES_MAX, end - from + 1);
    const entries = await this.log.scan(shard, from, atMost, Math.min(bytesMax, ENTRY_BYTES_MAX));
    return entries.filter((entry) => entryOffset(entry) <= end);
  }

  /** Resolves when the shard's log has an entry at `from`, or time is up. */
  #news(shard: number, from: number, waitMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        stop();
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, waitMs);
      const stop = this.replication.onDurable((changed) => {
        if (changed === shard) done();
      });
      signal?.addEventListener('abort', done, { once: true });
      if (signal?.aborted === true || this.gates.readable(shard) >= from) done();
    });
  }
}
