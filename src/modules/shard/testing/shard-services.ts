import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exactVectorIndexes } from '../../../../test/contract/exact-vector-index.js';
import { ShardLog, specOf } from '../../../../test/contract/shard-log.js';
import { Clusters } from '../../../../test/contract/vector-index.suite.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../../log/adapters/memory-log-store.js';
import { encodeSearch } from '../core/search-wire.js';
import type { ShardPorts } from '../shard-ports.js';
import { ShardService } from '../shard.service.js';

export const spec = specOf(1, 4);

/** What a search for a term asks of shards. */
export const keyword = (term: string, shards = [0]): [number[], Uint8Array] => [
  shards,
  encodeSearch({ collectionId: 1, exact: false, keyword: { terms: [term], k: 100 } }),
];

/** Shard services over one log, with checkpoints in a directory of their own, and a clock that is set by hand. */
export class ShardServices {
  nowMs = 1_000;
  readonly reports: { level: string; message: string; details: object }[] = [];
  readonly #services: ShardService[] = [];
  readonly #clusters = new Clusters(41, 4, 6);

  private constructor(
    readonly directory: string,
    public log: MemoryLogStore,
  ) {}

  static async open(): Promise<ShardServices> {
    const directory = await mkdtemp(join(tmpdir(), 'shard-service-'));
    return new ShardServices(directory, await MemoryLogStore.open({ hasher: nodeHasher }));
  }

  async dispose(): Promise<void> {
    for (const service of this.#services.splice(0)) await service.close(false);
    await this.log.close();
    await rm(this.directory, { recursive: true });
  }

  of(changes: Partial<ShardPorts> = {}): ShardService {
    const service = new ShardService({
      log: this.log,
      hasher: nodeHasher,
      clock: { wallMs: () => this.nowMs, monotonicMs: () => this.nowMs },
      directory: this.directory,
      threads: 0,
      indexes: exactVectorIndexes,
      spaceFor: () => true,
      report: (level, message, details) => this.reports.push({ level, message, details }),
      ...changes,
    });
    this.#services.push(service);
    return service;
  }

  fill(shardLog: ShardLog, from: number, to: number): Uint8Array[] {
    return Array.from({ length: to - from }, (_, i) =>
      shardLog.upsert(`id-${from + i}`, {
        content: (from + i) % 2 === 0 ? 'red word' : 'blue word',
        vector: this.#clusters.next(),
        metadata: { n: from + i },
      }),
    );
  }

  /** A shard of 20 documents with checkpoints at offsets 10 and 20. */
  async twoCheckpoints(): Promise<ShardLog> {
    const shardLog = new ShardLog();
    const service = this.of();
    await service.open(0, [spec]);
    for (const to of [10, 20]) {
      const entries = this.fill(shardLog, to - 10, to);
      await shardLog.store(this.log);
      await service.apply(0, entries);
      const taken = await service.checkpoint(0);
      if (taken?.offset !== to) throw new Error(`there is no checkpoint at ${to}`);
    }
    await service.close(false);
    return shardLog;
  }

  async checkpoints(shard = 0): Promise<string[]> {
    const names = await readdir(join(this.directory, String(shard)));
    return names.map((name) => String(Number(name))).sort();
  }
}
