import { Inject, Injectable } from '@nestjs/common';
import { bytesOf } from './adapters/checkpoint-keeper.js';
import { CheckpointStore } from './adapters/checkpoint-store.js';
import { HostedShard, type LooseEntries } from './adapters/hosted-shard.js';
import { vectorIndexes } from './adapters/vector-indexes.js';
import type { IndexThread } from './adapters/index-thread.js';
import { IndexWorkers } from './adapters/index-workers.js';
import { verifyShard } from './adapters/shard-verifier.js';
import { CHECKPOINT_POLICY, checkpointsDue, type UnsavedIndex } from './core/checkpoint-plan.js';
import type { Filter } from './core/filter.js';
import type { CheckpointManifest, ForgottenDocument, ScrollPage, ShardStatistics } from './core/index-host.js';
import { IndexThreadError } from './core/index-messages.js';
import { ShardSearchAnswer } from './core/search-answer.js';
import type { CollectionSpec } from './core/search.js';
import {
  SHARD_PORTS,
  ShardUnavailableError,
  type CheckpointPart,
  type CheckpointReport,
  type CheckpointSource,
  type OpenReport,
  type ReceivedCheckpoint,
  type ShardCount,
  type ShardFailure,
  type ShardKeywordStatistics,
  type ShardPorts,
  type VerifyReport,
} from './shard-ports.js';

/** How often checkpoints are looked at. */
const CHECKPOINT_ROUND_MS = 5_000;

/**
 * The indexes of this node's shards, wherever they live. Replication calls `open` and `apply`, the coordinator the
 * reads (architecture, who owns what).
 *
 * Entries reach an index in the order `apply` was called for its shard; a read sees every entry whose `apply` resolved
 * before it was called. A thread that dies is replaced, and its shards answer NOT_READY until they are read again from
 * checkpoint and log. Checkpoints are taken in the background, one at a time, and by `close`.
 */
