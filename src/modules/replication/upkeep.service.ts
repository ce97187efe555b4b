import type { Clock } from '../../kernel/clock.js';
import { META_SHARD } from '../../kernel/ids.js';
import { utf8, fromUtf8 } from '../../kernel/bytes.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import { entryCollectionId, entryId, entryOp, entryVersion } from '../log/core/entry-codec.js';
import { documentKey, documentPrefix, idempotencyPrefix, shardKey } from '../log/core/keys.js';
import { LogDamagedError, type LogStore, type Row, type RowChange } from '../log/log-store.js';
import { decodeRow } from '../shard/core/rows.js';
import type { ShardService } from '../shard/shard.service.js';
import { conflictMs, conflictPrefix } from './core/conflict-row.js';
import { decodeOperation } from './core/operation-row.js';
import { SCRUB_ROW } from './core/replica-log.js';
import { CopyKeeper } from './operations/copies.js';
import type { ReplicationLogger } from './replication-ports.js';
import type { ReplicationService } from './replication.service.js';

/** How often the upkeep looks for work. */
const ROUND_MS = 5_000;
/** A shard is compacted when more than this share of its log is superseded, and at least this many bytes (replication 2.5). */
const SUPERSEDED_SHARE = 0.5;
const SUPERSEDED_BYTES_MIN = 1024 * 1024;
const COMPACT_BYTES_PER_SECOND = 8 * 1024 * 1024;
/** Over LOG_RETENTION_BYTES a replica that is behind is waited for so long. */
const HELD_BACK_MS = 10_000;
/** The whole log is read and checked this often (replication 2.12). */
const SCRUB_EVERY_MS = 24 * 3_600_000;
const SCRUB_BYTES_PER_SECOND = 16 * 1024 * 1024;
/** Results of idempotency keys are kept this long, and so many per shard (replication 2.10). */
export const OPERATIONS_KEPT_MS = 24 * 3_600_000;
export const OPERATIONS_KEPT_MAX = 1_000_000;
/** Writes that lost when branches were merged are listed for so long (replication 6.4). */
export const CONFLICTS_KEPT_MS = 7 * 24 * 3_600_000;
const OPERATIONS_EVERY_MS = 600_000;
const PAGE = 1_000;

/**
 * The slow work behind a shard: compaction, scrub, old idempotency rows, dropped collections, copies that moved away.
 * One thing at a time.
 */
export class UpkeepService {
  readonly #stop = new AbortController();
  readonly #copies: CopyKeeper;
  readonly #sweeps: { readonly shard: number; readonly collectionId: number }[] = [];
  /** By shard: since when replicas that are behind hold back what must go. */
  readonly #heldSince = new Map<number, number>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #operationsAtMs: number;

