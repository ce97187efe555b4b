import { NodeError } from '../../../kernel/errors.js';
import type { ErrorCode } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';
import { Listeners } from '../../../kernel/listeners.js';
import type {
  CatalogPort,
  ClusterPort,
  DocumentsPort,
  EventsPort,
  NodeEvent,
  SearchPort,
  StreamsPort,
} from '../../coordinator/coordinator.js';
import type {
  BulkError,
  BulkItem,
  CallContext,
  ChangeView,
  ClusterSettingsView,
  CollectionSettings,
  CollectionView,
  DocumentView,
  LogLineView,
  SearchRequest,
  ShardsReport,
  StatusView,
  WriteAnswer,
  WriteCondition,
  WriteOptions,
} from '../../coordinator/core/requests.js';
import type { DocumentFields } from '../../shard/core/document.js';
import type { Filter } from '../../shard/core/filter.js';

const SHARDS: ShardsReport = { total: 1, ok: 1, stale: [], failed: [] };

/**
 * The coordinator's ports over one map in memory: a node of one shard that keeps the contract as far as the edge can
 * see it. For specs of the edge; the real ports have their own.
 */
export class MemoryNode implements DocumentsPort, SearchPort, CatalogPort, ClusterPort, EventsPort {
  readonly documents = new Map<string, DocumentView>();
  readonly log: ChangeView[] = [];
  readonly collections = new Map<string, CollectionView>();
  readonly aliases = new Map<string, string>();
  readonly listeners = new Listeners<[event: NodeEvent]>();
  readonly calls: CallContext[] = [];
  readonly writes: WriteOptions[] = [];
  readonly searches: SearchRequest[] = [];
  readonly filters: (Filter | undefined)[] = [];
  clusterSettings: ClusterSettingsView = {
    replicaCount: 1,
    writeConsistency: 'one',
    partitionMode: 'available',
    rebalanceGraceMs: 600_000,
  };
  /** Runs before each bulk item is taken. */
  beforeItem: (item: BulkItem) => Promise<void> = () => Promise.resolve();
  /** Fails every write with this code. */
  failWith: ErrorCode | undefined;
  private wakers: (() => void)[] = [];

  constructor() {
    this.collections.set('default', collection('default', {}));
  }

  readonly ingest: DocumentsPort['ingest'] = (document, condition, options, call) => {
    this.calls.push(call);
    this.writes.push(options);
    return settle(() => this.put(document.id, document.fields, condition, options));
  };

  readonly patch: DocumentsPort['patch'] = (id, patch, condition, options, call) => {
    this.calls.push(call);
    return settle(() => {
      const merged = Object.entries({ ...this.found(id), ...patch }).filter(([, value]) => value !== null);
      return this.put(id, Object.fromEntries(merged), condition, options);
    });
  };

  readonly delete: DocumentsPort['delete'] = (id, condition, options, call) => {
    this.calls.push(call);
    return settle(() => {
      this.check(id, condition, options);
      const { version } = this.found(id);
      this.documents.delete(id);
      return { id, deleted: true as const, version, session: 's-del' };
    });
  };

  readonly bulk: DocumentsPort['bulk'] = async (items, options, call) => {
    this.calls.push(call);
    this.writes.push(options);
    const errors: BulkError[] = [];
    const codes = new Set<ErrorCode>();
    let total = 0;
    let failed = 0;
    for await (const item of items) {
      await this.beforeItem(item);
      const index = total++;
      try {
        if (item.kind === 'invalid') throw new NodeError(item.code, item.detail);
        if (item.kind === 'delete') this.documents.delete(item.id);
        else if (item.kind === 'patch') await this.patch(item.id, item.patch, undefined, options, call);
        else this.put(item.id, item.fields, undefined, options);
      } catch (error) {
        if (!(error instanceof NodeError)) throw error;
        failed++;
        codes.add(error.code);
        if (failed <= LIMITS.bulkErrorsMax)
          errors.push({ index, id: item.id ?? null, code: error.code, detail: error.message });
      }
    }
    return { answer: { total, success: total - failed, failed, errors, session: 's-bulk' }, codes };
  };

