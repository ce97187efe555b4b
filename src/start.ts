import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { readFileSync } from 'node:fs';
import { readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppModule } from './app.module.js';
import { Cluster } from './cluster.js';
import { Health } from './gen/grpc/health/v1/health_pb.js';
import { SpectorService } from './gen/spector/v1/spector_pb.js';
import { createHttpAdapter, type NodeHttpAdapter } from './modules/api/http-setup.js';
import { ClusterEvents } from './modules/coordinator/cluster-events.js';
import { SEARCH } from './modules/coordinator/coordinator.js';
import { LocalShards } from './modules/coordinator/local-shards.js';
import { NodeFacts } from './modules/coordinator/node-facts.js';
import { EXIT_STORAGE, LOG_DIRECTORY, LOG_STORE } from './modules/log/log.module.js';
import { StorageFailedError, type LogStore } from './modules/log/log-store.js';
import { PEER_SHARDS, type PeerShards } from './modules/coordinator/shard-access.js';
import type { SearchService } from './modules/coordinator/search.service.js';
import type { ShardCallClients } from './modules/coordinator/shard-call-client.js';
import { ShardCallServer } from './modules/coordinator/shard-call-server.js';
import { ClusterPlace } from './modules/replication/cluster-place.js';
import { ReplicationService } from './modules/replication/replication.service.js';
import { UpkeepService } from './modules/replication/upkeep.service.js';
import { liveDocuments } from './modules/shard/core/rows.js';
import { CHECKPOINT_DIRECTORY } from './modules/shard/shard.module.js';
import { ShardService } from './modules/shard/shard.service.js';
import { systemClock } from './platform/clock/system-clock.js';
import { systemRandom } from './platform/clock/system-random.js';
import { maskedConfig } from './platform/config/describe-config.js';
import type { NodeConfig } from './platform/config/node-config.js';
import { nodeHasher } from './platform/crypto/node-hasher.js';
import { grpcHealth } from './platform/grpc/grpc-health.js';
import { NodeGrpcServer } from './platform/grpc/node-grpc-server.js';
import { handshakeLog } from './platform/grpc/tls-handshakes.js';
import { Readiness } from './platform/health/readiness.js';
import { createLogger, type Logger } from './platform/logging/logger.js';
import { NestLogger } from './platform/logging/nest-logger.js';
import { Metrics } from './platform/metrics/metrics.js';
import type { PlatformParts } from './platform/platform.module.js';
import { DiskGuard, statfsProbe } from './platform/resources/disk-guard.js';
import { makeDirectory } from './platform/resources/make-directory.js';
import { MemoryGuard } from './platform/resources/memory-guard.js';
import { LEVEL_SETTINGS } from './modules/log/adapters/level-table.js';

/** A running node. */
export interface RunningNode {
  readonly http: number;
  readonly grpc: number;
  /** Rereads certificates for new connections; throws, and keeps the old ones, when they are bad. */
  reloadCertificates(): void;
  /** Not ready, finish requests, checkpoint, close: everything SIGTERM does but ending the process. */
  stop(): Promise<void>;
}

/**
 * Starts a node: opens the log, listens, then opens the shards; resolves when it is ready.
 * @throws StorageFailedError, or the error of a port that is taken
 */
export async function startNode(
  config: NodeConfig,
  version: string,
  fatal: (exitCode: number, error: Error) => void,
): Promise<RunningNode> {
  await makeDataDirectory(config.dataDir);
  if (!config.clusterMode) await refuseLostLog(config.dataDir);
  const parts = makeParts(config, version, fatal);
  const { logger, readiness, metrics } = parts;
  logger.debug({ config: maskedConfig(config) }, 'effective configuration');
  warnIfOpen(config, logger);
  for (const [name, waitsFor] of CONDITIONS) readiness.expect(name, waitsFor);
  if (config.seeds.length > 0)
    readiness.expect(
      'map',
      `the map is loaded: from this disk, or from a seed that has one (${config.seeds.map(({ host, port }) => `${host}:${port}`).join(', ')})`,
    );
  readiness.settle('configuration');

  const adapter = createHttpAdapter(config, logger);
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.of(parts), adapter, {
    logger: new NestLogger(logger),
    abortOnError: false,
    bodyParser: false,
  });
  const grpc = new NodeGrpcServer({
    host: config.host,
    port: config.grpcPort,
    tls: config.grpcTls,
    services: [SpectorService],
    drainTimeoutMs: config.drainTimeoutMs,
    log: logger.child({ module: 'grpc' }),
    observe: (call) => metrics.grpcCall(call),
    refusedHandshake: handshakeLog(parts.clock, logger.child({ module: 'peers' }), () =>
      metrics.peerRefused('handshake'),
    ),
  });
  grpc.addService(Health, grpcHealth(readiness, [SpectorService]));
  const replication = app.get(ReplicationService);
  await replication.identify();
  const cluster = new Cluster(
    config,
    parts,
    replication,
    app.get<LogStore>(LOG_STORE),
    app.get(ClusterPlace),
    app.get<PeerShards>(PEER_SHARDS),
    app.get(ShardCallServer),
    app.get(ShardService),
    grpc,
  );
  app.connectMicroservice({ strategy: grpc });
  readiness.settle('log');

  const node = new Running(config, parts, app, adapter, grpc, cluster);
  try {
    await node.listen();
    await node.open();
  } catch (error) {
    await node.abandon();
    throw error;
  }
  return node;
}

