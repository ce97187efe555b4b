import type { NodeUuid } from '../../kernel/peer.js';
import { reignTag } from '../../kernel/epoch.js';
import { NodeError } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import { idempotencyKey } from '../log/core/keys.js';
import { LogDamagedError, type LogStore } from '../log/log-store.js';
import { looseEntry } from '../replication/loose-store.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { shardDigest } from '../shard/core/rows.js';
import type { ShardSearchAnswer } from '../shard/core/search-answer.js';
import { ShardUnavailableError } from '../shard/shard-ports.js';
import type { ShardService } from '../shard/shard.service.js';
import { AnswerBytes } from './core/answer-bytes.js';
import { neverMade } from './core/never-made.js';
import type { FieldSelection } from './core/requests.js';
import type {
  DocumentPage,
  EntryPage,
  Refusal,
  ShardAnswer,
  ShardAsk,
  ShardCall,
  ShardGate,
  ShardReply,
  ShardSummary,
  ShardWrite,
  ShardWriteOutcome,
  StoredSegments,
  WantedEntry,
} from './core/shard-calls.js';
import type { DocumentReader } from './document-reader.js';
import { EarlierWrites } from './earlier-writes.js';
import { EntryPages } from './entry-pages.js';
import { type Answer, GatePassage, repliesOf } from './gate-passage.js';
import type { GatedWrite, ReplicaGate } from './replica-gate.js';
import type { WriteAdmission } from './write-admission.js';
import type { ShardAccess, ShardCallOptions } from './shard-access.js';
import { until } from './until.js';
import { isWanted, segmentsOf, WinnerReader } from './winner-reader.js';

/** Documents of a shard read side by side. */
const READ_AT_ONCE = 16;
/**
 * A write is made also when the map of its sender is newer than the one here, since a primary may be cut off from the map
 * and not from its sender. So much newer is no map of this cluster.
 */
const MAP_LEAP_MAX = 2 ** 20;
/** A primary makes no write wait longer for what it needs before it is logged (replication 2.8). */
const SHORT_WAIT_MS = 2_000;
/** Results of keys that are counted at once. */
const OPERATIONS_PAGE = 1_000;

/**
 * The shards of this node, through the gate (replication 7.1, 7.2): what the coordinator here asks, and what other nodes
 * ask of this one. Whether a copy may answer is decided for each shard alone.
 */
export class LocalShards implements ShardAccess {
  readonly #winners: WinnerReader;
  readonly #passage: GatePassage;
  readonly #entries: EntryPages;
  readonly #earlier: EarlierWrites;
  #underWay = 0;

  constructor(
    private readonly gates: ReplicaGate,
    private readonly replication: ReplicationService,
    private readonly shards: ShardService,
    private readonly log: LogStore,
    private readonly reader: DocumentReader,
    private readonly admission: WriteAdmission,
  ) {
    this.#winners = new WinnerReader(log);
    this.#passage = new GatePassage(gates);
    this.#entries = new EntryPages(gates, replication, log);
    this.#earlier = new EarlierWrites(replication, log, reader);
  }

  /** Calls under way, of this node and of others. */
  get underWay(): number {
    return this.#underWay;
  }

  async call<C extends ShardCall>(kind: C, ask: ShardAsk<C>, options: ShardCallOptions): Promise<ShardAnswer<C>> {
    this.#underWay++;
    try {
      return await this.#calls[kind](ask, options);
    } finally {
      this.#underWay--;
    }
  }

  /**
   * A winner's document, at once: the hot path of a search whose shards are here. It may have more fields than were asked
   * for. Undefined: superseded since. @throws LogDamagedError
   */
  fetchOne(
    shard: number,
    collectionId: number,
    wanted: WantedEntry,
    fields: FieldSelection,
  ): StoredSegments | undefined {
    const found = this.#winners.read(shard, wanted, fields);
    if (found !== undefined) return found;
    // The copy that answered was another one, or this one's log was cut back since: by its version, if it is here.
    const row = this.replication.row(shard, collectionId, wanted.id);
    if (row === undefined || row.tombstone) return undefined;
    if (!row.loose) return this.#winners.read(shard, { ...wanted, offset: row.offset }, fields);
    const loose = looseEntry(this.log, shard, collectionId, wanted.id);
    return loose !== undefined && isWanted(loose, wanted) ? segmentsOf(wanted.id, loose, fields) : undefined;
  }

