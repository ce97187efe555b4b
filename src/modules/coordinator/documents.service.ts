import { NodeError } from '../../kernel/errors.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { findCollection } from '../ring/core/map-operations.js';
import type { Collection } from '../ring/core/map.js';
import type { Filter } from '../shard/core/filter.js';
import type { ScrollPage } from '../shard/core/index-host.js';
import { ShardUnavailableError } from '../shard/shard-ports.js';
import type { ShardService } from '../shard/shard.service.js';
import { BulkRun } from './bulk-run.js';
import type { DeleteManyAnswer, DocumentsPort, EventsPort, GetManyAnswer } from './coordinator.js';
import { decodeScrollCursor, encodeScrollCursor } from './core/scroll-cursor.js';
import type {
  BulkAnswer,
  BulkItem,
  CallContext,
  CountAnswer,
  DeleteAnswer,
  DocumentInput,
  DocumentPatch,
  DocumentView,
  FieldSelection,
  ReadOptions,
  ScrollAnswer,
  ScrollRequest,
  ShardFailureReason,
  ShardsReport,
  WriteAnswer,
  WriteCondition,
  WriteOptions,
} from './core/requests.js';
import { Deadline } from './deadline.js';
import { failureReason } from './failure-reason.js';
import type { DocumentReader, StoredDocument } from './document-reader.js';
import type { ReadGate } from './read-gate.js';
import type { Sessions } from './session.js';
import type { Writer, WriteCall, Written } from './writer.js';
import { versionText } from '../../kernel/version.js';

/** Documents a delete by filter takes at once. */
const DELETE_PAGE = 500;
/** Documents that change while a delete by filter runs are looked at again, at most this often. */
const DELETE_PASSES = 3;

/** Documents by id, by page and in bulk; each call routed to the shards it needs. */
export class DocumentsService implements DocumentsPort {
  constructor(
    private readonly config: NodeConfig,
    private readonly replication: ReplicationService,
    private readonly shards: ShardService,
    private readonly reader: DocumentReader,
    private readonly writer: Writer,
    private readonly gate: ReadGate,
    private readonly sessions: Sessions,
    private readonly events: EventsPort,
  ) {}

  async ingest(
    document: DocumentInput,
    condition: WriteCondition | undefined,
    options: WriteOptions,
    call: CallContext,
  ): Promise<WriteAnswer> {
    const session = this.sessions.read(call.session);
    return this.#written(
      document.id,
      await this.writer.upsert(document.id, document.fields, toCall(options, condition)),
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
    return this.#written(id, await this.writer.patch(id, patch, toCall(options, condition)), session);
  }

  async delete(
    id: string,
    condition: WriteCondition | undefined,
    options: WriteOptions,
    call: CallContext,
  ): Promise<DeleteAnswer> {
    const session = this.sessions.read(call.session);
    const answer = this.#written(id, await this.writer.delete(id, toCall(options, condition)), session);
    return { id, deleted: true, version: answer.version, session: answer.session };
  }

  async bulk(items: AsyncIterable<BulkItem>, options: WriteOptions, call: CallContext): Promise<BulkAnswer> {
    const session = this.sessions.read(call.session);
    this.#collection(options.collection);
    const tell = (progress: object): void =>
      this.events.publish({ type: 'document.bulk_progress', data: { collection: options.collection, ...progress } });
    const run = new BulkRun(this.writer, options, call.signal, tell);
    const answer = await run.run(items);
    tell({ total: answer.total, success: answer.success, failed: answer.failed, done: true });
    return { ...answer, session: this.sessions.fold(session, run.positions) };
  }

  async deleteMany(ids: readonly string[], options: WriteOptions, call: CallContext): Promise<DeleteManyAnswer> {
    const session = this.sessions.read(call.session);
    const run = new BulkRun(this.writer, options, call.signal, () => undefined);
    const answer = await run.run(deletions(ids));
    return {
      deleted: answer.success,
      failed: answer.failed,
      errors: answer.errors.map(({ id, code, detail }) => ({ id: id ?? '', code, detail })),
      session: this.sessions.fold(session, run.positions),
    };
  }

