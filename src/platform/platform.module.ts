import { Module, type DynamicModule } from '@nestjs/common';
import type { Clock } from '../kernel/clock.js';
import type { Hasher } from '../kernel/hasher.js';
import type { Random } from '../kernel/random.js';
import { NODE_CONFIG, type NodeConfig } from './config/node-config.js';
import { Readiness } from './health/readiness.js';
import { LOGGER, type Logger } from './logging/logger.js';
import { Metrics } from './metrics/metrics.js';
import { DiskGuard } from './resources/disk-guard.js';
import { MemoryGuard } from './resources/memory-guard.js';

/** Injection tokens of the capabilities that are interfaces. */
export const CLOCK = Symbol('CLOCK');
export const HASHER = Symbol('HASHER');
export const RANDOM = Symbol('RANDOM');
/** Version of the package, a string. */
export const NODE_VERSION = Symbol('NODE_VERSION');
/** Ends the process with an exit code after what must be said was said: `(exitCode, error) => void`. */
export const FATAL = Symbol('FATAL');

/** What the platform gives every module; made before Nest starts. */
export interface PlatformParts {
  readonly config: NodeConfig;
  readonly version: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly readiness: Readiness;
  readonly clock: Clock;
  readonly hasher: Hasher;
  readonly random: Random;
  readonly diskGuard: DiskGuard;
  readonly memoryGuard: MemoryGuard;
  readonly fatal: (exitCode: number, error: Error) => void;
}

/** The platform's parts as providers. Pass the one dynamic module to every module that needs it. */
@Module({})
export class PlatformModule {
  static of(parts: PlatformParts): DynamicModule {
    const providers = [
      { provide: NODE_CONFIG, useValue: parts.config },
      { provide: NODE_VERSION, useValue: parts.version },
      { provide: LOGGER, useValue: parts.logger },
      { provide: Metrics, useValue: parts.metrics },
      { provide: Readiness, useValue: parts.readiness },
      { provide: CLOCK, useValue: parts.clock },
      { provide: HASHER, useValue: parts.hasher },
      { provide: RANDOM, useValue: parts.random },
      { provide: DiskGuard, useValue: parts.diskGuard },
      { provide: MemoryGuard, useValue: parts.memoryGuard },
      { provide: FATAL, useValue: parts.fatal },
    ];
    return { module: PlatformModule, providers, exports: providers.map(({ provide }) => provide) };
  }
}
