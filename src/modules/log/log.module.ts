import { Module, type DynamicModule } from '@nestjs/common';
import { join } from 'node:path';
import type { Hasher } from '../../kernel/hasher.js';
import { NODE_CONFIG, type NodeConfig } from '../../platform/config/node-config.js';
import { LOGGER, type Logger } from '../../platform/logging/logger.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import { FATAL, HASHER } from '../../platform/platform.module.js';
import { LevelLogStore } from './adapters/level-log-store.js';
import type { LogStore } from './log-store.js';

/** Injection token of the node's LogStore. */
export const LOG_STORE = Symbol('LOG_STORE');
/** Below the data directory: the database and its side file. */
export const LOG_DIRECTORY = 'log';
/** Exit code of a process whose storage failed (replication 2.6). */
export const EXIT_STORAGE = 74;

/** The log of this node, opened before anything else starts; a failed write ends the process. */
@Module({})
export class LogModule {
  static of(platform: DynamicModule): DynamicModule {
    return {
      module: LogModule,
      imports: [platform],
      providers: [
        {
          provide: LOG_STORE,
          inject: [NODE_CONFIG, HASHER, LOGGER, FATAL, Metrics],
          useFactory: (
            config: NodeConfig,
            hasher: Hasher,
            logger: Logger,
            fatal: (code: number, error: Error) => void,
            metrics: Metrics,
          ): Promise<LogStore> => {
            const log = logger.child({ module: 'log' });
            return LevelLogStore.open({
              directory: join(config.dataDir, LOG_DIRECTORY),
              fsync: config.fsync,
              hasher,
              regressed: config.clusterMode ? 'report' : 'refuse',
              onFailure: (error) => fatal(EXIT_STORAGE, error),
              onWarning: (message) => log.warn(message),
              onCommit: (batch) => metrics.groupCommit(batch),
            });
          },
        },
      ],
      exports: [LOG_STORE],
    };
  }
}
