import { encodeFrames } from '../core/frames.js';
import { IndexThreadError } from '../core/index-messages.js';
import { ShardUnavailableError, type OpenReport, type ShardFailure, type ShardReport } from '../shard-ports.js';
import { ApplyQueue } from './apply-queue.js';
import { CheckpointKeeper, type CheckpointKeeperPorts } from './checkpoint-keeper.js';
import type { IndexThread } from './index-thread.js';
import { openNewest, replay } from './shard-opening.js';

/**
 * A shard as the main thread sees it: where it lives, whether it can answer, what is on its way into it.
 *
 * `opening` → `ready` → (its thread dies) `opening` → …; `faulted` from anywhere, until it is opened again. Entries that
 * come while it is opening wait and follow.
 */
export class HostedShard {
  readonly shard: number;
  readonly thread: IndexThread;
  readonly checkpoints: CheckpointKeeper;
  readonly #ports: CheckpointKeeperPorts;
  readonly #report: ShardReport;
  readonly #queue: ApplyQueue;
  #status: 'opening' | 'ready' | 'faulted' = 'opening';
  #fault: string | undefined;
  #applied = 0;
  #opening: Promise<OpenReport> | undefined;
  #upTo: number | undefined;

  constructor(shard: number, thread: IndexThread, ports: CheckpointKeeperPorts) {
    this.shard = shard;
    this.thread = thread;
    this.#ports = ports;
    this.#report = ports.report;
    this.checkpoints = new CheckpointKeeper(shard, thread, ports);
    this.#queue = new ApplyQueue(shard, thread, {
      applied: (offset, bytes) => {
        this.#applied = offset;
        this.checkpoints.applied(bytes);
      },
      refused: (error) => this.fail(error.message),
    });
  }

  /** Undefined while it can answer. */
  get failure(): ShardFailure | undefined {
    if (this.#status === 'ready') return undefined;
    return this.#status === 'faulted' ? 'FAULTED' : 'NOT_READY';
  }

  get fault(): string | undefined {
    return this.#fault;
  }

  /** Offset applied, as far as is known here. */
  get applied(): number {
    return this.#applied;
  }

  get pendingBytes(): number {
    return this.#queue.pendingBytes;
  }

  /** Resolves when the entries are applied; they wait while the shard is opening. */
  apply(entries: readonly Uint8Array[]): Promise<void> {
    if (this.#status === 'faulted') return Promise.reject(this.unavailable('FAULTED'));
    return this.#queue.push(entries);
  }

  /**
   * Opens the shard, or again: newest checkpoint, then the log up to `upTo` or its tail. When the thread dies meanwhile,
   * starts over in the next one.
   */
  open(upTo: number | undefined): Promise<OpenReport> {
    this.#upTo = upTo;
    this.#opening ??= this.#openUntilDone().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /** The thread died: nothing of the shard is there any more. */
  lost(): void {
    this.#queue.suspend();
    if (this.#status === 'ready') this.#status = 'opening';
  }

  /** A new thread runs, or what was built has to be built again. */
  reopen(): void {
    if (this.#status === 'faulted' || this.#opening !== undefined) return;
    this.open(this.#upTo).catch((error: unknown) => {
      // `fail` has reported it, and the shard answers FAULTED; a closed index needs no shard.
      if (!this.thread.isClosed && this.#status !== 'faulted') this.fail(String(error));
    });
  }

  /** The shard answers FAULTED until it is opened again. */
  fail(problem: string): void {
    this.#status = 'faulted';
    this.#fault = problem;
    this.#queue.fail(this.unavailable('FAULTED'));
    this.#report('error', 'a shard is faulted', { shard: this.shard, problem });
  }

  /** What a call that met `reason` is told. */
  unavailable(reason: ShardFailure): ShardUnavailableError {
    return new ShardUnavailableError(this.shard, reason, reason === 'FAULTED' ? this.#fault : undefined);
  }

  /** Ends it in its thread; what waits is rejected. */
  async close(): Promise<void> {
    this.#status = 'opening';
    this.#queue.fail(this.unavailable('NOT_READY'));
    await this.thread.call('close', { shard: this.shard });
  }

  async #openUntilDone(): Promise<OpenReport> {
    for (;;) {
      this.#status = 'opening';
      this.#fault = undefined;
      this.#queue.suspend();
      try {
        return await this.#openOnce();
      } catch (error) {
        const lost = error instanceof IndexThreadError && (error.reason === 'DIED' || error.reason === 'NOT_OPEN');
        if (!lost || this.thread.isClosed) {
          if (!this.thread.isClosed) this.fail(error instanceof Error ? error.message : String(error));
          throw error;
        }
      }
      await this.thread.revived();
    }
  }

  async #openOnce(): Promise<OpenReport> {
    const { shard, thread } = this;
    const { log, store } = this.#ports;
    await thread.call('close', { shard });
    const kept = await openNewest(
      store,
      log,
      shard,
      (checkpoint) => thread.call('open', { shard, checkpoint }),
      (message, details) => this.#report('warn', message, details),
    );
    this.#applied = kept[0]?.manifest.offset ?? 0;
    this.checkpoints.opened(kept);
    const replayed = await replay(log, shard, this.#applied + 1, this.#upTo, async (entries) => {
      const frames = encodeFrames(entries);
      const bytes = frames.length;
      this.#applied = await thread.call('apply', { shard, frames });
      this.checkpoints.applied(bytes);
    });
    if (this.#status === 'opening') {
      this.#status = 'ready';
      this.#queue.open();
    }
    return { replayed, fromCheckpoint: kept.length > 0, offset: this.#applied };
  }
}