  /** Pages through the matches and deletes each as it was seen; what changed meanwhile is looked at again. */
  async deleteByFilter(filter: Filter, options: WriteOptions, call: CallContext): Promise<DeleteManyAnswer> {
    const collection = this.#collection(options.collection);
    let session = call.session;
    let deleted = 0;
    let failed = 0;
    const errors: { id: string; code: string; detail: string }[] = [];
    for (let pass = 0; pass < DELETE_PASSES; pass++) {
      let changed = 0;
      for (let shard = 0; shard < this.replication.map.current().shardCount; shard++) {
        let after: string | undefined;
        for (let more = true; more && !call.signal.aborted;) {
          const page = await this.#page(shard, collection.id, filter, after, DELETE_PAGE);
          if (typeof page === 'string')
            throw new NodeError(
              'SHARD_UNAVAILABLE',
              `shard ${shard} cannot be searched now; deleted so far: ${deleted}`,
            );
          const current = page.ids.filter(
            (id, i) => this.replication.row(shard, collection.id, id)?.offset === page.offsets[i],
          );
          changed += page.ids.length - current.length;
          const answer = await this.deleteMany(current, options, session === undefined ? call : { ...call, session });
          deleted += answer.deleted;
          failed += answer.failed;
          errors.push(...answer.errors.slice(0, 1_000 - errors.length));
          session = answer.session;
          after = page.ids.at(-1);
          more = page.more;
        }
      }
      if (changed === 0) break;
    }
    return { deleted, failed, errors, session: session ?? this.sessions.fold(new Map(), new Map()) };
  }

