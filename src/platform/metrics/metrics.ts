import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { LabelBound } from './label-bound.js';

/** What is measured of one shard when metrics are scraped. */
export interface ShardReading {
  readonly shard: number;
  readonly documents: number;
  /** Bytes of the log's entries. */
  readonly logBytes: number;
  /** Offset of the last entry of the log. */
  readonly tail: number;
  /** Offset applied to the index. */
  readonly applied: number;
  /** Entries that no index checkpoint holds. */
  readonly unsaved: number;
}

/** What is measured of the node's resources when metrics are scraped. */
export interface ResourceReading {
  readonly diskFreeBytes: number;
  readonly diskReserveBytes: number;
  readonly memoryMaxBytes: number;
  readonly ready: boolean;
}

/** What is measured of this node's place in the cluster when metrics are scraped. */
export interface ClusterReading {
  /** Shards this node is primary of, the map's own not counted. */
  readonly led: number;
  /** Copies of those shards on other nodes that are in sync, of all that the map asks for. */
  readonly replicasInSync: number;
  readonly replicasWanted: number;
  /** Copies on this node that follow another, by shard: milliseconds since each had everything its primary had. */
  readonly lagMs: ReadonlyMap<number, number>;
  /** Members of the view by status, as this node sees them. */
  readonly members: ReadonlyMap<string, number>;
  readonly mapEpoch: number;
}

