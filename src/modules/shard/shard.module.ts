import { Module, type DynamicModule } from '@nestjs/common';
import { join } from 'node:path';
import type { Clock } from '../../kernel/clock.js';
import type { Hasher } from '../../kernel/hasher.js';
import { NODE_CONFIG, type NodeConfig } from '../../platform/config/node-config.js';
import { LOGGER, type Logger } from '../../platform/logging/logger.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import { CLOCK, HASHER } from '../../platform/platform.module.js';
import { DiskGuard } from '../../platform/resources/disk-guard.js';
import { IdleMemory, threadMemory } from '../../platform/resources/idle-memory.js';
import { LOG_STORE } from '../log/log.module.js';
import type { LogStore } from '../log/log-store.js';
import { nativeVectorIndexes, trimMemory } from './adapters/native-vector-index.js';
import { vectorIndexes } from './adapters/vector-indexes.js';
import { SHARD_PORTS, type ShardPorts } from './shard-ports.js';
import { ShardService } from './shard.service.js';

/** Below the data directory: the index checkpoints. */
export const CHECKPOINT_DIRECTORY = 'checkpoints';

/** The indexes of this node's shards. They are ended by `ShardService.close`, after replication stopped. */
@Module({})
export class ShardModule {
  static of(platform: DynamicModule, log: DynamicModule): DynamicModule {
    return {
      module: ShardModule,
      imports: [platform, log],
      providers: [
        {
          provide: SHARD_PORTS,
          inject: [NODE_CONFIG, LOG_STORE, HASHER, CLOCK, DiskGuard, LOGGER, Metrics],
          useFactory: portsOf,
        },
        ShardService,
      ],
      exports: [ShardService],
    };
  }
}

function portsOf(
  config: NodeConfig,
  log: LogStore,
  hasher: Hasher,
  clock: Clock,
  disk: DiskGuard,
  logger: Logger,
  metrics: Metrics,
): ShardPorts {
  const child = logger.child({ module: 'shard' });
  metrics.vectorGraph(vectorIndexes.name);
  if (nativeVectorIndexes !== undefined) child.info({ graph: vectorIndexes.name }, 'vector graph');
  else
    child.warn({ graph: vectorIndexes.name }, 'the slower vector graph: the addon of this build cannot be loaded here');
  return {
    log,
    hasher,
    clock,
    directory: join(config.dataDir, CHECKPOINT_DIRECTORY),
    threads: config.indexThreads,
    // A checkpoint can wait; what is left of the disk belongs to the log.
    spaceFor: (bytes) => disk.freeBytes - bytes >= disk.reserveBytes,
    report: (level, message, details) => child[level](details, message),
    onCheckpoint: (outcome, ms) => metrics.checkpoint({ outcome, ms }),
    idleMemory: new IdleMemory(threadMemory(() => giveBack(log))).start(),
  };
}

/** What a node that rests does not need. */
function giveBack(log: LogStore): void {
  log.forgetRecent();
  trimMemory();
}
