import { compareVersions } from '../../../src/kernel/version.js';
import type { Version } from '../../../src/kernel/version.js';
import { decodeEntry } from '../../../src/modules/log/core/entry-codec.js';
import type { ReplicaIndex } from './node.js';
import type { SimProcess } from './process.js';
import type { Scheduler } from './scheduler.js';
import type { SeededRandom } from './seeded-random.js';

/** An index of much is built anew within this. */
const REBUILD_MS = 4_000;

/** What an index knows of a document. */
export interface IndexedDocument {
  readonly version: Version;
  readonly tombstone: boolean;
}

/**
 * A shard's index, as far as replication can tell: it takes time and keeps the highest version of each document. It lives
 * in memory and dies with its process.
 */
export class MemoryIndex implements ReplicaIndex {
  readonly documents = new Map<string, IndexedDocument>();
  #busy: Promise<void> = Promise.resolve();
  #applied = 0;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly process: SimProcess,
    private readonly random: SeededRandom,
    private readonly slowness: { minMs: number; maxMs: number },
  ) {}

  apply(entries: readonly Uint8Array[]): Promise<number> {
    return this.#then(() => this.#put(entries)).then(() => this.#applied);
  }

  rewind(offset: number): Promise<void> {
    return this.#then(() => {
      this.#applied = Math.min(this.#applied, offset);
    });
  }

  clear(): Promise<void> {
    return this.#then(() => this.#clear());
  }

  /** May take so long that much happens meanwhile. */
  rebuild(entries: () => Promise<readonly Uint8Array[]>): Promise<void> {
    return this.#then(async () => {
      this.#clear();
      this.#put(await entries());
    }, REBUILD_MS);
  }

  #put(entries: readonly Uint8Array[]): void {
    for (const bytes of entries) {
      const { op, collectionId, id, version, offset } = decodeEntry(bytes);
      this.#applied = Math.max(this.#applied, offset);
      if (op !== 'UPSERT' && op !== 'DELETE') continue;
      const key = `${collectionId}/${id}`;
      const held = this.documents.get(key);
      if (held !== undefined && compareVersions(version, held.version) < 0) continue;
      this.documents.set(key, { version, tombstone: op === 'DELETE' });
    }
  }

  #clear(): void {
    this.documents.clear();
    this.#applied = 0;
  }

  /** One after the other, each after its time. */
  #then(work: () => Promise<void> | void, atMostMs = this.slowness.maxMs): Promise<void> {
    this.#busy = this.#busy.then(async () => {
      const { minMs } = this.slowness;
      const maxMs = Math.max(minMs, atMostMs);
      await new Promise<void>((resolve) => {
        this.scheduler.in(this.random.between(minMs, maxMs), this.process, resolve);
      });
      await work();
    });
    return this.#busy;
  }
}
