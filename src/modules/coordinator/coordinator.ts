import type {
  AliasView,
  BulkItem,
  BulkResult,
  CallContext,
  ChangeView,
  ClusterSettingsView,
  ClusterView,
  CollectionSettings,
  CollectionView,
  CountAnswer,
  DeleteAnswer,
  DigestView,
  DocumentInput,
  DocumentPatch,
  DocumentView,
  LogLineView,
  ReadOptions,
  ScrollAnswer,
  ScrollRequest,
  SearchAnswer,
  SearchRequest,
  StatusView,
  WriteAnswer,
  WriteCondition,
  WriteOptions,
} from './core/requests.js';
import type { Filter } from '../shard/core/filter.js';

/** Documents: routed to their shards by id. */
export interface DocumentsPort {
  ingest(
    document: DocumentInput,
    condition: WriteCondition | undefined,
    options: WriteOptions,
    call: CallContext,
  ): Promise<WriteAnswer>;
  patch(
    id: string,
    patch: DocumentPatch,
    condition: WriteCondition | undefined,
    options: WriteOptions,
    call: CallContext,
  ): Promise<WriteAnswer>;
  delete(
    id: string,
    condition: WriteCondition | undefined,
    options: WriteOptions,
    call: CallContext,
  ): Promise<DeleteAnswer>;
  /** Pulls items as fast as they can be stored and no faster; `progress` is told now and then. */
  bulk(items: AsyncIterable<BulkItem>, options: WriteOptions, call: CallContext): Promise<BulkResult>;
  deleteMany(ids: readonly string[], options: WriteOptions, call: CallContext): Promise<DeleteManyAnswer>;
  deleteByFilter(filter: Filter, options: WriteOptions, call: CallContext): Promise<DeleteManyAnswer>;
  get(
    id: string,
    withVector: boolean,
    options: ReadOptions,
    call: CallContext,
  ): Promise<DocumentView & { readonly session: string }>;
  getMany(ids: readonly string[], withVector: boolean, options: ReadOptions, call: CallContext): Promise<GetManyAnswer>;
  scroll(request: ScrollRequest, call: CallContext): Promise<ScrollAnswer>;
  count(filter: Filter | undefined, options: ReadOptions, call: CallContext): Promise<CountAnswer>;
}

export interface GetManyAnswer {
  readonly documents: readonly DocumentView[];
  readonly missing: readonly string[];
  readonly session: string;
}

export interface DeleteManyAnswer {
  readonly deleted: number;
  readonly failed: number;
  readonly errors: readonly { readonly id: string; readonly code: string; readonly detail: string }[];
  readonly session: string;
}

export interface SearchPort {
  search(request: SearchRequest, call: CallContext): Promise<SearchAnswer>;
}

/** Collections, aliases and cluster settings: changes to the map. */
export interface CatalogPort {
  putCollection(
    name: string,
    settings: CollectionSettings,
  ): Promise<{ readonly created: boolean; readonly collection: CollectionView }>;
  getCollection(name: string): Promise<CollectionView>;
  /** @param withinMs shards that have not told their documents by then are named as missing */
  listCollections(withinMs?: number): Promise<readonly CollectionView[]>;
  deleteCollection(name: string): Promise<void>;
  putAlias(name: string, collection: string): Promise<{ readonly created: boolean; readonly alias: AliasView }>;
  getAlias(name: string): Promise<AliasView>;
  deleteAlias(name: string): Promise<void>;
  settings(): ClusterSettingsView;
  changeSettings(change: Partial<ClusterSettingsView>): Promise<ClusterSettingsView>;
}

/** What operators look at and do. */
export interface ClusterPort {
  status(): Promise<StatusView>;
  /** What of the shards makes the status DEGRADED, a sentence for each. */
  degraded(): readonly string[];
  cluster(): Promise<ClusterView>;
  digest(shard: number): Promise<DigestView>;
  /** Superseded writes of merged branches. */
  conflicts(shard: number): Promise<readonly unknown[]>;
  reshard(shardCount: number): Promise<{ readonly operation: string }>;
  drain(nodeId: string): Promise<{ readonly operation: string }>;
  removeNode(nodeId: string): Promise<{ readonly operation: string }>;
  movePrimary(shard: number, nodeId: string): Promise<{ readonly operation: string }>;
  /** Names the copy a shard goes on from when every disk of its set is gone, or begins an empty one. */
  force(shard: number, nodeId: string, empty: boolean): Promise<{ readonly operation: string }>;
  /** Goes on with the map from the copy of the node that is asked, by its name, when a majority of the voters is gone. */
  forceMap(nodeId: string): Promise<{ readonly operation: string }>;
  operation(id: string): Promise<unknown>;
  abortOperation(id: string): Promise<void>;
}

/** What a client of the change stream gives as its cursor to begin at `StreamsPort.latest`. */
export const CURSOR_LATEST = 'latest';

/** Streams of what was written; each ends when `signal` aborts. */
export interface StreamsPort {
  /** The cursor of this moment: what is written from now on lies behind it. */
  latest(signal: AbortSignal): Promise<string>;
  changes(
    cursor: string | undefined,
    collection: string | undefined,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncIterable<ChangeView>;
  log(shard: number, from: number, limit: number, follow: boolean, signal: AbortSignal): AsyncIterable<LogLineView>;
}

/** What the node does, as server-sent events; bounded per listener: a slow one misses events and is told so. */
export interface NodeEvent {
  /** E.g. `document.bulk_progress`; see api.md. */
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface EventsPort {
  /** Calls `listener` until the returned function is called. */
  subscribe(listener: (event: NodeEvent) => void): () => void;
  publish(event: NodeEvent): void;
}

export const DOCUMENTS = Symbol('DOCUMENTS');
export const SEARCH = Symbol('SEARCH');
export const CATALOG = Symbol('CATALOG');
export const CLUSTER = Symbol('CLUSTER');
export const STREAMS = Symbol('STREAMS');
export const EVENTS = Symbol('EVENTS');