/** A stopping node answers /readyz with 503 at least this long, so that whoever polls it sees it before the port closes. */
const NOT_READY_MS = 250;

/** Lasting answers get this long to end in good order. */
const STREAMS_END_MS = 500;

const CONDITIONS = [
  ['configuration', 'the configuration is read'],
  ['log', 'the log is opened'],
  ['map', 'the map is loaded'],
  ['shards', 'the shards are opened and their indexes caught up'],
] as const;

class Running implements RunningNode {
  readonly #log: LogStore;
  readonly #shards: ShardService;
  readonly #replication: ReplicationService;
  readonly #upkeep: UpkeepService;
  readonly #events: ClusterEvents;
  readonly #searches: SearchService;
  readonly #local: LocalShards;
  readonly #peers: ShardCallClients;
  #stopped: Promise<void> | undefined;
  http = 0;

  constructor(
    private readonly config: NodeConfig,
    private readonly parts: PlatformParts,
    private readonly app: NestFastifyApplication,
    private readonly adapter: NodeHttpAdapter,
    private readonly server: NodeGrpcServer,
    private readonly cluster: Cluster,
  ) {
    this.#log = app.get<LogStore>(LOG_STORE);
    this.#shards = app.get(ShardService);
    this.#replication = app.get(ReplicationService);
    this.#upkeep = app.get(UpkeepService);
    this.#events = app.get(ClusterEvents);
    this.#searches = app.get<SearchService>(SEARCH);
    this.#local = app.get(LocalShards);
    this.#peers = app.get<ShardCallClients>(PEER_SHARDS);
  }

  get grpc(): number {
    return this.server.port;
  }

  /** Binds both ports; data calls are answered STARTING until the shards are open. */
  async listen(): Promise<void> {
    const { config, app } = this;
    await app.startAllMicroservices();
    await app.listen(config.port, config.host);
    const address = (app.getHttpServer() as { address(): { port: number } | string | null }).address();
    this.http = typeof address === 'object' && address !== null ? address.port : config.port;
    app.get(NodeFacts).listensOn(`${config.host}:${this.http}`, `${config.host}:${this.grpc}`);
    this.parts.logger.info({ http: this.http, grpc: this.grpc, host: config.host }, 'listening');
    if (config.portsFile !== undefined) await writePorts(config.portsFile, this.http, this.grpc);
  }

  /** Opens the shards: replays what the indexes miss. */
  async open(): Promise<void> {
    const { readiness, logger } = this.parts;
    await this.cluster.enter(this.grpc, this.http, (what) => readiness.settle(what));
    this.#upkeep.start();
    this.#events.start();
    this.#sampleMetrics();
    for (const shard of this.#replication.localShards()) {
      const fault = this.#replication.fault(shard);
      if (fault !== undefined) readiness.degrade(`shard ${shard}`, fault.message);
    }
    this.#replication.onCopy(({ kind, shard, node }) => {
      if (kind === 'demoted' || node !== this.#replication.self) return;
      const problem = 'the disk is down to its reserve: what the primary logs is not taken until there is room';
      readiness.degrade(`shard ${shard}`, kind === 'held' ? problem : undefined);
    });
    const { shardCount, clusterId } = this.#replication.map.current();
    logger.info({ shards: shardCount, clusterId }, 'ready');
  }

  reloadCertificates(): void {
    this.adapter.reloadCertificates();
    this.server.reloadCertificates();
    this.parts.logger.info('certificates reread');
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** After a start that failed: gives the ports and the database back. */
  async abandon(): Promise<void> {
    this.parts.readiness.stop();
    this.#replication.stop();
    await this.cluster.stop();
    await this.app.close();
    await this.#shards.close(false);
    await this.#log.close();
  }

  async #stop(): Promise<void> {
    const { logger, readiness } = this.parts;
    readiness.stop();
    logger.info('stopping: no longer ready, finishing requests');
    await new Promise((resolve) => setTimeout(resolve, NOT_READY_MS));
    await this.cluster.leave();
    await this.adapter.running.drained(this.config.drainTimeoutMs);
    // What is still connected now is idle, a stream that is being ended, or over its time: clients keep connections for
    // minutes, and the server would wait for each.
    const cut = setTimeout(() => this.adapter.getInstance().server.closeAllConnections(), STREAMS_END_MS);
    await this.app.close();
    clearTimeout(cut);
    await this.#upkeep.stop();
    this.#events.stop();
    this.#replication.stop();
    await this.cluster.stop();
    await this.#shards.close();
    await this.#log.close();
    logger.info('stopped');
  }

  #sampleMetrics(): void {
    const { metrics, diskGuard, memoryGuard, readiness } = this.parts;
    metrics.sampleShards(() =>
      this.#replication.localShards().map((shard) => {
        const position = this.#replication.replica(shard)?.position;
        return {
          shard,
          documents: liveDocuments(this.#replication.counters(shard)),
          logBytes: this.#log.state(shard).bytes,
          tail: position?.tail ?? 0,
          applied: position?.applied ?? 0,
          unsaved: this.#shards.unsaved(shard),
        };
      }),
    );
    metrics.sampleCluster(() => this.#events.reading());
    metrics.sampleQueues(() => {
      let ops = 0;
      let bytes = 0;
      let feedBytes = 0;
      let indexBytes = 0;
      for (const shard of this.#replication.localShards()) {
        const replica = this.#replication.replica(shard);
        ops += replica?.inFlight.ops ?? 0;
        bytes += replica?.inFlight.bytes ?? 0;
        feedBytes += replica?.feedBytes ?? 0;
        indexBytes += this.#shards.pendingBytes(shard);
      }
      return {
        writes: ops,
        write_bytes: bytes,
        replication_bytes: feedBytes,
        index_bytes: indexBytes,
        searches: this.#searches.underWay,
        calls: this.#local.underWay,
        peer_calls: this.#peers.underWay,
      };
    });
    metrics.sampleResources(() => ({
      diskFreeBytes: diskGuard.freeBytes,
      diskReserveBytes: diskGuard.reserveBytes,
      memoryMaxBytes: memoryGuard.maxBytes,
      ready: readiness.ready,
    }));
  }
}

