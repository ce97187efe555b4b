import { Module, type DynamicModule } from '@nestjs/common';
import type { Clock } from '../../kernel/clock.js';
import type { Hasher } from '../../kernel/hasher.js';
import type { Random } from '../../kernel/random.js';
import { META_SHARD } from '../../kernel/ids.js';
import { NODE_CONFIG, type NodeConfig } from '../../platform/config/node-config.js';
import { LOGGER, type Logger } from '../../platform/logging/logger.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import { DiskGuard } from '../../platform/resources/disk-guard.js';
import { CLOCK, HASHER, RANDOM } from '../../platform/platform.module.js';
import type { LogStore } from '../log/log-store.js';
import { LOG_STORE } from '../log/log.module.js';
import { ShardService } from '../shard/shard.service.js';
import { systemTimers } from '../../platform/clock/system-timers.js';
import { ClusterPlace } from './cluster-place.js';
import { ReplicationService } from './replication.service.js';
import { UpkeepService } from './upkeep.service.js';

/** The shards' replicas on this node: who writes, in which epoch, and the slow work behind it. */
@Module({})
export class ReplicationModule {
  static of(platform: DynamicModule, log: DynamicModule, shard: DynamicModule): DynamicModule {
    return {
      module: ReplicationModule,
      imports: [platform, log, shard],
      providers: [
        { provide: ClusterPlace, useFactory: () => new ClusterPlace() },
        {
          provide: ReplicationService,
          inject: [
            NODE_CONFIG,
            LOG_STORE,
            ShardService,
            HASHER,
            CLOCK,
            RANDOM,
            LOGGER,
            ClusterPlace,
            Metrics,
            DiskGuard,
          ],
          useFactory: (
            config: NodeConfig,
            store: LogStore,
            shards: ShardService,
            hasher: Hasher,
            clock: Clock,
            random: Random,
            logger: Logger,
            place: ClusterPlace,
            metrics: Metrics,
            disk: DiskGuard,
          ) =>
            new ReplicationService(config, {
              log: store,
              shards,
              hasher,
              clock,
              random,
              timers: systemTimers,
              disk: { room: () => disk.roomFor, takes: (bytes) => disk.takes(bytes) },
              events: {
                copy: ({ kind }) => metrics.copy(kind),
                streamed: (shard, to, entries, bytes) => {
                  const node = place.taken?.membership.record(to)?.nodeId ?? to;
                  metrics.streamed({ shard: shard === META_SHARD ? 'map' : String(shard), to: node, entries, bytes });
                },
              },
              logger: logger.child({ module: 'replication' }),
            }),
        },
        {
          provide: UpkeepService,
          inject: [NODE_CONFIG, ReplicationService, ShardService, LOG_STORE, CLOCK, LOGGER],
          useFactory: (
            config: NodeConfig,
            replication: ReplicationService,
            shards: ShardService,
            store: LogStore,
            clock: Clock,
            logger: Logger,
          ) => new UpkeepService(config, replication, shards, store, clock, logger.child({ module: 'upkeep' })),
        },
      ],
      exports: [ReplicationService, UpkeepService, ClusterPlace],
    };
  }
}