@Injectable()
export class ShardService {
  readonly #ports: ShardPorts;
  readonly #store: CheckpointStore;
  readonly #workers: IndexWorkers;
  readonly #shards = new Map<number, HostedShard>();
  readonly #collections = new Map<number, CollectionSpec>();
  /** The last of the checkpoints that wait for each other; never rejects. */
  #checkpoints: Promise<unknown> = Promise.resolve();
  /** The last of what waits for each other in a shard: its checkpoints, and what changes its index; never rejects. */
  readonly #busy = new Map<number, Promise<unknown>>();
  /** Shards a round of checkpoints has yet to take one of. */
  readonly #due = new Set<number>();
  #round: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(@Inject(SHARD_PORTS) ports: ShardPorts) {
    this.#ports = ports;
    this.#store = new CheckpointStore(ports.directory);
    const { hasher, clock, threads, indexes = vectorIndexes } = ports;
    this.#workers = new IndexWorkers(
      threads,
      { hasher, clock, indexes },
      {
        died: (thread, error) => this.#died(thread, error),
        restarted: (thread) => this.#restarted(thread),
      },
    );
  }

  /**
   * Makes a shard answer: from the newest whole checkpoint that belongs to its log, then the log up to `upTo` (its tail
   * when left out). Without a usable checkpoint the index is built from the log alone. Opening an open shard again
   * starts over; that is also how a FAULTED one comes back.
   * @param collections those that exist now; entries of others are passed over
   * @param loose entries of loose rows (replication 6.4), which the log has no more; read after it, and again whenever the
   * shard is read again
   * @throws LogDamagedError, and the shard is FAULTED; Error when the index cannot be built
   */
  async open(
    shard: number,
    collections: readonly CollectionSpec[],
    upTo?: number,
    loose?: LooseEntries,
  ): Promise<OpenReport> {
    const hosted = this.#shards.get(shard) ?? this.#host(shard);
    this.#round ??= setInterval(() => this.checkpointRound(), CHECKPOINT_ROUND_MS).unref();
    await this.defineCollections(collections);
    return hosted.open(upTo, loose);
  }

  /** Ends a shard here for good: it answers NOT_READY, and its checkpoints go. */
  async dropShard(shard: number): Promise<void> {
    const hosted = this.#shards.get(shard);
    this.#shards.delete(shard);
    await this.#busy.get(shard);
    await hosted?.close();
    await this.#store.removeAll(shard);
  }

  /**
   * Collections to index, before the first entry of one is applied; again when a dimension became known. A shard that
   * met entries of one before it was known is read again. Resolves when every thread knows; what is asked later sees it.
   */
  async defineCollections(collections: readonly CollectionSpec[]): Promise<void> {
    for (const spec of collections) this.#collections.set(spec.id, spec);
    await Promise.all(Array.from({ length: this.#workers.count }, (_, thread) => this.#define(thread, collections)));
  }

  /** Forgets a collection: its documents are gone from every index at once. */
  async dropCollection(collectionId: number): Promise<void> {
    this.#collections.delete(collectionId);
    await this.#workers.broadcast('drop', { collectionId });
  }

  /**
   * Applies encoded entries of the log, which has them, in offset order, to the index of a shard; resolves when a search would
   * see them, with the offset the index is at then. That is below theirs when the log was cut before them meanwhile.
   * Entries at or below the applied offset are ignored; entries that are not about documents move the offset.
   * @throws ShardUnavailableError FAULTED when one cannot be applied, NOT_READY when the shard is not open
   */
  apply(shard: number, entries: readonly Uint8Array[]): Promise<number> {
    return this.#shards.get(shard)?.apply(entries) ?? Promise.reject(new ShardUnavailableError(shard, 'NOT_READY'));
  }

  /**
   * The log of a shard was cut at `offset` (replication 6.3): call it after the cut. What the branch brought stays in the
   * index until it is superseded, and what is given to `apply` from now on is of the new branch. Checkpoints beyond the cut
   * go. Resolves when entries from `offset + 1` on are taken.
   * @throws ShardUnavailableError when the shard cannot answer: opened again it has nothing beyond the cut
   */
  rewind(shard: number, offset: number): Promise<void> {
    return this.#alter(shard, (hosted, idle) => hosted.rewind(offset, idle));
  }

  /**
   * Forgets documents whose rows were deleted without an entry that says so, as loose rows are that a primary refused (6.6).
   * @throws ShardUnavailableError
   */
  forget(shard: number, documents: readonly ForgottenDocument[]): Promise<void> {
    return this.#alter(shard, (hosted, idle) => hosted.forget(documents, idle));
  }

  /** Bytes of entries given to `apply` that are not applied yet; those beyond 8 MiB wait in the log, not in memory. */
  pendingBytes(shard: number): number {
    return this.#shards.get(shard)?.pendingBytes ?? 0;
  }

  /**
   * Answers of the asked shards, in their order; one that cannot answer says why.
   * @param search as `encodeSearch` writes it
   * @param signal ends the wait with its reason; a search that was not begun is not run
   * @throws NodeError OVERLOADED when too much waits already
   */
  async search(
    shards: readonly number[],
    search: Uint8Array,
    signal?: AbortSignal,
  ): Promise<readonly ShardSearchAnswer[]> {
    signal?.throwIfAborted();
    const answers = await this.#perThread(shards, (group, thread) =>
      this.#workers.thread(thread).call('search', { shards: group, search }, signal),
    );
    // One thread has them all, and answers in order.
    if (answers.length === 1 && answers[0].answers.length === shards.length) return answers[0].answers;
    const byShard = new Map<number, ShardSearchAnswer>();
    for (const group of answers) for (const answer of group.answers) byShard.set(answer.shard, answer);
    return shards.map(
      (shard) => byShard.get(shard) ?? ShardSearchAnswer.failed(shard, this.#failureOf(shard) ?? 'NOT_READY'),
    );
  }

  /** The sums of each asked shard, in their order: what an exact search adds up first. */
  keywordStatistics(
    shards: readonly number[],
    collectionId: number,
    terms: readonly string[],
    signal?: AbortSignal,
  ): Promise<readonly ShardKeywordStatistics[]> {
    const none = { documents: 0, totalLength: 0, documentFrequencies: terms.map(() => 0) };
    return this.#each(
      shards,
      async (shard, thread) => ({
        shard,
        statistics: await thread.call('statistics', { shard, collectionId, terms }, signal),
      }),
      (shard, failed) => ({ shard, statistics: none, failed }),
    );
  }

  /** Live documents that match, per asked shard, in their order. */
  count(
    shards: readonly number[],
    collectionId: number,
    filter: Filter | undefined,
    signal?: AbortSignal,
  ): Promise<readonly ShardCount[]> {
    return this.#each(
      shards,
      async (shard, thread) => ({ shard, count: await thread.call('count', { shard, collectionId, filter }, signal) }),
      (shard, failed) => ({ shard, count: 0, failed }),
    );
  }

  /** Ids greater than `after` that match, ascending, with the offsets of their entries. @throws ShardUnavailableError */
  scroll(
    shard: number,
    collectionId: number,
    filter: Filter | undefined,
    after: string | undefined,
    limit: number,
    signal?: AbortSignal,
  ): Promise<ScrollPage> {
    return this.#demand(shard, ({ thread }) =>
      thread.call('scroll', { shard, collectionId, filter, after, limit }, signal),
    );
  }

  /** The dotted metadata keys of a collection's documents in a shard. @throws ShardUnavailableError */
  attributeKeys(shard: number, collectionId: number): Promise<readonly string[]> {
    return this.#demand(shard, ({ thread }) => thread.call('keys', { shard, collectionId }));
  }

  /**
   * The live digest of a shard's index and the offset it is of (replication 6.5); 16 bytes.
   * @param recompute from the labels instead of the sum kept with every entry
   * @throws ShardUnavailableError
   */
  digest(shard: number, recompute = false): Promise<{ readonly offset: number; readonly digest: Uint8Array }> {
    return this.#demand(shard, (hosted) => hosted.thread.call('digest', { shard, recompute }));
  }

  /** Offset applied to the index, as far as is known in this thread; 0 for a shard that is not open. */
  applied(shard: number): number {
    return this.#shards.get(shard)?.applied ?? 0;
  }

  /** Why a shard cannot answer; undefined when it can. */
  failure(shard: number): { readonly reason: ShardFailure; readonly detail: string | undefined } | undefined {
    const reason = this.#failureOf(shard);
    return reason === undefined ? undefined : { reason, detail: this.#shards.get(shard)?.fault };
  }

  /** What the open shards hold, in shard order; shards of a thread that is down are missing. */
  async statistics(): Promise<readonly ShardStatistics[]> {
    const parts: ShardStatistics[] = [];
    for (let thread = 0; thread < this.#workers.count; thread++) {
      try {
        parts.push(...(await this.#workers.thread(thread).call('inspect', {})));
      } catch (error) {
        if (!isLost(error)) throw error;
      }
    }
    return parts.sort((a, b) => a.shard - b.shard);
  }

  /** The shard answers FAULTED from now on: its log is damaged. `open` brings it back. */
  markFaulted(shard: number, problem: string): void {
    this.#shards.get(shard)?.fail(problem);
  }

  /**
   * Takes a checkpoint of a shard now; undefined when there is nothing new in it or no room on the disk.
   * @throws ShardUnavailableError; Error when it cannot be written
   */
  checkpoint(shard: number): Promise<CheckpointReport | undefined> {
    const take = async (idle: Promise<unknown>): Promise<CheckpointReport | undefined> => {
      await idle;
      return this.#demand(shard, (hosted) => hosted.checkpoints.take(hosted.applied));
    };
    const taken = this.#checkpoints.then(() => this.#alone(shard, take));
    const { onCheckpoint } = this.#ports;
    this.#checkpoints = taken.then(
      (report) => {
        if (report !== undefined) onCheckpoint?.('written', report.tookMs);
      },
      () => onCheckpoint?.('failed', 0),
    );
    return taken;
  }

  /** What another node is sent of a checkpoint; undefined when it is not there, or not any more. */
  async checkpointPart(shard: number, offset: number, file: string, from: number): Promise<CheckpointPart | undefined> {
    const ref = this.#shards.get(shard)?.checkpoints.at(offset);
    const bytes = ref === undefined ? undefined : await this.#store.part(ref, file, from);
    return ref === undefined || bytes === undefined ? undefined : { offset: ref.manifest.offset, bytes };
  }

  /** Entries given to `apply` wait, since another index is to take the place of this one: until `release`, or `open`. */
  hold(shard: number): void {
    this.#shards.get(shard)?.hold();
  }

  release(shard: number): void {
    this.#shards.get(shard)?.release();
  }

  /**
   * Fetches the newest checkpoint of another copy of a shard, unless the index here is less than `ahead` entries behind it or
   * the disk has no room. It is to be used once the log here has its offset.
   * @throws CheckpointDamagedError; whatever `source` throws
   */
  async receiveCheckpoint(
    shard: number,
    source: CheckpointSource,
    ahead: number,
  ): Promise<ReceivedCheckpoint | undefined> {
    const { log, hasher, spaceFor } = this.#ports;
    const hosted = this.#shards.get(shard);
    // Below its start a log cannot tell whether a checkpoint is of it.
    const wanted = ({ offset }: CheckpointManifest): boolean =>
      offset - this.applied(shard) >= ahead && offset >= log.state(shard).start.offset;
    const isWanted = (manifest: CheckpointManifest): boolean => wanted(manifest) && spaceFor(bytesOf(manifest));
    const ref = await this.#store.receive(shard, source, isWanted, hasher);
    if (ref === undefined) return undefined;
    const { directory, manifest } = ref;
    return {
      offset: manifest.offset,
      bytes: bytesOf(manifest),
      isWanted: () => wanted(manifest),
      use: (open) => {
        const committed = this.#alone(shard, async (idle) => {
          await idle;
          try {
            if (hosted === undefined || this.#shards.get(shard) !== hosted)
              throw new ShardUnavailableError(shard, 'NOT_READY');
            await this.#store.commit(directory, manifest);
          } catch (error) {
            await this.#store.remove(directory);
            throw error;
          }
        });
        // No checkpoint is taken in between: the shard is being opened by then. That it is open is not waited for.
        return committed.then(open);
      },
      discard: () => this.#store.remove(directory),
    };
  }

  /** Resolves when no checkpoint is being written or waits, and no index is being changed. */
  async idle(): Promise<void> {
    await this.#checkpoints;
    await Promise.all(this.#busy.values());
  }

  /** Entries that no checkpoint of a shard holds, as far as is known in this thread: what a restart replays. */
  unsaved(shard: number): number {
    const hosted = this.#shards.get(shard);
    return hosted === undefined ? 0 : Math.max(0, hosted.applied - (hosted.checkpoints.newest ?? 0));
  }

  /** Compaction and purges must not pass this offset (replication 2.5); 0 while there is no checkpoint. */
  oldestLoadableCheckpoint(shard: number): number {
    return this.#shards.get(shard)?.checkpoints.oldest ?? 0;
  }

  /** Compares the index of a shard with one built from the log alone. Nothing may be written meanwhile. @throws ShardUnavailableError */
  verify(shard: number): Promise<VerifyReport> {
    const { log, hasher, clock, indexes = vectorIndexes } = this.#ports;
    return this.#demand(shard, () =>
      verifyShard(this, shard, [...this.#collections.values()], { log, hasher, clock, indexes }),
    );
  }

  /**
   * Ends all threads, after a checkpoint of every shard that changed. What waits to be applied by then is in the log.
   * @param checkpoint false leaves the checkpoints as they are
   */
  close(checkpoint = true): Promise<void> {
    this.#closing ??= this.#close(checkpoint);
    return this.#closing;
  }

  async #close(checkpoint: boolean): Promise<void> {
    clearInterval(this.#round);
    this.#ports.idleMemory?.stop();
    for (const { shard, failure } of this.#shards.values()) {
      if (!checkpoint || failure !== undefined) continue;
      try {
        await this.checkpoint(shard);
      } catch (error) {
        this.#ports.report('warn', 'an index checkpoint could not be written', { shard, problem: messageOf(error) });
      }
    }
    await this.idle();
    await this.#workers.close();
  }

  #host(shard: number): HostedShard {
    const { log, clock, spaceFor, report } = this.#ports;
    const unsound = (unsoundShard: number): void => this.#unsound(unsoundShard);
    const ports = { log, clock, spaceFor, report, store: this.#store, unsound };
    const hosted = new HostedShard(shard, this.#workers.of(shard), ports);
    this.#shards.set(shard, hosted);
    return hosted;
  }

  /** Its checkpoints go, also one that is being taken now. */
  #unsound(shard: number): void {
    this.#ports.report('error', 'an index checkpoint does not add up; the index is built from the log', { shard });
    void this.#alone(shard, async (idle) => {
      await idle;
      await this.#shards.get(shard)?.rebuild();
    });
  }

  #died(thread: number, error: Error): void {
    this.#ports.report('error', 'an index thread died; its shards are read again', { thread, problem: error.message });
    for (const hosted of this.#shards.values()) if (this.#workers.threadOf(hosted.shard) === thread) hosted.lost();
  }

  /** The new thread knows nothing: first the collections, then the shards. */
  #restarted(thread: number): void {
    void this.#define(thread, [...this.#collections.values()]);
    for (const hosted of this.#shards.values()) if (this.#workers.threadOf(hosted.shard) === thread) hosted.reopen();
  }

  /** Changes an index while no checkpoint of it is written; what is given to `apply` from now on waits. */
  #alter(shard: number, act: (hosted: HostedShard, idle: Promise<unknown>) => Promise<void>): Promise<void> {
    const hosted = this.#shards.get(shard);
    if (hosted === undefined) return Promise.reject(new ShardUnavailableError(shard, 'NOT_READY'));
    return this.#alone(shard, (idle) => act(hosted, idle));
  }

  /** Does something to a shard that goes together with no checkpoint of it: it begins when `idle` has settled. */
  #alone<T>(shard: number, act: (idle: Promise<unknown>) => Promise<T>): Promise<T> {
    const done = act(this.#busy.get(shard) ?? Promise.resolve());
    const ended = Promise.allSettled([done]).then(() => {
      if (this.#busy.get(shard) === ended) this.#busy.delete(shard);
    });
    this.#busy.set(shard, ended);
    return done;
  }

  async #define(thread: number, collections: readonly CollectionSpec[]): Promise<void> {
    try {
      for (const shard of await this.#workers.thread(thread).call('define', { collections })) {
        const message = 'a shard is read again: it met entries of a collection before it was known';
        this.#ports.report('warn', message, { shard });
        this.#shards.get(shard)?.readAgain();
      }
    } catch (error) {
      // A thread that died meanwhile gets all collections when it is started again.
      if (!isLost(error))
        this.#ports.report('error', 'collections could not be defined', { problem: messageOf(error) });
    }
  }

  /** Takes the checkpoints that are due, in the background, unless some still are from before; also done every few seconds. */
  checkpointRound(): void {
    if (this.#due.size > 0) return;
    const unsaved: UnsavedIndex[] = [];
    for (const { checkpoints, applied, failure } of this.#shards.values()) {
      const index = failure === undefined ? checkpoints.unsaved(applied) : undefined;
      if (index !== undefined) unsaved.push(index);
    }
    for (const shard of checkpointsDue(unsaved, this.#ports.checkpoints ?? CHECKPOINT_POLICY)) {
      this.#due.add(shard);
      this.checkpoint(shard)
        .then(
          (taken) => {
            if (taken !== undefined) this.#ports.report('info', 'index checkpoint taken', taken);
          },
          (error: unknown) => {
            const problem = messageOf(error);
            this.#ports.report('warn', 'an index checkpoint could not be written', { shard, problem });
          },
        )
        .finally(() => this.#due.delete(shard));
    }
  }

  #failureOf(shard: number): ShardFailure | undefined {
    const hosted = this.#shards.get(shard);
    return hosted === undefined ? 'NOT_READY' : hosted.failure;
  }

  /** Calls `ask` once per thread with those of the shards that can answer; a thread that is lost answers for none. */
  #perThread<T>(
    shards: readonly number[],
    ask: (shards: readonly number[], thread: number) => Promise<readonly T[]>,
  ): Promise<readonly { readonly answers: readonly T[] }[]> {
    const groups = new Map<number, number[]>();
    for (const shard of shards) {
      if (this.#failureOf(shard) !== undefined) continue;
      const thread = this.#workers.threadOf(shard);
      const group = groups.get(thread);
      if (group === undefined) groups.set(thread, [shard]);
      else group.push(shard);
    }
    return Promise.all(
      [...groups].map(async ([thread, group]) => {
        try {
          return { answers: await ask(group, thread) };
        } catch (error) {
          if (isLost(error)) return { answers: [] };
          throw error;
        }
      }),
    );
  }

  /** What each shard says, in order; `otherwise` for one that cannot answer. */
  #each<T>(
    shards: readonly number[],
    ask: (shard: number, thread: IndexThread) => Promise<T>,
    otherwise: (shard: number, failure: ShardFailure) => T,
  ): Promise<readonly T[]> {
    return Promise.all(
      shards.map(async (shard) => {
        try {
          return await this.#demand(shard, ({ thread }) => ask(shard, thread));
        } catch (error) {
          if (error instanceof ShardUnavailableError) return otherwise(shard, error.reason);
          throw error;
        }
      }),
    );
  }

  /** @throws ShardUnavailableError */
  async #demand<T>(shard: number, read: (hosted: HostedShard) => Promise<T>): Promise<T> {
    const hosted = this.#shards.get(shard);
    if (hosted === undefined) throw new ShardUnavailableError(shard, 'NOT_READY');
    if (hosted.failure !== undefined) throw hosted.unavailable(hosted.failure);
    try {
      return await read(hosted);
    } catch (error) {
      if (isLost(error)) throw hosted.unavailable('NOT_READY');
      throw error;
    }
  }
}

/** The thread, or the shard in it, went away while it was asked. */
function isLost(error: unknown): boolean {
  return error instanceof IndexThreadError && (error.reason === 'DIED' || error.reason === 'NOT_OPEN');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
