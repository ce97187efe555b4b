import { bulkAnswerOf, isBulkAnswer, LineStream, mayStoreMore } from './bulk-body.js';
import { AliasCalls, CollectionCalls } from './catalog-calls.js';
import { jsonBody } from './json-body.js';
import { NodeList } from './node-list.js';
import { accepted, OperationCalls, ShardCalls } from './operation-calls.js';
import { resumedStream, streamedObjects } from './resumed-stream.js';
import { serverSentEvents } from './server-sent-events.js';
import { Session } from './session.js';
import { SpectorError } from './spector-error.js';
import { type Answer, type Call, type Fetch, Transport } from './transport.js';
import type { CallOptions, ConditionalOptions, ReadOptions, WriteOptions } from './types/calls.js';
import type { Cluster, ClusterSettings, OperationAccepted, Probe, ShardDigest, Status } from './types/cluster.js';
import type {
  BulkAnswer,
  BulkLine,
  DeleteAnswer,
  DeleteManyAnswer,
  Document,
  DocumentFields,
  DocumentInput,
  DocumentPatch,
  GetManyAnswer,
  WriteAnswer,
} from './types/documents.js';
import type {
  CountAnswer,
  Filter,
  ScrollOptions,
  ScrollPage,
  ScrollRequest,
  SearchAnswer,
  SearchRequest,
  ShardsReport,
} from './types/search.js';
import type { Change, ChangesOptions, EventsOptions, LogEntry, NodeEvent, ShardLogOptions } from './types/streams.js';
import { documentPath, documentQuery, writeHeaders } from './write-headers.js';

const SCROLL_PATH = '/api/v1/documents/scroll';

export interface SpectorClientOptions {
  /** Base URL of a node, or of several: the client stays with one and goes to the next when it fails. */
  readonly nodes: string | readonly string[];
  readonly apiKey?: string;
  /** Milliseconds for a whole call, retries included. Default 30 000. */
  readonly timeoutMs?: number;
  /** Attempts after the first, for failures that are retryable. Default 5. */
  readonly retries?: number;
  /** `auto` (default): every call carries the newest token, so that reads see the client's own writes. */
  readonly session?: 'auto' | 'off';
  /** Instead of the global fetch. */
  readonly fetch?: Fetch;
}

/**
 * The typed client of a node's REST interface; needs nothing but `fetch`. Every method rejects with SpectorError, or
 * with the reason of the caller's signal. What is `retryable`, and broken connections, are tried again with
 * exponential back-off on the next node, inside one deadline; writes carry an idempotency key, so that a repeated one
 * is executed once.
 */
export class SpectorClient {
  readonly collections: CollectionCalls;
  readonly aliases: AliasCalls;
  readonly operations: OperationCalls;
  readonly shards: ShardCalls;
  readonly #transport: Transport;
  readonly #session = new Session();
  readonly #timeoutMs: number;
  readonly #retries: number;

