import { Module, type DynamicModule } from '@nestjs/common';
import { ApiModule } from './modules/api/api.module.js';
import { CoordinatorModule } from './modules/coordinator/coordinator.module.js';
import { LogModule } from './modules/log/log.module.js';
import { ReplicationModule } from './modules/replication/replication.module.js';
import { ShardModule } from './modules/shard/shard.module.js';
import { PlatformModule, type PlatformParts } from './platform/platform.module.js';

/** The node: the only place that names every module (architecture, Layout). */
@Module({})
export class AppModule {
  static of(parts: PlatformParts): DynamicModule {
    const platform = PlatformModule.of(parts);
    const log = LogModule.of(platform);
    const shard = ShardModule.of(platform, log);
    const replication = ReplicationModule.of(platform, log, shard);
    const coordinator = CoordinatorModule.of(platform, log, shard, replication);
    return {
      module: AppModule,
      imports: [platform, log, shard, replication, coordinator, ApiModule.register([platform, coordinator])],
    };
  }
}
