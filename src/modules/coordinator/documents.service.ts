import { NodeError } from '../../kernel/errors.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { findCollection } from '../ring/core/map-operations.js';
import type { Collection } from '../ring/core/map.js';
import type { Filter } from '../shard/core/filter.js';
import { BulkRun } from './bulk-run.js';
import type { DeleteManyAnswer, DocumentsPort, EventsPort, GetManyAnswer } from './coordinator.js';
import { AnswerBytes, PageBytes } from './core/answer-bytes.js';
import type { Positions } from './core/positions.js';
import { decodeScrollCursor, encodeScrollCursor } from './core/scroll-cursor.js';
import type {
  BulkItem,
  BulkResult,
  CallContext,
  CountAnswer,
  DeleteAnswer,
  DocumentInput,
  DocumentPatch,
  DocumentView,
  FieldSelection,
  ReadConsistency,
  ReadOptions,
  ScrollAnswer,
  ScrollRequest,
  WriteAnswer,
  WriteCondition,
  WriteOptions,
} from './core/requests.js';
import { Deadline } from './deadline.js';
import type { DocumentPage, GatedCall, GatedValue, ShardAsk, ShardGate, StoredSegments } from './core/shard-calls.js';
import { viewOf } from './document-view.js';
import { deleteAll, FilterDelete } from './filter-delete.js';
import { shardsReport, type FanOut, type FanOutAnswer, type ShardFailed } from './fan-out.js';
import { demandOf, notCaughtUp, type Sessions } from './session.js';
import { noneAnswered, shardError } from './shard-error.js';
import type { MapChanges } from './map-changes.js';
import type { Writer, WriteCall, Written } from './writer.js';
import { versionText } from '../../kernel/version.js';

/** With less time than this a scroll asks no further shard: the next page does. */
const SCROLL_LEAST_MS = 20;

/** Documents by id, by page and in bulk; each call routed to the shards it needs. */
export class DocumentsService implements DocumentsPort {
  readonly #filterDelete: FilterDelete;

  constructor(
    private readonly config: NodeConfig,
    private readonly replication: ReplicationService,
    private readonly fanOut: FanOut,
    private readonly writer: Writer,
    private readonly changes: MapChanges,
    private readonly sessions: Sessions,
    private readonly events: EventsPort,
  ) {
    this.#filterDelete = new FilterDelete(config, replication, fanOut, writer, sessions);
  }

