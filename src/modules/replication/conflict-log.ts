import { conflictRow } from './core/conflict-row.js';
import type { ReplicaEffect } from './core/effects.js';
import type { BeatenRow } from './core/replica-log.js';
import { looseEntry } from './loose-store.js';
import type { ReplicaPorts } from './replica-ports.js';

/** Keeps the writes of one copy that lost against a higher version on another branch (6.4), for operators to list. */
export class ConflictLog {
  constructor(
    private readonly shard: number,
    private readonly ports: Pick<ReplicaPorts, 'log' | 'clock' | 'random'>,
  ) {}

  async record({ loser, winner }: Extract<ReplicaEffect, { kind: 'conflict' }>): Promise<void> {
    const { log, clock, random } = this.ports;
    const entry = loser instanceof Uint8Array ? loser : await this.#losingEntry(loser);
    if (entry === undefined) return;
    const row = conflictRow(this.shard, clock.wallMs(), random.bytes(4), entry, winner.versionText);
    await log.append({ shard: this.shard, entries: [], rows: [row] });
  }

  #losingEntry(loser: number | BeatenRow): Promise<Uint8Array | undefined> {
    const { log } = this.ports;
    // At once: what is asked for next takes it out of the side store.
    if (typeof loser !== 'number') return Promise.resolve(looseEntry(log, this.shard, loser.collectionId, loser.id));
    // It may still be on its way to the disk.
    return log.sync().then(() => log.read(this.shard, loser));
  }
}