  async get(
    id: string,
    withVector: boolean,
    options: ReadOptions,
    call: CallContext,
  ): Promise<DocumentView & { readonly session: string }> {
    const collection = this.#collection(options.collection);
    const shard = this.replication.map.ring().shardOf(id);
    const session = this.sessions.read(call.session);
    const document = await this.#timed(call, async (deadline) => {
      await this.gate.wait(session, [shard], deadline.signal);
      return deadline.before(this.reader.read(shard, collection.id, id));
    });
    if (document === undefined)
      throw new NodeError('DOCUMENT_NOT_FOUND', `there is no document "${id}" in the collection "${collection.name}"`);
    return {
      ...view(document, { title: true, content: true, metadata: true, vector: withVector }),
      session: this.sessions.fold(session, new Map()),
    };
  }

  async getMany(
    ids: readonly string[],
    withVector: boolean,
    options: ReadOptions,
    call: CallContext,
  ): Promise<GetManyAnswer> {
    const collection = this.#collection(options.collection);
    const ring = this.replication.map.ring();
    const session = this.sessions.read(call.session);
    const fields = { title: true, content: true, metadata: true, vector: withVector };
    return this.#timed(call, async (deadline) => {
      await this.gate.wait(session, [...new Set(ids.map((id) => ring.shardOf(id)))], deadline.signal);
      const found = await deadline.before(
        Promise.all(ids.map((id) => this.reader.read(ring.shardOf(id), collection.id, id))),
      );
      return {
        documents: found.flatMap((document) => (document === undefined ? [] : [view(document, fields)])),
        missing: ids.filter((_, i) => found[i] === undefined),
        session: this.sessions.fold(session, new Map()),
      };
    });
  }

  scroll(request: ScrollRequest, call: CallContext): Promise<ScrollAnswer> {
    const collection = this.#collection(request.collection);
    const session = this.sessions.read(call.session);
    const { shardCount } = this.replication.map.current();
    const start = request.cursor === undefined ? { shard: 0, after: undefined } : decodeScrollCursor(request.cursor);
    if (start === undefined)
      throw new NodeError('INVALID_REQUEST', '`cursor` is not one of this service; start without one');
    return this.#timed(call, async (deadline) => {
      await this.gate.wait(
        session,
        Array.from({ length: shardCount }, (_, shard) => shard),
        deadline.signal,
      );
      const documents: DocumentView[] = [];
      const failed = new Map<number, ShardFailureReason>();
      let { shard, after } = start;
      while (shard < shardCount && documents.length < request.limit) {
        const page = await deadline.before(
          this.#page(shard, collection.id, request.filter, after, request.limit - documents.length),
        );
        if (typeof page === 'string') failed.set(shard, page);
        else {
          for (const document of await this.#documents(shard, collection.id, page.ids, page.offsets))
            documents.push(view(document, request.fields));
          if (page.more) {
            after = page.ids.at(-1);
            continue;
          }
        }
        shard++;
        after = undefined;
      }
      const cursor = shard >= shardCount ? null : encodeScrollCursor({ shard, after });
      return { documents, cursor, shards: report(shardCount, failed), session: this.sessions.fold(session, new Map()) };
    });
  }

  count(filter: Filter | undefined, options: ReadOptions, call: CallContext): Promise<CountAnswer> {
    const collection = this.#collection(options.collection);
    const session = this.sessions.read(call.session);
    const { shardCount } = this.replication.map.current();
    const all = Array.from({ length: shardCount }, (_, shard) => shard);
    return this.#timed(call, async (deadline) => {
      await this.gate.wait(session, all, deadline.signal);
      const failed = new Map<number, ShardFailureReason>();
      let count = 0;
      for (const answer of await deadline.before(this.shards.count(all, collection.id, filter))) {
        if (answer.failed === undefined) count += answer.count;
        else failed.set(answer.shard, failureReason(this.replication, answer.shard, answer.failed));
      }
      return { count, shards: report(shardCount, failed) };
    });
  }

  /** A page of matching ids, or why the shard cannot say. */
  async #page(
    shard: number,
    collectionId: number,
    filter: Filter | undefined,
    after: string | undefined,
    limit: number,
  ): Promise<ScrollPage | ShardFailureReason> {
    try {
      return await this.shards.scroll(shard, collectionId, filter, after, limit);
    } catch (error) {
      if (error instanceof ShardUnavailableError) return failureReason(this.replication, shard, error.reason);
      throw error;
    }
  }

  #collection(name: string): Collection {
    const collection = findCollection(this.replication.map.current(), name, false);
    if (collection === undefined)
      throw new NodeError(
        'COLLECTION_NOT_FOUND',
        `there is no collection "${name}"; create it with PUT /api/v1/collections/${name}`,
      );
    return collection;
  }

  /** The documents behind (id, offset), in order; one that changed since is left to its newer entry. */
  async #documents(
    shard: number,
    collectionId: number,
    ids: readonly string[],
    offsets: readonly number[],
  ): Promise<StoredDocument[]> {
    const found: StoredDocument[] = [];
    for (let i = 0; i < ids.length; i++) {
      const entry = await this.reader.stored(shard, collectionId, ids[i], offsets[i]);
      if (entry !== undefined) found.push(entry);
    }
    return found;
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
    const { shard, epoch, offset, indexed, created, durable } = written;
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
      session: this.sessions.withWrite(session, shard, { epoch, offset }),
    };
  }
}

function toCall(options: WriteOptions, condition: WriteCondition | undefined): WriteCall {
  return { collection: options.collection, consistency: options.consistency, key: options.idempotencyKey, condition };
}

async function* deletions(ids: readonly string[]): AsyncGenerator<BulkItem> {
  for (const id of ids) yield await Promise.resolve({ kind: 'delete', id, bytes: 0 });
}

function view(document: StoredDocument, fields: FieldSelection): DocumentView {
  const { title, content, metadata, vector } = document.fields;
  return {
    id: document.id,
    ...(fields.title && title !== undefined ? { title } : {}),
    ...(fields.content && content !== undefined ? { content } : {}),
    ...(fields.metadata && metadata !== undefined ? { metadata } : {}),
    ...(fields.vector && vector !== undefined ? { vector } : {}),
    version: document.version,
  };
}

function report(total: number, failures: ReadonlyMap<number, ShardFailureReason>): ShardsReport {
  const failed = [...failures].map(([shard, reason]) => ({ shard, reason }));
  return { total, ok: total - failed.length, stale: [], failed };
}
