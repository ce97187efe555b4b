import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { DescService } from '@bufbuild/protobuf';
import type { NodeConfig } from '../../../platform/config/node-config.js';
import { NODE_CONFIG } from '../../../platform/config/node-config.js';
import { NodeGrpcServer } from '../../../platform/grpc/node-grpc-server.js';
import { Readiness } from '../../../platform/health/readiness.js';
import { createLogger, LOGGER } from '../../../platform/logging/logger.js';
import { Metrics } from '../../../platform/metrics/metrics.js';
import { CATALOG, CLUSTER, DOCUMENTS, EVENTS, SEARCH, STREAMS } from '../../coordinator/coordinator.js';
import { NODE_VERSION } from '../../../platform/platform.module.js';
import { ApiModule } from '../api.module.js';
import { createHttpAdapter } from '../http-setup.js';
import { MemoryNode, streamsOf } from './memory-node.js';

/** Connections are cut so long after the end began. */
const CUT_MS = 200;

@Module({})
class MemoryNodeModule {}

/** The real edge, on real sockets, over a MemoryNode. */
export interface MemoryEdge extends AsyncDisposable {
  readonly app: NestFastifyApplication;
  readonly node: MemoryNode;
  readonly readiness: Readiness;
  /** `http://127.0.0.1:<port>`. */
  readonly url: string;
  readonly grpcPort: number;
  readonly logged: string[];
}

/** Starts one on ports of its own; ready unless told otherwise. */
export async function startMemoryEdge(
  options: {
    readonly apiKeys?: NodeConfig['apiKeys'];
    readonly ready?: boolean;
    readonly services?: readonly DescService[];
  } = {},
): Promise<MemoryEdge> {
  const node = new MemoryNode();
  const readiness = new Readiness();
  readiness.expect('log', 'opening the log');
  const logged: string[] = [];
  const log = createLogger({
    level: 'info',
    format: 'json',
    nodeId: 'node-1',
    destination: { write: (line: string) => void logged.push(line) },
  });
  const config = { nodeId: 'node-1', apiKeys: options.apiKeys ?? [], httpTls: undefined } as unknown as NodeConfig;
  const values = new Map<symbol | typeof Readiness | typeof Metrics, unknown>([
    [DOCUMENTS, node],
    [SEARCH, node],
    [CATALOG, node],
    [CLUSTER, node],
    [STREAMS, streamsOf(node)],
    [EVENTS, node],
    [NODE_CONFIG, config],
    [NODE_VERSION, '0.0.0'],
    [LOGGER, log],
    [Readiness, readiness],
    [Metrics, new Metrics({ nodeId: 'node-1', version: '0.0.0' })],
  ]);
  const providers = [...values].map(([provide, useValue]) => ({ provide, useValue }));
  const ports = { module: MemoryNodeModule, providers, exports: [...values.keys()] };
  const app = await NestFactory.create<NestFastifyApplication>(
    ApiModule.register([ports]),
    createHttpAdapter(config, log),
    { logger: false },
  );
  const { services = [] } = options;
  const grpc = new NodeGrpcServer({ host: '127.0.0.1', port: 0, services, drainTimeoutMs: 1_000, log });
  app.connectMicroservice({ strategy: grpc });
  await app.startAllMicroservices();
  await app.listen(0, '127.0.0.1');
  if (options.ready ?? true) readiness.settle('log');
  const closing = async (): Promise<void> => {
    // As the program does: a connection that nobody sent anything on is idle to nobody.
    const cut = setTimeout(() => app.getHttpServer().closeAllConnections(), CUT_MS);
    await app.close();
    clearTimeout(cut);
  };
  const url = (await app.getUrl()).replace('[::1]', '127.0.0.1');
  return { app, node, readiness, url, grpcPort: grpc.port, logged, [Symbol.asyncDispose]: closing };
}
