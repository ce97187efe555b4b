import type { DynamicModule, ModuleMetadata, OnModuleInit } from '@nestjs/common';
import { Inject, Module } from '@nestjs/common';
import { APP_FILTER, HttpAdapterHost } from '@nestjs/core';
import { assert } from '../../kernel/assert.js';
import { Readiness } from '../../platform/health/readiness.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import { RequestGate } from './auth/request-gate.js';
import { BulkController } from './controllers/bulk.controller.js';
import { CatalogController } from './controllers/catalog.controller.js';
import { ClusterController } from './controllers/cluster.controller.js';
import { DocsController } from './controllers/docs.controller.js';
import { DocumentsController } from './controllers/documents.controller.js';
import { EventsController } from './controllers/events.controller.js';
import { HealthController } from './controllers/health.controller.js';
import { SearchController } from './controllers/search.controller.js';
import { StreamsController } from './controllers/streams.controller.js';
import { GrpcAuthGuard } from './grpc/grpc-auth.guard.js';
import { GrpcController } from './grpc/grpc.controller.js';
import { ProblemFilter } from './http/problem.filter.js';
import { NodeHttpAdapter } from './http-setup.js';
import { OpenStreams } from './streams/open-streams.js';

/**
 * The edge: REST, gRPC, events, health, metrics and documentation (api.md). The modules it is registered with provide
 * DOCUMENTS, SEARCH, CATALOG, CLUSTER, STREAMS, EVENTS, NODE_CONFIG, NODE_VERSION, LOGGER, Readiness and Metrics; the
 * application runs on the adapter of `createHttpAdapter`.
 */
@Module({})
export class ApiModule implements OnModuleInit {
  constructor(
    @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
    @Inject(Readiness) private readonly readiness: Readiness,
    @Inject(Metrics) private readonly metrics: Metrics,
  ) {}

  static register(imports: NonNullable<ModuleMetadata['imports']>): DynamicModule {
    return {
      module: ApiModule,
      imports,
      controllers: [
        SearchController,
        DocumentsController,
        BulkController,
        CatalogController,
        ClusterController,
        StreamsController,
        EventsController,
        HealthController,
        DocsController,
        GrpcController,
      ],
      providers: [
        OpenStreams,
        GrpcAuthGuard,
        {
          provide: RequestGate,
          inject: [HttpAdapterHost],
          useFactory: (host: HttpAdapterHost) => adapterOf(host).gate,
        },
        { provide: APP_FILTER, useClass: ProblemFilter },
      ],
    };
  }

  onModuleInit(): void {
    adapterOf(this.host).attach(this.readiness, this.metrics);
  }
}

function adapterOf(host: HttpAdapterHost): NodeHttpAdapter {
  const adapter: unknown = host.httpAdapter;
  assert(adapter instanceof NodeHttpAdapter, 'the node runs on the adapter of createHttpAdapter');
  return adapter;
}
