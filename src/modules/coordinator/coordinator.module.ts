import { Module, type DynamicModule } from '@nestjs/common';
import type { Hasher } from '../../kernel/hasher.js';
import { NODE_CONFIG, type NodeConfig } from '../../platform/config/node-config.js';
import { Readiness } from '../../platform/health/readiness.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import { HASHER, NODE_VERSION } from '../../platform/platform.module.js';
import { DiskGuard } from '../../platform/resources/disk-guard.js';
import { MemoryGuard } from '../../platform/resources/memory-guard.js';
import type { LogStore } from '../log/log-store.js';
import { LOG_STORE } from '../log/log.module.js';
import { ReplicationService } from '../replication/replication.service.js';
import { ShardService } from '../shard/shard.service.js';
import { AttributeKeys } from './attribute-keys.js';
import { CatalogService } from './catalog.service.js';
import { ClusterService } from './cluster.service.js';
import { CATALOG, CLUSTER, DOCUMENTS, EVENTS, SEARCH, STREAMS } from './coordinator.js';
import { DocumentReader } from './document-reader.js';
import { DocumentsService } from './documents.service.js';
import { EventsService } from './events.service.js';
import { NodeAdmission } from './node-admission.js';
import { NodeFacts } from './node-facts.js';
import { ReadGate } from './read-gate.js';
import { SearchService } from './search.service.js';
import { Sessions } from './session.js';
import { StreamsService } from './streams.service.js';
import { Writer } from './writer.js';

/** One client request across shards. */
@Module({})
export class CoordinatorModule {
  static of(
    platform: DynamicModule,
    log: DynamicModule,
    shard: DynamicModule,
    replication: DynamicModule,
  ): DynamicModule {
    return {
      module: CoordinatorModule,
      imports: [platform, log, shard, replication],
      providers: [
        { provide: AttributeKeys, useFactory: () => new AttributeKeys() },
        {
          provide: Sessions,
          inject: [ReplicationService],
          useFactory: (service: ReplicationService) => new Sessions(service.map),
        },
        {
          provide: DocumentReader,
          inject: [ReplicationService, LOG_STORE],
          useFactory: (service: ReplicationService, store: LogStore) => new DocumentReader(service, store),
        },
        {
          provide: ReadGate,
          inject: [ReplicationService, LOG_STORE],
          useFactory: (service: ReplicationService, store: LogStore) => new ReadGate(service, store),
        },
        {
          provide: Writer,
          inject: [ReplicationService, DocumentReader, HASHER, DiskGuard, MemoryGuard, AttributeKeys, Metrics],
          useFactory: (
            service: ReplicationService,
            reader: DocumentReader,
            hasher: Hasher,
            disk: DiskGuard,
            memory: MemoryGuard,
            keys: AttributeKeys,
            metrics: Metrics,
          ) => new Writer(service, reader, hasher, new NodeAdmission(disk, memory), keys, metrics),
        },
        {
          provide: DOCUMENTS,
          inject: [NODE_CONFIG, ReplicationService, ShardService, DocumentReader, Writer, ReadGate, Sessions, EVENTS],
          useFactory: (...parts: ConstructorParameters<typeof DocumentsService>) => new DocumentsService(...parts),
        },
        {
          provide: SEARCH,
          inject: [NODE_CONFIG, ReplicationService, ShardService, LOG_STORE, ReadGate, Sessions, EVENTS, Metrics],
          useFactory: (...parts: ConstructorParameters<typeof SearchService>) => new SearchService(...parts),
        },
        {
          provide: CATALOG,
          inject: [NODE_CONFIG, ReplicationService],
          useFactory: (config: NodeConfig, service: ReplicationService) => new CatalogService(config, service),
        },
        {
          provide: NodeFacts,
          inject: [NODE_VERSION, Readiness, DiskGuard],
          useFactory: (version: string, readiness: Readiness, disk: DiskGuard) =>
            new NodeFacts(version, readiness, disk),
        },
        {
          provide: CLUSTER,
          inject: [NODE_CONFIG, ReplicationService, HASHER, NodeFacts],
          useFactory: (...parts: ConstructorParameters<typeof ClusterService>) => new ClusterService(...parts),
        },
        {
          provide: STREAMS,
          inject: [ReplicationService, LOG_STORE, DocumentReader],
          useFactory: (...parts: ConstructorParameters<typeof StreamsService>) => new StreamsService(...parts),
        },
        { provide: EVENTS, useFactory: () => new EventsService() },
      ],
      exports: [DOCUMENTS, SEARCH, CATALOG, CLUSTER, STREAMS, EVENTS, NodeFacts, AttributeKeys],
    };
  }
}
