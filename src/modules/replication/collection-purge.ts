import { NodeError } from '../../kernel/errors.js';
import { META_SHARD } from '../../kernel/ids.js';
import { isDropped } from '../ring/core/map.js';
import { levelOf } from './core/write-level.js';
import type { WriteOutcome, WriteRequest } from './core/write.js';
import type { LocalCopies } from './local-copies.js';
import type { MapService } from './map.service.js';
import type { ReplicationLogger } from './replication-ports.js';

/** Logs the end of collections that the map dropped, where this node reigns (replication 2.3). */
export class CollectionPurge {
  /** By shard and collection: those on their way, and those that failed last, of which is told once. */
  readonly #purges = new Map<string, 'under way' | 'failed'>();

  constructor(
    private readonly logger: ReplicationLogger,
    private readonly map: MapService,
    private readonly copies: LocalCopies,
    private readonly write: (shard: number, request: WriteRequest) => Promise<WriteOutcome>,
  ) {}

  /** All that still have rows: a crash before it came to this, or a shard that refused, is made up for here. */
  purgeDropped(): void {
    if (!this.map.known) return;
    const map = this.map.current();
    for (const [shard, replica] of this.copies) {
      if (shard === META_SHARD || replica.role !== 'primary') continue;
      for (const id of replica.counters().collections.keys()) if (isDropped(map, id)) this.#purgeOnce(shard, id);
    }
  }

  /** Purges it, unless that is under way. */
  #purgeOnce(shard: number, collectionId: number): void {
    const name = `${shard}/${collectionId}`;
    const before = this.#purges.get(name);
    if (before === 'under way') return;
    this.#purges.set(name, 'under way');
    this.#purge(shard, collectionId).then(
      () => this.#purges.delete(name),
      (error: unknown) => {
        this.#purges.set(name, 'failed');
        if (before === 'failed') return;
        this.logger.warn({ shard, err: error }, 'a dropped collection could not be purged; it is tried again');
      },
    );
  }

  /** Logs the end of a collection in one shard: its entries are ignored from then on. */
  async #purge(shard: number, collectionId: number): Promise<void> {
    const outcome = await this.write(shard, {
      op: 'COLLECTION_PURGE',
      collectionId,
      id: '',
      payload: new Uint8Array(0),
      level: levelOf('auto', this.map.current()),
    });
    if (outcome.kind === 'refused') throw new NodeError(outcome.code, outcome.detail);
  }
}
