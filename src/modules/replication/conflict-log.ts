import { conflictRow, couldSee } from './core/conflict-row.js';
import type { ReplicaEffect, StoredWrite } from './core/effects.js';
import { looseEntry } from './loose-store.js';
import type { ReplicaPorts } from './replica-ports.js';

/** Keeps the writes of one copy that lost against a higher version on another branch (6.4), for operators to list. */
export class ConflictLog {
  #recorded: Promise<void> = Promise.resolve();

  constructor(
    private readonly shard: number,
    private readonly ports: Pick<ReplicaPorts, 'log' | 'clock' | 'random'>,
  ) {}

  record(conflict: Extract<ReplicaEffect, { kind: 'conflict' }>): Promise<void> {
    const recorded = this.#record(conflict);
    // Of what was before nothing is kept but that it is done.
    this.#recorded = Promise.allSettled([this.#recorded, recorded]).then(() => undefined);
    return recorded;
  }

  /** Resolves when those that are being recorded are on the disk, or could not be, of which their callers hear. */
  recorded(): Promise<void> {
    return this.#recorded;
  }

  async #record({ loser, winner }: Extract<ReplicaEffect, { kind: 'conflict' }>): Promise<void> {
    const { log, clock, random } = this.ports;
    const [entry, winning] = await Promise.all([this.#entryOf(loser), this.#entryOf(winner.entry)]);
    if (entry === undefined || (winning !== undefined && couldSee(winning, entry))) return;
    const row = conflictRow(this.shard, clock.wallMs(), random.bytes(4), entry, winner.versionText);
    await log.append({ shard: this.shard, entries: [], rows: [row] });
  }

  #entryOf(write: StoredWrite | undefined): Promise<Uint8Array | undefined> {
    const { log } = this.ports;
    // It may still be on its way to the disk.
    if (typeof write === 'number') return log.sync().then(() => log.read(this.shard, write));
    if (write === undefined || write instanceof Uint8Array) return Promise.resolve(write);
    // At once: what is asked for next takes it out of the side store.
    return Promise.resolve(looseEntry(log, this.shard, write.collectionId, write.id));
  }
}