  constructor(
    private readonly config: Pick<NodeConfig, 'copyGraceMs' | 'logRetentionBytes' | 'logRetentionMs'>,
    private readonly replication: ReplicationService,
    private readonly shards: Pick<ShardService, 'oldestLoadableCheckpoint'>,
    private readonly log: LogStore,
    private readonly clock: Clock,
    private readonly logger: ReplicationLogger,
  ) {
    this.#operationsAtMs = clock.monotonicMs();
    this.#copies = new CopyKeeper({
      clock,
      self: () => replication.self,
      keptMs: config.copyGraceMs,
      map: () => (replication.map.known && !replication.leaving ? replication.map.current() : undefined),
      held: () => replication.moved.held(),
      covered: (shard) => replication.moved.covered(shard),
      rest: (shard) => replication.moved.rest(shard),
      wake: (shard) => replication.moved.wake(shard),
      drop: (shard) => replication.moved.drop(shard),
    });
    replication.onSweep((shard, collectionId) => this.#sweeps.push({ shard, collectionId }));
  }

  start(): void {
    this.#findLeftovers();
    this.#timer = setInterval(() => {
      this.#round ??= this.round()
        .catch((error: unknown) => this.logger.error({ err: error }, 'upkeep failed; it is tried again'))
        .finally(() => {
          this.#round = undefined;
        });
    }, ROUND_MS);
    this.#timer.unref();
  }

  /** Ends what runs; resolves when it has. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#round;
  }

  /** Looks for work once and does it. */
  async round(): Promise<void> {
    // A shard may have refused the end of one that was dropped.
    this.replication.purgeDropped();
    for (const sweep of this.#sweeps.splice(0)) {
      const { shard, collectionId } = sweep;
      const isFaulted = (): boolean => this.replication.fault(shard) !== undefined;
      if (!isFaulted()) await this.#unlessDamaged(shard, () => this.#sweepRows(shard, collectionId));
      // Once it is healed.
      if (isFaulted() || this.#stop.signal.aborted) this.#sweeps.push(sweep);
    }
    await this.#copies.round();
    for (const shard of [META_SHARD, ...this.replication.localShards()]) {
      if (this.#stop.signal.aborted || this.replication.fault(shard) !== undefined) continue;
      await this.#unlessDamaged(shard, async () => {
        // The map's log is short, and kept whole.
        if (shard !== META_SHARD) await this.#compact(shard);
        await this.#scrub(shard);
      });
    }
    if (this.clock.monotonicMs() - this.#operationsAtMs >= OPERATIONS_EVERY_MS) {
      this.#operationsAtMs = this.clock.monotonicMs();
      for (const shard of [META_SHARD, ...this.replication.localShards()])
        if (this.replication.fault(shard) === undefined)
          await this.#unlessDamaged(shard, () => this.forgetOperations(shard));
      // Also of copies that moved away.
      const { shardCount } = this.replication.map.current();
      for (let shard = 0; shard < shardCount; shard++) {
        try {
          await this.forgetConflicts(shard);
        } catch (error) {
          if (!(error instanceof LogDamagedError)) throw error;
          this.logger.warn({ shard, err: error }, 'a conflict cannot be read; those of the shard are kept');
        }
      }
    }
  }

  /** Drops conflicts that are told no longer (replication 6.4). */
  async forgetConflicts(shard: number): Promise<void> {
    const oldest = this.clock.wallMs() - CONFLICTS_KEPT_MS;
    await this.#eachRow(conflictPrefix(shard), ({ key }) => conflictMs(key) < oldest, shard);
  }

  /** What is found to be damaged is healed, and does not keep the work from the other shards (replication 2.12). */
  async #unlessDamaged(shard: number, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error;
      this.replication.faultShard(shard, error);
    }
  }

  /** Drops results of idempotency keys that are too old or too many. */
  async forgetOperations(shard: number): Promise<void> {
    const written: number[] = [];
    await this.#eachRow(
      idempotencyPrefix(shard, this.log.state(shard).generation),
      (row) => {
        written.push(decodeOperation(row.value).writtenMs);
        return false;
      },
      shard,
    );
    const oldest = this.clock.wallMs() - OPERATIONS_KEPT_MS;
    const surplus = written.length - OPERATIONS_KEPT_MAX;
    const cutoff = surplus > 0 ? Math.max(oldest, written.sort((a, b) => a - b)[surplus]) : oldest;
    await this.#eachRow(
      idempotencyPrefix(shard, this.log.state(shard).generation),
      (row) => decodeOperation(row.value).writtenMs < cutoff,
      shard,
    );
  }

  /** Collections that were dropped while their rows could not all be deleted. */
  #findLeftovers(): void {
    const map = this.replication.map.current();
    const known = new Set(map.collections.map((collection) => collection.id));
    for (const shard of this.replication.localShards()) {
      for (let id = 1; id < map.nextCollectionId; id++)
        if (!known.has(id)) this.#sweeps.push({ shard, collectionId: id });
    }
  }

  async #sweepRows(shard: number, collectionId: number): Promise<void> {
    await this.#eachRow(documentPrefix(this.log.state(shard).generation, shard, collectionId), () => true, shard);
  }

  /** Visits rows in pages and deletes those it is told to. */
  async #eachRow(prefix: Uint8Array, drop: (row: Row) => boolean, shard: number): Promise<void> {
    let after: Uint8Array | undefined;
    for (;;) {
      if (this.#stop.signal.aborted) return;
      const page = await this.log.rows(prefix, after, PAGE);
      const changes: RowChange[] = page.filter(drop).map((row) => ({ key: row.key, value: undefined }));
      if (changes.length > 0) await this.log.append({ shard, entries: [], rows: changes });
      if (page.length < PAGE) return;
      after = page[page.length - 1].key;
    }
  }

  async #compact(shard: number): Promise<void> {
    const { bytes, start } = this.log.state(shard);
    const { supersededBytes } = this.replication.counters(shard);
    const overBudget = bytes > this.config.logRetentionBytes / Math.max(1, this.replication.localShards().length);
    if (supersededBytes < SUPERSEDED_BYTES_MIN) return;
    if (supersededBytes <= SUPERSEDED_SHARE * bytes && !overBudget) return;
    const upTo = overBudget ? this.#urgently(shard) : await this.#patiently(shard);
    if (upTo <= start.offset) return;
    const report = await this.log.compact(
      shard,
      upTo,
      (offset, entry) => this.#isLive(shard, offset, entry),
      this.#stop.signal,
      COMPACT_BYTES_PER_SECOND,
      () => this.replication.replica(shard)?.compacting(upTo) === true,
    );
    this.replication.replica(shard)?.compacted(report.bytes);
    this.logger.info({ shard, upTo, ...report }, 'superseded entries compacted');
  }

  /** Superseded entries may go that are in every checkpoint, on every replica, and older than LOG_RETENTION (replication 2.11). */
  async #patiently(shard: number): Promise<number> {
    const upTo = this.#spared(shard);
    if (upTo <= this.log.state(shard).start.offset) return upTo;
    return this.#offsetBefore(shard, this.clock.wallMs() - this.config.logRetentionMs, upTo);
  }

  /**
   * Over LOG_RETENTION_BYTES their age counts no more; and when a replica holds them back for longer than one takes to come
   * back after an election, it is demoted to a snapshot: here, if this node leads the shard, one a round, until the log is as
   * small as it should be. Not while it takes one in: it has as long as any other from when it did.
   */
  #urgently(shard: number): number {
    const { start } = this.log.state(shard);
    const checkpoint = this.shards.oldestLoadableCheckpoint(shard);
    const replica = this.replication.replica(shard);
    const nowMs = this.clock.monotonicMs();
    // To the one that holds them back.
    const isSending = replica?.role === 'primary' && replica.slowest === undefined;
    if (this.#spared(shard) > start.offset || checkpoint <= start.offset || replica === undefined || isSending) {
      this.#heldSince.delete(shard);
      return this.#spared(shard);
    }
    const sinceMs = this.#heldSince.get(shard) ?? nowMs;
    this.#heldSince.set(shard, sinceMs);
    if (nowMs - sinceMs < HELD_BACK_MS) return start.offset;
    if (replica.role === 'primary') {
      this.replication.demoteSlowest(shard);
      return this.#spared(shard);
    }
    this.logger.warn(
      { shard, floor: replica.floor, upTo: checkpoint },
      'the log is over LOG_RETENTION_BYTES: entries go that a replica lacks; should this node come to lead the shard, that one gets a snapshot',
    );
    return checkpoint;
  }

  /** In the oldest checkpoint, and on every replica. */
  #spared(shard: number): number {
    return Math.min(this.shards.oldestLoadableCheckpoint(shard), this.replication.replica(shard)?.floor ?? 0);
  }

  /** The document table still points at it (replication 2.5). */
  #isLive(shard: number, offset: number, entry: Uint8Array): boolean {
    const op = entryOp(entry);
    if (op !== 'UPSERT' && op !== 'DELETE') return false;
    const row = this.log.row(
      documentKey(this.log.state(shard).generation, shard, entryCollectionId(entry), entryId(entry)),
    );
    if (row === undefined) return false;
    const pointed = decodeRow(row);
    return pointed.offset === offset && !pointed.loose;
  }

  /** The last offset written before `wallMs`, by bisection; entries of a shard are in the order of their clocks, but for merged ones. */
  async #offsetBefore(shard: number, wallMs: number, tail: number): Promise<number> {
    let low = this.log.state(shard).start.offset;
    let high = tail;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const [entry] = await this.log.scan(shard, middle, 1, 1);
      if (entry === undefined || entryVersion(entry).hlc.ms >= wallMs) high = middle - 1;
      else low = middle;
    }
    return low;
  }

  async #scrub(shard: number): Promise<void> {
    const key = shardKey(shard, SCRUB_ROW);
    const stored = this.log.row(key);
    const now = this.clock.wallMs();
    const lastMs = stored === undefined ? undefined : Number(fromUtf8(stored));
    // A time that is yet to come is of a clock that was ahead, and says nothing.
    if (lastMs !== undefined && lastMs <= now && now - lastMs < SCRUB_EVERY_MS) return;
    if (lastMs !== undefined) {
      const report = await this.log.scrub(shard, this.#stop.signal, SCRUB_BYTES_PER_SECOND);
      if (this.#stop.signal.aborted) return;
      this.logger.info(
        { shard, entries: report.entries, bytes: report.bytes, damages: report.damages.length },
        'log scrubbed',
      );
      if (report.damages.length > 0) this.replication.faultShard(shard, new LogDamagedError(report.damages[0]));
    }
    await this.log.append({ shard, entries: [], rows: [{ key, value: utf8(String(now)) }] });
  }
}
