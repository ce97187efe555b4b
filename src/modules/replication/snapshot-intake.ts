import type { Hasher } from '../../kernel/hasher.js';
import type { LogStore } from '../log/log-store.js';
import type { LogEnd, PartialSnapshot, SnapshotChunk } from './core/protocol.js';
import { bytesOf } from './snapshot-sender.js';
import { SnapshotReceiver } from './snapshot-receiver.js';

/** The stream a snapshot comes on. */
export interface SnapshotStream {
  /** It is still the one that is followed. */
  isOpen(): boolean;
  /** So many bytes more are welcome. */
  grant(bytes: number): void;
}

/**
 * Takes snapshots in as their chunks come (4.7). What a transfer that broke left, also before a restart, is kept to go on with;
 * until one is whole the log is what it was.
 */
export class SnapshotIntake {
  readonly #shard: number;
  readonly #log: LogStore;
  readonly #hasher: Hasher;
  readonly #resumed: (rows: number) => void;
  /** A snapshot whose transfer broke: the next one goes on from there. */
  #unfinished: SnapshotReceiver | undefined;
  /** Chunks that wait to be staged; bounded by the credit that was granted. */
  #chunks: SnapshotChunk[] = [];
  #wake: (() => void) | undefined;

  /** @param resumed a snapshot goes on with so many rows that an earlier transfer brought */
  constructor(
    shard: number,
    { log, hasher }: { readonly log: LogStore; readonly hasher: Hasher },
    unfinished: SnapshotReceiver | undefined,
    resumed: (rows: number) => void,
  ) {
    this.#shard = shard;
    this.#log = log;
    this.#hasher = hasher;
    this.#unfinished = unfinished;
    this.#resumed = resumed;
  }

  /** What to tell a primary, so that it goes on from there. */
  get partial(): PartialSnapshot | undefined {
    return this.#unfinished?.partial;
  }

  chunk(chunk: SnapshotChunk): void {
    this.#chunks.push(chunk);
    this.wake();
  }

  /** The stream has ended, or something came. */
  wake(): void {
    this.#wake?.();
  }

  /**
   * Takes the chunks of one transfer until the snapshot is whole; undefined: it cannot be used, or its stream has ended.
   * @param resumes the primary goes on with what is here
   * @param credit what is granted at first
   */
  async take(
    at: LogEnd,
    resumes: boolean,
    credit: number,
    stream: SnapshotStream,
  ): Promise<SnapshotReceiver | undefined> {
    this.#chunks = [];
    const receiver = await (resumes ? this.#goOn(at) : this.#begin(at));
    if (receiver === undefined) return undefined;
    stream.grant(credit);
    while (!receiver.complete && stream.isOpen()) {
      const chunk = this.#chunks.shift();
      if (chunk === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      if ((await receiver.take(chunk)) !== undefined) {
        // What is wrong with it may be wrong with what came before.
        this.#unfinished = undefined;
        await receiver.discard();
        break;
      }
      stream.grant(bytesOf(chunk));
    }
    // Whole, but of a stream that ended meanwhile: whoever is followed then goes on with it.
    if (!receiver.complete || !stream.isOpen()) return undefined;
    this.#unfinished = undefined;
    return receiver;
  }

  /** It is not needed: the log goes on from where it is. */
  async discard(): Promise<void> {
    this.#unfinished = undefined;
    if (this.#log.staged(this.#shard) !== undefined) await this.#log.discardStage(this.#shard);
  }

  /** Goes on with what is here of an earlier snapshot, as the primary does; undefined: it cannot be used, and is gone. */
  async #goOn(at: LogEnd): Promise<SnapshotReceiver | undefined> {
    const unfinished = this.#unfinished;
    // Discarded since the hello told of it: only the rows behind it would come.
    if (unfinished === undefined) return undefined;
    if ((await unfinished.resume(at)) === undefined) {
      this.#resumed(unfinished.rows);
      return unfinished;
    }
    this.#unfinished = undefined;
    await unfinished.discard();
    return undefined;
  }

  /** Undefined: there is no such snapshot. */
  async #begin(at: LogEnd): Promise<SnapshotReceiver | undefined> {
    this.#unfinished = undefined;
    const receiver = await SnapshotReceiver.begin(this.#log, this.#hasher, this.#shard, at);
    if ('problem' in receiver) return undefined;
    this.#unfinished = receiver;
    return receiver;
  }
}