function makeParts(
  config: NodeConfig,
  version: string,
  fatal: (exitCode: number, error: Error) => void,
): PlatformParts {
  return {
    config,
    version,
    logger: createLogger({ level: config.logLevel, format: config.logFormat, nodeId: config.nodeId }),
    metrics: new Metrics({ nodeId: config.nodeId, version }),
    readiness: new Readiness(),
    clock: systemClock,
    hasher: nodeHasher,
    random: systemRandom,
    diskGuard: new DiskGuard({
      probe: statfsProbe(config.dataDir),
      clock: systemClock,
      writeBufferBytes: LEVEL_SETTINGS.writeBufferBytes,
      fileBytesMax: LEVEL_SETTINGS.fileBytesMax,
    }),
    memoryGuard: new MemoryGuard({ maxBytes: config.maxMemoryBytes, clock: systemClock }),
    fatal,
  };
}

async function makeDataDirectory(directory: string): Promise<void> {
  try {
    await makeDirectory(directory);
  } catch (error) {
    throw new StorageFailedError(
      `the data directory ${directory} cannot be made: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

/** Alone a node begins no empty log where indexes of another one lie; in a cluster it gets its copies anew. */
async function refuseLostLog(dataDir: string): Promise<void> {
  const namesIn = (name: string): Promise<string[]> => readdir(join(dataDir, name)).catch(() => []);
  const [log, checkpoints] = await Promise.all([namesIn(LOG_DIRECTORY), namesIn(CHECKPOINT_DIRECTORY)]);
  if (log.length > 0 || checkpoints.length === 0) return;
  throw new StorageFailedError(
    `${dataDir} holds indexes, but its log is gone. Put the directory "${LOG_DIRECTORY}" back, restore a backup into an empty directory, or delete "${CHECKPOINT_DIRECTORY}" to begin without documents.`,
  );
}

/** Written under another name first, so that whoever reads it reads all of it. */
async function writePorts(path: string, http: number, grpc: number): Promise<void> {
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, JSON.stringify({ http, grpc, pid: process.pid }));
  await rename(draft, path);
}

function warnIfOpen(config: NodeConfig, logger: Logger): void {
  const loopback = config.host === 'localhost' || config.host === '::1' || config.host.startsWith('127.');
  if (config.apiKeys.length === 0 && !loopback) {
    logger.warn(
      { host: config.host },
      'no API keys are set and the node listens beyond loopback: anyone who reaches it can read and write',
    );
  }
  if (config.clusterMode && config.grpcTls === undefined && config.clusterSecret === undefined) {
    logger.warn(
      'neither certificates nor a secret protect the ports between nodes: anyone who reaches the gRPC port is believed to be a node; set GRPC_TLS with its files, or CLUSTER_SECRET',
    );
  }
}

/** The exit code an error that ended a start stands for (api.md, Processes). */
export function exitCodeOf(error: unknown): number {
  return error instanceof StorageFailedError ? EXIT_STORAGE : 1;
}

/** Version of the package. */
export function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  return manifest.version;
}