  async ingest(
    document: DocumentInput,
    condition: WriteCondition | undefined,
    options: WriteOptions,
    call: CallContext,
  ): Promise<WriteAnswer> {
    const session = this.sessions.read(call.session);
    await this.#collection(options.collection, call);
    return this.#written(
      document.id,
      await this.writer.upsert(document.id, document.fields, toCall(options, condition, call)),
      session,
    );
  }

  async patch(
    id: string,
    patch: DocumentPatch,
    condition: WriteCondition | undefined,
    options: WriteOptions,
    call: CallContext,
  ): Promise<WriteAnswer> {
    const session = this.sessions.read(call.session);
    await this.#collection(options.collection, call);
    return this.#written(id, await this.writer.patch(id, patch, toCall(options, condition, call)), session);
  }

  async delete(
    id: string,
    condition: WriteCondition | undefined,
    options: WriteOptions,
    call: CallContext,
  ): Promise<DeleteAnswer> {
    const session = this.sessions.read(call.session);
    await this.#collection(options.collection, call);
    const answer = this.#written(id, await this.writer.delete(id, toCall(options, condition, call)), session);
    return { id, deleted: true, version: answer.version, session: answer.session };
  }

  async bulk(items: AsyncIterable<BulkItem>, options: WriteOptions, call: CallContext): Promise<BulkResult> {
    const session = this.sessions.read(call.session);
    await this.#collection(options.collection, call);
    const tell = (progress: object): void =>
      this.events.publish({ type: 'document.bulk_progress', data: { collection: options.collection, ...progress } });
    const run = new BulkRun(this.writer, options, call.signal, tell);
    const answer = await run.run(items);
    tell({ total: answer.total, success: answer.success, failed: answer.failed, done: true });
    return { answer: { ...answer, session: this.sessions.fold(session, run.positions) }, codes: run.codes };
  }

  async deleteMany(ids: readonly string[], options: WriteOptions, call: CallContext): Promise<DeleteManyAnswer> {
    const session = this.sessions.read(call.session);
    await this.#collection(options.collection, call);
    const targets = ids.map((id) => ({ id }));
    const { positions, ...answer } = await deleteAll(this.writer, targets, options, call.signal);
    return { ...answer, session: this.sessions.fold(session, positions) };
  }

  async deleteByFilter(filter: Filter, options: WriteOptions, call: CallContext): Promise<DeleteManyAnswer> {
    this.sessions.read(call.session);
    return this.#filterDelete.run(await this.#collection(options.collection, call), filter, options, call);
  }

  async get(
    id: string,
    withVector: boolean,
    options: ReadOptions,
    call: CallContext,
  ): Promise<DocumentView & { readonly session: string }> {
    const collection = await this.#collection(options.collection, call);
    const shard = this.replication.map.ring().shardOf(id);
    const session = this.sessions.read(call.session);
    const fields = { title: true, content: true, metadata: true, vector: withVector };
    const { epoch: mapEpoch } = this.replication.map.current();
    const answer = await this.#timed(call, (deadline) =>
      this.#ask(
        'read',
        [shard],
        (gates) => ({ mapEpoch, gates, collectionId: collection.id, ids: [[id]], fields }),
        session,
        options.consistency,
        deadline,
      ),
    );
    const found = answer.values.get(shard);
    if (found === undefined) throw shardError(shard, answer.failed.get(shard), this.replication.fault(shard));
    const [document] = found.value;
    if (document === undefined)
      throw new NodeError('DOCUMENT_NOT_FOUND', `there is no document "${id}" in the collection "${collection.name}"`);
    return { ...viewOf(document), session: this.sessions.fold(session, new Map()) };
  }

  async getMany(
    ids: readonly string[],
    withVector: boolean,
    options: ReadOptions,
    call: CallContext,
  ): Promise<GetManyAnswer> {
    const collection = await this.#collection(options.collection, call);
    const ring = this.replication.map.ring();
    const session = this.sessions.read(call.session);
    const fields = { title: true, content: true, metadata: true, vector: withVector };
    const { epoch: mapEpoch } = this.replication.map.current();
    const byShard = new Map<number, string[]>();
    for (const id of ids) {
      const shard = ring.shardOf(id);
      const group = byShard.get(shard);
      if (group === undefined) byShard.set(shard, [id]);
      else group.push(id);
    }
    const answer = await this.#timed(call, (deadline) =>
      this.#ask(
        'read',
        [...byShard.keys()],
        (gates) => ({
          mapEpoch,
          gates,
          collectionId: collection.id,
          ids: gates.map(({ shard }) => byShard.get(shard) ?? []),
          fields,
        }),
        session,
        options.consistency,
        deadline,
      ),
    );
    // What a shard that cannot answer holds is not missing: nothing can be said of it.
    for (const [shard, failed] of answer.failed) throw shardError(shard, failed, this.replication.fault(shard));
    const found = new Map<string, StoredSegments>();
    const bytes = new AnswerBytes(fields);
    for (const { value } of answer.values.values())
      for (const document of value) {
        bytes.add(document);
        if (document !== undefined) found.set(document.id, document);
      }
    return {
      documents: ids.flatMap((id) => {
        const document = found.get(id);
        return document === undefined ? [] : [viewOf(document)];
      }),
      missing: ids.filter((id) => !found.has(id)),
      session: this.sessions.fold(session, new Map()),
    };
  }

  async scroll(request: ScrollRequest, call: CallContext): Promise<ScrollAnswer> {
    const collection = await this.#collection(request.collection, call);
    const session = this.sessions.read(call.session);
    const { shardCount } = this.replication.map.current();
    const start = request.cursor === undefined ? { shard: 0, after: undefined } : decodeScrollCursor(request.cursor);
    if (start === undefined)
      throw new NodeError('INVALID_REQUEST', '`cursor` is not one of this service; start without one');
    return this.#timed(call, async (deadline) => {
      const documents: DocumentView[] = [];
      const failed = new Map<number, ShardFailed>();
      const stale = new Map<number, { readonly node: string; readonly lagMs: number }>();
      const asked = new Set<number>();
      let { shard, after } = start;
      const bytes = new AnswerBytes(request.fields);
      const pageBytes = new PageBytes(request.bound);
      let isFull = false;
      while (shard < shardCount && documents.length < request.limit) {
        // A page ends where the time does, before a shard that is not asked any more.
        if (deadline.remainingMs < SCROLL_LEAST_MS && (shard !== start.shard || documents.length > 0)) break;
        // A copy that is silent leaves the shards behind it half of the time.
        const within = deadline.within(shard === shardCount - 1 ? Infinity : deadline.remainingMs / 2);
        asked.add(shard);
        const limit = Math.min(request.limit - documents.length, pageBytes.likely);
        const answer = await this.#page(
          shard,
          { collectionId: collection.id, filter: request.filter, after, limit },
          request.fields,
          session,
          request.consistency,
          within,
        ).finally(() => within.end());
        const page = answer.values.get(shard)?.value;
        for (const [number, why] of answer.failed) failed.set(number, why);
        for (const [number, how] of answer.stale) stale.set(number, how);
        for (const document of page?.documents ?? []) {
          const view = viewOf(document);
          isFull = !bytes.fits(document) || !pageBytes.fits(view);
          if (isFull) break;
          documents.push(view);
          after = document.id;
        }
        if (isFull) break;
        if (page?.more === true) {
          after = page.last;
          continue;
        }
        shard++;
        after = undefined;
      }
      // One that was stale for a part of the page, and then failed, failed.
      for (const number of failed.keys()) stale.delete(number);
      const shards = shardsReport(shardCount, { stale, failed }, asked.size);
      // Where a page needs the last ones only, the scroll ends without them, and says so.
      if (documents.length === 0 && failed.size === shardCount) throw noneAnswered(shards.failed, shards);
      const cursor = shard >= shardCount ? null : encodeScrollCursor({ shard, after });
      return { documents, cursor, shards, session: this.sessions.fold(session, new Map()) };
    });
  }

  async count(filter: Filter | undefined, options: ReadOptions, call: CallContext): Promise<CountAnswer> {
    const collection = await this.#collection(options.collection, call);
    const session = this.sessions.read(call.session);
    const { shardCount, epoch: mapEpoch } = this.replication.map.current();
    const all = Array.from({ length: shardCount }, (_, shard) => shard);
    return this.#timed(call, async (deadline) => {
      const answer = await this.#ask(
        'count',
        all,
        (gates) => ({ mapEpoch, gates, collectionId: collection.id, filter }),
        session,
        options.consistency,
        deadline,
      );
      const shards = shardsReport(shardCount, answer);
      if (answer.values.size === 0) throw noneAnswered(shards.failed, shards);
      let count = 0;
      for (const { value } of answer.values.values()) count += value;
      return { count, shards, session: this.sessions.fold(session, new Map()) };
    });
  }

  /** Asks the shards; a session that no reachable copy has met is an error. */
  async #ask<C extends GatedCall>(
    kind: C,
    shards: readonly number[],
    make: (gates: readonly ShardGate[]) => ShardAsk<C>,
    session: Positions,
    consistency: ReadConsistency,
    deadline: Deadline,
  ): Promise<FanOutAnswer<GatedValue<C>>> {
    const answer = await this.fanOut.ask(kind, shards, make, { deadline, ...demandOf(consistency, session) });
    if (answer.notCaughtUp.length > 0) throw notCaughtUp(answer.notCaughtUp);
    return answer;
  }

  #page(
    shard: number,
    page: Pick<ShardAsk<'page'>, 'collectionId' | 'filter' | 'after' | 'limit'>,
    fields: FieldSelection,
    session: Positions,
    consistency: ReadConsistency,
    deadline: Deadline,
  ): Promise<FanOutAnswer<DocumentPage>> {
    const { epoch: mapEpoch } = this.replication.map.current();
    return this.#ask(
      'page',
      [shard],
      (gates) => ({ mapEpoch, gates, ...page, fields }),
      session,
      consistency,
      deadline,
    );
  }

  async #collection(name: string, { timeoutMs }: CallContext): Promise<Collection> {
    const collection = await this.changes.lookUp((map) => findCollection(map, name, false), timeoutMs);
    if (collection === undefined)
      throw new NodeError(
        'COLLECTION_NOT_FOUND',
        `there is no collection "${name}"; create it with PUT /api/v1/collections/${name}`,
      );
    return collection;
  }

  async #timed<T>(call: CallContext, work: (deadline: Deadline) => Promise<T>): Promise<T> {
    const deadline = new Deadline(call, this.config.queryTimeoutMs);
    try {
      return await work(deadline);
    } finally {
      deadline.end();
    }
  }

  #written(id: string, written: Written, session: ReturnType<Sessions['read']>): WriteAnswer {
    const { shard, epoch, reign, offset, indexed, created, durable } = written;
    const { fsync } = this.config;
    return {
      id,
      indexed,
      created,
      version: versionText(written.version),
      shard,
      epoch,
      offset,
      durable,
      fsync: fsync.kind === 'interval' ? `interval:${fsync.ms}` : fsync.kind,
      session: this.sessions.withWrite(session, shard, { epoch, reign, offset }),
    };
  }
}

function toCall(options: WriteOptions, condition: WriteCondition | undefined, call: CallContext): WriteCall {
  const { collection, consistency, idempotencyKey: key } = options;
  return { collection, consistency, key, condition, timeoutMs: call.timeoutMs };
}
