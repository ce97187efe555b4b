import { encodeFrames } from '../core/frames.js';
import type { ForgottenDocument } from '../core/index-host.js';
import { IndexThreadError } from '../core/index-messages.js';
import { ShardUnavailableError, type OpenReport, type ShardFailure, type ShardReport } from '../shard-ports.js';
import { ApplyQueue } from './apply-queue.js';
import { CheckpointKeeper, type CheckpointKeeperPorts } from './checkpoint-keeper.js';
import type { IndexThread } from './index-thread.js';
import type { ApplyWaiter } from './log-backlog.js';
import { openNewest, replay, scanOn, withoutSuperseded } from './shard-opening.js';

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
  readonly #ports: HostedShardPorts;
  readonly #report: ShardReport;
  readonly #queue: ApplyQueue;
  #status: 'opening' | 'ready' | 'faulted' = 'opening';
  #fault: string | undefined;
  #applied = 0;
  #opening: Promise<OpenReport> | undefined;
  /** How often it was asked to open. */
  #asked = 0;
  /** Whose entries the log has that is being read. */
  #covered: ApplyWaiter[] = [];
  #upTo: number | undefined;
  /** It was closed: nothing opens it again. */
  #ended = false;
  #loose: LooseEntries | undefined;
  /** Settles when what was given to `apply` so far is applied, or refused. */
  #pushed: Promise<void> = Promise.resolve();
  /** What comes to `apply` meanwhile waits; never rejects. */
  #altering: Promise<void> | undefined;

  constructor(shard: number, thread: IndexThread, ports: HostedShardPorts) {
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
      read: (from) => scanOn(ports.log, shard, from),
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

  /**
   * Resolves when the entries are applied, or given up since the log was cut before them, with the offset the index is at
   * then; they wait while the shard is opening.
   */
  apply(entries: readonly Uint8Array[]): Promise<number> {
    if (entries.length === 0) return Promise.resolve(this.#applied);
    if (this.#altering !== undefined) return this.#altering.then(() => this.apply(entries));
    if (this.#status === 'faulted') return Promise.reject(this.unavailable('FAULTED'));
    const applied = this.#queue.push(entries);
    this.#pushed = settled(applied);
    return applied;
  }

  /**
   * The log was cut at `offset` (replication 6.3): entries given to `apply` before are applied first, those that come later
   * are of the new branch. An index that is behind, or being read, is read again instead, since what it waits for may be gone
   * from the log, and that is not waited for: what comes later follows. Begins when `idle` says that no checkpoint of it is under way.
   */
  rewind(offset: number, idle: Promise<unknown>): Promise<void> {
    if (this.#queue.isBehind || this.#status === 'opening') return this.#readAfterCut(offset, idle);
    return this.#alter(idle, async () => {
      // A shard that was read again meanwhile has nothing beyond the cut.
      this.#applied = await this.thread.call('rewind', { shard: this.shard, offset });
      await this.checkpoints.rewound(offset);
    });
  }

  /** Forgets documents whose rows are gone; checkpoints, which still have them, go as well. */
  forget(documents: readonly ForgottenDocument[], idle: Promise<unknown>): Promise<void> {
    return this.#alter(idle, async () => {
      await this.thread.call('forget', { shard: this.shard, documents });
      await this.checkpoints.rewound(-1);
    });
  }

  /**
   * Opens the shard, or again: newest checkpoint, then the log up to `upTo` or its tail. When the thread dies meanwhile,
   * starts over in the next one; when it is asked for again meanwhile, whose log is another one then, it starts over as well.
   * What was given to `apply` before and waits comes from the log like everything, unless it is not of that any more.
   */
  open(upTo: number | undefined, loose?: LooseEntries): Promise<OpenReport> {
    this.#upTo = upTo;
    this.#loose = loose;
    this.#asked++;
    if (upTo === undefined) this.#covered.push(...this.#queue.clear());
    this.#opening ??= this.#openUntilDone();
    return this.#opening;
  }

  /** The index is not what its log says: it is built again, from the log alone. */
  async rebuild(): Promise<void> {
    this.lost();
    await this.checkpoints.rewound(-1);
    this.reopen();
  }

  /** What is given to `apply` waits from now on, until `release` or the next `open`; not while the index is altered, which waits for it. */
  hold(): void {
    if (this.#altering !== undefined) return;
    this.#queue.suspend();
    // What its thread has already would only be thrown away, but for what it is opened with. A thread that died has nothing.
    if (this.#status === 'ready') this.thread.call('hold', { shard: this.shard }).catch(() => undefined);
  }

  /** What waits is applied. */
  release(): void {
    if (this.#status === 'ready') this.#queue.open();
  }

  /** The thread died: nothing of the shard is there any more. */
  lost(): void {
    this.#queue.suspend();
    if (this.#status === 'ready') this.#status = 'opening';
  }

  /** What was built, or is being built, has to be built again. */
  readAgain(): void {
    this.lost();
    this.#asked++;
    this.reopen();
  }

  /** A new thread runs, or what was built has to be built again. */
  reopen(): void {
    if (this.#status === 'faulted' || this.#opening !== undefined || this.#ended) return;
    this.open(this.#upTo, this.#loose).catch((error: unknown) => {
      // `fail` has reported it, and the shard answers FAULTED; a closed index needs no shard.
      if (!this.thread.isClosed && this.#status !== 'faulted') this.fail(String(error));
    });
  }

  /** The shard answers FAULTED until it is opened again. */
  fail(problem: string): void {
    this.#status = 'faulted';
    this.#fault = problem;
    this.#giveUp(this.unavailable('FAULTED'));
    this.#report('error', 'a shard is faulted', { shard: this.shard, problem });
  }

  /** What a call that met `reason` is told. */
  unavailable(reason: ShardFailure): ShardUnavailableError {
    return new ShardUnavailableError(this.shard, reason, reason === 'FAULTED' ? this.#fault : undefined);
  }

  /** Ends it in its thread; what waits is rejected. */
  async close(): Promise<void> {
    this.#ended = true;
    this.#status = 'opening';
    this.#giveUp(this.unavailable('NOT_READY'));
    await this.thread.call('close', { shard: this.shard });
  }

  /** Nothing that was given to `apply` will be applied. */
  #giveUp(error: Error): void {
    this.#queue.fail(error);
    for (const { reject } of this.#covered.splice(0)) reject(error);
  }

  async #readAfterCut(offset: number, idle: Promise<unknown>): Promise<void> {
    this.lost();
    await idle;
    await this.checkpoints.rewound(offset);
    this.open(undefined, this.#loose).catch(() => {
      // `fail` has told whoever waits.
    });
  }

  async #openUntilDone(): Promise<OpenReport> {
    try {
      return await this.#openCurrent();
    } finally {
      // In the same turn: an `open` that comes before whoever waits for this one goes on begins anew.
      this.#opening = undefined;
    }
  }

  async #openCurrent(): Promise<OpenReport> {
    for (;;) {
      this.#status = 'opening';
      this.#fault = undefined;
      if (this.#ended) {
        // What was begun before it was closed put it into its thread again.
        await this.thread.call('close', { shard: this.shard });
        throw this.unavailable('NOT_READY');
      }
      this.#queue.suspend();
      const asked = this.#asked;
      const isCurrent = (): boolean => asked === this.#asked && !this.#ended;
      try {
        const report = await this.#openOnce(isCurrent);
        if (isCurrent()) return report;
        continue;
      } catch (error) {
        if (!isCurrent() && !this.thread.isClosed) continue;
        const lost = error instanceof IndexThreadError && (error.reason === 'DIED' || error.reason === 'NOT_OPEN');
        if (!lost || this.thread.isClosed) {
          if (!this.thread.isClosed) this.fail(error instanceof Error ? error.message : String(error));
          throw error;
        }
      }
      await this.thread.revived();
    }
  }

  /** @param isCurrent whether the log is still the one it was begun for */
  async #openOnce(isCurrent: () => boolean): Promise<OpenReport> {
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
    const replayed = await replay(log, shard, this.#applied + 1, this.#upTo, async (entries, behind) => {
      const fresh = withoutSuperseded(log, shard, this.#upTo, entries);
      if (!isCurrent()) throw new Error(`the log of shard ${shard} is another one now`);
      if (fresh.length === 0) return;
      const frames = encodeFrames(fresh);
      const bytes = frames.length;
      this.#applied = await thread.call('apply', { shard, frames, behind });
      this.checkpoints.applied(bytes);
    });
    if (this.#loose !== undefined) for await (const entries of this.#loose()) await this.#feedLoose(entries);
    if (kept.length > 0) this.#checkLater();
    if (this.#status === 'opening' && isCurrent()) {
      this.#status = 'ready';
      for (const { resolve } of this.#covered.splice(0)) resolve(this.#applied);
      this.#queue.open();
    }
    return { replayed, fromCheckpoint: kept.length > 0, offset: this.#applied };
  }

  /** What a checkpoint brought is compared with its digest once it serves; what differs is built again, from the log. */
  #checkLater(): void {
    this.thread.call('check', { shard: this.shard }).then(
      (sound) => {
        if (!sound) this.#ports.unsound(this.shard);
      },
      (error: unknown) => {
        // The shard was closed, or is read again and checked then.
        if (error instanceof IndexThreadError && (error.reason === 'DIED' || error.reason === 'NOT_OPEN')) return;
        this.fail(error instanceof Error ? error.message : String(error));
      },
    );
  }

  async #feedLoose(entries: readonly Uint8Array[]): Promise<void> {
    if (entries.length === 0) return;
    await this.thread.call('apply', { shard: this.shard, frames: encodeFrames(entries), loose: true });
    this.checkpoints.altered();
  }

  /** Does something to the index between two entries, again if its thread dies meanwhile. @throws ShardUnavailableError */
  #alter(idle: Promise<unknown>, act: () => Promise<void>): Promise<void> {
    const done = (this.#altering ?? Promise.resolve()).then(async () => {
      await idle;
      await this.#alterOpen(act);
    });
    const altering = settled(done).then(() => {
      if (this.#altering === altering) this.#altering = undefined;
    });
    this.#altering = altering;
    return done;
  }

  async #alterOpen(act: () => Promise<void>): Promise<void> {
    for (;;) {
      await this.thread.revived();
      if (this.#opening !== undefined) await settled(this.#opening);
      await this.#pushed;
      if (this.failure !== undefined && this.#opening === undefined) throw this.unavailable(this.failure);
      if (this.failure !== undefined) continue;
      try {
        await act();
        return;
      } catch (error) {
        const lost = error instanceof IndexThreadError && (error.reason === 'DIED' || error.reason === 'NOT_OPEN');
        if (!lost || this.thread.isClosed) throw error;
      }
    }
  }
}

export interface HostedShardPorts extends CheckpointKeeperPorts {
  /** Is told when a shard turned out to be something else than its checkpoint said; `rebuild`, while no checkpoint is taken, helps. */
  readonly unsound: (shard: number) => void;
}

/** Pages of encoded entries of loose rows, read anew each time the shard is opened. */
export type LooseEntries = () => AsyncIterable<readonly Uint8Array[]>;

/** Resolves when the promise has an outcome; whoever made it hears of that. */
async function settled(promise: Promise<unknown>): Promise<void> {
  await Promise.allSettled([promise]);
}
