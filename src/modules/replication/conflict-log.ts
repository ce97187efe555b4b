import { conflictRow, couldSee } from './core/conflict-row.js';
import type { ReplicaEffect, StoredWrite } from './core/effects.js';
import { looseEntry } from './loose-store.js';
import type { ReplicaPorts } from './replica-ports.js';
import { storedEntry } from './stored-copy.js';

/** Keeps the writes of one copy that lost against a higher version on another branch (6.4), for operators to list. */
export class ConflictLog {
  constructor(
    private readonly shard: number,
    private readonly ports: Pick<ReplicaPorts, 'log' | 'clock'>,
  ) {}

  /**
   * Asks the disk for it before it returns: whatever ends what lost is asked for later, and the log writes in that order.
   * @throws LogDamagedError
   */
  record({ loser, winner }: Extract<ReplicaEffect, { kind: 'conflict' }>): Promise<void> {
    const { log, clock } = this.ports;
    const [entry, winning] = [this.#entryOf(loser), this.#entryOf(winner.entry)];
    if (entry === undefined || (winning !== undefined && couldSee(winning, entry))) return Promise.resolve();
    const row = conflictRow(this.shard, clock.wallMs(), entry, winner.versionText);
    return log.append({ shard: this.shard, entries: [], rows: [row] });
  }

  #entryOf(write: StoredWrite | undefined): Uint8Array | undefined {
    const { log } = this.ports;
    if (write === undefined || write instanceof Uint8Array) return write;
    if (typeof write === 'number') return storedEntry(log, this.shard, write);
    return looseEntry(log, this.shard, write.collectionId, write.id);
  }
}