  readonly deleteMany: DocumentsPort['deleteMany'] = (ids) => {
    const deleted = ids.filter((id) => this.documents.delete(id)).length;
    return settle(() => ({ deleted, failed: 0, errors: [], session: 's' }));
  };

  readonly deleteByFilter: DocumentsPort['deleteByFilter'] = (filter) => {
    this.filters.push(filter);
    return settle(() => ({ deleted: 0, failed: 0, errors: [], session: 's' }));
  };

  readonly get: DocumentsPort['get'] = (id, withVector, _options, call) => {
    this.calls.push(call);
    return settle(() => {
      const { vector, ...document } = this.found(id);
      return {
        ...document,
        ...(withVector && vector !== undefined ? { vector } : {}),
        session: call.session ?? 's-get',
      };
    });
  };

  readonly getMany: DocumentsPort['getMany'] = (ids) => {
    const documents = ids.map((id) => this.documents.get(id)).filter((found) => found !== undefined);
    return settle(() => ({ documents, missing: ids.filter((id) => !this.documents.has(id)), session: 's' }));
  };

  readonly scroll: DocumentsPort['scroll'] = (request) => {
    this.filters.push(request.filter);
    const all = [...this.documents.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    const from = request.cursor === undefined ? 0 : Number(request.cursor);
    const end = from + request.limit;
    return settle(() => ({
      documents: all.slice(from, end),
      cursor: end < all.length ? String(end) : null,
      shards: SHARDS,
      session: 's',
    }));
  };

  readonly count: DocumentsPort['count'] = (filter) => {
    this.filters.push(filter);
    return settle(() => ({ count: this.documents.size, shards: SHARDS, session: 's' }));
  };

  readonly search: SearchPort['search'] = async (request, call) => {
    this.calls.push(call);
    this.searches.push(request);
    if (!this.collections.has(request.collection))
      throw new NodeError('COLLECTION_NOT_FOUND', `there is no collection ${request.collection}`);
    if (request.text === 'wait') await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
    if (request.text === 'bug') throw new TypeError('secret of the node');
    const hits = [...this.documents.values()].filter(
      ({ title, content }) => request.text === undefined || `${title} ${content}`.includes(request.text),
    );
    const results = hits
      .slice(request.offset, request.offset + request.topK)
      .map(({ id, title, metadata, version }, i) => ({
        id,
        score: 1 / (i + 1),
        ...(title === undefined ? {} : { titleJson: JSON.stringify(title) }),
        ...(metadata === undefined ? {} : { metadataJson: JSON.stringify(metadata) }),
        version,
        ranks: { keyword: i + 1 },
      }));
    const { mode } = request;
    return {
      results,
      totalHits: results.length,
      queryTimeMs: 0.5,
      mode,
      fusion: mode === 'HYBRID' ? request.fusion : null,
      partial: false,
      shards: SHARDS,
      coverage: 1,
      mapEpoch: 1,
      session: call.session ?? 's-search',
    };
  };

  readonly putCollection: CatalogPort['putCollection'] = (name, settings) => {
    return settle(() => {
      const made = collection(name, settings);
      const known = this.collections.get(name);
      if (known !== undefined && JSON.stringify(known) !== JSON.stringify(made))
        throw new NodeError('COLLECTION_CONFLICT', `${name} has other settings`);
      this.collections.set(name, made);
      return { created: known === undefined, collection: made };
    });
  };

  readonly getCollection: CatalogPort['getCollection'] = (name) => {
    return settle(() => this.collections.get(name) ?? missing('COLLECTION_NOT_FOUND', name));
  };

  readonly listCollections: CatalogPort['listCollections'] = () => {
    return settle(() => [...this.collections.values()]);
  };

  readonly deleteCollection: CatalogPort['deleteCollection'] = (name) => {
    return settle(() => {
      if (!this.collections.delete(name)) missing('COLLECTION_NOT_FOUND', name);
    });
  };

  readonly putAlias: CatalogPort['putAlias'] = (name, target) => {
    const created = !this.aliases.has(name);
    this.aliases.set(name, target);
    return settle(() => ({ created, alias: { name, collection: target } }));
  };

  readonly getAlias: CatalogPort['getAlias'] = (name) => {
    return settle(() => ({ name, collection: this.aliases.get(name) ?? missing('ALIAS_NOT_FOUND', name) }));
  };

  readonly deleteAlias: CatalogPort['deleteAlias'] = (name) => {
    return settle(() => {
      if (!this.aliases.delete(name)) missing('ALIAS_NOT_FOUND', name);
    });
  };

  readonly settings: CatalogPort['settings'] = () => {
    return this.clusterSettings;
  };

  readonly changeSettings: CatalogPort['changeSettings'] = (change) => {
    this.clusterSettings = { ...this.clusterSettings, ...change };
    return settle(() => this.clusterSettings);
  };

  /** What `degraded` says. */
  amiss: readonly string[] = [];

  readonly degraded: ClusterPort['degraded'] = () => this.amiss;

  /** Why its copy takes no entries. */
  held: 'DISK_FULL' | undefined;

  readonly status: ClusterPort['status'] = () => {
    const held = this.held === undefined ? {} : { held: this.held };
    return settle((): StatusView => ({
      status: 'RUNNING',
      clusterMode: false,
      activeNodes: 1,
      shardCount: 1,
      replicaCount: 0,
      topology: { 'node-1': { status: 'ACTIVE', shards: [0] } },
      nodeId: 'node-1',
      clusterId: 'c',
      version: '0',
      mapEpoch: 1,
      viewDigest: 'd',
      insecure: true,
      uptimeMs: 1,
      documents: this.documents.size,
      shards: [
        {
          shard: 0,
          epoch: 1,
          primary: 'node-1',
          documents: 0,
          offset: 1,
          replicas: [{ node: 'node-1', role: 'primary', inSync: true, offset: 1, lagMs: 0, ...held }],
        },
      ],
    }));
  };

  readonly cluster: ClusterPort['cluster'] = () => {
    return settle(() => ({
      clusterId: 'c',
      mapEpoch: 1,
      viewDigest: 'd',
      failoverPromiseMs: 0,
      mapVoters: ['node-1'],
      settings: this.clusterSettings,
      members: [],
    }));
  };

  readonly digest: ClusterPort['digest'] = (shard) => {
    return settle(() =>
      shard === 0
        ? { shard, offset: 1, chain: 'c', live: 'l', replicas: [] }
        : missing('SHARD_NOT_FOUND', String(shard)),
    );
  };

  readonly conflicts: ClusterPort['conflicts'] = () => {
    return settle(() => []);
  };

  readonly reshard: ClusterPort['reshard'] = () => {
    return settle(() => ({ operation: 'op-1' }));
  };

  readonly drain: ClusterPort['drain'] = (nodeId) => {
    return settle(() => (nodeId === 'node-1' ? { operation: 'op-2' } : missing('NODE_NOT_FOUND', nodeId)));
  };

  readonly removeNode: ClusterPort['removeNode'] = (nodeId) => {
    return this.drain(nodeId);
  };

  readonly movePrimary: ClusterPort['movePrimary'] = () => {
    return settle(() => ({ operation: 'op-3' }));
  };

  readonly force: ClusterPort['force'] = () => {
    return settle(() => ({ operation: 'op-4' }));
  };

  readonly forceMap: ClusterPort['forceMap'] = () => {
    return settle(() => ({ operation: 'op-5' }));
  };

  readonly operation: ClusterPort['operation'] = (id) => {
    return settle(() => (id === 'op-1' ? { operation: id, state: 'DONE' } : missing('OPERATION_NOT_FOUND', id)));
  };

  readonly abortOperation: ClusterPort['abortOperation'] = () => {
    return settle(() => undefined);
  };

  async *changes(
    cursor: string | undefined,
    _collection: string | undefined,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ChangeView> {
    if (cursor === 'old') throw new NodeError('OFFSET_COMPACTED', 'start over');
    let next = cursor === undefined ? 0 : Number(cursor);
    while (!signal.aborted) {
      const change = this.log[next];
      if (change !== undefined) {
        next++;
        if (change.id === 'broken') throw new NodeError('LOG_CORRUPT', 'entry 2 is damaged');
        yield change;
      } else if (follow) {
        await new Promise<void>((resolve) => {
          this.wakers.push(resolve);
          signal.addEventListener('abort', () => resolve());
        });
      } else return;
    }
  }

  async *logLines(from: number, limit: number): AsyncGenerator<LogLineView> {
    for (let offset = from; offset < Math.min(from + limit, 4); offset++) {
      yield { offset, op: 'UPSERT', epoch: 1, version: 'v', chain: 'c', bytes: 1 };
    }
  }

  readonly subscribe: EventsPort['subscribe'] = (listener) => this.listeners.add(listener);

  readonly publish: EventsPort['publish'] = (event) => {
    this.listeners.tell(event);
  };

  private put(
    id: string,
    fields: DocumentFields,
    condition: WriteCondition | undefined,
    options: WriteOptions,
  ): WriteAnswer {
    this.check(id, condition, options);
    const created = !this.documents.has(id);
    const offset = this.log.length + 1;
    const document = { id, ...fields, version: offset.toString(16).padStart(48, '0') };
    this.documents.set(id, document);
    this.log.push({
      cursor: String(offset),
      op: 'upsert',
      id,
      version: document.version,
      collection: options.collection,
      document,
    });
    for (const wake of this.wakers.splice(0)) wake();
    return {
      id,
      indexed: true,
      created,
      version: document.version,
      shard: 0,
      epoch: 1,
      offset,
      durable: 1,
      fsync: 'always',
      session: `s-${offset}`,
    };
  }

  private check(id: string, condition: WriteCondition | undefined, options: WriteOptions): void {
    if (this.failWith !== undefined) throw new NodeError(this.failWith, 'as asked', { retryAfterMs: 1_500 });
    if (!this.collections.has(options.collection)) missing('COLLECTION_NOT_FOUND', options.collection);
    const known = this.documents.get(id)?.version;
    const holds =
      condition === undefined || (condition.kind === 'absent' ? known === undefined : known === condition.version);
    if (!holds) throw new NodeError('VERSION_CONFLICT', 'it has another version');
  }

  private found(id: string): DocumentView {
    return this.documents.get(id) ?? missing('DOCUMENT_NOT_FOUND', id);
  }
}

/** The shard logs of a MemoryNode; apart, because both ports have a `log`. */
export function streamsOf(node: MemoryNode): StreamsPort {
  return {
    latest: () => settle(() => String(node.log.length)),
    changes: (...args) => node.changes(...args),
    log: (shard, from, limit) => (shard === 0 ? node.logLines(from, limit) : missing('SHARD_NOT_FOUND', String(shard))),
  };
}

function collection(name: string, settings: CollectionSettings): CollectionView {
  return {
    name,
    dimensions: settings.dimensions ?? null,
    similarity: settings.similarity ?? 'cosine',
    hnsw: { m: 16, efConstruction: 200, efSearch: 100, ...settings.hnsw },
    documents: 0,
  };
}

function missing(code: ErrorCode, what: string): never {
  throw new NodeError(code, `there is no ${what}`);
}

/** Runs `act` as a port does: failures reject. */
async function settle<T>(act: () => T): Promise<T> {
  await Promise.resolve();
  return act();
}