/** Routes, methods and the like: far more than there are, far fewer than could hurt. */
const LABEL_VALUES_MAX = 200;
const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const BATCH_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];
const BATCH_ENTRIES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];
const CHECKPOINT_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/**
 * What a node counts, for Prometheus (/metrics). Times are passed in milliseconds and published in seconds. Labels have
 * few values: `route` is a route's template, never a path. Event loop delay, resident memory, garbage collection and
 * open handles are counted by prom-client itself.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #routes = new LabelBound(LABEL_VALUES_MAX);
  readonly #grpcMethods = new LabelBound(LABEL_VALUES_MAX);
  readonly #queueNames = new LabelBound(LABEL_VALUES_MAX);
  readonly #followers = new LabelBound(LABEL_VALUES_MAX);
  readonly #http = this.#counter('spector_http_requests_total', 'HTTP requests answered', ['route', 'method', 'code']);
  readonly #httpSeconds = this.#histogram(
    'spector_http_request_seconds',
    'Time to answer an HTTP request',
    REQUEST_SECONDS,
    ['route', 'method'],
  );
  readonly #grpc = this.#counter('spector_grpc_requests_total', 'gRPC calls ended', ['method', 'code']);
  readonly #grpcSeconds = this.#histogram('spector_grpc_request_seconds', 'Time of a gRPC call', REQUEST_SECONDS, [
    'method',
  ]);
  readonly #searches = this.#counter('spector_searches_total', 'Searches', ['mode', 'outcome']);
  readonly #searchSeconds = this.#histogram('spector_search_seconds', 'Time of a search', REQUEST_SECONDS, ['mode']);
  readonly #writes = this.#counter('spector_writes_total', 'Documents written', ['op', 'outcome']);
  readonly #batches = this.#counter('spector_log_batches_total', 'Group commits', []);
  readonly #batchBytes = this.#counter('spector_log_batch_bytes_total', 'Bytes of group commits', []);
  readonly #batchEntries = this.#histogram('spector_log_batch_entries', 'Entries of a group commit', BATCH_ENTRIES, []);
  readonly #batchSeconds = this.#histogram(
    'spector_log_batch_seconds',
    'Time of a group commit, its sync included',
    BATCH_SECONDS,
    [],
  );
  readonly #peerRefusals = this.#counter('spector_peer_refusals_total', 'Calls and connections of nodes refused', [
    'reason',
  ]);
  readonly #peerFailures = this.#counter('spector_peer_failures_total', 'Calls to other nodes that were not answered', [
    'connection',
    'reason',
  ]);
  readonly #sentEntries = this.#counter(
    'spector_replication_sent_entries_total',
    'Log entries sent to followers, live and to catch up',
    ['shard', 'to'],
  );
  readonly #sentBytes = this.#counter('spector_replication_sent_bytes_total', 'Bytes of the entries sent', [
    'shard',
    'to',
  ]);
  readonly #copies = this.#counter(
    'spector_copies_total',
    'Copies of shards that something happened to, by what this node did',
    ['event'],
  );
  readonly #checkpoints = this.#counter('spector_checkpoints_total', 'Index checkpoints', ['outcome']);
  readonly #checkpointSeconds = this.#histogram(
    'spector_checkpoint_seconds',
    'Time of an index checkpoint',
    CHECKPOINT_SECONDS,
    [],
  );

  /** @param node name and version of the node, as labels of `spector_info` */
  constructor(node: { readonly nodeId: string; readonly version: string }) {
    this.#gauge('spector_info', 'Always 1', ['node', 'version']).set({ node: node.nodeId, version: node.version }, 1);
    collectDefaultMetrics({ register: this.#registry });
  }

  /** Type of the text. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Everything, as Prometheus reads it. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** An answered request; `route` is the template, e.g. `/api/v1/documents/:id`. */
  httpRequest({
    route,
    method,
    code,
    ms,
  }: {
    readonly route: string;
    readonly method: string;
    readonly code: number;
    readonly ms: number;
  }): void {
    const bounded = this.#routes.of(route);
    this.#http.inc({ route: bounded, method, code });
    this.#httpSeconds.observe({ route: bounded, method }, ms / 1_000);
  }

  /** An ended gRPC call: pass it to NodeGrpcServer as `observe`. */
  grpcCall({ method, code, ms }: { readonly method: string; readonly code: string; readonly ms: number }): void {
    const bounded = this.#grpcMethods.of(method);
    this.#grpc.inc({ method: bounded, code });
    this.#grpcSeconds.observe({ method: bounded }, ms / 1_000);
  }

  /** A call to this node's peers' services was refused, or a message in it was malformed, or a TLS handshake failed. */
  peerRefused(reason: string): void {
    this.#peerRefusals.inc({ reason });
  }

  /** A call to another node was not answered: pass it to PeerChannels as `failed`. */
  peerFailed(connection: string, reason: string): void {
    this.#peerFailures.inc({ connection, reason });
  }

  /** Entries of a shard's log were sent to the follower on the node `to`. */
  streamed({
    shard,
    to,
    entries,
    bytes,
  }: {
    readonly shard: string;
    readonly to: string;
    readonly entries: number;
    readonly bytes: number;
  }): void {
    const labels = { shard, to: this.#followers.of(to) };
    this.#sentEntries.inc(labels, entries);
    this.#sentBytes.inc(labels, bytes);
  }

  /** `dropped`: a copy that moved to another node was deleted here; `demoted`: one elsewhere will need a snapshot; `healed`: a damaged one here is whole again; `held`: one here takes no more entries, the disk is down to its reserve; `resumed`: it does; `forced`: an operator named it to go on from. */
  copy(event: 'dropped' | 'demoted' | 'healed' | 'held' | 'resumed' | 'forced'): void {
    this.#copies.inc({ event });
  }

  search({
    mode,
    outcome,
    ms,
  }: {
    readonly mode: 'KEYWORD' | 'VECTOR' | 'HYBRID';
    readonly outcome: 'ok' | 'partial' | 'failed';
    readonly ms: number;
  }): void {
    this.#searches.inc({ mode, outcome });
    this.#searchSeconds.observe({ mode }, ms / 1_000);
  }

  /** `count` documents of one outcome: stored, refused before anything was logged, or unknown. */
  write({
    op,
    outcome,
    count = 1,
  }: {
    readonly op: 'upsert' | 'patch' | 'delete';
    readonly outcome: 'stored' | 'refused' | 'unknown';
    readonly count?: number;
  }): void {
    this.#writes.inc({ op, outcome }, count);
  }

  /** One batch of the log, of all shards. */
  groupCommit({ entries, bytes, ms }: { readonly entries: number; readonly bytes: number; readonly ms: number }): void {
    this.#batches.inc();
    this.#batchBytes.inc(bytes);
    this.#batchEntries.observe(entries);
    this.#batchSeconds.observe(ms / 1_000);
  }

  /** What makes the vector graphs of this node. */
  vectorGraph(name: string): void {
    this.#gauge('spector_vector_graph', 'Always 1; the label says what makes the vector graphs', ['graph']).set(
      { graph: name },
      1,
    );
  }

  checkpoint({ outcome, ms }: { readonly outcome: 'written' | 'failed'; readonly ms: number }): void {
    this.#checkpoints.inc({ outcome });
    this.#checkpointSeconds.observe(ms / 1_000);
  }

  /** Reads the shards at each scrape. */
  sampleShards(read: () => readonly ShardReading[]): void {
    // The first one registered is the first one collected: it sets them all.
    const lag = this.#gauge(
      'spector_index_lag_entries',
      'Entries of the log that the index has not applied',
      ['shard'],
      () => {
        for (const gauge of [lag, documents, logBytes, tail, unsaved]) gauge.reset();
        for (const reading of read()) {
          const labels = { shard: reading.shard };
          lag.set(labels, reading.tail - reading.applied);
          documents.set(labels, reading.documents);
          logBytes.set(labels, reading.logBytes);
          tail.set(labels, reading.tail);
          unsaved.set(labels, reading.unsaved);
        }
      },
    );
    const documents = this.#gauge('spector_shard_documents', 'Live documents', ['shard']);
    const logBytes = this.#gauge('spector_log_bytes', 'Bytes of the log', ['shard']);
    const tail = this.#gauge('spector_log_tail_offset', 'Offset of the last entry', ['shard']);
    const unsaved = this.#gauge(
      'spector_index_unsaved_entries',
      'Entries that no checkpoint of the index holds: what a restart after a crash would replay',
      ['shard'],
    );
  }

  /** Reads depths of queues by name at each scrape. */
  sampleQueues(read: () => Readonly<Record<string, number>>): void {
    const gauge = this.#gauge('spector_queue_depth', 'Things that wait', ['queue'], () => {
      for (const [queue, depth] of Object.entries(read())) gauge.set({ queue: this.#queueNames.of(queue) }, depth);
    });
  }

  /** Reads this node's place in the cluster at each scrape. */
  sampleCluster(read: () => ClusterReading): void {
    const led = this.#gauge('spector_shards_led', 'Shards this node is primary of', [], () => {
      const reading = read();
      led.set(reading.led);
      inSync.set(reading.replicasInSync);
      wanted.set(reading.replicasWanted);
      epoch.set(reading.mapEpoch);
      lag.reset();
      for (const [shard, ms] of reading.lagMs) lag.set({ shard }, ms / 1_000);
      members.reset();
      for (const [status, count] of reading.members) members.set({ status }, count);
    });
    const inSync = this.#gauge('spector_replicas_in_sync', 'Replicas in sync of the shards led here', []);
    const wanted = this.#gauge('spector_replicas_wanted', 'Replicas the map asks for of the shards led here', []);
    const lag = this.#gauge(
      'spector_replica_lag_seconds',
      'Time since a copy here that follows had everything its primary had',
      ['shard'],
    );
    const members = this.#gauge('spector_members', 'Members of the cluster as this node sees them', ['status']);
    const epoch = this.#gauge('spector_map_epoch', 'Epoch of the map this node knows', []);
  }

  /** Reads the node's resources at each scrape. */
  sampleResources(read: () => ResourceReading): void {
    const ready = this.#gauge('spector_ready', '1 while the node is ready', [], () => {
      const reading = read();
      ready.set(Number(reading.ready));
      disk.set(reading.diskFreeBytes);
      reserve.set(reading.diskReserveBytes);
      memory.set(reading.memoryMaxBytes);
    });
    const disk = this.#gauge('spector_disk_free_bytes', 'Bytes free on the disk of the data', []);
    const reserve = this.#gauge('spector_disk_reserve_bytes', 'Free bytes below which upserts are refused', []);
    const memory = this.#gauge('spector_memory_max_bytes', 'Resident bytes above which upserts are refused', []);
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  #histogram<L extends string>(name: string, help: string, buckets: number[], labelNames: readonly L[]): Histogram<L> {
    return new Histogram({ name, help, buckets, labelNames, registers: [this.#registry] });
  }

  #gauge<L extends string>(name: string, help: string, labelNames: readonly L[], collect?: () => void): Gauge<L> {
    return new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      ...(collect === undefined ? {} : { collect }),
    });
  }
}
