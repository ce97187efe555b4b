import type { SnapshotEnd } from './core/protocol.js';
import type { LooseStore } from './loose-store.js';
import type { ReplicaDrive } from './replica-drive.js';
import type { ReplicaPorts } from './replica-ports.js';
import { flipTo } from './snapshot-flip.js';
import type { SnapshotReceiver } from './snapshot-receiver.js';
import { rowsOfCut, storedEnd } from './stored-copy.js';

/**
 * What changes a copy's log other than by appending: it is cut to a fork (6.3), or a snapshot takes its place (4.7). One after
 * the other: what a stream that broke began ends before another one goes on with it.
 */
export class LogAlterations {
  readonly #shard: number;
  readonly #ports: Pick<ReplicaPorts, 'log' | 'index'>;
  readonly #drive: ReplicaDrive;
  readonly #loose: LooseStore;
  #count = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(shard: number, ports: Pick<ReplicaPorts, 'log' | 'index'>, loose: LooseStore, drive: ReplicaDrive) {
    this.#shard = shard;
    this.#ports = ports;
    this.#drive = drive;
    this.#loose = loose;
  }

  /** One is going on, or waits. */
  get pending(): boolean {
    return this.#count > 0;
  }

  /** Resolves when those asked for so far have ended. */
  idle(): Promise<void> {
    return this.#last;
  }

  /** Runs one when those before it have ended. */
  alone(alter: () => Promise<void>): Promise<void> {
    this.#count++;
    const altered = this.#last.then(alter);
    this.#last = altered.then(ended, ended);
    const end = (): void => {
      this.#count--;
    };
    return altered.finally(end);
  }

  /** Cuts the log behind `to`: rows beyond it become loose, and the index goes back (6.3, 6.4). */
  async truncate(to: number): Promise<void> {
    const { log, index } = this.#ports;
    const beside = rowsOfCut(log, this.#shard, to);
    await this.#loose.cutBranch(this.#shard, to, beside);
    await index?.rewind(to);
    this.#replaced(Math.min(this.#drive.replica.applied, to));
  }

  /** Makes a snapshot that is whole the log, whose index is built anew then; rows beyond `fork` become loose. */
  async flip(receiver: SnapshotReceiver, fork: number, at: SnapshotEnd): Promise<void> {
    this.#drive.step({ kind: 'replacing' });
    await flipTo({ receiver, at, fork }, this.#ports.log, this.#loose);
    const { index } = this.#ports;
    const built = index?.rebuild();
    // The log goes on while its index is built: until then nothing of it is in force.
    this.#replaced(built === undefined ? at.lastOffset : 0);
    const drive = this.#drive;
    if (built !== undefined)
      drive.guard(built.then(() => drive.step({ kind: 'applied', offset: at.lastOffset, now: drive.now() })));
  }

  #replaced(applied: number): void {
    const log = storedEnd(this.#ports.log, this.#shard);
    this.#drive.step({ kind: 'replaced', log, applied, now: this.#drive.now() });
  }
}

function ended(): void {
  // Whoever asked for it hears how.
}