  readonly #calls: {
    readonly [C in ShardCall]: (ask: ShardAsk<C>, options: ShardCallOptions) => Promise<ShardAnswer<C>>;
  } = {
    search: async ({ mapEpoch, gates, search }, options) => {
      const passed = await this.#passage.pass(mapEpoch, gates, options, true);
      if (passed.opened.length === 0) return passed.refused;
      const shards = passed.opened.map(({ gate }) => gate.shard);
      const answers = await this.shards.search(shards, search, options.signal);
      return repliesOf(
        passed,
        answers.map((answer): Answer<ShardSearchAnswer> =>
          answer.failed === undefined ? { value: answer } : { refusal: this.#failure(answer.shard, answer.failed) },
        ),
      );
    },
    statistics: ({ mapEpoch, gates, collectionId, terms }, options) =>
      this.#search(mapEpoch, gates, options, async (shard) => {
        const [answer] = await this.shards.keywordStatistics([shard], collectionId, terms, options.signal);
        if (answer.failed !== undefined) throw new ShardUnavailableError(shard, answer.failed);
        return answer.statistics;
      }),
    count: ({ mapEpoch, gates, collectionId, filter }, options) =>
      this.#search(mapEpoch, gates, options, async (shard) => {
        const [answer] = await this.shards.count([shard], collectionId, filter, options.signal);
        if (answer.failed !== undefined) throw new ShardUnavailableError(shard, answer.failed);
        return answer.count;
      }),
    read: ({ mapEpoch, gates, collectionId, ids, fields }, options) => {
      const bytes = new AnswerBytes(fields);
      return this.#each(mapEpoch, gates, options, async (shard, at) => {
        const documents: (StoredSegments | undefined)[] = [];
        for (let from = 0; from < ids[at].length; from += READ_AT_ONCE) {
          const some = ids[at].slice(from, from + READ_AT_ONCE);
          const found = await Promise.all(some.map((id) => this.reader.segments(shard, collectionId, id, fields)));
          for (const document of found) documents.push(bytes.add(document));
        }
        return documents;
      });
    },
    page: ({ mapEpoch, gates, collectionId, filter, after, limit, fields }, options) =>
      this.#search(mapEpoch, gates, options, async (shard): Promise<DocumentPage> => {
        const { ids, offsets, more } = await this.shards.scroll(
          shard,
          collectionId,
          filter,
          after,
          Math.min(limit, LIMITS.scrollMax),
          options.signal,
        );
        const documents: StoredSegments[] = [];
        const places: number[] = [];
        const bytes = new AnswerBytes(fields);
        for (let i = 0; i < ids.length; i++) {
          // One that changed since is left to its newer entry.
          const entry = await this.reader.indexed(shard, collectionId, ids[i], offsets[i]);
          if (entry === undefined) continue;
          const document = segmentsOf(ids[i], entry, fields);
          if (!bytes.fits(document)) return { documents, last: ids[i - 1], more: true, offsets: places };
          documents.push(document);
          places.push(offsets[i]);
        }
        return { documents, last: ids.at(-1), more, offsets: places };
      }),
    keys: ({ mapEpoch, gates, collectionId }, options) =>
      this.#search(mapEpoch, gates, options, (shard) => this.shards.attributeKeys(shard, collectionId)),
    summary: ({ mapEpoch, gates }, options) =>
      this.#each(mapEpoch, gates, options, (shard) => Promise.resolve(this.#summary(shard))),
    operations: ({ mapEpoch, gates, prefix }, options) =>
      this.#each(mapEpoch, gates, options, (shard) => this.#operations(shard, prefix, options.signal)),
    conflicts: ({ mapEpoch, gates }, options) =>
      this.#each(mapEpoch, gates, options, (shard) => this.gates.conflicts(shard)),
    fetch: async ({ collectionId, shards, wanted, fields }) => {
      await Promise.resolve();
      const bytes = new AnswerBytes(fields);
      return shards.map((shard, at): ShardReply<readonly (StoredSegments | undefined)[]> => {
        try {
          const read = (entry: WantedEntry) => only(this.fetchOne(shard, collectionId, entry, fields), fields);
          return { shard, value: wanted[at].map((entry) => bytes.add(read(entry))) };
        } catch (error) {
          return { shard, refusal: this.#refusalOf(shard, error) };
        }
      });
    },
    write: ({ mapEpoch, writes }, { timeoutMs }) =>
      Promise.all(writes.map((write) => this.write(write, mapEpoch, timeoutMs))),
    entries: async (ask, options) => {
      const gate: ShardGate = { shard: ask.shard, epoch: 0, primary: false, stale: true };
      const page = (): Promise<EntryPage> => this.#entries.page(ask, options);
      const [reply] = await this.#each(ask.mapEpoch, [gate], options, page);
      return reply;
    },
    change: ({ operation }) => this.gates.change(operation),
    map: async ({ mapEpoch }, { timeoutMs }) => {
      await until(() => this.gates.mapEpoch >= mapEpoch, performance.now() + timeoutMs);
      return { mapEpoch: this.gates.mapEpoch };
    },
    transfer: async ({ shard, to }: { shard: number; to: NodeUuid }) => {
      const refusal = await this.gates.transfer(shard, to);
      return refusal === undefined ? {} : { refusal };
    },
  };

  /** As `#each`, of what the index answers. */
  #search<T>(
    mapEpoch: number,
    gates: readonly ShardGate[],
    options: ShardCallOptions,
    read: (shard: number, at: number) => Promise<T>,
  ): Promise<readonly ShardReply<T>[]> {
    return this.#each(mapEpoch, gates, options, read, true);
  }

  async #each<T>(
    mapEpoch: number,
    gates: readonly ShardGate[],
    options: ShardCallOptions,
    read: (shard: number, at: number) => Promise<T>,
    searched = false,
  ): Promise<readonly ShardReply<T>[]> {
    const passed = await this.#passage.pass(mapEpoch, gates, options, searched);
    const answers = await Promise.all(
      passed.opened.map(async ({ gate }): Promise<Answer<T>> => {
        try {
          return { value: await read(gate.shard, gates.indexOf(gate)) };
        } catch (error) {
          return { refusal: this.#refusalOf(gate.shard, error) };
        }
      }),
    );
    return repliesOf(passed, answers);
  }

  /** The refusal an error of one shard stands for; any other error is the whole call's. */
  #refusalOf(shard: number, error: unknown): Refusal {
    if (error instanceof ShardUnavailableError) return this.#failure(shard, error.reason);
    if (error instanceof LogDamagedError) {
      this.replication.faultShard(shard, error);
      return { code: 'FAULTED' };
    }
    if (error instanceof NodeError && error.code === 'LOG_CORRUPT') return { code: 'FAULTED' };
    if (error instanceof NodeError && error.code === 'STARTING') return { code: 'STARTING' };
    throw error;
  }

  /** What is wrong with this node's own copy of a shard; undefined when nothing is known of. */
  damage(shard: number): string | undefined {
    const fault = this.replication.fault(shard);
    return fault === undefined ? undefined : `shard ${shard} is damaged here: ${fault.message}`;
  }

  #failure(shard: number, failure: 'NOT_READY' | 'FAULTED'): Refusal {
    // A shard whose log is damaged may not even have been opened.
    return { code: failure === 'FAULTED' || this.replication.fault(shard) !== undefined ? 'FAULTED' : 'STARTING' };
  }

  #summary(shard: number): ShardSummary {
    const replica = this.replication.replica(shard);
    if (replica === undefined) throw new ShardUnavailableError(shard, 'NOT_READY');
    const { offset, epoch, chain, counters } = replica.summary();
    return {
      offset,
      applied: replica.position.applied,
      chain,
      live: shardDigest(counters),
      epoch: epoch.num,
      reign: reignTag(epoch),
      collections: [...counters.collections].map(([id, { live }]) => ({ id, live })),
    };
  }

  async #operations(shard: number, prefix: Uint8Array, signal: AbortSignal | undefined): Promise<number> {
    const rows = idempotencyKey(shard, prefix, this.log.state(shard).generation);
    let count = 0;
    let after: Uint8Array | undefined;
    for (;;) {
      const page = await this.log.rows(rows, after, OPERATIONS_PAGE);
      count += page.length;
      if (page.length < OPERATIONS_PAGE || signal?.aborted === true) return count;
      after = page[page.length - 1].key;
    }
  }

  /** Makes a write of a shard whose primary is here, or says why not; `waitMs` is how long its caller waits. */
  write(asked: ShardWrite, mapEpoch: number, waitMs: number): Promise<ShardWriteOutcome> {
    if (mapEpoch - this.gates.mapEpoch > MAP_LEAP_MAX)
      return Promise.resolve({ kind: 'turned-away', refusal: { code: 'STALE_MAP' } });
    const { shard, key } = asked;
    const write: GatedWrite = waitMs < SHORT_WAIT_MS ? { ...asked, waitMs } : asked;
    const full = this.admission.refusal(write.payload.length, write.op === 'UPSERT' ? 'upsert' : 'delete');
    if (key !== undefined && this.replication.usedElsewhere(shard, key)) {
      const detail = 'this idempotency key was used for another request; take a new key';
      return Promise.resolve({ kind: 'refused', code: 'IDEMPOTENCY_CONFLICT', detail });
    }
    if (full !== undefined) return this.#refuse(write, full, mapEpoch);
    if (write.repeatedFrom === undefined || key !== undefined) return this.gates.write(write, mapEpoch);
    return this.#writeAgain(write, write.repeatedFrom, mapEpoch);
  }

  /** Refuses a write for which there is no room. What its key was answered by takes none, and is answered again (replication 2.10). */
  async #refuse(
    write: GatedWrite,
    { code, message: detail, retryAfterMs }: NodeError,
    mapEpoch: number,
  ): Promise<ShardWriteOutcome> {
    if (write.key !== undefined) {
      const outcome = await this.gates.write(neverMade(write), mapEpoch);
      if (outcome.kind !== 'refused' || outcome.code !== 'VERSION_CONFLICT') return outcome;
    }
    return { kind: 'refused', code, detail, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  }

  async #writeAgain(write: GatedWrite, from: number, mapEpoch: number): Promise<ShardWriteOutcome> {
    const { shard } = write;
    try {
      // The first sending may be on its way to the disk, or to the next turn of the loop, in which it is logged.
      await new Promise((resolve) => setImmediate(resolve));
      await this.log.sync();
      const earlier = await this.#earlier.find(write, from);
      return await this.gates.write(earlier === undefined ? write : { ...write, earlier }, mapEpoch);
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error;
      this.replication.faultShard(shard, error);
      return { kind: 'turned-away', refusal: { code: 'FAULTED' } };
    }
  }
}

/** Nothing is sent that was not asked for. */
function only(found: StoredSegments | undefined, fields: FieldSelection): StoredSegments | undefined {
  if (found === undefined) return undefined;
  return {
    id: found.id,
    version: found.version,
    title: fields.title ? found.title : undefined,
    content: fields.content ? found.content : undefined,
    metadata: fields.metadata ? found.metadata : undefined,
    vector: fields.vector ? found.vector : undefined,
  };
}
