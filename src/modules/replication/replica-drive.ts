import type { Clock } from '../../kernel/clock.js';
import type { Random } from '../../kernel/random.js';
import { OP_ID_BYTES } from '../../kernel/version.js';
import { LogDamagedError, type LogStore } from '../log/log-store.js';
import type { ReplicaEffect } from './core/effects.js';
import type { ReplicaInput } from './core/inputs.js';
import type { Now } from './core/peer-view.js';
import type { Replica } from './core/replica.js';

/** Steps the machine of one copy, and has what it asks for performed, in order, until it is closed. */
export class ReplicaDrive {
  readonly replica: Replica;
  readonly #log: Pick<LogStore, 'isBroken'>;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #perform: (effect: ReplicaEffect) => void;
  readonly #failed: (error: Error) => void;
  #closed = false;

  /** @param failed background work came to an end that it cannot go on after */
  constructor(
    replica: Replica,
    {
      log,
      clock,
      random,
    }: { readonly log: Pick<LogStore, 'isBroken'>; readonly clock: Clock; readonly random: Random },
    perform: (effect: ReplicaEffect) => void,
    failed: (error: Error) => void,
  ) {
    this.replica = replica;
    this.#log = log;
    this.#clock = clock;
    this.#random = random;
    this.#perform = perform;
    this.#failed = failed;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Nothing is said or done any more. */
  close(): void {
    this.#closed = true;
  }

  /** After a disk has failed only that is said: what another copy of the node has on its way is not acknowledged (2.6). */
  step(input: ReplicaInput): void {
    if (this.#closed || (this.#log.isBroken && input.kind !== 'fail')) return;
    for (const effect of this.replica.step(input)) this.#perform(effect);
  }

  now(): Now {
    return { wallMs: this.#clock.wallMs(), monotonicMs: this.#clock.monotonicMs() };
  }

  opId(): Uint8Array {
    return this.#random.bytes(OP_ID_BYTES);
  }

  /** What reads the log at once: damage fails the copy, and not whoever called (2.6). */
  attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error;
      if (!this.#closed) this.#failed(error);
    }
  }

  /** An error of background work: a damaged log fails the copy, a failed disk the node (2.6). */
  guard(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (this.#closed) return;
      // A failed disk ends the node (2.6); until it has ended nothing more is acknowledged.
      this.#failed(error instanceof Error ? error : new Error(String(error)));
    });
  }
}