  constructor(options: SpectorClientOptions) {
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    this.#retries = options.retries ?? 5;
    this.#transport = new Transport({
      nodes: new NodeList(typeof options.nodes === 'string' ? [options.nodes] : options.nodes),
      apiKey: options.apiKey,
      timeoutMs: this.#timeoutMs,
      retries: this.#retries,
      fetch: options.fetch ?? ((url, init) => fetch(url, init)),
      session: options.session === 'off' ? undefined : this.#session,
    });
    this.collections = new CollectionCalls(this.#transport);
    this.aliases = new AliasCalls(this.#transport);
    this.operations = new OperationCalls(this.#transport);
    this.shards = new ShardCalls(this.#transport);
  }

  /** The newest session token: hand it to another client, and that one sees what this one wrote. */
  get session(): string | undefined {
    return this.#session.token;
  }

  set session(token: string | undefined) {
    this.#session.token = token;
  }

  // ---- Documents

  /** Stores one document, replacing one with its id; searchable when the call resolves (`indexed`). */
  ingest(document: DocumentInput, options: WriteOptions = {}): Promise<WriteAnswer> {
    return this.#write('POST', '/api/v1/ingest', document, options);
  }

  /** Stores documents in one request of at most 8 MiB. Failed lines are listed in the answer, not thrown. */
  bulk(documents: readonly DocumentInput[], options: WriteOptions = {}): Promise<BulkAnswer> {
    return this.#bulk('application/json', jsonBody({ documents }), options);
  }

  /** As `bulk`, for NDJSON that exists already: one document or operation a line. */
  bulkNdjson(lines: string | Uint8Array, options: WriteOptions = {}): Promise<BulkAnswer> {
    return this.#bulk('application/x-ndjson', lines, options);
  }

  /**
   * Streams documents and operations, any number, as fast as the node takes them; strings are lines already encoded.
   * In one attempt, since what was streamed is gone; a node that takes nothing for `timeoutMs` ends it.
   */
  async bulkStream(source: AsyncIterable<BulkLine | string>, options: WriteOptions = {}): Promise<BulkAnswer> {
    const controller = new AbortController();
    const abort = (): void => controller.abort(options.signal?.reason);
    options.signal?.throwIfAborted();
    options.signal?.addEventListener('abort', abort, { once: true });
    const lines = new LineStream(source, options.timeoutMs ?? this.#timeoutMs, controller);
    try {
      return bulkAnswerOf(
        await this.#transport.upload(this.#bulkCall(options), 'application/x-ndjson', lines.body, controller.signal),
      );
    } catch (error) {
      throw lines.sourceError === undefined ? error : lines.sourceError.error;
    } finally {
      options.signal?.removeEventListener('abort', abort);
      lines.close();
    }
  }

  /** One document; 404 DOCUMENT_NOT_FOUND. */
  async get(id: string, options: ReadOptions & { readonly withVector?: boolean } = {}): Promise<Document> {
    return this.#read('GET', documentPath(id), undefined, options, { withVector: options.withVector });
  }

  /** Stores a document under an id, conditionally if asked. */
  async put(id: string, document: DocumentFields, options: ConditionalOptions = {}): Promise<WriteAnswer> {
    return this.#write('PUT', documentPath(id), document, options);
  }

  /** Merges into a document (RFC 7386); `vector` replaces. 404 DOCUMENT_NOT_FOUND. */
  async patch(id: string, patch: DocumentPatch, options: ConditionalOptions = {}): Promise<WriteAnswer> {
    return this.#write('PATCH', documentPath(id), patch, options);
  }

  /** Deletes one document; 404 DOCUMENT_NOT_FOUND. */
  async delete(id: string, options: ConditionalOptions = {}): Promise<DeleteAnswer> {
    return this.#write('DELETE', documentPath(id), undefined, options);
  }

  /** Several documents, at most 1 000 ids. */
  getMany(
    ids: readonly string[],
    options: ReadOptions & { readonly withVector?: boolean } = {},
  ): Promise<GetManyAnswer> {
    return this.#read('POST', '/api/v1/documents/get', { ids, withVector: options.withVector }, options);
  }

  /** Deletes at most 1 000 documents by id; absent ones are listed as failed, with DOCUMENT_NOT_FOUND. */
  deleteMany(ids: readonly string[], options: WriteOptions = {}): Promise<DeleteManyAnswer> {
    return this.#write('POST', '/api/v1/documents/delete', { ids }, options);
  }

  /** Deletes all documents that match when it begins; what is written meanwhile stays, also when it is tried again. */
  deleteByFilter(filter: Filter, options: WriteOptions = {}): Promise<DeleteManyAnswer> {
    return this.#write('POST', '/api/v1/documents/delete', { filter }, options);
  }

  /**
   * All documents that match, page by page, in the order (shard, id). Where shards do not answer, asked again either, it
   * rejects with SHARD_UNAVAILABLE instead of leaving their documents out, unless `options.missing` is told of them.
   */
  async *scroll(request: ScrollRequest = {}, options: ScrollOptions = {}): AsyncGenerator<Document, void, undefined> {
    let cursor = request.cursor;
    do {
      const asked = { limit: 1_000, ...request, ...(cursor === undefined ? {} : { cursor }) };
      const page: ScrollPage = await this.#read('POST', SCROLL_PATH, asked, options, {}, lacksShards);
      const { failed } = page.shards;
      if (failed.length > 0) {
        if (options.missing === undefined) throw shardsMissing(failed);
        options.missing(failed);
      }
      yield* page.documents;
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** One page of a scroll; its `cursor`, null at the end, leads to the next, past the shards that `failed`. */
  scrollPage(request: ScrollRequest = {}, options: ReadOptions = {}): Promise<ScrollPage> {
    return this.#read('POST', SCROLL_PATH, request, options);
  }

  /** How many documents match; all without a filter. */
  count(filter?: Filter, options: ReadOptions = {}): Promise<CountAnswer> {
    return this.#read('POST', '/api/v1/documents/count', filter === undefined ? {} : { filter }, options);
  }

  /** Searches by text, vector, or both. Check `partial` and `coverage` where completeness matters. */
  async search(request: SearchRequest, options: CallOptions = {}): Promise<SearchAnswer> {
    return this.#read('POST', '/api/v1/search', request, options);
  }

  // ---- The cluster

  status(options: CallOptions = {}): Promise<Status> {
    return this.#read('GET', '/api/v1/status', undefined, options);
  }

  cluster(options: CallOptions = {}): Promise<Cluster> {
    return this.#read('GET', '/api/v1/cluster', undefined, options);
  }

  /** Changes settings for the whole cluster; the rest stay as they are. */
  clusterConfig(change: Partial<ClusterSettings>, options: CallOptions = {}): Promise<ClusterSettings> {
    return this.#read('PATCH', '/api/v1/cluster/config', change, options);
  }

  /** Moves everything off a node, in preparation of taking it away. */
  drain(nodeId: string, options: CallOptions = {}): Promise<OperationAccepted> {
    return accepted(
      this.#transport,
      'POST',
      `/api/v1/cluster/nodes/${encodeURIComponent(nodeId)}/drain`,
      undefined,
      options,
    );
  }

  /**
   * When a majority of the map's voters is gone for good: goes on with the map from the copy of `nodeId`, which must be the
   * node that is asked. Changes of the map that only the lost voters had are gone. 409 OPERATION_CONFLICT while a majority
   * answers, or a node whose copy goes further.
   */
  forceMap(nodeId: string, options: CallOptions = {}): Promise<OperationAccepted> {
    const body = { node: nodeId, acceptDataLoss: true };
    return accepted(this.#transport, 'POST', '/api/v1/cluster/map/force', body, options);
  }

  /** Moves everything off a node, or what a dead one held to others, and takes it out of the map. */
  remove(nodeId: string, options: CallOptions = {}): Promise<OperationAccepted> {
    return accepted(
      this.#transport,
      'DELETE',
      `/api/v1/cluster/nodes/${encodeURIComponent(nodeId)}`,
      undefined,
      options,
    );
  }

  /** Position and content digest of a shard. */
  digest(shard: number, options: CallOptions = {}): Promise<ShardDigest> {
    return this.#read('GET', `/api/v1/shards/${shard}/digest`, undefined, options);
  }

  /** Writes that lost against a later one when branches were merged. */
  async conflicts(shard: number, options: CallOptions = {}): Promise<readonly unknown[]> {
    const json = await this.#read<unknown>('GET', `/api/v1/shards/${shard}/conflicts`, undefined, options);
    return Array.isArray(json) ? (json as unknown[]) : (json as { conflicts: readonly unknown[] }).conflicts;
  }

  // ---- Streams

  /** All writes of all shards, from a cursor on; with `follow` without end. 410 OFFSET_COMPACTED: start over. */
  async *changes(options: ChangesOptions = {}): AsyncGenerator<Change, void, undefined> {
    let { cursor } = options;
    const { collection, follow } = options;
    const next = (): Call => ({
      ...callOptions(options),
      method: 'GET',
      path: '/api/v1/changes',
      query: { cursor, collection, follow },
      repeatable: true,
    });
    const items = (stream: ReadableStream<Uint8Array>, headers: Headers): ReturnType<typeof streamedObjects> => {
      // What `latest` stood for, should no change come before the connection breaks.
      cursor = headers.get('spector-cursor') ?? cursor;
      return streamedObjects(stream);
    };
    for await (const item of resumedStream(this.#transport, next, items, follow === true, this.#retries)) {
      const change = item as unknown as Change;
      yield change;
      cursor = change.cursor;
    }
  }

  /** The log of one shard, from an offset on. */
  async *shardLog(shard: number, options: ShardLogOptions = {}): AsyncGenerator<LogEntry, void, undefined> {
    let { from, limit } = options;
    const { follow } = options;
    const next = (): Call => ({
      ...callOptions(options),
      method: 'GET',
      path: `/api/v1/shards/${shard}/log`,
      query: { from, limit, follow },
      repeatable: true,
    });
    for await (const item of resumedStream(this.#transport, next, streamedObjects, follow === true, this.#retries)) {
      const entry = item as unknown as LogEntry;
      yield entry;
      from = entry.offset + 1;
      if (limit !== undefined && --limit === 0) return;
    }
  }

  /** What the node does, as it happens, without end; reconnects. Events during a reconnection are missed. */
  events(options: EventsOptions = {}): AsyncGenerator<NodeEvent, void, undefined> {
    const query = { filter: options.filter?.join(',') };
    const headers = { accept: 'text/event-stream' };
    const next = (): Call => ({
      ...callOptions(options),
      method: 'GET',
      path: '/api/v1/events',
      query,
      headers,
      repeatable: true,
    });
    return resumedStream(this.#transport, next, serverSentEvents, true, this.#retries);
  }

  // ---- Probes: one attempt, whatever the status

  livez(options: CallOptions = {}): Promise<Probe> {
    return this.#probe('/livez', options);
  }

  readyz(options: CallOptions = {}): Promise<Probe> {
    return this.#probe('/readyz', options);
  }

  health(options: CallOptions = {}): Promise<Probe> {
    return this.#probe('/health', options);
  }

  /** Metrics in the text format of Prometheus. */
  async metrics(options: CallOptions = {}): Promise<string> {
    return (
      await this.#transport.request({ ...callOptions(options), method: 'GET', path: '/metrics', repeatable: true })
    ).text;
  }

  async #probe(path: string, options: CallOptions): Promise<Probe> {
    const { status, json, text } = await this.#transport.request({
      ...callOptions(options),
      method: 'GET',
      path,
      repeatable: true,
      retries: 0,
      accept: () => true,
    });
    return { ok: status >= 200 && status < 300, status, body: json ?? text };
  }

  async #read<T>(
    method: Call['method'],
    path: string,
    body: unknown,
    options: ReadOptions,
    query: Record<string, string | number | boolean | undefined> = {},
    again?: Call['again'],
  ): Promise<T> {
    const answer = await this.#transport.request({
      ...callOptions(options),
      method,
      path,
      query: { ...documentQuery(options), ...query },
      ...(body === undefined ? {} : { body: { type: 'application/json', content: jsonBody(body) } }),
      repeatable: true,
      ...(again === undefined ? {} : { again }),
    });
    return answer.json as T;
  }

  async #write<T>(method: Call['method'], path: string, body: unknown, options: ConditionalOptions): Promise<T> {
    const answer = await this.#transport.request({
      ...callOptions(options),
      method,
      path,
      query: documentQuery(options),
      headers: writeHeaders(options),
      ...(body === undefined ? {} : { body: { type: 'application/json', content: jsonBody(body) } }),
      repeatable: true,
      write: true,
    });
    return answer.json as T;
  }

  async #bulk(type: string, content: string | Uint8Array, options: WriteOptions): Promise<BulkAnswer> {
    return bulkAnswerOf(await this.#transport.request({ ...this.#bulkCall(options), body: { type, content } }));
  }

  #bulkCall(options: WriteOptions): Call {
    return {
      ...callOptions(options),
      method: 'POST',
      path: '/api/v1/ingest/bulk',
      query: documentQuery(options),
      headers: writeHeaders(options),
      repeatable: true,
      write: true,
      accept: (answer: Answer) => isBulkAnswer(answer),
      again: mayStoreMore,
    };
  }
}

/** Whether shards did not answer for a page, which asking again may bring. */
function lacksShards(answer: Answer): boolean {
  return (answer.json as ScrollPage).shards.failed.length > 0;
}

function shardsMissing(failed: ShardsReport['failed']): SpectorError {
  const names = failed.map(({ shard, reason }) => `${shard} (${reason})`).join(', ');
  return new SpectorError({
    code: 'SHARD_UNAVAILABLE',
    status: 200,
    detail: `shards ${names} did not answer: their documents would be missing`,
    retryable: true,
  });
}

/** The members of any call's options that concern the transport. */
function callOptions(options: CallOptions): CallOptions {
  return {
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
  };
}
